"""Everybody who watches a container: the command line that started it, and those that attached later. Ring 1.

The monitor listens on a socket in the container's run directory. A client connects, says what it wants to
see with a descriptor for each output, and from then on hears the same events as the starter
(`engine.session`); `wait` is a client that wants to see nothing.

Rules:
- Input never passes through here: a client is handed the container's own stdin or terminal.
- A run's clients end with it: they hear of the exit after their last byte.
"""

from __future__ import annotations

import os

# The C module alone: socket.py would bring selectors and its enums, 4 ms on the launch path.
from _socket import AF_UNIX, SOCK_CLOEXEC, SOCK_NONBLOCK, SOCK_SEQPACKET, socket

from layers.contexts import suppress
from rootless.engine import session as wire
from rootless.engine.backlog import Backlog
from rootless.engine.pump import Watcher, flush, wait_and_flush
from rootless.runtime.handshake import failure_fields

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import Any

    from rootless.engine.pump import Tap
    from rootless.engine.session import Minder
    from rootless.errors import RootlessError

_BACKLOG_OF_LISTENER = 64


class Client:
    """One command line that watches.

    Attributes:
        events: socket to it; owned. outputs: stream → descriptor, owned until a watcher takes them.
        watchers: stream → its watcher in this run.
        is_starter: the container's output is a pipe to it, its end of input the container's.
        wants_input: it wants stdin, or the terminal. has_asked: it has said what it wants.
    """

    __slots__ = ("events", "has_asked", "is_starter", "outputs", "wants_input", "watchers")

    def __init__(self, events: Any, *, outputs: dict[str, int], is_starter: bool) -> None:
        self.events = events
        self.outputs = outputs
        self.watchers: dict[str, Watcher] = {}
        self.is_starter = is_starter
        self.wants_input = False
        self.has_asked = is_starter

    def send(self, event: str, *, fd: int | None = None, **details: Any) -> None:
        wire.send_event(self.events, event, fd=fd, **details)

    @property
    def is_behind(self) -> bool:
        return any(watcher.is_behind for watcher in self.watchers.values())

    def close_watchers(self) -> None:
        for watcher in self.watchers.values():
            watcher.close()

    def close(self) -> None:
        self.events.close()
        wire.close_fds(*self.outputs.values())
        self.close_watchers()


