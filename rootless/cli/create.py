"""`rootless create`: record a container without starting it. Ring 1 for a local image."""

from __future__ import annotations

from rootless.cli import creation, foreground, run_options, run_unsupported
from rootless.cli.run_table import CREATE_TABLE
from rootless.engine import modes, removal
from rootless.paths import find_paths

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rootless._entry import GlobalOptions
    from rootless.cli.args import Parsed
    from rootless.model.spec import ContainerSpec
    from rootless.paths import Paths

TABLE = CREATE_TABLE


def main(argv: list[str], options: GlobalOptions) -> int:
    """Print the id of the new container."""
    print(create(find_paths(options.root), TABLE.parse(argv), options).id)
    return 0


def create(paths: Paths, parsed: Parsed, options: GlobalOptions) -> ContainerSpec:
    """Record the container that a command line asks for; prints notices.

    Raises:
        RootlessError: nothing was recorded.
    """
    run_options.check_conflicts(parsed)
    paths.ensure()
    _, mode = modes.load_modes(paths, storage=parsed.text("storage"))
    removal.sweep(paths, mapping=mode.mapping)
    spec = creation.create(paths, parsed, options, mapping_key=mode.mapping.key, starting=False)
    for text in mode.notices:
        foreground.notice_once(paths, text)
    for text in run_unsupported.notices(parsed):
        foreground.notice(text)
    return spec
