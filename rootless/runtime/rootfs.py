"""Paths inside a root file system that nobody vouches for, as descriptors.

An image decides what `/etc/hosts` or `/data` is: a directory, a symlink to the host's files, a FIFO. The
kernel resolves every path here with the container's root as its root (RESOLVE_IN_ROOT: `..` and absolute
links stay inside) and without magic links (/proc/PID/fd/N leads out). Callers mount on the descriptor that
they get, never on a path (CVE-2021-30465, CVE-2025-31133, CVE-2025-52565, CVE-2024-45310). Ring 1.
"""

from __future__ import annotations

import errno
import os
import stat

from rootless.errors import RuntimeSetupError
from rootless.linux import calls, const

IN_ROOT = const.RESOLVE_IN_ROOT | const.RESOLVE_NO_MAGICLINKS
MAX_LINKS = 40
"""Dangling links that are followed to make a target, as many as the kernel itself follows."""
_RETRIES = 32
"""openat2 answers EAGAIN when a rename elsewhere races with `..`; a container can provoke it for ever."""


def open_in_root(root_fd: int, path: str, flags: int = const.O_PATH, *, resolve: int = IN_ROOT) -> int:
    """Open a path of the container; symlinks are followed inside the root.

    Raises:
        OSError: ENOENT, ENOTDIR, ELOOP (too many links, or a magic link), EACCES.
    """
    for _ in range(_RETRIES):
        try:
            return calls.openat2(root_fd, path, flags, resolve=resolve)
        except BlockingIOError:  # EAGAIN
            continue
    raise OSError(errno.EAGAIN, "the path is being renamed all the time", path)


def ensure_directory(root_fd: int, path: str, *, mode: int = 0o755, links: int = MAX_LINKS) -> int:
    """Open a directory of the container, making it and its parents if they are missing.

    A dangling symlink on the way is followed: what it names is made, inside the root.

    Raises:
        OSError: ENOTDIR when something on the way is a file, ELOOP after too many links.
    """
    try:
        return open_in_root(root_fd, path, const.O_PATH | os.O_DIRECTORY)
    except FileNotFoundError:
        pass
    parent, name = _split(path)
    parent_fd = ensure_directory(root_fd, parent, mode=mode, links=links)
    try:
        if name not in ("", ".", ".."):
            os.mkdir(name, mode, dir_fd=parent_fd)
    except FileExistsError:
        target = _dangling_target(parent_fd, parent, name, links)
        if target is not None:
            os.close(ensure_directory(root_fd, target, mode=mode, links=links - 1))
    finally:
        os.close(parent_fd)
    return open_in_root(root_fd, path, const.O_PATH | os.O_DIRECTORY)


def ensure_file(root_fd: int, path: str, *, links: int = MAX_LINKS) -> int:
    """Open (O_PATH) what is at a path of the container, as a place to mount a file on.

    A missing one is made, an empty regular file; a FIFO, socket or device will do as it is.

    Raises:
        OSError: EISDIR for a directory, ENOTDIR, ELOOP.
    """
    try:
        fd = open_in_root(root_fd, path)
    except FileNotFoundError:
        return _make_file(root_fd, path, links)
    if stat.S_ISDIR(os.fstat(fd).st_mode):
        os.close(fd)
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
    return fd


def refuse_proc(target_fd: int, path: str) -> None:
    """Refuse a mount target that a link has led into /proc.

    What is mounted there is a forgery of the kernel's words to every program that trusts them
    (CVE-2019-16884, CVE-2023-27561). Targets that are below /proc by name are `runtime.plan`'s to judge.

    Raises:
        RuntimeSetupError: it lies in /proc.
    """
    if not path.startswith("/proc/") and calls.fstatfs_type(target_fd) == const.PROC_SUPER_MAGIC:
        raise RuntimeSetupError(
            f"cannot mount on {path}: a link in the image leads from there into /proc",
            hint="the image is broken or hostile",
            reference="hostile-rootfs",
        )


def open_plain_directory(root_fd: int, name: str) -> int:
    """Open a directory directly below the root that must be one itself: /proc, /sys, /dev.

    The kernel's file systems are not mounted through a link: what guards them would be somewhere else
    (CVE-2019-19921, CVE-2023-27561, and the `/dev` link of CVE-2026-41579).

    Raises:
        RuntimeSetupError: the image has a link or a file there.
    """
    try:
        os.mkdir(name, 0o755, dir_fd=root_fd)
    except FileExistsError:
        pass
    except OSError as exc:
        if exc.errno != errno.EROFS:
            raise
    try:
        flags = const.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW
        return open_in_root(root_fd, name, flags, resolve=IN_ROOT | const.RESOLVE_NO_SYMLINKS)
    except OSError as exc:
        if exc.errno not in (errno.ENOTDIR, errno.ELOOP):
            raise
        raise RuntimeSetupError(
            f"cannot mount on /{name}: in this image it is not a directory",
            hint="a container needs a real directory there; the image is broken or hostile",
            reference="hostile-rootfs",
        ) from exc


def read_file(root_fd: int, path: str, *, max_bytes: int) -> bytes:
    """Return a regular file of the container; b"" when it is missing, unreadable or anything else.

    Does not block on a FIFO (CVE-2024-9676) and reads no more than `max_bytes`.

    Raises:
        RuntimeSetupError: the file is larger.
    """
    try:
        fd = open_in_root(root_fd, path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
    except OSError:
        return b""
    try:
        info = os.fstat(fd)
        if not stat.S_ISREG(info.st_mode):
            return b""
        if info.st_size > max_bytes:
            raise RuntimeSetupError(
                f"cannot read /{path} of the container: {info.st_size} bytes are too many",
                hint=f"at most {max_bytes} bytes are read",
                reference="hostile-rootfs",
            )
        parts = []
        while part := os.read(fd, 1 << 20):  # a file can grow while we read it
            parts.append(part)
            if sum(map(len, parts)) > max_bytes:
                break
        return b"".join(parts)[:max_bytes]
    except OSError:  # a link to /proc/self/mem, for one
        return b""
    finally:
        os.close(fd)


def _make_file(root_fd: int, path: str, links: int) -> int:
    parent, name = _split(path)
    parent_fd = ensure_directory(root_fd, parent, links=links)
    try:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        os.close(os.open(name, flags, 0o644, dir_fd=parent_fd))
    except FileExistsError:
        target = _dangling_target(parent_fd, parent, name, links)
        if target is not None:
            return ensure_file(root_fd, target, links=links - 1)
    finally:
        os.close(parent_fd)
    return open_in_root(root_fd, path)


def _dangling_target(parent_fd: int, parent: str, name: str, links: int) -> str | None:
    """Return where a link points as a path below the root; None when it is no link."""
    try:
        target = os.readlink(name, dir_fd=parent_fd)
    except OSError as exc:
        if exc.errno == errno.EINVAL:  # no link: another process made the directory meanwhile
            return None
        raise
    if links <= 0:
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), name)
    return target if target.startswith("/") else f"{parent}/{target}"


def _split(path: str) -> tuple[str, str]:
    parent, _, name = path.rstrip("/").rpartition("/")
    return parent or "/", name