class Audience:
    """All clients of one monitor.

    Args:
        minder: the starter's side of the session; used up, but for the container's own descriptors.
        directory: where backlogs may lie.
        closes_stdin: the container's stdin ends with the client that feeds it (`run -i` without -d).
        note: is told "attach" of each client that watches, "detach" of each that leaves by the detach keys.
    """

    def __init__(
        self, minder: Minder, *, directory: str, closes_stdin: bool, note: Callable[[str], None]
    ) -> None:
        outputs = {"stdout": minder.output, "stderr": minder.error_output}
        starter = Client(
            minder.events, outputs={k: fd for k, fd in outputs.items() if fd >= 0}, is_starter=True
        )
        starter.wants_input = bool(outputs["stdout"] >= 0)
        self._clients = [starter]
        self._directory = directory
        self._closes_stdin = closes_stdin
        self._listener: socket | None = None
        self._taps: Sequence[Tap] = ()
        self._pid = 0
        self._note = note
        self.stdin = minder.stdin_writer
        if starter.outputs:
            note("attach")

    def listen(self, run_dir: str) -> None:
        """Make the socket that clients connect to, instead of an earlier one; without, nobody attaches."""
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC)
        try:
            with suppress(FileNotFoundError):
                os.unlink(os.path.join(run_dir, wire.SOCKET_NAME))
            with wire.short_path(run_dir, wire.SOCKET_NAME) as path:
                listener.bind(path)
            listener.listen(_BACKLOG_OF_LISTENER)
        except OSError:
            listener.close()
            return
        self._listener = listener

    def begin(self, taps: Sequence[Tap], *, pid: int) -> None:
        """Tell all that the command runs, and let them watch its outputs."""
        self._taps, self._pid = taps, pid
        for client in self._clients:
            if client.has_asked:
                self._admit(client)

    def descriptors(self) -> Iterator[int]:
        """Yield what to wait on for input."""
        if self._listener is not None:
            yield self._listener.fileno()
        for client in self._clients:
            yield client.events.fileno()

    def hear(self, ready: set[int]) -> None:
        """Act on what clients say."""
        for client in [client for client in self._clients if client.events.fileno() in ready]:
            self._hear(client)
        if self._listener is not None and self._listener.fileno() in ready:
            with suppress(OSError):  # it has given up meanwhile
                events = _accept(self._listener)
                self._clients.append(Client(events, outputs={}, is_starter=False))

    def tell(self, event: str, **details: Any) -> None:
        for client in self._clients:
            client.send(event, **details)

    def fail(self, error: RootlessError) -> None:
        self.tell(wire.FAILED, **failure_fields(error))

    def end(self, code: int, *, restarting: bool) -> None:
        """Tell every client of the run's end after its last byte, without waiting for those that are slow.

        The starter's socket stays open: its end says that removal is done.
        """
        self.close_stdin()
        flush(self._taps)
        behind = [client for client in self._clients if client.is_behind]
        for client in self._clients:
            if client not in behind:
                client.send(wire.EXITED, code=code, restarting=restarting)
        if behind:
            self._deliver_apart(behind, code, restarting=restarting)
        for client in self._clients[:]:
            if client.is_starter and not restarting:
                client.close_watchers()
            else:
                self._drop(client)
        self._taps, self._pid = (), 0

    def close(self) -> None:
        """Let everybody go."""
        for client in self._clients[:]:
            self._drop(client)
        self.close_stdin()
        if self._listener is not None:
            self._listener.close()
            self._listener = None

    def close_stdin(self) -> None:
        fd, self.stdin = self.stdin, -1
        wire.close_fds(fd)

    def _admit(self, client: Client) -> None:
        """Let a client watch the present run."""
        has_terminal = any(tap.is_terminal for tap in self._taps)
        for tap in self._taps:
            fd = client.outputs.pop(tap.stream, -1)
            if fd >= 0:
                watcher = Watcher(fd, Backlog(self._directory), is_patient=client.is_starter)
                client.watchers[tap.stream] = watcher
                tap.watchers.append(watcher)
        fd = -1
        if has_terminal:
            fd = self._taps[0].source
        elif client.wants_input and not client.is_starter:  # which has the pipe's other end since the fork
            fd = self.stdin
        client.send(wire.STARTED, fd=fd if fd >= 0 else None, pid=self._pid, terminal=has_terminal)

    def _hear(self, client: Client) -> None:
        message, fds = wire.receive_request(client.events)
        if message is None:
            self._drop(client)
            if client.wants_input and self._closes_stdin:
                self.close_stdin()
        elif "attach" in message:
            client.outputs = dict(zip(message["attach"], fds, strict=False))
            client.wants_input = bool(message.get("input"))
            client.has_asked = True
            if client.outputs:
                self._note("attach")
            if self._pid:
                self._admit(client)
        elif "hang_up" in message:
            self._hang_up(client, str(message["hang_up"]))
        elif "close_stdin" in message:
            if self._closes_stdin:
                self.close_stdin()
        elif "detach" in message:
            if message["detach"] == "keys":
                self._note("detach")
            client.is_starter = client.wants_input = False

    def _hang_up(self, client: Client, stream: str) -> None:
        """Forget a reader; an output that nobody else watches ends for the container too, as a pipe would."""
        for tap in self._taps:
            if tap.stream == stream:
                if stream in client.watchers:
                    client.watchers[stream].close()
                if client.is_starter and not any(watcher.target >= 0 for watcher in tap.watchers):
                    tap.close_source()

    def _drop(self, client: Client) -> None:
        self._clients.remove(client)
        client.close()

    def _deliver_apart(self, behind: list[Client], code: int, *, restarting: bool) -> None:
        """Leave the rest to a process of its own: the container's end must not wait for a reader.

        A grandchild, so that nobody has to wait for it.
        """
        pid = os.fork()
        if pid:
            os.waitpid(pid, 0)
            return
        try:
            if os.fork() == 0:
                if self._listener is not None:
                    self._listener.close()
                for client in self._clients:
                    if client not in behind:
                        client.close()
                while behind:
                    wait_and_flush(self._taps)
                    for client in [client for client in behind if not client.is_behind]:
                        client.send(wire.EXITED, code=code, restarting=restarting)
                        client.close()
                        behind.remove(client)
        finally:
            os._exit(0)


def _accept(listener: socket) -> socket:
    fd, _ = listener._accept()  # type: ignore[attr-defined]  # what socket.py's accept() is made of
    return socket(AF_UNIX, SOCK_SEQPACKET, 0, fd)
