"""`rootless inspect`: everything about containers, images and volumes, in Docker's JSON shapes. Ring 1."""

from __future__ import annotations

import json

from rootless.cli import output, several
from rootless.cli.args import BOOL, Command, Option
from rootless.interface import store
from rootless.paths import find_paths

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from rootless._entry import GlobalOptions

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
        found.append(store.find_object(paths, query, kind=parsed.text("type"), with_size=with_size))
        if render is not None:
            output.write(render(found[-1]) + "\n")

    code = several.for_each(parsed.positionals, look_up)
    if render is None:
        output.write(json.dumps(found, indent=4, ensure_ascii=False) + "\n")
    return code


def _renderer(form: str) -> Any:
    if form == "json":
        return lambda value: json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    from rootless.cli.template import Template  # only for those who ask

    return Template(form).render
