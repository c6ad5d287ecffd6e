"""Is the store whole: blobs, images, unpacked layers, containers and their names? Reads only; no trio.

What lies in an unpacked layer is not looked at: its files have no digests. `engine.repairing` mends what was
found.
"""

from __future__ import annotations

import os

from layers import media
from layers.digest import Digest
from layers.errors import BlobNotFound, CorruptBlob, LayersError, StoreError, UnknownMediaType
from layers.snapshot import Snapshots
from layers.store import sweeping
from layers.store.directory import ImageLayout
from rootless.engine import image_removal, records
from rootless.engine.image_lookup import LocalImage

TYPE_CHECKING = False
if TYPE_CHECKING:
    from layers.index import ImageEntry
    from layers.manifest import Descriptor
    from rootless.engine.records import Container
    from rootless.model.host import IdMapping
    from rootless.paths import Paths

DELETE, UNLIST, UNPACK, UNLINK = "delete it", "take its names away", "unpack it again", "remove the name"
SWEEP = "remove it"


class Finding:
    """Something that is not as it should be.

    Attributes:
        on: the object. problem: what is wrong with it. hint: what its user can do.
        remedy: what a repair does, one of the constants above; "" if it can do nothing.
        is_damage: False for what killed processes and removals have left, which harms nobody.
    """

    __slots__ = ("hint", "is_damage", "on", "problem", "remedy")

    def __init__(
        self, on: str, problem: str, *, remedy: str = "", hint: str = "", is_damage: bool = True
    ) -> None:
        self.on = on
        self.problem = problem
        self.remedy = remedy
        self.hint = hint
        self.is_damage = is_damage


