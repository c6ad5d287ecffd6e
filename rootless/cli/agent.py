"""`python -P -m rootless.cli.agent FD`: where the Python interface has done what forks, or enters namespaces.

That must not happen in a process with threads, or one that has run trio. This process has one thread and
no event loop; each request is served by a fork of it, which finds everything imported. It ends with the
process that started it. What the requests mean is decided where the commands decide it; the protocol is
`interface.wire`. Not for users.
"""

from __future__ import annotations

import io
import json
import os
import select
import signal
import sys

# The C module alone, as everywhere on the launch path.
from _socket import AF_UNIX, SOCK_SEQPACKET, socket
from contextlib import redirect_stderr, suppress

from rootless._entry import GlobalOptions
from rootless.cli import create, creation, exec, foreground, run_begin, run_options, start
from rootless.engine import containers, damaged, launch, modes, monitor, records
from rootless.errors import HelpRequested, InternalError, NotFound, RootlessError, UsageError
from rootless.interface import store, wire
from rootless.paths import find_paths
from rootless.runtime import handshake

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, NoReturn

    from rootless.engine.session import Session

_MAX_NOTICES, _MAX_NOTICE = 50, 500
"""What fits one packet: lines, and characters of each."""
PRELOADED = (creation, damaged, monitor)
"""What the forks will need."""


def main() -> int:
    """Serve requests until the control socket closes."""
    control = _socket_of(int(sys.argv[1]))
    caller = os.pidfd_open(os.getppid())
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel reaps those who serve
    while True:
        message, fds = handshake.receive_all(control)
        if not message:
            return 0
        channel, request = fds
        if os.fork() == 0:
            control.close()
            _serve(_socket_of(channel), request, caller)
        os.close(channel)
        os.close(request)


def _serve(channel: socket, request: int, caller: int) -> NoReturn:
    """Serve one request in a process of its own."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    notices = io.StringIO()
    try:
        with redirect_stderr(notices), open(request, encoding="utf-8") as file:
            call = _Call(json.load(file), channel, caller, notices)
            try:
                OPERATIONS[call.operation](call)
            except RootlessError as exc:
                call.fail(exc)
            except HelpRequested:
                call.fail(UsageError("unknown option: help", hint="docs/python.md names them"))
            except SystemExit as exc:  # of a process that unpacks, which has said why
                call.fail(RootlessError(f"cannot make the image ready: exit code {exc.code}"))
            except Exception as exc:
                call.fail(InternalError(f"this is a bug of rootless: {type(exc).__name__}: {exc}"))
    finally:
        os._exit(0)


class _Call:
    """One request, and the way back.

    Attributes:
        words: the command line of the operation. flags: what else it was given.
    """

    def __init__(self, request: dict[str, Any], channel: socket, caller: int, notices: io.StringIO) -> None:
        self.operation: str = request["operation"]
        self.words: list[str] = request["words"]
        self.flags: dict[str, Any] = request["flags"]
        self._channel = channel
        self._caller = caller
        self._notices = notices
        os.environ.clear()
        os.environ.update(request["environment"])
        with suppress(OSError):  # removed, or closed to us: relative names are then not found
            os.chdir(request["directory"])
        self.options = GlobalOptions(root=request["root"])
        self.paths = find_paths(request["root"])

    def reply(self, session: Session | None = None, **fields: object) -> None:
        """Say that it is done, and hand over a session, which is closed here."""
        fds: dict[str, int] = {}
        if session is not None:
            found = (session.events.fileno(), session.stdin, session.stdout, session.stderr)
            fds = {name: fd for name, fd in zip(wire.SESSION, found, strict=True) if fd >= 0}
        self._send({"ok": fields, "session": list(fds)}, list(fds.values()))
        if session is not None:
            session.close()

    def fail(self, error: RootlessError) -> None:
        self._send({"failed": wire.failure_fields(error)}, [])

    def wait_for_end(self) -> None:
        """Sleep until the caller wants no more, or is gone; a fork of it may hold the channel open."""
        poller = select.poll()
        poller.register(self._channel.fileno(), select.POLLIN | select.POLLRDHUP)
        poller.register(self._caller, select.POLLIN)
        poller.poll()

    def _send(self, message: dict[str, Any], fds: list[int]) -> None:
        lines = self._notices.getvalue().splitlines()
        data = json.dumps(
            {**message, "notices": [line[:_MAX_NOTICE] for line in lines[:_MAX_NOTICES]]}
        ).encode()
        with suppress(OSError):  # it was killed
            handshake.send_all(self._channel, data, fds)


def _modes(call: _Call) -> None:
    call.paths.ensure()
    call.reply(modes=modes.load_store_modes(call.paths)[1].to_json())


def _create(call: _Call) -> None:
    spec = create.create(call.paths, create.TABLE.parse(call.words), call.options)
    call.reply(id=spec.id, name=spec.name)


def _start(call: _Call) -> None:
    container = records.find(call.paths, call.words[0])
    session = start.start(call.paths, container, call.options, watched=False)
    foreground.wait_started(session)
    session.close()
    call.reply()


def _hold(call: _Call) -> None:
    """Create and start a container; when the caller has no more use for it, or is gone, end and remove it."""
    watched = bool(call.flags["watched"])
    parsed = run_options.TABLE.parse(call.words)
    standby = launch.stand_by(call.paths)
    session, spec = run_begin.begin(call.paths, parsed, call.options, standby=standby, watched=watched)
    try:
        pid = foreground.wait_started(session)
        if watched:
            call.reply(session, id=spec.id, name=spec.name, pid=pid)
        else:
            session.close()
            call.reply(id=spec.id, name=spec.name)
        call.wait_for_end()
    finally:
        _end(call, spec.id)
    call.reply()


def _end(call: _Call, container_id: str) -> None:
    """Stop and remove a container, whatever has become of it."""
    mapping = modes.load_store_modes(call.paths)[1].mapping
    with suppress(NotFound):
        containers.stop(call.paths, [records.load(call.paths, container_id)])
        container = records.load(call.paths, container_id)
        containers.remove(call.paths, container, mapping=mapping, force=True, with_volumes=True)


def _exec(call: _Call) -> None:
    session, _ = exec.begin(call.paths, exec.TABLE.parse(call.words))
    pid = foreground.wait_started(session)
    call.reply(session, pid=pid)


def _remove(call: _Call) -> None:
    call.paths.ensure()
    containers.remove(
        call.paths,
        records.find(call.paths, call.words[0]),
        mapping=modes.load_store_modes(call.paths)[1].mapping,
        force=bool(call.flags["force"]),
        with_volumes=bool(call.flags["volumes"]),
    )
    call.reply()


def _remove_image(call: _Call) -> None:
    call.paths.ensure()
    removal = store.ImageRemoval(call.paths, force=bool(call.flags["force"]))
    lines = removal.remove(call.words[0])
    removal.prune(modes.load_store_modes(call.paths)[1].mapping)
    call.reply(lines=lines)


OPERATIONS: dict[str, Callable[[_Call], None]] = {
    "create": _create,
    "exec": _exec,
    "hold": _hold,
    "modes": _modes,
    "remove": _remove,
    "remove image": _remove_image,
    "start": _start,
}


def _socket_of(fd: int) -> socket:
    os.set_inheritable(fd, False)
    return socket(AF_UNIX, SOCK_SEQPACKET, 0, fd)


if __name__ == "__main__":
    sys.exit(main())
