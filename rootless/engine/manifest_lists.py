"""Manifest lists of this store: image indexes that a user makes. No trio.

A list is an entry of index.json under its name, and what it names is kept like any image. Manifests and
configs of its members are here; their layers need not be: the entry remembers by which name each member was
added, and a push reads from there what is missing. Every change is one change of index.json.
"""

from __future__ import annotations

from layers import jsontext, media
from layers.digest import Digest, is_digest
from layers.errors import ImageNotFound, InvalidReference, LayersError
from layers.index import REPO_DIGEST
from layers.manifest_list import ManifestList, Traits
from layers.reference import Reference
from layers.store.directory import ImageLayout
from rootless.engine import events
from rootless.engine.image_lookup import find_entry
from rootless.engine.image_names import parse_target
from rootless.engine.new_image import now
from rootless.errors import ImageError, NotFound, StateConflict

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from layers.index import ImageEntry, ImageIndex
    from layers.manifest import Descriptor
    from rootless.paths import Paths

    Change = Callable[[ManifestList, dict[str, str]], ManifestList]
    """Takes a list and digest → name of its members, which it may change; returns the new list."""

_MEMBERS = "io.rootless.members"
"""Annotation of an entry: JSON, digest → the name by which the member was added."""
_CREATED = "org.opencontainers.image.created"


class Member:
    """What is added to a list: a manifest, what is said of it, its name as `open_source` takes it."""

    __slots__ = ("descriptor", "documents", "name", "traits")

    def __init__(
        self, descriptor: Descriptor, traits: Traits, *, name: str, documents: Sequence[bytes]
    ) -> None:
        """Set up; the documents are the manifest and the config, verified."""
        self.descriptor = descriptor
        self.traits = traits
        self.name = name
        self.documents = documents


class LocalList:
    """A list as `images` shows it, beside `LocalImage`."""

    __slots__ = ("created", "entry", "image_id", "labels", "name", "repo_digest", "size_bytes")

    def __init__(self, entry: ImageEntry) -> None:
        self.entry = entry
        self.name = entry.name
        self.image_id = entry.digest
        self.repo_digest = entry.repo_digest
        self.created = entry.annotations.get(_CREATED, "")
        self.labels: Mapping[str, str] = {}
        self.size_bytes = entry.descriptor.size


def iter_lists(paths: Paths) -> Iterator[LocalList]:
    """Iterate over the lists that have a name, once for each name."""
    for entry in ImageLayout(paths.store, locks=paths.locks).entries():
        if entry.name and media.is_index(entry.descriptor.media_type):
            yield LocalList(entry)


def find_list(paths: Paths, query: str) -> ImageEntry:
    """Return the entry of a list.

    Raises:
        NotFound: nothing has that name. ImageError: it is the name of an image.
    """
    try:
        entry = find_entry(paths, query)
    except NotFound as exc:
        raise NotFound(
            f"no such manifest list: {query}",
            hint="`rootless manifest create` makes one",
            reference="no-such-manifest-list",
        ) from exc
    if not media.is_index(entry.descriptor.media_type):
        raise ImageError("cannot use it as a manifest list: it is an image", on=query)
    return entry


def read_list(layout: ImageLayout, entry: ImageEntry) -> ManifestList:
    """Read a list.

    Raises:
        LayersError: it is damaged.
    """
    return ManifestList.parse(layout.read_blob(entry.digest), entry.descriptor.media_type)


def names_of(entry: ImageEntry) -> dict[str, str]:
    """Return digest → the name by which a member was added, as far as it is known."""
    try:
        found = jsontext.loads(entry.annotations.get(_MEMBERS, "{}"))
    except ValueError:
        return {}
    items = found.items() if isinstance(found, dict) else ()
    return {digest: name for digest, name in items if is_digest(digest) and isinstance(name, str)}


def check_new(paths: Paths, name: str, *, amend: bool) -> None:
    """Make sure that a list can get a name, before its members are looked for; make the store ready.

    Raises:
        UsageError: it is no name. StateConflict: it is taken.
    """
    target = parse_target(name).canonical
    paths.ensure()
    layout = ImageLayout(paths.store, locks=paths.locks)
    layout.ensure()
    _check_free(name, layout.load_index().find_name(target), amend=amend)


def create(paths: Paths, name: str, members: Sequence[Member], *, amend: bool) -> str:
    """Make a list, or add to one that is there; return its canonical name.

    Raises:
        StateConflict: the name is taken, by an image or, without `amend`, by a list.
    """
    target = parse_target(name).canonical
    layout = ImageLayout(paths.store, locks=paths.locks)

    def changed(index: ImageIndex) -> ImageIndex:
        entry = index.find_name(target)
        _check_free(name, entry, amend=amend)
        return _with_change(layout, index, target, entry, lambda *now: _with_members(members, *now))

    _update(paths, layout, target, changed, members)
    return target


