"""`rootless unshare`: run a command among the files of foreign ids, as their root. Ring 1.

The same user namespace in which layers are unpacked and containers live, and a mount namespace of its own:
mounts made inside are gone with the command. The network, processes and everything else are the host's.
"""

from __future__ import annotations

import os
import signal

from rootless.cli.args import Command
from rootless.errors import EXIT_NOT_EXECUTABLE, EXIT_NOT_FOUND, RuntimeSetupError, os_error_text
from rootless.paths import find_paths

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rootless._entry import GlobalOptions

TABLE = Command(
    "unshare",
    "[COMMAND] [ARG...]",
    "Run a command in the user namespace of the containers",
    interspersed=False,
)


def main(argv: list[str], options: GlobalOptions) -> int:
    """Replace this process by the command, or by the user's shell."""
    from rootless.engine import modes
    from rootless.linux import calls, const
    from rootless.runtime import userns

    parsed = TABLE.parse(argv)
    command = parsed.positionals or (os.environ.get("SHELL") or "/bin/sh",)
    paths = find_paths(options.root)
    paths.ensure()
    _, chosen = modes.load_modes(paths)
    userns.enter(chosen.mapping, paths.run)
    calls.unshare(const.CLONE_NEWNS)
    calls.mount(None, "/", None, const.MS_REC | const.MS_SLAVE)  # the host's later mounts still come in
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # Python ignores it, and exec would keep that
    try:
        os.execvp(command[0], command)  # noqa: S606  the user's own command
    except OSError as exc:
        missing = isinstance(exc, (FileNotFoundError, NotADirectoryError))
        raise RuntimeSetupError(
            f"cannot run `{command[0]}`: {os_error_text(exc)}",
            reference="command-not-found" if missing else "command-not-executable",
            exit_code=EXIT_NOT_FOUND if missing else EXIT_NOT_EXECUTABLE,
        ) from exc
