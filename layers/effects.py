"""The system calls that make a layer's entries. No decisions: names are resolved, kinds are known.

Every call takes a directory's descriptor and one component. The process's umask must be 0, so that modes come
out as given. Owners are set for real or recorded, by one of two strategies. Ring 2.
"""

from __future__ import annotations

import errno
import os

from layers.errors import InvalidLayer
from layers.owners import NO_CHANGE, decode_owner, encode_owner
from layers.whiteout import OWNER_XATTR, may_come_from_image

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Protocol

    from layers.tarcodec import TarReader
    from layers.tarheader import Member
    from layers.tree import Metadata

    class Owners(Protocol):
        """How an owner is given to a file; `notes` says what could not be kept."""

        notes: list[str]

        def needs_xattr(self, uid: int, gid: int) -> bool:
            """Tell whether the file must be writable by its owner when it is given away."""
            ...

        def give(self, fd: int, uid: int, gid: int) -> None:
            """Give an open file or directory to uid:gid."""
            ...

        def give_entry(self, dir_fd: int, name: bytes, uid: int, gid: int) -> None:
            """Give a link or FIFO to uid:gid."""
            ...

        def read(self, info: os.stat_result, recorded: bytes) -> tuple[int, int]:
            """Return the owner of a file that was given away earlier, from its stat and its OWNER_XATTR."""
            ...


_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_SPECIAL_BITS = 0o7000
_NO_XATTRS = (errno.ENOTSUP, errno.ENOSYS)
_REFUSED = (errno.EPERM, errno.EACCES, errno.EINVAL, errno.ENODATA, *_NO_XATTRS)


class DirectOwners:
    """chown for real: needs capabilities over mapped ids. New files belong to 0:0 already."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def needs_xattr(self, uid: int, gid: int) -> bool:
        return False

    def give(self, fd: int, uid: int, gid: int) -> None:
        if uid or gid:
            check_ids(uid, gid)
            try:
                os.chown(fd, uid, gid)
            except OSError as exc:
                raise _not_mapped(exc, uid, gid) from exc

    def give_entry(self, dir_fd: int, name: bytes, uid: int, gid: int) -> None:
        if uid or gid:
            check_ids(uid, gid)
            try:
                os.chown(name, uid, gid, dir_fd=dir_fd, follow_symlinks=False)
            except OSError as exc:
                raise _not_mapped(exc, uid, gid) from exc

    def read(self, info: os.stat_result, recorded: bytes) -> tuple[int, int]:
        return info.st_uid, info.st_gid


class RecordedOwners:
    """Record owners in the xattr `user.rootlesscontainers`: one id is mapped, or none.

    Links and FIFOs cannot have user xattrs: their owners are lost, as with umoci.
    """

    def __init__(self) -> None:
        self.notes: list[str] = []

    def needs_xattr(self, uid: int, gid: int) -> bool:
        return uid != 0 or gid != 0

    def give(self, fd: int, uid: int, gid: int) -> None:
        check_ids(uid, gid)
        value = encode_owner(uid, gid)
        if value and not self.notes:
            try:
                os.setxattr(fd, OWNER_XATTR, value)
            except OSError as exc:
                if exc.errno not in _NO_XATTRS:
                    raise
                self.notes.append("owners are not recorded: the file system has no extended attributes")

    def give_entry(self, dir_fd: int, name: bytes, uid: int, gid: int) -> None:
        check_ids(uid, gid)

    def read(self, info: os.stat_result, recorded: bytes) -> tuple[int, int]:
        return decode_owner(recorded)


class CallersOwners:
    """Everything belongs to whoever unpacks it."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def needs_xattr(self, uid: int, gid: int) -> bool:
        return False

    def give(self, fd: int, uid: int, gid: int) -> None:
        pass

    def give_entry(self, dir_fd: int, name: bytes, uid: int, gid: int) -> None:
        pass

    def read(self, info: os.stat_result, recorded: bytes) -> tuple[int, int]:
        return info.st_uid, info.st_gid


class AttemptedOwners(CallersOwners):
    """chown where the kernel lets this user, with one note where it does not."""

    def give(self, fd: int, uid: int, gid: int) -> None:
        self._try(lambda: os.chown(fd, uid, gid))

    def give_entry(self, dir_fd: int, name: bytes, uid: int, gid: int) -> None:
        self._try(lambda: os.chown(name, uid, gid, dir_fd=dir_fd, follow_symlinks=False))

    def _try(self, chown: Callable[[], None]) -> None:
        try:
            chown()
        except (PermissionError, OverflowError):
            if not self.notes:
                self.notes.append("owners are not kept: only the administrator may give files away")


