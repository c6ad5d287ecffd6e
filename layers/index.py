"""The store's index.json: which images there are, under which names. Pure; ring 1.

One entry per name, each the descriptor of one platform's manifest. An entry without a name is dangling: its
tag moved on. What other tools wrote into the file is kept as it is. Spec: image-spec image-layout.md.
"""

from __future__ import annotations

from layers import document, jsontext, media
from layers.errors import AmbiguousImage, ImageNotFound, InvalidReference
from layers.manifest import Descriptor
from layers.record import Record
from layers.reference import Reference

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    from layers.digest import Digest

REF_NAME = "org.opencontainers.image.ref.name"
REPO_DIGEST = "io.rootless.repo-digest"
ASKED_AS = "io.rootless.asked-as"
"""The reference that a user meant the image by: a short name, which was found under another one."""
MAX_INDEX_BYTES = 64 << 20
"""Ours to write, so not bounded as strangers' documents are: 100,000 entries are about 40 MB."""
_HEX = frozenset("0123456789abcdef")


class ImageEntry(Record):
    """One entry of index.json.

    Attributes:
        name: canonical reference, or as another tool wrote it; None if dangling.
        descriptor: the manifest; with all annotations of the entry.
        raw: the entry as it stands in the file.
    """

    __slots__ = ("descriptor", "name", "raw")
    name: str | None
    descriptor: Descriptor
    raw: dict[str, Any]

    def __init__(self, descriptor: Descriptor, raw: dict[str, Any] | None = None) -> None:
        self._fill(
            name=descriptor.annotations.get(REF_NAME),
            descriptor=descriptor,
            raw=descriptor.to_json() if raw is None else raw,
        )

    @classmethod
    def named(
        cls, name: str, descriptor: Descriptor, annotations: Mapping[str, str] | None = None
    ) -> ImageEntry:
        """Make an entry; annotations replace the descriptor's own."""
        base = descriptor.annotations if annotations is None else annotations
        return cls(descriptor.with_annotations({**base, REF_NAME: name}))

    @property
    def annotations(self) -> dict[str, str]:
        return self.descriptor.annotations

    @property
    def digest(self) -> Digest:
        """Digest of the manifest."""
        return self.descriptor.digest

    @property
    def repo_digest(self) -> str:
        """What the registry gave for the reference: the digest of an index or a manifest, or ""."""
        return self.annotations.get(REPO_DIGEST, "")

    @property
    def reference(self) -> Reference | None:
        """The name, parsed; None if dangling or not a reference."""
        return _reference(self.name)


