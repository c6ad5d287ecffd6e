"""Who may use the registry: a password file as Apache's `htpasswd -B` writes it, and Basic authentication.

The only importer of bcrypt. A password that was right once is remembered as a keyed hash: bcrypt takes 50
ms on purpose, and a push asks for many things.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import os

from rootless.errors import UsageError, os_error_text
from rootless.registry.server.refusal import UNAUTHORIZED, Refusal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

_BCRYPT = ("$2y$", "$2b$", "$2a$")
_BCRYPT_BYTES = 72
"""What bcrypt looks at; htpasswd cuts there too."""
_CHALLENGE = {"WWW-Authenticate": 'Basic realm="rootless registry", charset="UTF-8"'}
_REMEMBERED = 256


def parse_htpasswd(text: str, *, on: str) -> dict[str, bytes]:
    """Return user → bcrypt hash. Pure.

    Raises:
        UsageError: a line is no user with such a hash.
    """
    users: dict[str, bytes] = {}
    for number, line in enumerate(text.splitlines(), 1):
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        user, colon, kept = line.partition(":")
        if not colon or not user or not kept.startswith(_BCRYPT) or len(kept) != 60 or not kept.isascii():
            raise UsageError(
                f"cannot use the password file: line {number} has no bcrypt hash",
                on=on,
                hint=f"`htpasswd -B {on} USER` writes one",
            )
        users[user] = kept.encode()
    return users


def parse_basic(header: str) -> tuple[str, bytes] | None:
    """Return (user, password) of an Authorization header, None for none. Pure."""
    scheme, _, text = header.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        user, colon, password = base64.b64decode(text.strip(), validate=True).partition(b":")
        return (user.decode(), password) if colon else None
    except (binascii.Error, UnicodeDecodeError, ValueError):
        return None


class Passwords:
    """The users of a password file, which is read again when it changes. Blocking."""

    def __init__(self, path: str) -> None:
        """Read the file.

        Raises:
            UsageError: it cannot be read.
        """
        self._path = path
        self._key = os.urandom(32)
        self._right: dict[bytes, bytes] = {}
        self._users: dict[str, bytes] = {}
        self._seen: tuple[int, int, int] | None = None
        self._read()

    def check(self, headers: Mapping[str, str]) -> None:
        """Let a request pass, or not.

        Raises:
            Refusal: nobody of the file sends it.
        """
        given = parse_basic(headers.get("authorization", ""))
        if given is None:
            raise Refusal(401, UNAUTHORIZED, "authentication is required", headers=_CHALLENGE)
        self._read()
        if not self._is_right(*given):
            raise Refusal(401, UNAUTHORIZED, "unknown user or wrong password", headers=_CHALLENGE)

    def _is_right(self, user: str, password: bytes) -> bool:
        import bcrypt  # only who asks for passwords needs it

        kept = self._users.get(user, b"")
        proof = hmac.digest(self._key, user.encode() + b":" + password, hashlib.sha256)
        if kept and self._right.get(proof) == kept:
            return True
        if b"\0" in password:
            return False
        # An unknown user takes as long as a wrong password, or the difference would tell who is known.
        right = bcrypt.checkpw(password[:_BCRYPT_BYTES], kept or _NOBODY)
        if right and kept:
            if len(self._right) >= _REMEMBERED:
                self._right.clear()
            self._right[proof] = kept
        return right and bool(kept)

    def _read(self) -> None:
        try:
            info = os.stat(self._path)
            seen = (info.st_ino, info.st_size, info.st_mtime_ns)
            if seen == self._seen:
                return
            with open(self._path, encoding="utf-8") as file:
                self._users = parse_htpasswd(file.read(), on=self._path)
        except (OSError, UnicodeDecodeError) as exc:
            if self._seen is not None:
                return  # being replaced: those that were known stay
            cause = os_error_text(exc) if isinstance(exc, OSError) else "it is not UTF-8"
            raise UsageError(f"cannot read the password file: {cause}", on=self._path) from exc
        except UsageError:
            if self._seen is not None:
                return
            raise
        self._seen = seen


_NOBODY = b"$2b$10$" + b"." * 53
