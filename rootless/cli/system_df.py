"""`rootless system df`: the space that images, containers and volumes take."""

from __future__ import annotations

import time

from rootless.cli import images, output, ps
from rootless.cli.args import BOOL, Command, Option
from rootless.engine import modes
from rootless.engine.disk_usage import DiskUsage, Share
from rootless.interface.store import created_seconds
from rootless.paths import find_paths

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from rootless._entry import GlobalOptions

HEADERS = {
    "Type": "TYPE",
    "TotalCount": "TOTAL",
    "Active": "ACTIVE",
    "Size": "SIZE",
    "Reclaimable": "RECLAIMABLE",
}
_IMAGES = ("Repository", "Tag", "ID", "CreatedSince", "Size", "SharedSize", "UniqueSize", "Containers")
_CONTAINERS = ("ID", "Image", "Command", "LocalVolumes", "Size", "RunningFor", "Status", "Names")
_VOLUMES = ("Name", "Links", "Size")
_TITLES = {"RunningFor": "CREATED", "Name": "VOLUME NAME", "LocalVolumes": "LOCAL VOLUMES"}

TABLE = Command(
    "system df",
    "[OPTIONS]",
    "Show disk usage",
    options=(
        Option("--format", help=output.FORMAT_HELP),
        Option("--verbose", "-v", kind=BOOL, help="Show detailed information on space usage"),
    ),
    max_positionals=0,
)


def main(argv: list[str], options: GlobalOptions) -> int:
    """Print a line for each kind of objects, or with -v one for each object."""
    parsed = TABLE.parse(argv)
    paths = find_paths(options.root)
    paths.ensure()
    found = DiskUsage(paths, modes.load_store_modes(paths)[1].mapping)
    form = parsed.text("format")
    if parsed.flag("verbose"):
        output.write(_details(details(found, now_s=time.time()), form))
        return 0
    rows = [
        row("Images", found.image_share()),
        row("Containers", found.container_share()),
        row("Local Volumes", found.volume_share()),
        row("Build Cache", Share(total=0, active=0, size_bytes=0, free_bytes=0)),
    ]
    output.print_rows(rows, headers=HEADERS, columns=tuple(HEADERS), form=form)
    return 0


def row(kind: str, share: Share) -> dict[str, Any]:
    """Return what a template or a column can show of one kind."""
    free = output.human_size(share.free_bytes)
    if share.size_bytes:
        free += f" ({share.free_bytes * 100 // share.size_bytes}%)"
    return {
        "Type": kind,
        "TotalCount": str(share.total),
        "Active": str(share.active),
        "Size": output.human_size(share.size_bytes),
        "Reclaimable": free,
    }


def details(found: DiskUsage, *, now_s: float) -> dict[str, list[dict[str, Any]]]:
    """Return what is told of each object, with Docker's names: what a template of -v can show."""
    shown: dict[str, list[dict[str, Any]]] = {"Images": [], "Containers": [], "Volumes": []}
    newest_first = sorted(found.images, key=lambda item: -created_seconds(item.image.config.created))
    for item in newest_first:
        sizes = {
            "SharedSize": output.human_size(item.shared_bytes),
            "UniqueSize": output.human_size(item.image.size_bytes - item.shared_bytes),
            "Containers": str(item.containers),
        }
        shown["Images"].append(images.row(item.image, now_s=now_s, truncate=True, digests=False) | sizes)
    for container, size in found.containers:
        text = output.human_size(size)
        shown["Containers"].append(ps.row(container, now_ns=int(now_s * 1e9), truncate=True, size=text))
    for volume, size in found.volumes:
        links = str(len(found.links.get(volume.name, ())))
        shown["Volumes"].append({"Name": volume.name, "Links": links, "Size": output.human_size(size)})
    return {**shown, "BuildCache": []}


def _details(shown: dict[str, list[dict[str, Any]]], form: str) -> str:
    if form == "json":
        import json

        plain = {kind: [_without_methods(row) for row in rows] for kind, rows in shown.items()}
        return json.dumps(plain, ensure_ascii=False, separators=(",", ":")) + "\n"
    if form not in ("", "table"):
        from rootless.cli.template import Template  # only for those who ask

        return Template(form).render(shown) + "\n"
    return "\n".join(
        (
            "Images space usage:\n",
            _table(shown["Images"], images.HEADERS, _IMAGES),
            "Containers space usage:\n",
            _table(shown["Containers"], ps.HEADERS, _CONTAINERS),
            "Local Volumes space usage:\n",
            _table(shown["Volumes"], HEADERS, _VOLUMES),
            "Build cache usage: 0B\n",
        )
    )


def _table(rows: Sequence[dict[str, Any]], headers: dict[str, Any], columns: Sequence[str]) -> str:
    titles = [_TITLES.get(column) or headers.get(column, column.upper()) for column in columns]
    return output.table([titles, *([row[column] for column in columns] for row in rows)])


def _without_methods(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if not callable(value)}
