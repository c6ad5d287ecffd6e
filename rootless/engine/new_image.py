"""Images that are made here: their layers, configs and manifests. No trio before the last step.

Order of what becomes visible, as in a pull: blobs, then snapshots, then the name.
"""

from __future__ import annotations

import time
from contextlib import suppress

from layers import jsontext, media
from layers.config import config_bytes
from layers.errors import LayersError
from layers.manifest import Descriptor
from layers.newlayer import COMPRESSION, NewLayer
from layers.store.directory import ImageLayout
from layers.tarencode import END
from rootless.engine import events, records
from rootless.engine.explain import explained, free_space
from rootless.engine.image_lookup import labels_of
from rootless.engine.logfile import timestamp

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from layers.digest import Digest
    from layers.reference import Reference
    from rootless.engine.pulling import PulledImage
    from rootless.model.host import Modes
    from rootless.paths import Paths

    Json = dict[str, Any]


class Layer:
    """A layer of an image to be: its blob, the digest of its tar, and whether there is nothing in it."""

    __slots__ = ("descriptor", "diff_id", "is_empty")

    def __init__(self, descriptor: Descriptor, *, diff_id: Digest, is_empty: bool = False) -> None:
        self.descriptor = descriptor
        self.diff_id = diff_id
        self.is_empty = is_empty


class Workshop:
    """The store while an image is made in it. A context manager; nothing is swept meanwhile.

    If what is made in it fails, what it has left is removed.
    """

    def __init__(self, paths: Paths, *, subject: str) -> None:
        """Set up; `subject` is what errors name."""
        self._paths = paths
        self.layout = ImageLayout(paths.store, locks=paths.locks)
        self._lock = self.layout.pulling()
        self._subject = subject
        self._disk = ""

    def __enter__(self) -> Workshop:
        self._paths.ensure()
        self.layout.ensure()
        self._disk = free_space(self._paths.store)
        self._lock.acquire()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._lock.release()
        if kind is not None:
            specs = [container.spec for container in records.load_all(self._paths)]
            with suppress(LayersError, OSError):  # why it failed is what the user must hear
                self.layout.sweep(in_use=frozenset(spec.image_id for spec in specs))

    def add_layer(self, fill: Callable[[Callable[[bytes], None]], None], *, manifest_type: str) -> Layer:
        """Store a layer.

        Args:
            fill: writes the tar, by the function that it is given.
        Raises:
            RootlessError: what `fill` raises, or the disk is full.
        """
        with explained(self._subject, disk=self._disk), self.layout.create_blob() as blob:
            layer = NewLayer(blob)
            fill(layer.write)
            diff_id = layer.finish()
            digest = blob.commit()
            media_type = media.layer_type(COMPRESSION, manifest=manifest_type)
            descriptor = Descriptor(media_type=media_type, digest=digest, size=blob.size)
            return Layer(descriptor, diff_id=diff_id, is_empty=layer.plain_bytes <= len(END))

    def finish(
        self, config: Json, layers: Sequence[Layer], *, manifest_type: str, modes: Modes, name: str
    ) -> PulledImage:
        """Store config and manifest, unpack what is not yet, and give the image its name.

        Must come last in a process with one thread: what it starts may be threads.

        Args:
            config: the whole document, but for "rootfs".
            name: canonical; "" for none.
        """
        from rootless.engine import images  # trio

        diff_ids = [str(layer.diff_id) for layer in layers]
        document = config_bytes({**config, "rootfs": {"type": "layers", "diff_ids": diff_ids}})
        is_docker = manifest_type == media.DOCKER_MANIFEST
        with explained(self._subject, disk=self._disk):
            manifest = {
                "schemaVersion": 2,
                "mediaType": manifest_type,
                "config": {
                    "mediaType": media.DOCKER_CONFIG if is_docker else media.OCI_CONFIG,
                    "digest": self.layout.add_blob(document),
                    "size": len(document),
                },
                "layers": [layer.descriptor.with_annotations({}).to_json() for layer in layers],
            }
            data = jsontext.dumps(manifest, compact=True).encode()
            descriptor = Descriptor(
                media_type=manifest_type, digest=self.layout.add_blob(data), size=len(data)
            )
        return images.unpack_blocking(self._paths, modes, descriptor, name=name)


def history_entry(
    *, created: str, comment: str, created_by: str = "", author: str = "", empty: bool = False
) -> Json:
    """Return a step of a config's history; what is not said is left out."""
    said = {"created": created, "created_by": created_by, "author": author, "comment": comment}
    step: Json = {name: value for name, value in said.items() if value}
    return {**step, "empty_layer": True} if empty else step


def now() -> str:
    """Return this moment as images write it."""
    return timestamp(time.time_ns())


def record_name(paths: Paths, image: PulledImage, target: Reference | None) -> None:
    """Tell that an image has got its name, as Docker does after `commit` and `import`."""
    if target is not None:
        labels = labels_of(ImageLayout(paths.store, locks=paths.locks), target.canonical)
        events.record_image(paths, "tag", id=image.image_id, name=target.familiar, labels=labels)
