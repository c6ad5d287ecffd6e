"""`rootless inspect`: everything about containers, images and volumes, in Docker's JSON shapes. Ring 1."""

from __future__ import annotations

import json

from rootless.cli import output, several
from rootless.cli.args import BOOL, Command, Option
from rootless.engine import describe, records
from rootless.errors import NotFound
from rootless.paths import find_paths

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from rootless._entry import GlobalOptions
    from rootless.engine.records import Container
    from rootless.paths import Paths

_TYPES = ("container", "image", "volume")

TABLE = Command(
    "inspect",
    "[OPTIONS] NAME|ID [NAME|ID...]",
    "Return low-level information on containers, images and volumes",
    options=(
        Option("--format", "-f", help="Format output using a custom template: 'json', or a Go template"),
        Option("--size", "-s", kind=BOOL, help="Display total file sizes if the type is container"),
        Option("--type", choices=_TYPES, help="Only inspect objects of the given type"),
    ),
    min_positionals=1,
    completes="objects",
)


def main(argv: list[str], options: GlobalOptions) -> int:
    """Print one JSON array, or one line of --format for each object; exit with 1 if one is missing."""
    parsed = TABLE.parse(argv)
    paths = find_paths(options.root)
    form = parsed.text("format")
    render = _renderer(form) if form else None
    with_size = parsed.flag("size")
    found: list[dict[str, Any]] = []

    def look_up(query: str) -> None:
        found.append(find_object(paths, query, kind=parsed.text("type"), with_size=with_size))
        if render is not None:
            output.write(render(found[-1]) + "\n")

    code = several.for_each(parsed.positionals, look_up)
    if render is None:
        output.write(json.dumps(found, indent=4, ensure_ascii=False) + "\n")
    return code


def find_object(paths: Paths, query: str, *, kind: str = "", with_size: bool = False) -> dict[str, Any]:
    """Return the description of what a word means; containers come first, then images, then volumes.

    Args:
        kind: of _TYPES; "" for any.
        with_size: of a container.
    Raises:
        NotFound: there is none, or a prefix means several.
    """
    finders: dict[str, Callable[[], dict[str, Any]]] = {
        "container": lambda: _container(paths, records.find(paths, query), with_size=with_size),
        "image": lambda: _image(paths, query),
        "volume": lambda: _volume(paths, query),
    }
    if kind:
        return finders[kind]()
    for name, find in finders.items():
        try:
            return find()
        except NotFound as exc:
            if exc.reference != f"no-such-{name}":
                raise
    raise NotFound(
        f"no such object: {query}",
        hint="`rootless ps -a`, `rootless images` and `rootless volume ls` list what there is",
        reference="no-such-object",
    )


def _renderer(form: str) -> Any:
    if form == "json":
        return lambda value: json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    from rootless.cli.template import Template  # only for those who ask

    return Template(form).render


def _container(paths: Paths, container: Container, *, with_size: bool) -> dict[str, Any]:
    addresses: tuple[str, ...] = ()
    if describe.has_addresses(container):
        from rootless.network.addresses import load_addresses  # not for images

        addresses = load_addresses(container.state.pid)
    condition = None
    if container.spec.healthcheck.test:
        from rootless.engine import health  # most containers have no check

        condition = health.read(container)
    shown = describe.container_json(paths, container, addresses=addresses, health=condition)
    return shown | _sizes(paths, container) if with_size else shown


def _sizes(paths: Paths, container: Container) -> dict[str, int]:
    from rootless.engine import image_lookup, modes, usage  # slow by nature: it looks at every file

    paths.ensure()
    written = usage.written_bytes(paths, container, mapping=modes.load_store_modes(paths)[1].mapping)
    images = {str(image.image_id): image.size_bytes for image in image_lookup.iter_images(paths)}
    return {"SizeRw": written, "SizeRootFs": written + images.get(container.spec.image_id, 0)}


def _volume(paths: Paths, query: str) -> dict[str, Any]:
    from rootless.engine import volumes  # not for containers and images

    return describe.volume_json(paths, volumes.find(paths, query))


def _image(paths: Paths, query: str) -> dict[str, Any]:
    from rootless.engine import image_lookup  # not for containers

    image = image_lookup.find_image(paths, query)
    same = [other for other in image_lookup.iter_images(paths) if other.image_id == image.image_id]
    named = [(other.repo_digest, other.entry.reference) for other in same if other.entry.reference]
    return describe.image_json(
        image.config,
        image_id=str(image.image_id),
        repo_tags=[name.familiar for _, name in named if not name.digest],
        repo_digests=sorted({f"{name.familiar_repository}@{digest}" for digest, name in named if digest}),
        size_bytes=image.size_bytes,
    )
