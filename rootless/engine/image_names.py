"""Give images names and take names away. No trio."""

from __future__ import annotations

from layers.errors import InvalidReference, LayersError
from layers.index import REF_NAME, REPO_DIGEST
from layers.reference import Reference
from layers.store.directory import ImageLayout
from rootless.engine import events
from rootless.engine.image_lookup import find_entry, labels_of, same_image
from rootless.errors import ImageError, NotFound, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from rootless.paths import Paths


def parse_target(text: str) -> Reference:
    """Return the name that somebody wants to give: a repository and a tag, `latest` if none is said.

    Raises:
        UsageError: it is none, or has a digest, which is given by content alone.
    """
    try:
        reference = Reference.parse(text)
    except InvalidReference as exc:
        raise UsageError(exc.message, on=exc.on, hint=exc.hint or None) from exc
    if reference.digest:
        raise UsageError(
            "cannot give an image a name with a digest", on=text, hint="leave out what follows @"
        )
    return reference


def tag(paths: Paths, source: str, target: str) -> None:
    """Give an image one more name; the image that had it keeps its others, or dangles.

    Raises:
        NotFound: there is no such image. UsageError: the name is no name.
    """
    reference = parse_target(target)
    entry = find_entry(paths, source)
    layout = ImageLayout(paths.store, locks=paths.locks)
    try:
        layout.tag(reference.canonical, entry.descriptor, _annotations(entry.annotations, reference))
    except LayersError as exc:
        raise ImageError(exc.message, on=f"{source}: {exc.on}", hint=exc.hint or None) from exc
    labels = labels_of(layout, reference.canonical)
    subject = layout.image_id(entry) or entry.digest
    events.record_image(paths, "tag", id=subject, name=reference.familiar, labels=labels)


def untag(paths: Paths, query: str, names: Iterable[str]) -> None:
    """Take names from an image, all of them if none is said; the image stays.

    Raises:
        NotFound: there is no such image, or it does not have such a name; then nothing is changed.
    """
    entry = find_entry(paths, query)
    layout = ImageLayout(paths.store, locks=paths.locks)
    known = {each.name: each for each in same_image(layout, entry) if each.name is not None}
    doomed = [_own_name(known, name, query) for name in names] or list(known)
    subject, labels = layout.image_id(entry) or entry.digest, labels_of(layout, query)
    for name in doomed:
        layout.untag(name)
        reference = known[name].reference
        shown = reference.familiar if reference else name
        events.record_image(paths, "untag", id=subject, name=shown, labels=labels)


def _own_name(known: Mapping[str, object], name: str, query: str) -> str:
    """Return a name as the index has it."""
    wanted = name if name in known else parse_target(name).canonical
    if wanted not in known:
        raise NotFound(
            f"image `{query}` does not have the name {name}",
            hint="`rootless images` lists the names of images",
            reference="no-such-name",
        )
    return wanted


def _annotations(have: Mapping[str, str], target: Reference) -> dict[str, str]:
    """Return what an entry of another name keeps: not a digest that another repository gave."""
    kept = dict(have)
    name = kept.pop(REF_NAME, "")
    try:
        same = Reference.parse(name).repository == target.repository
    except InvalidReference:
        same = False
    if not same:
        kept.pop(REPO_DIGEST, None)
    return kept
