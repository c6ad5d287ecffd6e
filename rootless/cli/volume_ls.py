"""`rootless volume ls`: list volumes. Ring 1: it reads records and nothing else."""

from __future__ import annotations

from rootless.cli import filters, output
from rootless.cli.args import BOOL, LIST, Command, Option
from rootless.engine import describe, volume_removal, volumes
from rootless.paths import find_paths

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    from rootless._entry import GlobalOptions
    from rootless.engine.volumes import Volume
    from rootless.paths import Paths

_FILTERS = ("dangling", "driver", "label", "label!", "name")

HEADERS: dict[str, Any] = {
    "Driver": "DRIVER",
    "Name": "VOLUME NAME",
    "Scope": "SCOPE",
    "Mountpoint": "MOUNTPOINT",
    "Labels": "LABELS",
    "Label": lambda name: name.rpartition(".")[2].upper(),
    "Links": "LINKS",
    "Size": "SIZE",
    "Availability": "AVAILABILITY",
    "Group": "GROUP",
    "Status": "STATUS",
}

TABLE = Command(
    "volume ls",
    "[OPTIONS]",
    "List volumes",
    options=(
        Option("--filter", "-f", kind=LIST, metavar="filter", help="Filter output based on conditions"),
        Option("--format", help=output.FORMAT_HELP),
        Option("--quiet", "-q", kind=BOOL, help="Only display volume names"),
    ),
    max_positionals=0,
)


def main(argv: list[str], options: GlobalOptions) -> int:
    """Print the volumes that the filters select, ordered by name."""
    parsed = TABLE.parse(argv)
    paths = find_paths(options.root)
    wanted = output.parse_filters(parsed.texts("filter"), known=_FILTERS)
    in_use = volume_removal.users(paths) if "dangling" in wanted else {}
    test = make_test(wanted, in_use=in_use)
    output.print_rows(
        [row(paths, volume) for volume in volumes.load_all(paths) if test(volume)],
        headers=HEADERS,
        columns=("Driver", "Name"),
        form=parsed.text("format"),
        quiet="Name" if parsed.flag("quiet") else "",
    )
    return 0


def make_test(
    wanted: Mapping[str, Sequence[str]], *, in_use: Mapping[str, Sequence[str]]
) -> Callable[[Volume], bool]:
    """Return what tells whether a volume is shown; values of one filter are alternatives, labels are not.

    Args:
        in_use: volume name → containers.
    """
    dangling = {filters.boolean("dangling", value) for value in wanted.get("dangling", ())}

    def test(volume: Volume) -> bool:
        return (
            (not dangling or (volume.name not in in_use) in dangling)
            and ("driver" not in wanted or "local" in wanted["driver"])
            and ("name" not in wanted or any(value in volume.name for value in wanted["name"]))
            and filters.fits_labels(describe.volume_labels(volume), wanted)
        )

    return test


def row(paths: Paths, volume: Volume) -> dict[str, Any]:
    labels = describe.volume_labels(volume)
    return {
        "Driver": "local",
        "Name": volume.name,
        "Scope": "local",
        "Mountpoint": volumes.data_directory(paths, volume.name),
        "Labels": ",".join(f"{name}={value}" for name, value in labels.items()),
        "Label": lambda name: labels.get(name, ""),
        "Links": "N/A",
        "Size": "N/A",
        "Availability": "N/A",
        "Group": "N/A",
        "Status": "N/A",
    }