class ImageIndex:
    """The whole file as a value; `with_…` methods return another one.

    Attributes:
        entries: in the order of the file.
    """

    __slots__ = ("_extra", "entries")

    def __init__(self, entries: Sequence[ImageEntry] = (), extra: Mapping[str, Any] | None = None) -> None:
        self.entries = tuple(entries)
        self._extra = dict(extra or {"schemaVersion": 2, "mediaType": media.OCI_INDEX})

    @classmethod
    def parse(cls, data: bytes) -> ImageIndex:
        """Read index.json.

        Raises:
            InvalidManifest: it is malformed.
        """
        fields = document.decode(data, "index.json", max_bytes=MAX_INDEX_BYTES)
        entries = [
            ImageEntry(Descriptor.from_fields(f), f.data) for f in fields.children("manifests", required=True)
        ]
        return cls(entries, {k: v for k, v in fields.data.items() if k != "manifests"})

    def to_bytes(self) -> bytes:
        entries = [entry.raw for entry in self.entries]
        return jsontext.dumps({**self._extra, "manifests": entries}, compact=True).encode()

    def with_tag(self, name: str, descriptor: Descriptor) -> ImageIndex:
        """Give a manifest a name; the manifest that had it stays, dangling if that was its last name."""
        entry = ImageEntry.named(name, descriptor)
        kept = [e for e in self.entries if e.digest != descriptor.digest or e.name not in (None, name)]
        return self._replace([*_without_name(kept, name), entry])

    def with_replaced(self, name: str, descriptor: Descriptor) -> ImageIndex:
        """Add an image in place of the one that has the name, which goes; "" adds it without a name."""
        entry = ImageEntry.named(name, descriptor) if name else ImageEntry(descriptor)
        same = [e for e in self.entries if (e.name == name if name else e.digest == entry.digest)]
        return self._replace([*(e for e in self.entries if e not in same), entry])

    def with_image(self, descriptor: Descriptor) -> ImageIndex:
        """Add an image without a name, unless it is there under whatever name."""
        if any(entry.digest == descriptor.digest for entry in self.entries):
            return self
        return self._replace([*self.entries, ImageEntry(descriptor)])

    def without_name(self, name: str) -> ImageIndex:
        """Take a name away; its manifest stays, dangling if that was its last name."""
        return self._replace(_without_name(self.entries, name))

    def without_manifest(self, digest: Digest) -> ImageIndex:
        """Drop every entry of a manifest, whatever its name."""
        return self._replace([entry for entry in self.entries if entry.digest != digest])

    def find_name(self, query: str) -> ImageEntry | None:
        """Find an entry by the name as written, its canonical form, or `repository@digest`."""
        for entry in self.entries:
            if entry.name == query:
                return entry
        wanted = _reference(query)
        if wanted is None:
            return None
        for entry in self.entries:
            if entry.name == wanted.canonical:
                return entry
        return self._find_digest(wanted) if wanted.digest else None

    def resolve(self, query: str, image_id_of: Callable[[ImageEntry], str | None]) -> ImageEntry:
        """Find the image that a user means: a name first, then an image id or a unique prefix of one.

        Args:
            image_id_of: reads an entry's manifest for the digest of its config, None if it cannot;
                called only where no name fits.

        Raises:
            ImageNotFound: nothing fits.
            AmbiguousImage: a prefix fits several ids.
        """
        entry = self.find_name(query) or self._find_asked(query) or self._find_id(query, image_id_of)
        if entry is None:
            raise ImageNotFound("cannot find image: no name or id fits", on=query[:160])
        return entry

    def _find_asked(self, query: str) -> ImageEntry | None:
        wanted = _reference(query)
        asked = wanted.canonical if wanted else ""
        found = (entry for entry in self.entries if entry.annotations.get(ASKED_AS) == asked)
        return next(found, None) if asked else None

    def _find_digest(self, wanted: Reference) -> ImageEntry | None:
        """As in Docker, a tag beside a digest is not looked at."""
        for entry in self.entries:
            have = entry.reference
            if have is not None and have.repository == wanted.repository:
                digests = (entry.digest, entry.repo_digest, have.digest)
                if wanted.digest in digests:
                    return entry
        return None

    def _find_id(self, query: str, image_id_of: Callable[[ImageEntry], str | None]) -> ImageEntry | None:
        prefix = query.removeprefix("sha256:")
        if not prefix or not _HEX.issuperset(prefix):
            return None
        found: dict[str, ImageEntry] = {}
        for entry in sorted(self.entries, key=lambda e: e.name is None):  # one with a name, if there is one
            image_id = image_id_of(entry) or entry.digest
            if image_id.startswith("sha256:" + prefix) or f"sha256:{prefix}" in (
                entry.digest,
                entry.repo_digest,
            ):
                found.setdefault(image_id, entry)
        if len(found) > 1:
            raise AmbiguousImage(
                f"cannot tell which image is meant: {len(found)} ids start with `{prefix}`",
                on=query[:160],
                hint="give more characters of the id",
            )
        return next(iter(found.values()), None)

    def _replace(self, entries: Sequence[ImageEntry]) -> ImageIndex:
        return ImageIndex(entries, self._extra)


def _without_name(entries: Sequence[ImageEntry], name: str) -> list[ImageEntry]:
    listed = {entry.digest for entry in entries if entry.name != name}
    result: list[ImageEntry] = []
    for entry in entries:
        if entry.name != name:
            result.append(entry)
        elif entry.digest not in listed:
            listed.add(entry.digest)
            bare = {k: v for k, v in entry.annotations.items() if k != REF_NAME}
            raw = {k: v for k, v in entry.raw.items() if k != "annotations"}
            if bare:
                raw["annotations"] = bare
            result.append(ImageEntry(entry.descriptor.with_annotations(bare), raw))
    return result


def _reference(text: str | None) -> Reference | None:
    try:
        return Reference.parse(text) if text else None
    except InvalidReference:
        return None
