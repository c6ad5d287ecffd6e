"""Errors of a pull in the user's terms: which image, which layer, what the disk had to do with it."""

from __future__ import annotations

import errno
import os
from contextlib import contextmanager

from layers.errors import LayersError, StoreError
from rootless.engine.loop import most_telling
from rootless.errors import ImageError, RegistryError, RootlessError, os_error_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

DISK_FULL = "disk-full"
_FULL = (errno.ENOSPC, errno.EDQUOT)


@contextmanager
def explained(image: str, *, layer: str = "", disk: str) -> Iterator[None]:
    """Translate the layers library's errors, and the disk's, once, and unwrap the groups of nurseries.

    Args:
        layer: digest, "" outside of any layer.
        disk: see `free_space`; told when the disk is full. From before the work, since what failed is
            removed before anybody reads the message. "" where the store has no part in it.
    """
    where = f"{image}, layer {layer}" if layer else image
    try:
        yield
    except BaseException as exc:
        cause = most_telling(exc)
        if isinstance(cause, LayersError):
            raise _content_error(cause, where, disk) from cause
        if isinstance(cause, OSError) and not isinstance(cause, BrokenPipeError):  # whose reader has left
            raise _disk_error(cause, where, disk) from cause
        if isinstance(cause, RootlessError):
            _place(cause, where, disk)
        if isinstance(cause, Exception) and cause is not exc:
            raise cause from cause.__cause__
        raise


def free_space(path: str) -> str:
    """Return "12 MB were free on /the/store"."""
    info = os.statvfs(path)
    return f"{info.f_bavail * info.f_frsize // 1_000_000} MB were free on {path}"


def _place(error: RootlessError, where: str, disk: str) -> None:
    """Say of an error on what it happened, if it does not say so itself."""
    on = error.on or ""
    if where in on or isinstance(error, RegistryError):
        return
    error.on = f"{where}: {on}" if on and on not in where else where
    if error.reference == DISK_FULL and disk:
        error.on += f" ({disk})"


def _disk_error(exc: OSError, where: str, disk: str) -> RootlessError:
    message = f"cannot write to the store: {os_error_text(exc)}"
    on = f"{where}: {exc.filename}" if exc.filename else where
    if exc.errno not in _FULL:
        return RootlessError(message, on=on, reference="store")
    hint = "free space there, for instance by removing images, or choose --root elsewhere"
    return RootlessError(message, on=f"{on} ({disk})", hint=hint, reference=DISK_FULL)


def _content_error(exc: LayersError, where: str, disk: str) -> RootlessError:
    on = where if not exc.on or exc.on in where else f"{where}: {exc.on}"
    if not isinstance(exc, StoreError):
        return ImageError(exc.message, on=on, hint=exc.hint or None, reference=exc.reference)
    reference = exc.reference
    if isinstance(exc.__cause__, OSError) and exc.__cause__.errno in _FULL:
        on, reference = f"{on} ({disk})", DISK_FULL
    return RootlessError(exc.message, on=on, hint=exc.hint or None, reference=reference)
