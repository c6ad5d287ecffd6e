"""`rootless history`: the steps by which an image was made, newest first."""

from __future__ import annotations

import time
from datetime import datetime

from rootless.cli import output
from rootless.cli.args import BOOL, Command, Option
from rootless.engine import image_lookup
from rootless.interface.store import created_seconds
from rootless.paths import find_paths

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from layers.config import HistoryEntry, ImageConfig
    from rootless._entry import GlobalOptions

HEADERS: dict[str, Any] = {
    "ID": "IMAGE",
    "CreatedSince": "CREATED",
    "CreatedAt": "CREATED AT",
    "CreatedBy": "CREATED BY",
    "Size": "SIZE",
    "Comment": "COMMENT",
}
MISSING = "<missing>"
"""Docker's id of a step: only the whole image has one."""
_CREATED_BY_WIDTH = 45

TABLE = Command(
    "history",
    "[OPTIONS] IMAGE",
    "Show the history of an image",
    options=(
        Option("--format", help=output.FORMAT_HELP),
        Option(
            "--human", "-H", kind=BOOL, default=True, help="Print sizes and dates in human readable format"
        ),
        Option("--no-trunc", kind=BOOL, help="Don't truncate output"),
        Option("--quiet", "-q", kind=BOOL, help="Only show image IDs"),
    ),
    min_positionals=1,
    max_positionals=1,
    completes="images",
)


def main(argv: list[str], options: GlobalOptions) -> int:
    """Print a line for each step."""
    parsed = TABLE.parse(argv)
    human, truncate = parsed.flag("human"), not parsed.flag("no-trunc")
    image = image_lookup.find_image(find_paths(options.root), parsed.positionals[0])
    now_s = time.time()
    rows = [
        row(entry, size, now_s=now_s, human=human, truncate=truncate)
        for entry, size in steps(image.config, image.layer_sizes)[::-1]
    ]
    if rows:
        rows[0]["ID"] = image.image_id.short if truncate else image.image_id
    output.print_rows(
        rows,
        headers=HEADERS,
        columns=("ID", "CreatedSince" if human else "CreatedAt", "CreatedBy", "Size", "Comment"),
        form=parsed.text("format"),
        quiet="ID" if parsed.flag("quiet") else "",
    )
    return 0


def steps(config: ImageConfig, sizes: Sequence[int]) -> list[tuple[HistoryEntry | None, int]]:
    """Return the steps, oldest first, with the bytes that each added.

    A history that does not fit the layers tells nothing about them: then each layer is a step of its own.
    """
    if sum(not entry.empty_layer for entry in config.history) != len(sizes):
        return [(None, size) for size in sizes]
    rest = iter(sizes)
    return [(entry, 0 if entry.empty_layer else next(rest)) for entry in config.history]


def row(
    entry: HistoryEntry | None, size: int, *, now_s: float, human: bool, truncate: bool
) -> dict[str, Any]:
    """Return what a template or a column can show of one step."""
    created_s = created_seconds(entry.created) if entry else 0
    created_at = datetime.fromtimestamp(created_s).astimezone().isoformat("T", "seconds") if created_s else ""
    created_by = entry.created_by.replace("\t", " ") if entry else ""
    since = output.human_age(int(created_s * 1e9), int(now_s * 1e9)) if created_s else "N/A"
    return {
        "ID": MISSING,
        "CreatedSince": since if human else created_at,
        "CreatedAt": created_at,
        "CreatedBy": output.ellipsis(created_by, _CREATED_BY_WIDTH) if truncate else created_by,
        "Size": output.human_size(size) if human else str(size),
        "Comment": entry.comment if entry else "",
    }
