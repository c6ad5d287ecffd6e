"""Images, as the Python interface shows them."""

from __future__ import annotations

from typing import NamedTuple  # noqa: TID253  trio has imported it

import trio  # noqa: TID253  this is the part of the engine that is asynchronous

from rootless.engine import image_lookup, images
from rootless.engine.images import PullOptions
from rootless.errors import NotFound, UsageError
from rootless.interface import caller, store
from rootless.interface.options import words
from rootless.interface.process import plain_errors
from rootless.model.host import Modes

TYPE_CHECKING = False
if TYPE_CHECKING:
    import builtins
    from collections.abc import Iterable, Mapping, Sequence
    from typing import Any

    from rootless.engine.image_lookup import LocalImage
    from rootless.interface.agent import Agent
    from rootless.paths import Paths


class Image(NamedTuple):
    """An image of this store.

    `id` is "sha256:…". `names` are those that a person writes, "debian:12"; it may have none. `created` is
    RFC 3339 as the image has it, perhaps "". `size_bytes` is that of its files.
    """

    id: str
    names: tuple[str, ...]
    created: str
    size_bytes: int
    labels: Mapping[str, str]


class Pushed(NamedTuple):
    """An image that arrived: its whole name there, its tag, and the digest that it has there."""

    name: str
    tag: str
    digest: str


class Images:
    """The images of an engine: `engine.images`."""

    def __init__(self, paths: Paths, agent: Agent) -> None:
        self._paths = paths
        self._agent = agent

    async def pull(self, name: str, *, platform: str = "", tls_verify: bool | None = None) -> Image:
        """Bring an image from a registry, or from a directory (`oci:…`), and unpack it.

        Args:
            platform: if the image has several, for example "linux/arm64".
            tls_verify: require HTTPS with a trusted certificate; None, wherever no file says otherwise.
        Raises:
            RegistryError: the registry, or the way to it, is at fault. ImageError: the image is.
        """
        options = pull_options(caller.environment(), platform=platform, tls_verify=tls_verify)
        with plain_errors():
            pulled = await images.pull(self._paths, await self._modes(), name, options=options)
        return await self.get(pulled.image_id)

    async def push(
        self,
        name: str,
        destination: str = "",
        *,
        all_tags: bool = False,
        compression: str = "",
        format: str = "",
        platform: str = "",
        tls_verify: bool | None = None,
    ) -> builtins.list[Pushed]:
        """Bring an image, or a manifest list with its images, to the registry that its name names.

        Args:
            destination: another place, as `rootless push` takes it.
            all_tags: all tags of the repository that `name` is.
            compression: "gzip" or "zstd" for layers packed anew; "" for as they are.
            format: "oci" or "docker" for other manifests; "" for as they are, if the registry takes that.
            platform: that the image must have.
            tls_verify: as for `pull`.
        Returns:
            what has arrived: one, or with `all_tags` one for each.

        Raises:
            NotFound: there is none. RegistryError: the registry does not take it.
        """
        from rootless.engine import push, repack  # who pulls needs none of it

        wanted = pull_options(caller.environment(), platform=platform, tls_verify=tls_verify)
        if format not in ("", "oci", "docker"):
            raise UsageError(f"invalid format: {format!r} is neither oci nor docker")
        if destination and all_tags:
            raise UsageError("all_tags takes no destination")
        job = push.PushJob(
            name,
            target=destination,
            all_tags=all_tags,
            platform=wanted.platform,
            form=format,
            packing=repack.packing_of(compression, form=format),
            settings=wanted.settings,
        )
        with plain_errors():
            pushed = await push.push(self._paths, job)
        return [Pushed(each.name, each.tag, str(each.descriptor.digest)) for each in pushed]

    async def list(self) -> list[Image]:
        """Return all images, newest first."""
        return group(await trio.to_thread.run_sync(store.list_images, self._paths))

    async def get(self, name: str) -> Image:
        """Return the image that a name, an id or a unique beginning of an id means.

        Raises:
            NotFound: there is none.
        """
        found = await trio.to_thread.run_sync(image_lookup.find_image, self._paths, name)
        everything = await self.list()
        return next((image for image in everything if image.id == found.image_id), group([found])[0])

    async def inspect(self, name: str) -> dict[str, Any]:
        """Return what `rootless inspect` prints."""
        return await trio.to_thread.run_sync(lambda: store.find_object(self._paths, name, kind="image"))

    async def remove(self, name: str, *, force: bool = False) -> None:
        """Remove a name, or with its last name, or by id, the image.

        Args:
            force: neither several names nor stopped containers are in the way.
        Raises:
            NotFound: there is none. StateConflict: a container uses it.
        """
        await self._agent.call("remove image", name, force=force)

    async def _ensure(self, name: str, *, policy: str, platform: str, tls_verify: bool | None) -> str:
        """Have an image ready to run, as `--pull` says; return what finds it here."""
        key = (await self._modes()).mapping.key
        _, source = await trio.to_thread.run_sync(
            lambda: image_lookup.plan_pull(self._paths, name, policy=policy, snapshots_key=key)
        )
        if not source:
            return name
        pulled = await self.pull(source, platform=platform, tls_verify=tls_verify)
        try:
            await trio.to_thread.run_sync(image_lookup.find_image, self._paths, name)
        except NotFound:  # `docker-archive:…`: a place that the image came from
            return pulled.id
        return name

    async def _modes(self) -> Modes:
        return Modes.from_json((await self._agent.call("modes")).fields["modes"])


async def creation_words(
    images: Images, image: str, command: Sequence[str], options: Mapping[str, Any]
) -> list[str]:
    """Have an image pulled, as the options say; return the command line that makes a container of it."""
    found = await images._ensure(
        image,
        policy=str(options.get("pull", "missing")),
        platform=str(options.get("platform", "")),
        tls_verify=options.get("tls_verify"),
    )
    return [*words({**options, "pull": "never"}), "--", found, *command]


def pull_options(environment: Mapping[str, str], *, platform: str, tls_verify: bool | None) -> PullOptions:
    """Return what a user and their environment say about a pull.

    Args:
        platform: "" for this host's.
        tls_verify: None where the user has not said it.
    Raises:
        UsageError: that is no platform.
    """
    from layers.errors import InvalidPlatform
    from layers.manifest import Platform
    from rootless.registry.settings import RegistrySettings

    try:
        wanted = Platform.parse(platform) if platform else None
    except InvalidPlatform as exc:
        raise UsageError(exc.message, on=platform, hint=exc.hint or None) from exc
    settings = RegistrySettings.of(environment, tls_verify=tls_verify)
    return PullOptions(settings=settings, platform=wanted)


def group(images: Iterable[LocalImage]) -> list[Image]:
    """Return images with all their names, in the order of the first of each. Pure."""
    found: dict[str, list[LocalImage]] = {}
    for image in images:
        found.setdefault(str(image.image_id), []).append(image)
    return [_image(same) for same in found.values()]


def _image(same: list[LocalImage]) -> Image:
    first = same[0]
    names = (each.entry.reference.familiar if each.entry.reference else each.name for each in same)
    return Image(
        id=str(first.image_id),
        names=tuple(name for name in names if name),
        created=first.config.created or "",
        size_bytes=first.size_bytes,
        labels=dict(first.config.labels),
    )
