"""System calls that Python lacks, one thin wrapper each, named like the call; all raise OSError.

No policy and no retries: callers decide. Paths are `str` (surrogateescape) or `bytes`; returned
descriptors are close-on-exec and belong to the caller. Safe after pivot_root: nothing is imported here
later. Ring 0, and the one importer of ctypes.

Numbers from 424 on are the same on every architecture (Linux 5.1 unified them).
"""

from __future__ import annotations

import ctypes
import errno
import os

from rootless.linux import const

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Path = str | bytes

# PyDLL keeps the GIL: these calls are short, and clone() must come back in both processes without taking it.
_libc = ctypes.PyDLL(None, use_errno=True)
_syscall = _libc.syscall
_syscall.restype = ctypes.c_long
_long = ctypes.c_long

_SYS_open_tree = 428
_SYS_move_mount = 429
_SYS_fsopen = 430
_SYS_fsconfig = 431
_SYS_fsmount = 432
_SYS_clone3 = 435
_SYS_close_range = 436
_SYS_openat2 = 437
_SYS_pidfd_getfd = 438
_SYS_mount_setattr = 442
_SYS_landlock_create_ruleset = 444
_BY_MACHINE = {  # clone, pivot_root, capget, capset, seccomp, renameat2, keyctl
    "x86_64": (56, 155, 125, 126, 317, 316, 250),
    "aarch64": (220, 41, 90, 91, 277, 276, 219),
}
_MACHINE = os.uname().machine
(
    _SYS_clone,
    _SYS_pivot_root,
    _SYS_capget,
    _SYS_capset,
    _SYS_seccomp,
    _SYS_renameat2,
    _SYS_keyctl,
) = _BY_MACHINE.get(
    _MACHINE,
    _BY_MACHINE["aarch64"],  # the generic table of newer architectures (riscv64, loongarch64)
)


def _fail(path: Path | None = None) -> OSError:
    number = ctypes.get_errno()
    return OSError(number, os.strerror(number), None if path is None else os.fsdecode(path))


def _call(number: int, *args: Any, path: Path | None = None) -> int:
    """Make a raw system call; int arguments are passed as long, bytes and ctypes objects as pointers."""
    result: int = _syscall(_long(number), *[_long(a) if type(a) is int else a for a in args])
    if result < 0:
        raise _fail(path)
    return result


def _bytes(path: Path | None) -> bytes | None:
    return None if path is None else os.fsencode(path)


# Processes and namespaces


def clone(flags: int) -> int:
    """Fork with CLONE_* flags: 0 in the child, the child's pid in the parent.

    The child is a copy as after fork(2), but CPython and libc are not told. That is sound only in a
    process with one thread, and for a child that ends in exec or os._exit: no lock can be held by a
    thread that is not there, and at-fork handlers are not run. It saves the second fork that
    unshare(CLONE_NEWPID) needs. Reference: man 2 clone.
    """
    return _call(_SYS_clone, flags | 17, 0, 0, 0, 0)  # 17: SIGCHLD; a null stack is a copied stack


def clone_into(flags: int, cgroup_fd: int) -> int:
    """Do the same, with the child born into a cgroup of version 2 (clone3, Linux 5.7).

    Moving a process later costs some 15 ms: the kernel waits until no process is in the middle of a fork.
    """
    arguments = (ctypes.c_uint64 * 11)()  # struct clone_args of linux/sched.h, version 2
    arguments[0] = flags | const.CLONE_INTO_CGROUP
    arguments[4] = 0 if flags & const.CLONE_PARENT else 17  # exit_signal: SIGCHLD, or that of the caller
    arguments[10] = cgroup_fd
    return _call(_SYS_clone3, arguments, ctypes.sizeof(arguments))


def unshare(flags: int) -> None:
    if _libc.unshare(flags) < 0:
        raise _fail()


def setns(fd: int, nstype: int = 0) -> None:
    """Join the namespace of an nsfs descriptor, or those named by `nstype` of a pidfd (Linux 5.8)."""
    if _libc.setns(fd, nstype) < 0:
        raise _fail()


def pidfd_open(pid: int) -> int:
    return os.pidfd_open(pid)


def pidfd_getfd(pidfd: int, fd: int) -> int:
    return _call(_SYS_pidfd_getfd, pidfd, fd, 0)


