"""One container, as the Python interface shows it."""

from __future__ import annotations

import signal
from contextlib import asynccontextmanager
from datetime import datetime
from typing import NamedTuple  # noqa: TID253  trio has imported it

import trio  # noqa: TID253  this is the part of the engine that is asynchronous

from rootless.engine import conditions, connect, containers, logreader, records, stats
from rootless.engine import session as wire
from rootless.errors import StateConflict
from rootless.interface import following, process, store
from rootless.interface.options import words
from rootless.interface.process import Process
from rootless.model import lifecycle

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
    from contextlib import AbstractAsyncContextManager
    from typing import Any, Unpack

    from rootless.engine.logformat import Entry
    from rootless.engine.watch import Pause
    from rootless.interface.agent import Agent
    from rootless.interface.following import Following
    from rootless.interface.options import ExecOptions
    from rootless.interface.process import Completed
    from rootless.paths import Paths

    Moment = datetime | float

_STREAMS = ("stdout", "stderr")


class LogEntry(NamedTuple):
    """What a container wrote at once, a line or a part of one.

    `time` is RFC 3339 in UTC with nanoseconds: such times order as text. `stream` is "stdout" or "stderr".
    `attributes` are what --log-opt adds.
    """

    time: str
    stream: str
    text: bytes
    attributes: Mapping[str, str]


class Usage(NamedTuple):
    """What a container uses at a moment; all zero when it does not run. `net` and `block` are (in, out)."""

    cpu_s: float
    memory_bytes: int
    memory_limit_bytes: int
    pids: int
    net_bytes: tuple[int, int]
    block_bytes: tuple[int, int]


