"""`rootless create`: record a container without starting it. Ring 1 for a local image."""

from __future__ import annotations

from rootless.cli import creation, foreground, run_options, run_unsupported
from rootless.cli.run_table import CREATE_TABLE
from rootless.engine import modes, removal
from rootless.paths import find_paths

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rootless._entry import GlobalOptions

TABLE = CREATE_TABLE


def main(argv: list[str], options: GlobalOptions) -> int:
    """Print the id of the new container."""
    parsed = TABLE.parse(argv)
    run_options.check_conflicts(parsed)
    paths = find_paths(options.root)
    paths.ensure()
    _, mode = modes.load_modes(paths, storage=parsed.text("storage"))
    removal.sweep(paths, mapping=mode.mapping)
    spec = creation.create(paths, parsed, options, mapping_key=mode.mapping.key)
    for text in mode.notices:
        foreground.notice_once(paths, text)
    for text in run_unsupported.notices(parsed):
        foreground.notice(text)
    print(spec.id)
    return 0
