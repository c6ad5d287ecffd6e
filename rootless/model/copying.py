"""Where `cp` puts what it copies: Docker's rules, the same for both directions. Pure.

    source     target                     result
    file       missing                    AS: a file of the target's name
               missing, ends in /         refused: that directory must exist
               file                       AS: the file is replaced
               directory                  INTO: the directory, under the source's own name
    directory  missing                    AS: a directory of the target's name
               file                       refused
               directory                  INTO; CONTENTS if the source ends in /.

An archive (`-`) is unpacked in a directory that exists.
"""

from __future__ import annotations

import posixpath

from rootless.errors import RootlessError

AS = "as"
INTO = "into"
CONTENTS = "contents"


def place(
    *,
    is_directory: bool,
    contents: bool,
    target: str,
    exists: bool,
    target_is_directory: bool,
) -> str:
    """Decide.

    Args:
        is_directory, contents: what the source is, and whether it was written with "/." at the end.
        target: as written; the other two tell what is there, links followed.
    Raises:
        RootlessError: the rules forbid it.
    """
    if target_is_directory:
        return CONTENTS if is_directory and contents else INTO
    if exists:
        if is_directory:
            raise _refusal("cannot copy a directory over a file", target)
        if wants_directory(target):
            raise _refusal("cannot copy there: not a directory", target)
        return AS
    if wants_directory(target) and not is_directory:
        raise _refusal("cannot copy a file there: no such directory", target, hint="make it first")
    return AS


def wants_directory(path: str) -> bool:
    """Tell whether a path can only mean a directory, and a link at its end what it leads to."""
    return path.endswith("/") or posixpath.basename(path) in (".", "..")


def wants_contents(path: str) -> bool:
    """Tell whether a source means what is in a directory rather than the directory."""
    return posixpath.basename(path) == "." or not own_name(path)


def own_name(path: str) -> str:
    """Return the name that a container's path has in an archive, "" for the root."""
    return posixpath.basename(posixpath.normpath("/" + path))


def _refusal(message: str, target: str, *, hint: str | None = None) -> RootlessError:
    return RootlessError(message, on=target, hint=hint, reference="copy-target")