class Container:
    """A container; it may be gone, then its methods raise NotFound.

    Attributes:
        id: 64 hexadecimal digits. name, image: as when this object was made.
        notices: what the engine had to tell when it made or started the container.
    """

    def __init__(
        self,
        paths: Paths,
        agent: Agent,
        *,
        id: str,
        name: str,
        image: str,
        notices: Sequence[str] = (),
    ) -> None:
        self._paths = paths
        self._agent = agent
        self.id = id
        self.name = name
        self.image = image
        self.notices = tuple(notices)

    def __repr__(self) -> str:
        return f"<Container {self.name} {self.id[:12]}>"

    async def status(self) -> str:
        """Return "created", "running", "paused", "restarting", "exited", "removing" or "dead"."""
        return (await self._load()).state.status

    async def inspect(self) -> dict[str, Any]:
        """Return what `rootless inspect` prints."""
        return await trio.to_thread.run_sync(
            lambda: store.find_object(self._paths, self.id, kind="container")
        )

    async def start(self) -> None:
        """Start it, unless it runs.

        Raises:
            RuntimeSetupError: its command cannot be executed (exit code 126), is not there (127), …
        """
        if await self.status() not in (lifecycle.RUNNING, lifecycle.RESTARTING):
            self.notices += (await self._agent.call("start", self.id)).notices

    async def stop(self, *, timeout_s: int | None = None, signal: int | None = None) -> None:
        """End it: its stop signal, then SIGKILL after its stop time-out.

        Args:
            timeout_s: negative waits for ever. A cancelled caller does not wait: it goes on.
        """
        container = await self._load()
        await trio.to_thread.run_sync(
            lambda: containers.stop(self._paths, [container], number=signal, timeout_s=timeout_s),
            abandon_on_cancel=True,
        )

    async def kill(self, signal: int = signal.SIGKILL) -> None:
        """Send a signal to its first process.

        Raises:
            StateConflict: it does not run.
        """
        container = await self._load()
        await trio.to_thread.run_sync(containers.kill, self._paths, container, signal)

    async def wait(self, condition: str = "not-running") -> int:
        """Wait until it does not run, or for a condition of `rootless wait`; returns the exit code.

        Args:
            condition: "not-running", "next-exit", "removed", "running", "healthy" or "unhealthy"; -1 is
                returned for what is no exit.

        Raises:
            StateConflict: it cannot become so.
        """
        return await following.drive(conditions.until(self._paths, await self._load(), condition))

    async def remove(self, *, force: bool = False, volumes: bool = False) -> None:
        """Remove it.

        Args:
            force: kill it first. volumes: its anonymous volumes too.
        Raises:
            StateConflict: it runs.
        """
        await self._agent.call("remove", self.id, force=force, volumes=volumes)

    def logs(
        self,
        *,
        follow: bool = False,
        tail: int | None = None,
        since: Moment | None = None,
        until: Moment | None = None,
    ) -> Following[LogEntry]:
        """Iterate over what it wrote.

        Args:
            follow: go on until it has ended. tail: begin with so many last lines.
            since, until: moments; a number is seconds since the epoch.
        """
        bounds = [None if moment is None else nanoseconds(moment) for moment in (since, until)]

        def steps() -> Iterator[Entry | Pause]:
            container = records.load(self._paths, self.id)
            yield from logreader.read_log(
                self._paths, container, follow=follow, tail=tail, since_ns=bounds[0], until_ns=bounds[1]
            )

        return following.Following(steps(), LogEntry._make)

    async def exec(
        self,
        command: Sequence[str],
        *,
        input: bytes | None = None,
        check: bool = True,
        **options: Unpack[ExecOptions],
    ) -> Completed:
        """Run a further command in it to the end, and return what it wrote.

        Args:
            input: its stdin; None is an empty one.
            check: raise an error for an exit code other than 0.
        Raises:
            CommandFailed: see `check`. RuntimeSetupError: it cannot be executed. StateConflict: the
            container does not run.
        """
        options["interactive"] = input is not None
        async with self.open_exec(command, **options) as running:
            return await process.completed(running, command, input=input, check=check)

    @asynccontextmanager
    async def open_exec(
        self, command: Sequence[str], **options: Unpack[ExecOptions]
    ) -> AsyncIterator[Process]:
        """Run a further command in it, with streams; one that still runs when the block ends is killed."""
        reply = await self._agent.call("exec", *words(options), "--", self.id, *command)
        assert reply.session is not None
        running = Process(self, reply.session, pid=reply.fields["pid"], notices=reply.notices)
        async with process.opened(running, kill=True):
            yield running

    def attach(self, *, input: bool = False) -> AbstractAsyncContextManager[Process]:
        """See what its first process writes from now on; the end of the block does not end it.

        Args:
            input: feed it, too; it was made with `interactive=True`.
        Raises:
            StateConflict: it does not run.
        """
        return self._attach(with_input=input)

    @asynccontextmanager
    async def _attach(self, *, with_input: bool) -> AsyncIterator[Process]:
        container = await self._load()
        try:
            if container.state.status not in lifecycle.MINDED:
                raise FileNotFoundError
            run_dir = connect.run_directory(self._paths, container)
            session = wire.attach(run_dir, streams=_STREAMS, with_input=with_input)
        except OSError as exc:
            raise StateConflict(
                f"cannot attach to container `{self.name}`: it is not running", reference="not-running"
            ) from exc
        try:
            await trio.lowlevel.wait_readable(session.events.fileno())
            event = session.receive()
            if event is None or event["event"] != wire.STARTED:
                raise wire.failure_of(event)
        except BaseException:
            session.close()
            raise
        async with process.opened(Process(self, session, pid=event["pid"]), kill=False) as running:
            yield running

    async def usage(self) -> Usage:
        """Return what it uses now (`rootless stats`)."""
        container = await self._load()
        sample = await trio.to_thread.run_sync(stats.take_sample, container)
        return Usage(
            cpu_s=sample.cpu_ns / 1e9,
            memory_bytes=sample.memory_bytes,
            memory_limit_bytes=sample.limit_bytes,
            pids=sample.pids,
            net_bytes=sample.net,
            block_bytes=sample.block,
        )

    async def _load(self) -> records.Container:
        return await trio.to_thread.run_sync(records.load, self._paths, self.id)


def nanoseconds(moment: Moment) -> int:
    """Return nanoseconds since the epoch; a datetime without time zone is local."""
    seconds = moment.timestamp() if isinstance(moment, datetime) else moment
    return int(seconds * 1e9)
