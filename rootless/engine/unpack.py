"""One layer's worker: a process inside the user namespace that turns bytes into files (`layers.apply`).

It is killed when its task is cancelled or fails. It sees the end of its input only after the blob was
verified; a worker whose parent was killed sees a layer that is cut off, and gives up by itself.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from contextlib import asynccontextmanager, suppress

import trio  # noqa: TID253  the engine's pull side, never on the launch path

from rootless.engine.explain import DISK_FULL
from rootless.engine.feed import make_pipe
from rootless.errors import ImageError, InternalError, RootlessError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from typing import Any

    from rootless.engine.feed import BlobFeed
    from rootless.model.host import IdMapping

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
    feed: BlobFeed,
    request: dict[str, Any],
    *,
    mapping: IdMapping,
    run_dir: str,
    parents: Callable[[], Awaitable[list[str]]],
) -> Unpacked:
    """Run one worker to its end.

    Args:
        feed: the layer's blob.
        request: root, compression, diff_id, owners… as `layers.apply` describes.
        parents: waits until the layers below are there and returns their trees, top first; asked only
            when this layer needs them.

    Raises:
        ImageError: the layer is wrong. `on` is what the worker found at fault inside of the layer.
        RootlessError: this host is (disk full…).
    """
    async with _worker(request, mapping=mapping, run_dir=run_dir) as worker:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(worker.send_layer, feed)
            extracted = await worker.receive()
            below = await parents() if extracted.get("needs_parents", True) else []
            worker.send_parents(below)
            finished = await worker.receive()
            nursery.cancel_scope.cancel()
        return Unpacked(
            plain_bytes=int(extracted.get("plain_bytes", 0)),
            notes=tuple(map(str, finished.get("notes", ()))),
        )


class _Worker:
    """The other end of the protocol. Owns the write ends of input and control."""

    def __init__(self, process: trio.Process, *, layer: int, control: int, errors: int) -> None:
        self.process = process
        self._layer = layer
        self._control = control
        self._errors = errors
        self._buffer = bytearray()

    async def send_layer(self, feed: BlobFeed) -> None:
        if await feed.copy_to(self._layer):
            self._close_layer()

    def send_parents(self, parents: list[str]) -> None:
        line = json.dumps({"parents": parents}).encode() + b"\n"
        try:
            os.set_blocking(self._control, True)  # the worker reads it at once, or is dead
            while line:
                line = line[os.write(self._control, line) :]
        except BrokenPipeError:
            return  # its answer will say why

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

    def close(self) -> None:
        self._close_layer()
        for fd in (self._control, self._errors):
            os.close(fd)

    def _close_layer(self) -> None:
        fd, self._layer = self._layer, -1
        if fd >= 0:
            os.close(fd)

    async def _read_line(self) -> bytes:
        stdout = self.process.stdout
        assert stdout is not None
        while b"\n" not in self._buffer:
            data = await stdout.receive_some()
            if not data or len(self._buffer) > _MAX_LINE_BYTES:
                return b""
            self._buffer += data
        line, _, rest = bytes(self._buffer).partition(b"\n")
        self._buffer = bytearray(rest)
        return line

    async def _crash(self) -> RootlessError:
        """Return the error for a worker that broke its protocol: a bug, or somebody killed it."""
        with trio.move_on_after(_REAP_S):
            await self.process.wait()
        said = os.pread(self._errors, 4000, 0).decode("utf-8", "replace").strip()
        last = said.splitlines()[-1] if said else ""
        code = self.process.returncode
        if code is not None and code < 0:
            return RootlessError(
                f"cannot unpack layer: its worker was killed by signal {-code}",
                hint="the kernel kills processes when memory is short: see `journalctl -k` or `dmesg`",
                reference="worker-killed",
            )
        return InternalError(f"cannot unpack layer: its worker ended with exit code {code}: {last}")


@asynccontextmanager
async def _worker(request: dict[str, Any], *, mapping: IdMapping, run_dir: str) -> AsyncIterator[_Worker]:
    """Start a worker; at the end it is gone, with all that it started."""
    import subprocess

    layer_read, layer_write = make_pipe()
    control_read, control_write = os.pipe2(os.O_CLOEXEC)
    errors = os.memfd_create("worker-errors", os.MFD_CLOEXEC)
    command = worker_command({**request, "control": control_read}, mapping=mapping, run_dir=run_dir)
    try:
        process = await trio.lowlevel.open_process(
            command,
            stdin=layer_read,
            stdout=subprocess.PIPE,
            stderr=errors,
            pass_fds=(control_read,),
            start_new_session=True,  # the terminal's Ctrl-C is for us; we end the worker
        )
    except BaseException:
        for fd in (layer_write, control_write, errors):
            os.close(fd)
        raise
    finally:
        os.close(layer_read)
        os.close(control_read)
    worker = _Worker(process, layer=layer_write, control=control_write, errors=errors)
    try:
        yield worker
        await process.wait()
    finally:
        with trio.CancelScope(shield=True):
            await _end(process)
        worker.close()


def worker_command(request: dict[str, Any], *, mapping: IdMapping, run_dir: str) -> list[str]:
    """Return the command line of a worker."""
    return [
        sys.executable,
        "-P",  # whatever lies in the present directory is not ours (not -I: it hides pip install --user)
        "-m",
        "rootless.runtime",
        "apply",
        json.dumps(mapping.to_json()),
        run_dir,
        json.dumps(request),
    ]


async def _end(process: trio.Process) -> None:
    if process.returncode is None:
        with suppress(ProcessLookupError):  # it has just ended
            os.killpg(process.pid, signal.SIGKILL)
    with trio.move_on_after(_REAP_S):
        await process.wait()
    if process.stdout is not None:
        await process.stdout.aclose()


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
