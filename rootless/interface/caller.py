"""What the program that uses the interface contributes: its environment and its directory.

Options mean what they mean on a command line: `env=["NAME"]` takes the program's variable, a relative volume
lies in its directory, logins are looked for in its home. The interface's only reader of the environment.
"""

from __future__ import annotations

import os


def environment() -> dict[str, str]:
    return dict(os.environ)


def directory() -> str:
    return os.readlink("/proc/self/cwd")  # getcwd fails in a directory that was removed
