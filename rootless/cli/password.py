"""The password of a private key: from where cosign takes it, from stdin, or from who sits at the terminal."""

from __future__ import annotations

import os
import sys

from rootless.cli import terminal
from rootless.cli.args import BOOL, Option
from rootless.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rootless.cli.args import Parsed

PASSWORD_STDIN = Option(
    "--password-stdin",
    kind=BOOL,
    help="Take the password of the private key from stdin; else it is $COSIGN_PASSWORD, or asked for",
)
_MAX_BYTES = 1 << 16


def read_password(parsed: Parsed, *, is_new: bool) -> bytes:
    """Return the password.

    Args:
        is_new: whoever types it has to type it twice.

    Raises:
        UsageError: there is nobody to ask, or two passwords were typed.
    """
    if parsed.flag("password-stdin"):
        return sys.stdin.buffer.read(_MAX_BYTES).removesuffix(b"\n").removesuffix(b"\r")
    if (known := os.environ.get("COSIGN_PASSWORD")) is not None:
        return os.fsencode(known)
    if not terminal.is_terminal():
        raise UsageError(
            "cannot ask for the password of the private key: stdin is no terminal",
            hint="give --password-stdin, or set COSIGN_PASSWORD",
        )
    import getpass  # only who is asked pays for it

    password = getpass.getpass("Enter password for private key: ")
    if is_new and getpass.getpass("Enter password for private key again: ") != password:
        raise UsageError("the passwords differ")
    return password.encode("utf-8", "surrogateescape")
