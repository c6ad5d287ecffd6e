"""One layer's worker: a process inside the user namespace that turns bytes into files (`layers.apply`).

It is killed when its task is cancelled or fails, else it can take another layer. It sees the end of its input
only after the blob was verified; a worker whose parent was killed sees a layer that is cut off, and gives up
by itself.
"""

from __future__ import annotations

import json
import os

import trio  # noqa: TID253  the engine's pull side, never on the launch path

from rootless.engine.explain import DISK_FULL
from rootless.errors import ImageError, InternalError, RootlessError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from typing import Any

    from rootless.engine.feed import BlobFeed
    from rootless.engine.worker import WorkerProcess

_MAX_LINE_BYTES = 1 << 16
_REAP_S = 10.0


class Unpacked:
    """What the worker said of a finished layer.

    Attributes:
        plain_bytes: size of the uncompressed tar.
        notes: what could not be kept on this file system, one line each.
    """

    __slots__ = ("notes", "plain_bytes")

    def __init__(self, *, plain_bytes: int, notes: tuple[str, ...]) -> None:
        self.plain_bytes = plain_bytes
        self.notes = notes


async def unpack(
    worker: WorkerProcess,
    request: dict[str, object],
    *,
    feed: BlobFeed,
    parents: Callable[[], Awaitable[list[str]]],
) -> Unpacked:
    """Let a worker unpack one layer.

    Args:
        worker: a fresh or renewed one; stays the caller's when this goes well, else it is killed and closed.
        request: root, compression, diff_id, owners… as `layers.apply` describes.
        feed: the layer's blob.
        parents: waits until the layers below are there and returns their trees, top first; asked only
            when this layer needs them.

    Raises:
        ImageError: the layer is wrong. `on` is what the worker found at fault inside of the layer.
        RootlessError: this host is (disk full…).
    """
    try:
        worker.tell(request)
        talk = _Talk(worker)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_send_layer, worker, feed)
            extracted = await talk.receive()
            worker.tell({"parents": await parents() if extracted.get("needs_parents", True) else []})
            finished = await talk.receive()
            nursery.cancel_scope.cancel()
    except BaseException:
        worker.kill()
        with trio.CancelScope(shield=True), trio.move_on_after(_REAP_S):
            await _ended(worker)
        worker.close()
        raise
    return Unpacked(
        plain_bytes=int(extracted.get("plain_bytes", 0)),
        notes=tuple(map(str, finished.get("notes", ()))),
    )


async def _send_layer(worker: WorkerProcess, feed: BlobFeed) -> None:
    if await feed.copy_to(worker.layer):
        worker.close_layer()


async def _ended(worker: WorkerProcess) -> None:
    while not worker.has_ended:
        await trio.lowlevel.wait_readable(worker.pidfd)


class _Talk:
    """What a worker says, line by line."""

    def __init__(self, worker: WorkerProcess) -> None:
        self._worker = worker
        self._buffer = b""

    async def receive(self) -> dict[str, Any]:
        """Return the next good answer.

        Raises:
            RootlessError: the worker reports a failure, or ended without a word.
        """
        line = await self._read_line()
        try:
            answer = json.loads(line)
        except ValueError:
            answer = None
        if not isinstance(answer, dict):
            raise await self._crash()
        if answer.get("ok") is not True:
            raise _failure(answer)
        return answer

    async def _read_line(self) -> bytes:
        while b"\n" not in self._buffer:
            await trio.lowlevel.wait_readable(self._worker.answers)
            data = os.read(self._worker.answers, _MAX_LINE_BYTES)
            if not data or len(self._buffer) > _MAX_LINE_BYTES:
                return b""
            self._buffer += data
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line

    async def _crash(self) -> RootlessError:
        """Return the error for a worker that broke its protocol: a bug, or somebody killed it."""
        with trio.move_on_after(_REAP_S):
            await _ended(self._worker)
        said = os.pread(self._worker.errors, 4000, 0).decode("utf-8", "replace").strip()
        last = said.splitlines()[-1] if said else ""
        code = self._worker.process.returncode
        if code is not None and code < 0:
            return RootlessError(
                f"cannot unpack layer: its worker was killed by signal {-code}",
                hint="the kernel kills processes when memory is short: see `journalctl -k` or `dmesg`",
                reference="worker-killed",
            )
        return InternalError(f"cannot unpack layer: its worker ended with exit code {code}: {last}")


def _failure(answer: dict[str, Any]) -> RootlessError:
    """Return the error that an answer describes."""
    kind = str(answer.get("kind", ""))
    message = str(answer.get("message", "")) or "cannot unpack layer"
    on, hint = str(answer.get("on") or ""), str(answer.get("hint") or "")
    if kind == "OSError":
        import errno

        number = int(answer.get("errno") or 0)
        message = f"cannot unpack layer: {message} ({errno.errorcode.get(number, number)})"
        if number in (errno.ENOSPC, errno.EDQUOT):
            hint = (
                hint or "free space in the store, for instance by removing images, or choose --root elsewhere"
            )
            return RootlessError(message, on=on or None, hint=hint, reference=DISK_FULL)
        return RootlessError(message, on=on or None, hint=hint or None, reference="unpack")
    if kind == "RootlessError":
        return RootlessError(message, on=on or None, hint=hint or None, reference="user-namespace")
    if kind == "StoreError":
        return RootlessError(message, on=on or None, hint=hint or None, reference="store")
    return ImageError(message, on=on or None, hint=hint or None)
