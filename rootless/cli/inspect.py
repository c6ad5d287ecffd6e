"""`rootless inspect`: everything about containers and images, in Docker's JSON shapes. Ring 1."""

from __future__ import annotations

import json

from rootless.cli import output, several
from rootless.cli.args import Command, Option
from rootless.engine import describe, records
from rootless.errors import NotFound
from rootless.paths import find_paths

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from rootless._entry import GlobalOptions
    from rootless.engine.records import Container
    from rootless.paths import Paths

TABLE = Command(
    "inspect",
    "[OPTIONS] NAME|ID [NAME|ID...]",
    "Return low-level information on containers and images",
    options=(
        Option("--format", "-f", help="Format output using a custom template: 'json', or a Go template"),
        Option("--type", choices=("container", "image"), help="Only inspect objects of the given type"),
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
    found: list[dict[str, Any]] = []

    def look_up(query: str) -> None:
        found.append(find_object(paths, query, kind=parsed.text("type")))
        if render is not None:
            output.write(render(found[-1]) + "\n")

    code = several.for_each(parsed.positionals, look_up)
    if render is None:
        output.write(json.dumps(found, indent=4, ensure_ascii=False) + "\n")
    return code


def find_object(paths: Paths, query: str, *, kind: str = "") -> dict[str, Any]:
    """Return the description of the container or image that a word means; containers come first.

    Args:
        kind: "container" or "image"; "" for either.
    Raises:
        NotFound: there is none, or a prefix means several.
    """
    if kind != "image":
        try:
            return _container(paths, records.find(paths, query))
        except NotFound as exc:
            if kind == "container" or exc.reference != "no-such-container":
                raise
    try:
        return _image(paths, query)
    except NotFound as exc:
        if kind == "image" or exc.reference != "no-such-image":
            raise
        raise NotFound(
            f"no such object: {query}",
            hint="`rootless ps -a` and `rootless images` list what there is",
            reference="no-such-object",
        ) from exc


def _renderer(form: str) -> Any:
    if form == "json":
        return lambda value: json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    from rootless.cli.template import Template  # only for those who ask

    return Template(form).render


def _container(paths: Paths, container: Container) -> dict[str, Any]:
    addresses: tuple[str, ...] = ()
    if describe.has_addresses(container):
        from rootless.network.addresses import load_addresses  # not for images

        addresses = load_addresses(container.state.pid)
    return describe.container_json(paths, container, addresses=addresses)


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
