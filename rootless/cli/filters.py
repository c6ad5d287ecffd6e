"""Values of --filter that several commands share: labels, booleans. Ring 1."""

from __future__ import annotations

from rootless.cli.args import parse_bool
from rootless.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def has_label(labels: Mapping[str, str], text: str) -> bool:
    """Tell whether an object has the label NAME, or NAME with that value."""
    name, equals, value = text.partition("=")
    return name in labels and (not equals or labels[name] == value)


def fits_labels(labels: Mapping[str, str], filters: Mapping[str, Sequence[str]]) -> bool:
    """Tell whether all of `label` and none of `label!` are there (Docker's rules of `prune`)."""
    return all(has_label(labels, text) for text in filters.get("label", ())) and not any(
        has_label(labels, text) for text in filters.get("label!", ())
    )


def boolean(name: str, text: str) -> bool:
    """Return the value of a filter that is true or false.

    Raises:
        UsageError: it is neither.
    """
    value = parse_bool(text)
    if value is None:
        raise UsageError(f"invalid filter: {name}={text}", hint=f"write {name}=true or {name}=false")
    return value
