"""A program that runs in a container, with its streams: what `run`, `exec` and `attach` give.

Nobody's descriptors change their mode: O_NONBLOCK is set on our ends of pipes alone. The end of an input
pipe is also the container's monitor's, and of others that attach, so ours is opened anew.
"""

from __future__ import annotations

import errno
import os
import signal
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import NamedTuple  # noqa: TID253  trio has imported it

import trio  # noqa: TID253  this is the part of the engine that is asynchronous

from rootless.engine import loop
from rootless.engine import session as wire
from rootless.errors import RootlessError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence

    from rootless.engine.session import Session
    from rootless.interface.container import Container

_CHUNK_BYTES = 64 << 10
_LINGER_S = 2.0
"""How long output may still come from what a program leaves behind (`engine.relay`)."""


class Completed(NamedTuple):
    """A program that has ended, and what it wrote."""

    exit_code: int
    stdout: bytes
    stderr: bytes


class CommandFailed(RootlessError):
    """A command that was to succeed has not.

    Attributes:
        result: how it ended.
    """

    reference = "command-failed"

    def __init__(
        self, message: str, *, result: Completed, on: str | None = None, hint: str | None = None
    ) -> None:
        super().__init__(message, on=on, hint=hint)
        self.result = result


class Process:
    """A program in a container.

    Attributes:
        container: that it runs in.
        pid: as the host sees it.
        stdin: a stream to it, with `interactive=True`; else None. To close it ends the program's input.
        stdout, stderr: streams from it; a program whose output is not read waits, as at any pipe.
        notices: what the engine has to tell about it, such as limits that are not enforced.
    """

    def __init__(
        self, container: Container, session: Session, *, pid: int, notices: Sequence[str] = ()
    ) -> None:
        self.container = container
        self.pid = pid
        self.stdin = Input(session) if session.stdin >= 0 else None
        self.stdout = _output(session, "stdout")
        self.stderr = _output(session, "stderr")
        self.notices = list(notices)
        self._session = session
        self._pidfd = _open_pidfd(pid)
        self._hearing = trio.Lock()
        self._exit_code: int | None = None

    @property
    def exit_code(self) -> int | None:
        """As the shell tells it, 128 + n for signal n; None before `wait` has told it."""
        return self._exit_code

    async def wait(self) -> int:
        """Wait for its end; returns its exit code.

        Raises:
            InternalError: its monitor was killed.
        """
        async with self._hearing:
            while self._exit_code is None:
                await trio.lowlevel.wait_readable(self._session.events.fileno())
                event = self._session.receive()
                if event is None or event["event"] == wire.FAILED:
                    raise wire.failure_of(event)
                if event["event"] == wire.NOTICE:
                    self.notices.append(event["text"])
                elif event["event"] == wire.EXITED:
                    self._exit_code = event["code"]
        return self._exit_code

    async def communicate(self, input: bytes | None = None) -> Completed:
        """Feed it, read all that it writes, and wait for its end.

        Args:
            input: its whole stdin; needs `interactive=True`.
        """
        out, err = bytearray(), bytearray()
        with plain_errors():
            await self._communicate(input or b"", out, err)
        return Completed(await self.wait(), bytes(out), bytes(err))

    async def _communicate(self, input: bytes, out: bytearray, err: bytearray) -> None:
        async with trio.open_nursery() as nursery:
            if self.stdin is not None:
                nursery.start_soon(_feed, self.stdin, input)
            async with trio.open_nursery() as readers:
                readers.start_soon(_read, self.stdout, out)
                readers.start_soon(_read, self.stderr, err)
                await self.wait()
                readers.cancel_scope.deadline = trio.current_time() + _LINGER_S
            nursery.cancel_scope.cancel()  # of an input that nobody reads any more

    def send_signal(self, number: int) -> None:
        """Send a signal to it; one that has ended does not mind."""
        if self._pidfd >= 0:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, number)

    def _close(self) -> None:
        """Let go of it and of its streams, without waiting."""
        for stream in (self.stdin, self.stdout, self.stderr):
            if stream is not None:
                stream.close()
        self._session.close()
        wire.close_fds(self._pidfd)
        self._pidfd = -1


@asynccontextmanager
async def opened(process: Process, *, kill: bool) -> AsyncIterator[Process]:
    """Let go of a process at the end of the block.

    Args:
        kill: one that still runs then is killed.
    """
    try:
        yield process
    finally:
        if kill:
            process.send_signal(signal.SIGKILL)
        process._close()


@contextmanager
def plain_errors() -> Iterator[None]:
    """Make the most telling error of a group of them: callers need not know what runs side by side here."""
    try:
        yield
    except ExceptionGroup as group:
        raise loop.most_telling(group) from group


async def completed(
    process: Process, command: Sequence[str], *, input: bytes | None, check: bool
) -> Completed:
    """Run a process to its end.

    Raises:
        CommandFailed: its exit code is not 0, and `check` is true.
    """
    result = await process.communicate(input)
    if check and result.exit_code:
        raise CommandFailed(
            f"command exited with {result.exit_code}: {' '.join(command) or process.container.image}",
            on=f"container `{process.container.name}`",
            hint=result.stderr.decode("utf-8", "replace").strip().rpartition("\n")[2] or None,
            result=result,
        )
    return result


class Input(trio.abc.SendStream):
    """A stream to a process, over a descriptor of its own: the session's is shared with others."""

    def __init__(self, session: Session) -> None:
        self._session = session
        fd = session.stdin
        try:
            own = os.open(f"/proc/self/fd/{fd}", os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as exc:
            if exc.errno != errno.ENXIO:
                raise
            own = os.dup(fd)  # nobody reads it: writing tells
        self._stream = trio.lowlevel.FdStream(own)

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self._stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        self.close()
        await trio.lowlevel.checkpoint()

    def close(self) -> None:
        """End the process's input."""
        self._stream.close()
        if self._session.stdin >= 0:
            self._session.close_stdin()


class Output(trio.abc.ReceiveStream):
    """A stream from a process; it has ended where a program has none of it for us, as stderr on a terminal.

    Args:
        fd: read end of a pipe, owned from now on; -1 for none.
    """

    def __init__(self, fd: int) -> None:
        self._stream = trio.lowlevel.FdStream(fd) if fd >= 0 else None

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        if self._stream is None:
            await trio.lowlevel.checkpoint()
            return b""
        return bytes(await self._stream.receive_some(max_bytes))

    async def aclose(self) -> None:
        self.close()
        await trio.lowlevel.checkpoint()

    def close(self) -> None:
        """Read no more of it."""
        if self._stream is not None:
            self._stream.close()


def _open_pidfd(pid: int) -> int:
    """Return what means this process for ever, whoever gets its pid after it; -1 for one that has ended."""
    try:
        return os.pidfd_open(pid)
    except ProcessLookupError:
        return -1


def _output(session: Session, name: str) -> Output:
    fd: int = getattr(session, name)
    setattr(session, name, -1)
    return Output(fd)


async def _feed(stream: trio.abc.SendStream, data: bytes) -> None:
    with suppress(trio.BrokenResourceError):  # it does not want all of it
        await stream.send_all(data)
    await stream.aclose()


async def _read(stream: trio.abc.ReceiveStream, into: bytearray) -> None:
    while data := await stream.receive_some(_CHUNK_BYTES):
        into += data
