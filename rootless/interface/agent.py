"""The interface's end of its agent: starts it when it is first needed, asks, and waits in trio.

Whatever forks or enters a namespace is done by the agent (`cli.agent`), since nobody knows what threads live
in this process. A request that has been sent is finished whatever happens here: a cancelled caller waits for
its reply, so that nothing is made that nobody knows of.
"""

from __future__ import annotations

import json
import os
import sys

# The C module alone: what `runtime.handshake` speaks.
from _socket import AF_UNIX, SHUT_WR, SOCK_SEQPACKET, socket
from contextlib import asynccontextmanager, suppress

import trio  # noqa: TID253  this is the part of the engine that is asynchronous

from rootless.engine.session import Session, close_fds
from rootless.errors import InternalError, NotFound
from rootless.interface import caller, wire
from rootless.runtime import handshake

TYPE_CHECKING = False
if TYPE_CHECKING:
    import subprocess
    from collections.abc import AsyncIterator, Sequence
    from typing import Any

AGENT_DIED = "agent-died"
_ERROR_BYTES = 4 << 10


class Reply:
    """What the agent has answered.

    Attributes:
        fields: of the operation. notices: what it would have told on stderr.
        session: with a process that runs; the caller's to close.
    """

    __slots__ = ("fields", "notices", "session")

    def __init__(self, message: dict[str, Any], fds: list[int]) -> None:
        self.fields: dict[str, Any] = message["ok"]
        self.notices = tuple(message["notices"])
        named = dict(zip(message["session"], fds, strict=True))
        self.session: Session | None = None
        if named:
            events = socket(AF_UNIX, SOCK_SEQPACKET, 0, named.pop("events"))
            self.session = Session(
                events=events,
                stdin=named.get("stdin", -1),
                stdout=named.get("stdout", -1),
                stderr=named.get("stderr", -1),
            )


class Agent:
    """The agent of one engine.

    Args:
        root: absolute path of the store.
    """

    def __init__(self, root: str) -> None:
        self._root = root
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket | None = None
        self._errors = -1

    async def call(self, operation: str, *words: str, **flags: object) -> Reply:
        """Have something done.

        Raises:
            RootlessError: it failed.
        """
        channel = self._ask(operation, words, flags)
        try:
            with trio.CancelScope(shield=True):
                reply = await self._receive(channel)
        finally:
            channel.close()
        return reply

    @asynccontextmanager
    async def hold(self, words: Sequence[str], *, watched: bool) -> AsyncIterator[Reply]:
        """Have a container that lives as long as this block: however it ends, the container is gone after.

        Args:
            watched: the reply has its session.
        """
        channel = self._ask("hold", words, {"watched": watched})
        held = ""
        try:
            reply = await self._receive(channel)
            held = reply.fields["id"]
            yield reply
        finally:
            with trio.CancelScope(shield=True):
                await self._end(channel, held)

    async def close(self) -> None:
        """Let the agent end; requests that are under way are finished."""
        if self._process is None or self._control is None:
            return
        self._control.close()
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(self._process.wait)
        os.close(self._errors)

    def _ask(self, operation: str, words: Sequence[str], flags: dict[str, object]) -> socket:
        """Send a request; returns the channel on which its replies come."""
        ours, theirs = handshake.channel()
        with os.fdopen(os.memfd_create("rootless-request", os.MFD_CLOEXEC), "w", encoding="utf-8") as file:
            request = {"operation": operation, "root": self._root, "words": list(words), "flags": flags}
            json.dump({**request, "environment": caller.environment(), "directory": caller.directory()}, file)
            file.flush()
            os.lseek(file.fileno(), 0, os.SEEK_SET)
            try:
                handshake.send_all(self._connect(), b"R", [theirs.fileno(), file.fileno()])
            except OSError as exc:
                ours.close()
                raise self._death() from exc
            finally:
                theirs.close()
        return ours

    def _connect(self) -> socket:
        """Return the control socket of an agent that lives, or is about to."""
        import subprocess

        if self._control is not None and self._process is not None and self._process.poll() is None:
            return self._control
        if self._control is not None:
            self._control.close()
            os.close(self._errors)
        self._control, theirs = handshake.channel()
        self._errors = os.memfd_create("rootless-agent-errors", os.MFD_CLOEXEC)
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "rootless.cli.agent", str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=self._errors,
                pass_fds=(theirs.fileno(),),
                start_new_session=True,  # the terminal's Ctrl-C is for this process, which ends what it holds
            )
        finally:
            theirs.close()
        return self._control

    async def _receive(self, channel: socket) -> Reply:
        """Wait for the next reply.

        Raises:
            RootlessError: what the agent reports, or its death.
        """
        await trio.lowlevel.wait_readable(channel.fileno())
        data, fds = handshake.receive_all(channel)
        if not data:
            raise self._death()
        message = json.loads(data)
        if "failed" in message:
            raise wire.failure_from(message["failed"])
        return Reply(message, fds)

    async def _end(self, channel: socket, held: str) -> None:
        """Let go of what was held, and wait until it is gone.

        Args:
            held: its id; "" if it failed to start, or was cancelled before its first reply.
        """
        try:
            channel.shutdown(SHUT_WR)
            if held:
                await self._receive(channel)
            else:
                await _drain(channel)
        except InternalError as exc:
            if exc.reference != AGENT_DIED or not held:
                raise
            with suppress(NotFound):  # its keeper was killed: another one removes it
                await self.call("remove", held, force=True, volumes=True)
        finally:
            channel.close()

    def _death(self) -> InternalError:
        text = b""
        with suppress(OSError):
            text = os.pread(self._errors, _ERROR_BYTES, 0)
        last = text.decode("utf-8", "replace").strip().rpartition("\n")[2]
        return InternalError(
            "the process that works for the Python interface ended without a word" + (last and f": {last}"),
            hint="was it killed? `rootless ps -a` tells what it left",
            reference=AGENT_DIED,
        )


async def _drain(channel: socket) -> None:
    """Hear a channel to its end, whatever it says."""
    while True:
        await trio.lowlevel.wait_readable(channel.fileno())
        data, fds = handshake.receive_all(channel)
        close_fds(*fds)
        if not data:
            return
