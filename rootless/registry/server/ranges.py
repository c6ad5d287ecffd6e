"""Ranges of bytes: those that a client wants of a blob, and those that it sends of an upload. Pure.

Spec: RFC 9110 §14; distribution-spec v1.1 §Pushing a blob in chunks.
"""

from __future__ import annotations

import re

_DIGITS = r"([0-9]{1,18})"
_WANTED = re.compile(rf"bytes=(?:{_DIGITS}-{_DIGITS}?|-{_DIGITS})", re.IGNORECASE)
_SENT = re.compile(rf"(?:bytes[ =])?{_DIGITS}-{_DIGITS}(?:/.*)?")


class Unsatisfiable(Exception):
    """The blob has none of these bytes."""


def wanted(header: str, *, size: int) -> tuple[int, int] | None:
    """Return (first byte, byte after the last) of a `Range` header.

    Returns:
        None for the whole: no header, one that makes no sense, or several ranges, which a server may ignore.
    Raises:
        Unsatisfiable: it begins after the end.
    """
    match = _WANTED.fullmatch(header.strip())
    if match is None:
        return None
    if match[3] is not None:
        count = min(int(match[3]), size)
        if not count:
            raise Unsatisfiable
        return size - count, size
    first = int(match[1])
    last = int(match[2]) if match[2] is not None else size - 1
    if match[2] is not None and last < first:
        return None
    if first >= size:
        raise Unsatisfiable
    return first, min(last + 1, size)


def sent(header: str) -> tuple[int, int] | None:
    """Return (first byte, byte after the last) of the `Content-Range` of a chunk; None for no header.

    Raises:
        ValueError: it is malformed.
    """
    if not header.strip():
        return None
    match = _SENT.fullmatch(header.strip())
    if match is None or int(match[2]) < int(match[1]):
        raise ValueError(header)
    return int(match[1]), int(match[2]) + 1


def progress(offset: int) -> str:
    """Return the `Range` header of an upload that has `offset` bytes; like Docker's, "0-0" for none."""
    return f"0-{max(0, offset - 1)}"