def prctl(option: int, arg2: int = 0, arg3: int = 0, arg4: int = 0, arg5: int = 0) -> int:
    result: int = _libc.prctl(option, _long(arg2), _long(arg3), _long(arg4), _long(arg5))
    if result < 0:
        raise _fail()
    return result


def set_process_name(name: str) -> None:
    """Set what `ps -o comm` shows: at most 15 bytes are kept."""
    if _libc.prctl(const.PR_SET_NAME, ctypes.c_char_p(os.fsencode(name)), _long(0), _long(0), _long(0)) < 0:
        raise _fail()


def overwrite_command_line(start: int, end: int, text: bytes) -> None:
    """Replace what /proc/PID/cmdline shows, in place: the words that this process was started with.

    Args:
        start, end: arg_start and arg_end, fields 48 and 49 of /proc/self/stat (man 5 proc).
    """
    ctypes.memset(start, 0, end - start)
    ctypes.memmove(start, text, min(len(text), end - start - 1))


def capset(*, effective: int, permitted: int, inheritable: int) -> None:
    """Set the capability sets of this thread from 64-bit masks (bit n is capability n)."""
    header = (ctypes.c_uint32 * 2)(const.LINUX_CAPABILITY_VERSION_3, 0)
    low = 0xFFFFFFFF
    sets = (effective, permitted, inheritable)
    data = (ctypes.c_uint32 * 6)(*[s & low for s in sets], *[s >> 32 for s in sets])
    _call(_SYS_capset, header, data)


def capget(pid: int = 0) -> tuple[int, int, int]:
    """Return (effective, permitted, inheritable) as 64-bit masks."""
    header = (ctypes.c_uint32 * 2)(const.LINUX_CAPABILITY_VERSION_3, pid)
    data = (ctypes.c_uint32 * 6)()
    _call(_SYS_capget, header, data)
    return data[0] | data[3] << 32, data[1] | data[4] << 32, data[2] | data[5] << 32


def seccomp(operation: int, flags: int, args: Any) -> int:
    """Call seccomp(2); `args` is a ctypes object or None."""
    return _call(_SYS_seccomp, operation, flags, args if args is not None else 0)


def join_session_keyring() -> int:
    """Replace the session keyring by a new, empty one; returns its serial number (man 2 keyctl)."""
    return _call(_SYS_keyctl, const.KEYCTL_JOIN_SESSION_KEYRING, 0, 0, 0, 0)


class _SockFprog(ctypes.Structure):
    _fields_ = (("len", ctypes.c_ushort), ("filter", ctypes.c_char_p))  # linux/filter.h


