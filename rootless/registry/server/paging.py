"""Lists that are handed out in pages. Pure.

Spec: distribution-spec v1.1 §Content Discovery.
"""

from __future__ import annotations

from urllib.parse import quote

from rootless.registry.server.refusal import PAGINATION_NUMBER_INVALID, Refusal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

MAX_LIST_BYTES = 4 << 20
"""Of one page of referrers: what clients read of a manifest, which that list is."""


def page(names: Iterable[str], query: Mapping[str, str], *, path: str) -> tuple[list[str], str]:
    """Return (the names that are due, the `Link` header to the others, "" for none), in order of their bytes.

    Args:
        query: `n`, how many at most, and `last`, the name before them.
    Raises:
        Refusal: `n` is no number.
    """
    last = query.get("last", "")
    due = sorted(name for name in names if name > last)
    if "n" not in query:
        return due, ""
    text = query["n"]
    if not (text.isascii() and text.isdecimal() and len(text) < 10):
        raise Refusal(400, PAGINATION_NUMBER_INVALID, "n is not a number of entries")
    count = int(text)
    chosen = due[:count]
    if not chosen or len(due) <= count:
        return chosen, ""
    return chosen, link(path, n=text, last=chosen[-1])


def page_of_bytes(
    entries: Sequence[tuple[str, int]], last: str, *, limit: int = MAX_LIST_BYTES
) -> tuple[list[str], bool]:
    """Return (the keys that fit, whether there are more), beginning after `last`; always one at least.

    Args:
        entries: (key, bytes that it takes).
    """
    chosen: list[str] = []
    total = 0
    for key, size in sorted(entries):
        if key <= last:
            continue
        total += size
        if chosen and total > limit:
            return chosen, True
        chosen.append(key)
    return chosen, False


def link(path: str, **query: str) -> str:
    """Return the `Link` header that leads to the next page (RFC 8288)."""
    parameters = "&".join(f"{name}={quote(value, safe='')}" for name, value in query.items())
    return f'<{path}?{parameters}>; rel="next"'