def add(paths: Paths, query: str, members: Sequence[Member]) -> Digest:
    """Add to a list, in place of members that are the same; return its new digest."""
    return _edit(paths, query, lambda *now: _with_members(members, *now), members)


def annotate(paths: Paths, query: str, member: str, traits: Traits) -> Digest:
    """Change what a list says of a member, which is named by its digest or as it was added."""
    return _edit(paths, query, lambda made, names: made.with_traits(find_member(made, names, member), traits))


def remove_member(paths: Paths, query: str, member: str) -> Digest:
    """Take a member out of a list; return the list's new digest."""
    return _edit(paths, query, lambda made, names: made.without_member(find_member(made, names, member)))


def find_member(made: ManifestList, names: Mapping[str, str], word: str) -> Digest:
    """Return the digest of the member that a user means: by digest, or as it was added. Pure.

    Raises:
        ImageNotFound: there is none, or several.
    """
    wanted = word.rpartition("@")[2]
    known = [item["digest"] for item in made.items]
    if is_digest(wanted):
        found = [digest for digest in known if digest == wanted]
    else:
        found = [digest for digest in known if names.get(digest) in (word, member_name(word))]
    if len(found) != 1:
        raise ImageNotFound(
            f"cannot tell which member is meant: there are {len(found)}" if found else "no such member",
            on=word[:160],
            hint="`rootless manifest inspect` shows the digests of the members",
        )
    return Digest(found[0])


def member_name(word: str) -> str:
    """Return the name to remember for what a user adds: canonical if it is a name, else as it is. Pure."""
    try:
        return Reference.parse(word.removeprefix("docker://")).canonical
    except InvalidReference:
        return word


def _with_members(members: Sequence[Member], made: ManifestList, names: dict[str, str]) -> ManifestList:
    for member in members:
        made = made.with_member(member.descriptor, member.traits)
        names[member.descriptor.digest] = member.name
    return made


def _edit(paths: Paths, query: str, change: Change, members: Sequence[Member] = ()) -> Digest:
    name = find_list(paths, query).name
    layout = ImageLayout(paths.store, locks=paths.locks)

    def changed(index: ImageIndex) -> ImageIndex:
        entry = index.find_name(name or "")
        if entry is None:
            raise NotFound(f"no such manifest list: {query}", reference="no-such-manifest-list")
        return _with_change(layout, index, name or "", entry, change)

    return _update(paths, layout, name or "", changed, members)


def _update(
    paths: Paths,
    layout: ImageLayout,
    name: str,
    changed: Callable[[ImageIndex], ImageIndex],
    members: Sequence[Member],
) -> Digest:
    """Store the documents of new members, change index.json, and tell of it."""
    try:
        with layout.pulling():  # nothing is swept before it is named
            for member in members:
                for document in member.documents:
                    layout.add_blob(document)
            after = layout.update_index(changed).find_name(name)
    except LayersError as exc:
        raise ImageError(
            exc.message, on=f"{name}: {exc.on}", hint=exc.hint or None, reference=exc.reference
        ) from exc
    assert after is not None
    events.record_image(paths, "tag", id=after.digest, name=Reference.parse(name).familiar)
    return after.digest


def _with_change(
    layout: ImageLayout, index: ImageIndex, name: str, entry: ImageEntry | None, change: Change
) -> ImageIndex:
    """Return the index with the changed list in place of what had the name; the list's blob is written."""
    before = read_list(layout, entry) if entry else ManifestList()
    names = names_of(entry) if entry else {}
    made = change(before, names)
    descriptor, data = made.described()
    layout.add_blob(data)
    members = {item["digest"]: names[item["digest"]] for item in made.items if item["digest"] in names}
    annotations = {_CREATED: now(), **(entry.annotations if entry else {})}
    annotations[_MEMBERS] = jsontext.dumps(members, compact=True)
    annotations.pop(REPO_DIGEST, None)  # no registry has given this one
    return index.with_replaced(name, descriptor.with_annotations(annotations))


def _check_free(name: str, entry: ImageEntry | None, *, amend: bool) -> None:
    if entry is None:
        return
    if not media.is_index(entry.descriptor.media_type):
        raise StateConflict(
            f"cannot create the manifest list: {name} is the name of an image",
            hint="choose another name, or take it from the image with `rootless untag`",
            reference="name-in-use",
        )
    if not amend:
        raise StateConflict(
            f"cannot create the manifest list: {name} exists",
            hint="--amend adds to it",
            reference="name-in-use",
        )
