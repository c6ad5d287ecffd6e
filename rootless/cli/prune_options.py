"""What the `prune` commands share: their options, the question, what they say."""

from __future__ import annotations

from rootless.cli import confirm, output
from rootless.cli.args import BOOL, LIST, Option
from rootless.engine import modes
from rootless.paths import find_paths

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rootless._entry import GlobalOptions
    from rootless.cli.args import Parsed
    from rootless.model.host import IdMapping
    from rootless.paths import Paths

FORCE = Option("--force", "-f", kind=BOOL, help="Do not prompt for confirmation")


def filter_option(example: str) -> Option:
    return Option("--filter", kind=LIST, metavar="filter", help=f'Provide filter values (e.g. "{example}")')


def until_ns(chosen: Mapping[str, Sequence[str]], *, now_ns: int) -> int | None:
    """Return the moment before which an object must have been created, None for any: all values must hold."""
    if "until" not in chosen:
        return None
    from rootless.cli.moments import parse_moment  # compiles expressions

    return min(parse_moment(text, option="--filter until", now_ns=now_ns) for text in chosen["until"])


def agreed(parsed: Parsed, warning: str) -> bool:
    """Tell whether the user wants it, by --force or when asked."""
    return parsed.flag("force") or confirm.agrees(warning)


def open_store(options: GlobalOptions) -> tuple[Paths, IdMapping]:
    """Return the store, which is there from now on, and whose ids its files have."""
    paths = find_paths(options.root)
    paths.ensure()
    return paths, modes.load_store_modes(paths)[1].mapping


def write_listing(title: str, lines: Sequence[str]) -> None:
    """Print what Docker prints of removed things: nothing if there were none."""
    if lines:
        output.write(f"{title}\n" + "".join(f"{line}\n" for line in lines) + "\n")


def write_freed(freed_bytes: int) -> None:
    output.write(f"Total reclaimed space: {output.human_size(freed_bytes)}\n")
