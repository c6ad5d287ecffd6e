"""`import`: a root file system in an archive becomes an image of one layer."""

from __future__ import annotations

import os
import tempfile

from layers import media
from layers.decompress import decoder_of, detect
from rootless.engine import events, loop, new_image
from rootless.engine.image_lookup import labels_of
from rootless.engine.new_image import Workshop
from rootless.errors import ImageError, RegistryError, RootlessError, UsageError, os_error_text
from rootless.model.instructions import apply_changes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from layers.platforms import Platform
    from layers.reference import Reference
    from rootless.engine.pulling import PulledImage
    from rootless.model.host import Modes
    from rootless.paths import Paths
    from rootless.registry.settings import RegistrySettings

_SNIFF_BYTES = 512
_HTTP_OK = 200


class Request:
    """What is asked of an import.

    Attributes:
        source: what the archive is called.
        platform: of the image.
        target: name of the image, None for none.
        message: for the history, "" tells the source. changes: Dockerfile instructions.
    """

    __slots__ = ("changes", "message", "platform", "source", "target")

    def __init__(
        self,
        source: str,
        *,
        platform: Platform,
        target: Reference | None = None,
        message: str = "",
        changes: Sequence[str] = (),
    ) -> None:
        self.source = source
        self.platform = platform
        self.target = target
        self.message = message
        self.changes = changes


def import_image(paths: Paths, fd: int, request: Request, *, modes: Modes) -> PulledImage:
    """Make an image of an archive that is read from a descriptor, plain or compressed, to its end.

    Must run in a process with one thread, and may leave threads in it.

    Raises:
        UsageError: a change makes no sense. ImageError: it is no archive, or a hostile one.
    """
    config = image_config(request)
    with Workshop(paths, subject=request.source) as shop:
        layer = shop.add_layer(lambda take: _read_archive(fd, take), manifest_type=media.OCI_MANIFEST)
        image = shop.finish(
            config,
            [layer],
            manifest_type=media.OCI_MANIFEST,
            modes=modes,
            name=request.target.canonical if request.target else "",
        )
    labels = labels_of(shop.layout, image.image_id)
    events.record_image(paths, "import", id=image.image_id, name=image.image_id, labels=labels)
    new_image.record_name(paths, image, request.target)
    return image


def image_config(request: Request) -> dict[str, Any]:
    """Return the image's config but for its layer."""
    created = new_image.now()
    comment = request.message or f"Imported from {request.source}"
    step = new_image.history_entry(created=created, comment=comment)
    run_config = apply_changes({}, request.changes)
    return {**request.platform.to_json(), "created": created, "config": run_config, "history": [step]}


def download(url: str, settings: RegistrySettings, *, directory: str) -> int:
    """Return a descriptor, the caller's, of a file that holds what a URL leads to.

    Must run in the main thread, and may leave threads.

    Args:
        directory: where there is room for it; it gets no name there.
    Raises:
        RegistryError: it does not come.
    """
    from rootless.registry.client import HttpClient  # httpx2, for those who have a URL
    from rootless.registry.redirects import Origin

    try:
        origin = str(Origin(url))
    except ValueError as exc:
        raise UsageError(f"cannot read the URL: {exc}", on=url) from exc

    async def body() -> None:
        async with HttpClient(settings, "") as client, client.get(url, headers={}) as reply:
            if reply.status != _HTTP_OK:
                raise RegistryError(f"cannot download: the server's answer is {reply.status}", on=origin)
            async for piece in reply.pieces():
                file.write(piece)

    try:
        with tempfile.TemporaryFile(dir=directory, buffering=0) as file:
            loop.run(body)
            file.seek(0)
            return os.dup(file.fileno())
    except OSError as exc:
        raise RootlessError(f"cannot keep the download: {os_error_text(exc)}", on=directory) from exc


def _read_archive(fd: int, take: Callable[[bytes], None]) -> None:
    """Hand over the plain bytes of an archive."""
    start = b""
    while len(start) < _SNIFF_BYTES and (data := _read(fd, _SNIFF_BYTES - len(start))):
        start += data
    if not start:
        raise ImageError("cannot import: there are no bytes", reference="invalid-layer")
    pending = [start]
    for chunk in decoder_of(detect(start))(lambda size: pending.pop() if pending else _read(fd, size)):
        take(chunk)


def _read(fd: int, size: int) -> bytes:
    try:
        return os.read(fd, size)
    except OSError as exc:
        raise ImageError(f"cannot read the archive: {os_error_text(exc)}", reference="files") from exc