class Check:
    """One look at everything.

    Attributes:
        findings: in the order in which one explains the next.
        counts: what was looked at: "images", "blobs", "containers".
        corrupt: blobs with wrong bytes. damaged: entries of images that can be no more than parts of one.
        torn: manifests of whole images that are not unpacked under this mapping.
        lost_names: name → id of containers that are not there.
        is_listed: the list of images can be read; else nobody knows what is needed.
    """

    def __init__(self, paths: Paths, mapping: IdMapping, *, read_all: bool) -> None:
        """Look; with `read_all` the bytes of all blobs too."""
        self.findings: list[Finding] = []
        self.counts = {"images": 0, "blobs": 0, "containers": 0}
        self.corrupt: set[Digest] = set()
        self.damaged: list[ImageEntry] = []
        self.torn: dict[Digest, Descriptor] = {}
        self.lost_names: dict[str, str] = {}
        self.is_listed = True
        self._paths = paths
        self._layout = ImageLayout(paths.store, locks=paths.locks)
        self._snapshots = Snapshots(paths.snapshots, mapping.key)
        with self._layout.pulling():  # nothing is swept meanwhile; images that come are whole
            self._check_blobs(read_all=read_all)
            self._check_images()
            self._check_containers()
            self._check_names()
            self._find_leftovers()

    @property
    def damages(self) -> list[Finding]:
        return [finding for finding in self.findings if finding.is_damage]

    def _check_blobs(self, *, read_all: bool) -> None:
        for digest, _ in self._layout.blobs():
            self.counts["blobs"] += 1
            try:
                if read_all:
                    self._layout.verify(digest)
            except BlobNotFound:
                continue  # removed meanwhile
            except (CorruptBlob, OSError) as exc:
                self.corrupt.add(digest)
                problem = "its bytes are not those of its name" if isinstance(exc, CorruptBlob) else str(exc)
                self.findings.append(Finding(f"blob {digest}", problem, remedy=DELETE))

    def _check_images(self) -> None:
        try:
            entries = self._layout.entries()
        except StoreError as exc:
            self.is_listed = False
            self.findings.append(Finding("the list of images", f"{exc.message}: {exc.on}", hint=exc.hint))
            return
        for entry in entries:
            if not media.is_manifest(entry.descriptor.media_type):
                continue  # another tool's
            self.counts["images"] += 1
            try:
                self._check_image(entry)
            except UnknownMediaType:
                continue  # another tool's artifact
            except LayersError as exc:
                self._add_damaged(entry, f"{exc.message}: {exc.on}" if exc.on else exc.message)

    def _check_image(self, entry: ImageEntry) -> None:
        image = LocalImage(self._layout.load_image(entry))
        for layer in image.manifest.layers:
            if layer.digest in self.corrupt:
                self._add_damaged(entry, f"its layer {layer.digest} is corrupt")
            elif not self._layout.has(layer.digest, size=layer.size):
                self._add_damaged(entry, f"its layer {layer.digest} is missing, or not whole")
            else:
                continue
            return
        missing = self._snapshots.missing(image.chain_ids)
        if missing:
            self.torn[entry.digest] = entry.descriptor
            problem = f"{len(missing)} of its {len(image.chain_ids)} layers are not unpacked"
            self.findings.append(Finding(_shown(entry), problem, remedy=UNPACK))

    def _add_damaged(self, entry: ImageEntry, problem: str) -> None:
        self.damaged.append(entry)
        reference = entry.reference
        hint = f"`rootless pull {reference.familiar}` brings it back" if reference else ""
        self.findings.append(Finding(_shown(entry), problem, remedy=UNLIST, hint=hint))

    def _check_containers(self) -> None:
        containers = records.load_all(self._paths)
        known = {container.spec.id for container in containers}
        for container in containers:
            self.counts["containers"] += 1
            self._check_container(container)
        for name in records.list_ids(self._paths):
            if name not in known:
                hint = f"`rootless rm -f {name[:12]}` removes it"
                self.findings.append(
                    Finding(f"container {name[:12]}", "its record cannot be read", hint=hint)
                )

    def _check_container(self, container: Container) -> None:
        spec = container.spec
        missing = self._snapshots.missing([Digest(chain) for chain in spec.layers])
        if not missing:
            return
        problem = f"{len(missing)} of the {len(spec.layers)} layers of its image are not unpacked"
        manifest = self._layout.find_manifest(Digest(spec.image_id))
        is_whole = manifest is not None and manifest.digest not in {entry.digest for entry in self.damaged}
        if manifest is not None and is_whole:
            self.torn.setdefault(manifest.digest, manifest)
        hint = "" if is_whole else f"`rootless pull {spec.image}` may bring them back"
        remedy = UNPACK if is_whole else ""
        self.findings.append(Finding(f"container {spec.name}", problem, remedy=remedy, hint=hint))

    def _check_names(self) -> None:
        ids = set(records.list_ids(self._paths))
        for name, container_id in records.read_names(self._paths).items():
            if container_id not in ids and container_id not in records.list_ids(self._paths):
                self.lost_names[name] = container_id
                problem = "it leads to no container"
                self.findings.append(Finding(f"name {name}", problem, remedy=UNLINK, is_damage=False))

    def _find_leftovers(self) -> None:
        """Tell of what nobody needs, kind by kind."""
        specs = [container.spec for container in records.load_all(self._paths)]
        trees = stale_trees(self._paths)
        kinds = {
            "containers that were not made or removed to the end": len(self._hidden("containers")),
            "volumes that were not made or removed to the end": len(self._hidden("volumes")),
            "layers that were not unpacked to the end": len(trees),
        }
        if self.is_listed:
            in_use = {spec.image_id for spec in specs}
            doomed = image_removal.doomed_snapshots(self._paths)
            kinds["blobs that no image needs"] = len(sweeping.unneeded(self._layout, in_use=in_use))
            kinds["parts of blobs that nobody will finish"] = len(sweeping.stale_parts(self._layout))
            kinds["unpacked layers that no image needs"] = len(doomed)
        for what, count in kinds.items():
            if count:
                finding = Finding("leftovers", f"{count} {what}", remedy=SWEEP, is_damage=False)
                self.findings.append(finding)

    def _hidden(self, directory: str) -> list[str]:
        names = _listed(os.path.join(self._paths.store, directory))
        return [name for name in names if name.startswith((".new-", ".gone-"))]


def stale_trees(paths: Paths) -> list[str]:
    """Return what killed processes were unpacking, under all id mappings."""
    keys = _listed(paths.snapshots)
    return [tree for key in keys for tree in Snapshots(paths.snapshots, key).stale()]


def _listed(directory: str) -> list[str]:
    try:
        return os.listdir(directory)
    except FileNotFoundError:
        return []


def _shown(entry: ImageEntry) -> str:
    reference = entry.reference
    return f"image {reference.familiar if reference else entry.name or entry.digest}"