def seccomp_set_filter(program: bytes, *, flags: int = 0) -> int:
    """Install a BPF program (an array of struct sock_filter, 8 bytes each).

    Needs no_new_privs or CAP_SYS_ADMIN in the user namespace. Returns 0, or the listener's descriptor
    with SECCOMP_FILTER_FLAG_NEW_LISTENER.
    """
    fprog = _SockFprog(len(program) // 8, program)
    return seccomp(const.SECCOMP_SET_MODE_FILTER, flags, ctypes.byref(fprog))


def seccomp_action_available(action: int) -> bool:
    """Say whether the kernel knows a SECCOMP_RET_* action (Linux 4.14)."""
    try:
        seccomp(const.SECCOMP_GET_ACTION_AVAIL, 0, ctypes.byref(ctypes.c_uint32(action)))
    except OSError as exc:
        if exc.errno == errno.EOPNOTSUPP:
            return False
        raise
    return True


def landlock_abi() -> int:
    """Return the Landlock ABI version of this kernel.

    Raises:
        OSError: ENOSYS or EOPNOTSUPP where Landlock is missing or off.
    """
    return _call(_SYS_landlock_create_ruleset, 0, 0, const.LANDLOCK_CREATE_RULESET_VERSION)


def sethostname(name: str) -> None:
    data = os.fsencode(name)
    if _libc.sethostname(data, ctypes.c_size_t(len(data))) < 0:
        raise _fail()


def setdomainname(name: str) -> None:
    data = os.fsencode(name)
    if _libc.setdomainname(data, ctypes.c_size_t(len(data))) < 0:
        raise _fail()


# Mounts


def mount(
    source: Path | None, target: Path, fstype: str | None, flags: int, data: str | bytes | None = None
) -> None:
    """Call mount(2). `data` is at most one page with its NUL; the kernel cuts longer ones silently."""
    result = _libc.mount(
        _bytes(source), os.fsencode(target), _bytes(fstype), ctypes.c_ulong(flags), _bytes(data)
    )
    if result < 0:
        raise _fail(target)


def umount2(target: Path, flags: int = 0) -> None:
    if _libc.umount2(os.fsencode(target), flags) < 0:
        raise _fail(target)


def pivot_root(new_root: Path, put_old: Path) -> None:
    _call(_SYS_pivot_root, os.fsencode(new_root), os.fsencode(put_old), path=new_root)


def open_tree(dirfd: int, path: Path, flags: int) -> int:
    """Open or, with OPEN_TREE_CLONE, copy a mount (man 2 open_tree); always close-on-exec."""
    return _call(_SYS_open_tree, dirfd, os.fsencode(path), flags | const.OPEN_TREE_CLOEXEC, path=path)


def move_mount(from_fd: int, to_fd: int) -> None:
    """Attach the mount `from_fd` (of open_tree or fsmount) on the file that `to_fd` (O_PATH will do) is."""
    flags = const.MOVE_MOUNT_F_EMPTY_PATH | const.MOVE_MOUNT_T_EMPTY_PATH
    _call(_SYS_move_mount, from_fd, b"", to_fd, b"", flags)


def fsopen(fstype: str) -> int:
    return _call(_SYS_fsopen, os.fsencode(fstype), const.FSOPEN_CLOEXEC, path=fstype)


def fsconfig(fd: int, command: int, key: str | None = None, value: str | None = None, aux: int = 0) -> None:
    """Configure a file system context; a string value has at most 255 bytes."""
    key_bytes, value_bytes = _bytes(key), _bytes(value)
    _call(
        _SYS_fsconfig, fd, command, key_bytes or 0, 0 if value_bytes is None else value_bytes, aux, path=key
    )


def fsmount(fd: int, mount_attributes: int = 0) -> int:
    """Return a detached mount of the context's file system; it can be used as a directory descriptor."""
    return _call(_SYS_fsmount, fd, const.FSMOUNT_CLOEXEC, mount_attributes)


def mount_setattr(
    fd: int, *, attr_set: int = 0, attr_clr: int = 0, propagation: int = 0, recursive: bool = False
) -> None:
    """Change the attributes of the mount that `fd` is on (Linux 5.12)."""
    attributes = (ctypes.c_uint64 * 4)(attr_set, attr_clr, propagation, 0)
    flags = const.AT_EMPTY_PATH | (const.AT_RECURSIVE if recursive else 0)
    _call(_SYS_mount_setattr, fd, b"", flags, attributes, ctypes.sizeof(attributes))


class _StatFs(ctypes.Structure):
    _fields_ = (("f_type", ctypes.c_long), ("rest", ctypes.c_long * 31))  # asm-generic/statfs.h, 120 bytes


def fstatfs_type(fd: int) -> int:
    """Return f_type of fstatfs(2): a *_MAGIC of const. Works on O_PATH descriptors."""
    buffer = _StatFs()
    if _libc.fstatfs(fd, ctypes.byref(buffer)) < 0:
        raise _fail()
    return int(buffer.f_type)


# Files


def openat2(dirfd: int, path: Path, flags: int, *, mode: int = 0, resolve: int = 0) -> int:
    """Open with RESOLVE_* limits (man 2 openat2, Linux 5.6); always close-on-exec."""
    how = (ctypes.c_uint64 * 3)(flags | os.O_CLOEXEC, mode, resolve)
    return _call(_SYS_openat2, dirfd, os.fsencode(path), how, ctypes.sizeof(how), path=path)


def renameat2(old_dirfd: int, old: Path, new_dirfd: int, new: Path, flags: int = 0) -> None:
    _call(_SYS_renameat2, old_dirfd, os.fsencode(old), new_dirfd, os.fsencode(new), flags, path=new)


def syncfs(fd: int) -> None:
    if _libc.syncfs(fd) < 0:
        raise _fail()


def ficlone(source_fd: int, target_fd: int) -> None:
    """Make `target_fd` share all blocks of `source_fd` (man 2 ioctl_ficlone)."""
    if _libc.ioctl(target_fd, ctypes.c_ulong(const.FICLONE), source_fd) < 0:
        raise _fail()


def close_range(first: int, last: int = 0xFFFFFFFF) -> None:
    """Close all descriptors from `first` to `last` (man 2 close_range, Linux 5.9)."""
    _call(_SYS_close_range, first, last, 0)