def make_file(dir_fd: int, name: bytes, member: Member, reader: TarReader, *, owners: Owners) -> None:
    """Create a regular file with its data and metadata.

    Raises:
        FileExistsError: the name is taken; nothing was read.
    """
    mode = member.mode & 0o7777
    has_xattrs = bool(member.xattrs) or owners.needs_xattr(member.uid, member.gid)
    # setxattr wants write permission on the file even from a descriptor that may write.
    first_mode = mode & 0o777 | (0o600 if has_xattrs else 0)
    fd = os.open(name, _CREATE, first_mode, dir_fd=dir_fd)
    try:
        write_data(fd, member, reader)
        owners.give(fd, member.uid, member.gid)
        if member.xattrs:
            set_xattrs(fd, member.xattrs)
        # Last: writing and chown clear set-id bits.
        if mode & _SPECIAL_BITS or mode != first_mode:
            os.fchmod(fd, mode)
        os.utime(fd, ns=(member.mtime_ns, member.mtime_ns))
    finally:
        os.close(fd)


def write_data(fd: int, member: Member, reader: TarReader) -> None:
    """Write a member's data into an empty file."""
    if member.segments is not None:
        _write_sparse(fd, member, reader)
        return
    while reader.left:
        _write(fd, reader.read_some())


def make_link(dir_fd: int, name: bytes, member: Member, *, owners: Owners) -> None:
    """Create a symbolic link; its target is not looked at."""
    os.symlink(member.linkname, name, dir_fd=dir_fd)
    owners.give_entry(dir_fd, name, member.uid, member.gid)
    os.utime(name, ns=(member.mtime_ns, member.mtime_ns), dir_fd=dir_fd, follow_symlinks=False)


def make_fifo(dir_fd: int, name: bytes, member: Member, *, owners: Owners) -> None:
    """Create a FIFO; set-id bits mean nothing on it and are dropped."""
    os.mkfifo(name, member.mode & 0o777, dir_fd=dir_fd)
    owners.give_entry(dir_fd, name, member.uid, member.gid)
    os.utime(name, ns=(member.mtime_ns, member.mtime_ns), dir_fd=dir_fd, follow_symlinks=False)


def make_hard_link(source_fd: int, source: bytes, dir_fd: int, name: bytes) -> None:
    """Link `name` to a file, or to a symbolic link itself."""
    os.link(source, name, src_dir_fd=source_fd, dst_dir_fd=dir_fd, follow_symlinks=False)


def finish_directory(fd: int, metadata: Metadata, *, owners: Owners) -> None:
    """Give a directory its owner, xattrs, mode and time; nothing may be put into it afterwards."""
    owners.give(fd, metadata.uid, metadata.gid)
    if metadata.xattrs:
        set_xattrs(fd, metadata.xattrs)
    os.fchmod(fd, metadata.mode & 0o7777)
    os.utime(fd, ns=(metadata.mtime_ns, metadata.mtime_ns))


def set_xattrs(fd: int, xattrs: dict[bytes, bytes]) -> None:
    """Set the extended attributes that an image may set and this process can.

    Refusals are the host's policy (security.* and trusted.* need privileges, some file systems have no
    xattrs): like umoci and Docker, they cost the attribute, not the image.
    """
    for name, value in xattrs.items():
        if not may_come_from_image(name):
            continue
        try:
            os.setxattr(fd, name, value)
        except OSError as exc:
            if exc.errno not in _REFUSED:
                raise


def prepare_root(fd: int) -> None:
    """Free the empty root from what its parent directory passes on: set-group-id, default ACLs, a group.

    Shared project directories have all three, and each would change the mode or owner of every file made
    below.
    """
    for name in ("system.posix_acl_default", "system.posix_acl_access"):
        try:
            os.removexattr(fd, name)
        except OSError as exc:
            if exc.errno not in _REFUSED:
                raise
    info = os.fstat(fd)
    if info.st_gid != os.getegid():
        try:
            os.chown(fd, -1, os.getegid())
        except OSError as exc:
            if exc.errno not in (errno.EPERM, errno.EINVAL):
                raise
    os.fchmod(fd, 0o700)


def check_ids(uid: int, gid: int) -> None:
    """Refuse ids that no file can have.

    2^32-1 means "no change" to chown(2), larger ones wrap around to somebody else (CVE-2024-40635).

    Raises:
        InvalidLayer: one of them is such.
    """
    if not (0 <= uid < NO_CHANGE and 0 <= gid < NO_CHANGE):
        raise InvalidLayer(f"cannot extract entry: owner {uid}:{gid} is outside of 0 to {NO_CHANGE - 1}")


def _not_mapped(exc: OSError, uid: int, gid: int) -> Exception:
    if exc.errno != errno.EINVAL:
        return exc
    return InvalidLayer(
        f"cannot extract entry: its owner {uid}:{gid} is beyond the ids mapped for this user",
        hint="have a longer range added to /etc/subuid and /etc/subgid, or use the identity mode `single`",
    )


def _write(fd: int, data: memoryview) -> None:
    written = os.write(fd, data)
    while written < len(data):  # a full disk, or more than 2 GiB at once
        written += os.write(fd, data[written:])


def _write_sparse(fd: int, member: Member, reader: TarReader) -> None:
    assert member.segments is not None
    for offset, length in member.segments:
        position, end = offset, offset + length
        os.lseek(fd, offset, os.SEEK_SET)
        while position < end:
            data = reader.read_some(end - position)
            _write(fd, data)
            position += len(data)
    os.ftruncate(fd, member.real_size)
