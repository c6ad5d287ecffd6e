"""How others can run this command line again, long after: its words, and what it needs around it."""

from __future__ import annotations

import os
import sys

from rootless.cli.args import PROGRAM
from rootless.paths import find_paths

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from rootless._entry import GlobalOptions

_DEFAULT_PATH = "/usr/local/bin:/usr/bin:/bin"


def words(options: GlobalOptions) -> list[str]:
    """Return the absolute words that run this program on this store."""
    script = os.path.abspath(sys.argv[0])
    is_script = os.path.basename(script) == PROGRAM and os.access(script, os.X_OK)
    program = [script] if is_script else [sys.executable, "-P", "-m", PROGRAM]
    return program + _root(options, os.environ)


def search_path() -> str:
    """Return $PATH: helpers of the engine that were found now must be found then."""
    return os.environ.get("PATH", _DEFAULT_PATH)


def _root(options: GlobalOptions, environment: Mapping[str, str]) -> list[str]:
    is_said = options.root or environment.get("ROOTLESS_ROOT") or environment.get("XDG_DATA_HOME")
    return ["--root", find_paths(options.root).store] if is_said else []
