"""`commit`: a container becomes an image, its changes a layer on those of its image."""

from __future__ import annotations

from contextlib import nullcontext

from layers.digest import Digest
from layers.errors import LayersError
from layers.index import ImageEntry
from rootless.engine import describe, events, freezer, new_image, records
from rootless.engine.archive import Archivist
from rootless.engine.new_image import Layer, Workshop
from rootless.errors import ImageError
from rootless.model import lifecycle
from rootless.model.instructions import apply_changes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager
    from typing import Any

    from layers.manifest import ImageConfig, Manifest
    from layers.reference import Reference
    from layers.store.directory import ImageLayout
    from rootless.engine.pulling import PulledImage
    from rootless.engine.records import Container
    from rootless.model.host import HostFacts, Modes
    from rootless.model.spec import ContainerSpec
    from rootless.paths import Paths

    Json = dict[str, Any]

_KEPT = ("architecture", "os", "variant", "os.version", "os.features")
_KEPT_RUN = ("ArgsEscaped", "OnBuild", "Shell")
"""What a container cannot have changed."""
_TERM = 15
"""SIGTERM, what stops a container whose image says nothing."""


class Request:
    """What is asked of a commit.

    Attributes:
        target: name of the image, None for none.
        message, author: for the history. changes: Dockerfile instructions.
        pause: stop the container's processes meanwhile.
    """

    __slots__ = ("author", "changes", "message", "pause", "target")

    def __init__(
        self,
        *,
        target: Reference | None = None,
        message: str = "",
        author: str = "",
        changes: Sequence[str] = (),
        pause: bool = True,
    ) -> None:
        self.target = target
        self.message = message
        self.author = author
        self.changes = changes
        self.pause = pause


def commit(
    paths: Paths, container: Container, request: Request, *, modes: Modes, facts: HostFacts
) -> tuple[PulledImage, tuple[str, ...]]:
    """Make an image of a container; returns it, and notes on what could not be kept.

    Must run in a process with one thread, and may leave threads in it.

    Raises:
        UsageError: a change makes no sense. ImageError: the container's image is damaged.
    """
    spec = container.spec
    with Workshop(paths, subject=f"commit of {spec.name}") as shop:
        manifest, parent = _load_parent(shop.layout, spec)
        run_config = apply_changes(container_config(spec, parent), request.changes)
        archivist = Archivist(paths, container, modes=modes, facts=facts)
        notes: list[str] = []

        def fill(take: Callable[[bytes], None]) -> None:
            notes.extend(archivist.read_layer(take).notes)

        with _held(paths, container) if request.pause else nullcontext():
            added = shop.add_layer(fill, manifest_type=manifest.media_type)
        layers = [
            Layer(descriptor, diff_id=diff_id)
            for descriptor, diff_id in zip(manifest.layers, parent.diff_ids, strict=True)
        ]
        config = committed_config(spec, parent, run_config, request, empty=added.is_empty)
        image = shop.finish(
            config,
            layers if added.is_empty else [*layers, added],
            manifest_type=manifest.media_type,
            modes=modes,
            name=request.target.canonical if request.target else "",
        )
    attributes = {"comment": request.message, "imageID": image.image_id}
    if request.target:
        attributes["imageRef"] = request.target.familiar
    events.record_container(paths, container, "commit", **attributes)
    new_image.record_name(paths, image, request.target)
    return image, (*notes, *image.notes)


def container_config(spec: ContainerSpec, image: ImageConfig) -> Json:
    """Return how a container runs, as an image says it: what it got for itself alone is left out. Pure."""
    process = spec.process
    raw = image.raw.get("config") or {}
    config: Json = {name: raw[name] for name in _KEPT_RUN if raw.get(name)}
    own = {f"HOSTNAME={spec.hostname}", "TERM=xterm"} - set(image.env)
    config["Env"] = [each for each in process.env if each not in own]
    config["Entrypoint"] = list(process.argv[: spec.entrypoint_length])
    config["Cmd"] = list(process.argv[spec.entrypoint_length :])
    config["User"] = process.user
    config["WorkingDir"] = process.cwd if process.cwd != "/" or image.workdir else ""
    config["Labels"] = describe.label_map(spec.labels)
    ports: Json = {f"{port.container_port}/{port.protocol}": {} for port in spec.network.ports}
    config["ExposedPorts"] = {**{name: {} for name in image.exposed_ports}, **ports}
    volumes: Json = {mount.target: {} for mount in spec.mounts if mount.is_anonymous}
    config["Volumes"] = {**{path: {} for path in image.volumes}, **volumes}
    if spec.stop_signal != _TERM or image.stop_signal:
        config["StopSignal"] = describe.signal_name(spec.stop_signal)
    if spec.healthcheck.test:
        config["Healthcheck"] = describe.healthcheck_json(spec.healthcheck)
    return {name: value for name, value in config.items() if value}


def committed_config(
    spec: ContainerSpec, parent: ImageConfig, run_config: Json, request: Request, *, empty: bool
) -> Json:
    """Return the new image's config but for its layers."""
    created = new_image.now()
    step = new_image.history_entry(
        created=created,
        created_by=" ".join(spec.process.argv[spec.entrypoint_length :]),
        author=request.author,
        comment=request.message,
        empty=empty,
    )
    kept = {name: parent.raw[name] for name in _KEPT if parent.raw.get(name)}
    if request.author:
        kept["author"] = request.author
    history = [*(parent.raw.get("history") or ()), step]
    return {**kept, "created": created, "config": run_config, "history": history}


def _load_parent(layout: ImageLayout, spec: ContainerSpec) -> tuple[Manifest, ImageConfig]:
    """Return manifest and config of a container's image, which may have lost its names since."""
    image_id = Digest(spec.image_id)
    try:
        entries = (entry for entry in layout.entries() if layout.image_id(entry) == image_id)
        entry = next(entries, None)
        if entry is None and (manifest := layout.find_manifest(image_id)):
            entry = ImageEntry(manifest)
        if entry is not None:
            image = layout.load_image(entry)
            return image.manifest, image.config
    except LayersError as exc:
        raise ImageError(exc.message, on=f"{spec.image}: {exc.on}", hint=exc.hint or None) from exc
    raise ImageError(
        f"cannot commit {spec.name}: its image is not in the store",
        on=spec.image_id,
        hint=f"`rootless pull {spec.image}` brings it back",
        reference="no-such-image",
    )


def _held(paths: Paths, container: Container) -> AbstractContextManager[None]:
    """Stop the processes of a container that runs, so that its files do not change."""
    current = records.observe(records.load(paths, container.spec.id))
    return freezer.held(paths, current) if current.state.status == lifecycle.RUNNING else nullcontext()
