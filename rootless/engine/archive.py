"""Copy files out of containers and into them, export and compare them. Blocking; for commands and threads.

The container's side is a process of its own where its files' ids are known (`runtime.archive`), the host's
side is this process, as the user (`engine.host_files`). In between flows an archive, of any length.
"""

from __future__ import annotations

import json
import os
import sys
import time

from layers.effects import AttemptedOwners, CallersOwners
from layers.errors import InvalidLayer
from rootless.engine import events, records, storage
from rootless.engine.host_files import HostDestination, HostSource, read_chunks
from rootless.errors import RootlessError
from rootless.linux import procfs
from rootless.model import lifecycle
from rootless.runtime import handshake
from rootless.runtime.view import Stopped

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any, Self

    from rootless.engine.records import Container
    from rootless.model.host import HostFacts, Modes
    from rootless.paths import Paths

    Json = dict[str, Any]

PIPE, DEVNULL = -1, -3
"""As in subprocess, whose import takes 8 ms."""
_POLL_S = 0.05
_MAX_ANSWER_BYTES = 1 << 20


class Report:
    """What was done: `size_bytes` of archive, and `notes` on what could not be copied as it is."""

    __slots__ = ("notes", "size_bytes")

    def __init__(self, *, size_bytes: int = 0, notes: tuple[str, ...] = ()) -> None:
        self.size_bytes = size_bytes
        self.notes = notes


class Archivist:
    """Works on the files of one container.

    Args:
        container: running or not; looked at again when the work begins.
    """

    def __init__(self, paths: Paths, container: Container, *, modes: Modes, facts: HostFacts) -> None:
        self._paths = paths
        self._container = container
        self._modes = modes
        self._facts = facts

    def copy_out(self, path: str, target: str, *, follow: bool = False, archive: bool = False) -> Report:
        """Copy a file or directory of the container to the host, as Docker's rules say (model.copying).

        Args:
            follow: if the path is a link, copy what it leads to.
            archive: give the copies the owners that they have in the container, where the kernel lets us.
        Raises:
            RootlessError: it does not exist, or cannot be put there.
        """
        request = {"verb": "pack", "path": path, "follow": follow}
        with self._worker(request, stdout=PIPE, view=True) as worker:
            found = worker.answer()
            if found["kind"] == "device":
                raise RootlessError(f"cannot copy {path}: it is a device", reference="not-copyable")
            owners = AttemptedOwners() if archive else CallersOwners()
            try:
                with HostDestination(target, found) as destination:
                    notes = destination.unpack(worker.output, owners=owners, archive=archive)
            except InvalidLayer as exc:
                worker.answer()  # the archive is cut off as a rule: the worker says why
                raise RootlessError(exc.message, on=os.fsdecode(exc.entry), hint=exc.hint) from exc
            done = worker.answer()
        self._record("archive-path")
        return Report(size_bytes=done["bytes"], notes=(*done["notes"], *notes, *owners.notes))

    def stream_out(self, path: str, fd: int, *, follow: bool = False) -> Report:
        """Write a file or directory of the container as an archive to a descriptor.

        Raises:
            BrokenPipeError: its reader went away.
        """
        request = {"verb": "pack", "path": path, "follow": follow}
        with self._worker(request, stdout=fd, view=True) as worker:
            worker.answer()
            done = worker.answer()
        self._record("archive-path")
        return Report(size_bytes=done["bytes"], notes=tuple(done["notes"]))

    def copy_in(self, source: str, path: str, *, follow: bool = False, archive: bool = False) -> Report:
        """Copy a file or directory of the host into the container, as Docker's rules say.

        Args:
            archive: the copies keep their owners; else they belong to the container's root.
        """
        local = HostSource(source, follow=follow)
        request = _unpack_request(path, source=local.describe(), archive=archive, compression="none")
        with self._worker(request, stdin=PIPE, view=True) as worker:
            packed = local.pack(worker.input)
            worker.close_input()
            done = worker.answer()
        self._record("extract-to-dir")
        return Report(size_bytes=packed.written, notes=(*packed.notes, *done["notes"]))

    def stream_in(self, fd: int, path: str) -> Report:
        """Unpack an archive, compressed or not, in a directory of the container; owners are the archive's."""
        request = _unpack_request(path, source=None, archive=True, compression="auto")
        with self._worker(request, stdin=fd, view=True) as worker:
            done = worker.answer()
        self._record("extract-to-dir")
        return Report(notes=tuple(done["notes"]))

    def export(self, fd: int) -> Report:
        """Write the container's root file system as an archive; mounts are not part of it."""
        with self._worker({"verb": "export"}, stdout=fd) as worker:
            done = worker.answer()
        self._record("export")
        return Report(size_bytes=done["bytes"], notes=tuple(done["notes"]))

    def read_layer(self, take: Callable[[bytes], None]) -> Report:
        """Hand over what the container has changed, as the tar of an image's layer, piece by piece."""
        with self._worker({"verb": "layer"}, stdout=PIPE) as worker:
            for data in read_chunks(worker.output):
                take(data)
            done = worker.answer()
        return Report(size_bytes=done["bytes"], notes=tuple(done["notes"]))

    def changes(self) -> Iterator[tuple[str, bytes]]:
        """Yield ("A", "C" or "D", absolute path) for everything that differs from the image."""
        with self._worker({"verb": "changes"}, stdout=PIPE) as worker:
            rest = b""
            for data in read_chunks(worker.output):
                *complete, rest = (rest + data).split(b"\0")
                for each in complete:
                    yield each[:1].decode(), each[1:]
            worker.answer()

    def _record(self, action: str) -> None:
        events.record_container(self._paths, self._container, action)

    def _worker(
        self, request: Json, *, stdin: int = DEVNULL, stdout: int = DEVNULL, view: bool = False
    ) -> _Worker:
        """Start the process for a request.

        Args:
            stdin, stdout: a descriptor, PIPE, or DEVNULL.
            view: it needs the container's files as the container sees them.
        """
        lock = -1
        if view:
            request["view"], lock = self._view()
        else:
            request["now"], request["before"] = storage.layers_of(self._paths, self._container, self._modes)
        request["run_dir"] = self._paths.run
        mapping = json.dumps(self._modes.mapping.to_json())
        try:
            return _Worker(request, mapping=mapping, stdin=stdin, stdout=stdout, lock=lock)
        finally:
            if lock >= 0:
                os.close(lock)

    def _view(self) -> tuple[Json, int]:
        """Return how the container's files are to be seen, and the lock for it: -1 while it runs.

        Who has the lock knows that there is no monitor, whatever the record said before.
        """
        while True:
            container = records.load(self._paths, self._container.spec.id)
            state = container.state
            if state.status in lifecycle.ALIVE and procfs.is_alive(state.pid, state.pid_start):
                return {"pid": state.pid, "started": state.pid_start}, -1
            lock = storage.lock(container, wait=False)
            if lock < 0:  # it is starting, ending, or another command copies; none of them takes long
                time.sleep(_POLL_S)
                continue
            return {"stopped": self._stopped(container).to_json()}, lock

    def _stopped(self, container: Container) -> Stopped:
        spec = container.spec
        return Stopped(
            files=storage.make_ready(self._paths, container, self._modes),
            storage=spec.storage or self._modes.storage,
            mounts=spec.mounts,
            read_only=spec.read_only,
            fuse_overlayfs=self._facts.fuse_overlayfs,
        )


