"""The engine, as a Python program has it: `async with rootless.open_engine() as engine`."""

from __future__ import annotations

import os
import time
from contextlib import asynccontextmanager
from typing import NamedTuple  # noqa: TID253  trio has imported it

import trio  # noqa: TID253  this is the part of the engine that is asynchronous

from rootless.engine import event_reader, records
from rootless.interface import following, process, store
from rootless.interface.agent import Agent
from rootless.interface.container import Container, nanoseconds
from rootless.interface.images import Images, creation_words
from rootless.interface.process import Process
from rootless.paths import find_paths

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence
    from typing import Any, Unpack

    from rootless.interface.agent import Reply
    from rootless.interface.container import Moment
    from rootless.interface.following import Following
    from rootless.interface.options import CreateOptions
    from rootless.interface.process import Completed
    from rootless.paths import Paths


class Event(NamedTuple):
    """What happened to a container, an image or a volume, in Docker's words.

    `type` is "container", "image" or "volume", `id` its id or name, `time_ns` nanoseconds since the epoch.
    """

    type: str
    action: str
    id: str
    attributes: Mapping[str, str]
    time_ns: int


class Containers:
    """The containers of an engine, whose life is their own: `engine.containers`."""

    def __init__(self, paths: Paths, agent: Agent, images: Images) -> None:
        self._paths = paths
        self._agent = agent
        self._images = images

    async def create(
        self, image: str, command: Sequence[str] = (), **options: Unpack[CreateOptions]
    ) -> Container:
        """Make a container that lives until it is removed; `start` starts it.

        Args:
            image: pulled if need be, as `pull` says.
            command: instead of the image's own.
        """
        line = await creation_words(self._images, image, command, options)
        return container_of(self._paths, self._agent, image, await self._agent.call("create", *line))

    async def list(self, *, all: bool = False) -> list[Container]:
        """Return the containers that run, newest first; with `all` every one."""
        found = await trio.to_thread.run_sync(store.list_containers, self._paths)
        return [self._known(each) for each in found if all or each.state.pid]

    async def get(self, name: str) -> Container:
        """Return the container that a name, an id or a unique beginning of an id means.

        Raises:
            NotFound: there is none.
        """
        return self._known(await trio.to_thread.run_sync(records.find, self._paths, name))

    def _known(self, found: records.Container) -> Container:
        spec = found.spec
        return Container(self._paths, self._agent, id=spec.id, name=spec.name, image=spec.image)


class Engine:
    """One store of images and containers; see `open_engine`.

    Attributes:
        root: the store's directory.
    """

    def __init__(self, paths: Paths, agent: Agent) -> None:
        self._paths = paths
        self._agent = agent
        self.root = paths.store
        self.images = Images(paths, agent)
        self.containers = Containers(paths, agent, self.images)

    @asynccontextmanager
    async def container(
        self, image: str, command: Sequence[str] = (), **options: Unpack[CreateOptions]
    ) -> AsyncIterator[Container]:
        """Run a container in the background while the block runs.

        However the block ends, by an error, by cancellation or with the whole program, the container is
        stopped as by `stop`, and removed. What it wrote is in its log until then.

        Args:
            image: pulled if need be, as `pull` says.
            command: instead of the image's own.
        """
        line = await creation_words(self.images, image, command, options)
        async with self._agent.hold(line, watched=False) as reply:
            yield container_of(self._paths, self._agent, image, reply)

    async def run(
        self,
        image: str,
        command: Sequence[str] = (),
        *,
        input: bytes | None = None,
        check: bool = True,
        **options: Unpack[CreateOptions],
    ) -> Completed:
        """Run a command in a new container to the end, remove it, and return what it wrote.

        Args:
            input: its stdin; None is an empty one.
            check: raise an error for an exit code other than 0.
        Raises:
            CommandFailed: see `check`. RuntimeSetupError: it cannot be executed.
        """
        options["interactive"] = input is not None
        async with self.open_run(image, command, **options) as running:
            return await process.completed(running, command, input=input, check=check)

    @asynccontextmanager
    async def open_run(
        self, image: str, command: Sequence[str] = (), **options: Unpack[CreateOptions]
    ) -> AsyncIterator[Process]:
        """Run a command in a new container, with streams; like `container`, it ends with the block.

        What it writes is for us: without `log_driver` there is no log of it.
        """
        options.setdefault("rm", True)
        options.setdefault("log_driver", "none")
        line = await creation_words(self.images, image, command, options)
        async with self._agent.hold(line, watched=True) as reply:
            assert reply.session is not None
            container = container_of(self._paths, self._agent, image, reply)
            running = Process(container, reply.session, pid=reply.fields["pid"], notices=reply.notices)
            async with process.opened(running, kill=False):
                yield running

    def events(self, *, since: Moment | None = None, until: Moment | None = None) -> Following[Event]:
        """Iterate over what happens to containers, images and volumes from now on, whoever does it.

        Args:
            since: begin with what has happened since this moment.
            until: end at this moment, which may lie in the future; None goes on for ever.
        """
        since_ns = time.time_ns() if since is None else nanoseconds(since)
        until_ns = None if until is None else nanoseconds(until)
        return following.Following(
            event_reader.follow(self._paths, since_ns=since_ns, until_ns=until_ns), _event
        )


@asynccontextmanager
async def open_engine(root: str | os.PathLike[str] | None = None) -> AsyncIterator[Engine]:
    """Have the engine while the block runs.

    Args:
        root: directory of the store; None is that of the command line, `$ROOTLESS_ROOT` or the user's own.
    Raises:
        HostUnsupported: the store cannot be made, or is not private to this user.
    """
    paths = find_paths(None if root is None else os.fspath(root))
    paths.ensure()
    agent = Agent(paths.store)
    try:
        yield Engine(paths, agent)
    finally:
        await agent.close()


def container_of(paths: Paths, agent: Agent, image: str, reply: Reply) -> Container:
    """Return the container that the agent has made."""
    fields = reply.fields
    return Container(paths, agent, id=fields["id"], name=fields["name"], image=image, notices=reply.notices)


def _event(event: dict[str, Any]) -> Event:
    actor = event["Actor"]
    return Event(event["Type"], event["Action"], actor["ID"], actor["Attributes"], event["timeNano"])