class _Worker:
    """A process of `runtime.archive`. A context manager: at its end the process is gone."""

    def __init__(self, request: Json, *, mapping: str, stdin: int, stdout: int, lock: int) -> None:
        from socket import AF_UNIX, SOCK_STREAM, socketpair  # not for those who only import this module
        from subprocess import Popen

        self._control, its = socketpair(AF_UNIX, SOCK_STREAM)
        self._buffer = bytearray()
        self._process = Popen(
            [sys.executable, "-P", "-m", "rootless.runtime.archive", mapping, str(its.fileno())],
            bufsize=0,
            stdin=stdin,
            stdout=stdout,
            pass_fds=(its.fileno(), lock) if lock >= 0 else (its.fileno(),),
            start_new_session=True,  # the terminal's Ctrl-C is for us; we end the process
        )
        its.close()
        self._control.sendall(json.dumps(request).encode() + b"\n")

    @property
    def input(self) -> int:
        """Our end of its stdin, if that is a pipe."""
        assert self._process.stdin is not None
        return self._process.stdin.fileno()

    @property
    def output(self) -> int:
        """Our end of its stdout."""
        assert self._process.stdout is not None
        return self._process.stdout.fileno()

    def close_input(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            self._process.kill()
        for end in (self._control, self._process.stdin, self._process.stdout):
            if end is not None:
                end.close()
        self._process.wait()

    def answer(self) -> Json:
        """Return the next good answer.

        Raises:
            RootlessError: what the process reports, or that it was killed.
            BrokenPipeError: the reader of its output went away.
        """
        line = self._read_line()
        if not line:
            raise RootlessError(
                f"cannot work on the container's files: the helper process ended ({self._process.wait()})",
                hint="the kernel kills processes when memory is short: see `dmesg`",
                reference="worker-killed",
            )
        fields: Json = json.loads(line)
        if fields["ok"]:
            return fields
        if fields.get("broken_pipe"):
            raise BrokenPipeError
        raise handshake.failure_from(fields)

    def _read_line(self) -> bytes:
        while b"\n" not in self._buffer:
            try:
                data = self._control.recv(1 << 16)
            except ConnectionResetError:
                data = b""
            if not data or len(self._buffer) > _MAX_ANSWER_BYTES:
                return b""
            self._buffer += data
        line, _, rest = bytes(self._buffer).partition(b"\n")
        self._buffer = bytearray(rest)
        return line


def _unpack_request(path: str, *, source: Json | None, archive: bool, compression: str) -> Json:
    return {
        "verb": "unpack",
        "path": path,
        "source": source,
        "archive": archive,
        "compression": compression,
    }
