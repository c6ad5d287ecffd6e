"""The last steps before a program of a container runs; the same for its first process and for exec.

`Entrance` takes a process that is already inside the container's namespaces to the program of a plan
(`runtime.process_plan`): user, working directory, limits, terminal, capabilities, filter, exec. Nothing is
imported on that way: the interpreter's library may be out of sight.

Order, and why:
1. The user is looked up and the working directory opened with the container root's rights, as Docker does it.
2. Supplementary groups, gid, uid, in this order: each needs the privilege that the next one gives up.
3. The seccomp filter needs CAP_SYS_ADMIN or no_new_privs: it is installed after setresuid (which keeps the
   permitted set, PR_SET_KEEPCAPS) and before the capabilities fall. What follows it is capset, prctl,
   close_range and execve, which every usable filter allows.
4. All descriptors above 2 are closed by exec (they are close-on-exec) and, for those that a caller leaked
   into us, by close_range (CVE-2024-21626).
Ring 1.
"""

from __future__ import annotations

import errno
import gc
import os
import stat

from rootless.errors import EXIT_NOT_EXECUTABLE, EXIT_NOT_FOUND, RuntimeSetupError, os_error_text
from rootless.linux import calls, const
from rootless.runtime import users
from rootless.runtime.process_plan import candidates, environment
from rootless.runtime.rootfs import ensure_directory, open_in_root, read_file

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
    from typing import NoReturn

    from rootless.runtime.process_plan import ProcessPlan
else:
    import _signal as signal  # the C module alone: signal.py makes enums of its numbers, 1.3 ms

_LAST_FD = 0xFFFFFFFF


class Entrance:
    """The steps, in the order in which they must be called; each raises RuntimeSetupError."""

    __slots__ = ("identity", "plan")

    def __init__(self, plan: ProcessPlan) -> None:
        self.plan = plan
        self.identity = users.Identity(uid=0, gid=0, groups=(), home="")

    def look_up_user(self, root_fd: int) -> None:
        """Resolve the user in the container's own files, which are read as hostile."""
        passwd = read_file(root_fd, "etc/passwd", max_bytes=users.MAX_FILE_BYTES)
        group = read_file(root_fd, "etc/group", max_bytes=users.MAX_FILE_BYTES)
        self.identity = users.find_identity(self.plan.user, self.plan.groups, passwd=passwd, group=group)
        identity = self.identity
        if self.plan.single:
            return
        for kind, number, count in (
            ("user", identity.uid, self.plan.uids),
            *(("group", group_id, self.plan.gids) for group_id in identity.groups),
        ):
            if number >= count:
                raise RuntimeSetupError(
                    f"cannot run as {kind} {number}: ids 0 to {count - 1} are mapped on this host",
                    hint="an administrator can give this user more ids in /etc/subuid and /etc/subgid",
                    reference="id-not-mapped",
                )

    @property
    def pipe_owner(self) -> int:
        """The uid that pipes of the program must belong to; 0 where they do already."""
        return 0 if self.plan.single else self.identity.uid

    def nest_user(self, proc_fd: int) -> None:
        """Show the one mapped id as the wanted one (`single` mode), through a nested user namespace.

        The user's file lies in the image, so its number is known only when the root file system stands
        and the container's own namespace has its map. A child namespace maps that one id once more. Its
        owner has all capabilities in it and none in the container's: a program that is not the
        container's root loses them at exec anyway. Supplementary groups stay (setgroups is denied).

        Args:
            proc_fd: this process's own directory in a /proc that is trusted.
        """
        identity = self.identity
        if not self.plan.single or (identity.uid, identity.gid) == (0, 0):
            return
        try:
            calls.unshare(const.CLONE_NEWUSER)
            # setgroups is denied already: the parent namespace's answer is inherited
            _write(proc_fd, "uid_map", b"%d 0 1" % identity.uid)
            _write(proc_fd, "gid_map", b"%d 0 1" % identity.gid)
        except OSError as exc:
            raise _failure(f"show user {identity.uid}", exc) from exc

    def enter_directory(self, root_fd: int, *, create: bool) -> None:
        """Go to the working directory, which must lie inside the container."""
        try:
            if create:
                fd = ensure_directory(root_fd, self.plan.cwd)
            else:
                fd = open_in_root(root_fd, self.plan.cwd, const.O_PATH | os.O_DIRECTORY)
        except OSError as exc:
            raise _directory_failure(exc, self.plan.cwd) from exc
        try:
            os.fchdir(fd)
            inside = os.getcwd().startswith("/")  # the kernel says "(unreachable)/…" for what is outside
        except OSError as exc:
            if exc.errno != errno.ENOENT:
                raise _directory_failure(exc, self.plan.cwd) from exc
            inside = False
        finally:
            os.close(fd)
        if not inside:
            raise RuntimeSetupError(
                "cannot enter the working directory: it lies outside of the container",
                on=self.plan.cwd,
                reference="hostile-rootfs",
            )

    def set_limits(self) -> None:
        """Apply --ulimit; raising a hard limit needs the host's administrator."""
        if not self.plan.ulimits:
            return
        import resource  # preloaded by `preload`

        for limit in self.plan.ulimits:
            number = getattr(resource, "RLIMIT_" + limit.name.upper(), None)
            if number is None:
                raise RuntimeSetupError(f"unknown ulimit: {limit.name}", reference="ulimit")
            try:
                resource.setrlimit(number, (limit.soft, limit.hard))
            except (OSError, ValueError) as exc:
                _, hard = resource.getrlimit(number)
                raise RuntimeSetupError(
                    f"cannot set the limit {limit.name} to {limit.soft}:{limit.hard}: {exc}",
                    hint=f"this user's hard limit on the host is {hard}",
                    reference="ulimit",
                ) from exc

    def take_terminal(self, console_fd: int) -> None:
        """Start a session whose controlling terminal is the console; it becomes 0, 1 and 2."""
        import fcntl  # preloaded by the callers' modules

        try:
            os.setsid()
            fcntl.ioctl(console_fd, const.TIOCSCTTY, 0)
        except OSError as exc:
            raise _failure("make the console the controlling terminal", exc) from exc
        take_stdio((console_fd, console_fd, console_fd), owner=0)

    def drop_privileges(self) -> None:
        """Become the user, with the plan's capabilities and filter."""
        plan, identity = self.plan, self.identity
        try:
            os.umask(plan.umask)
            _leave_keyring()
            if plan.no_new_privileges:
                calls.prctl(const.PR_SET_NO_NEW_PRIVS, 1)
            _drop_bounding(plan.capabilities)
            calls.prctl(const.PR_SET_KEEPCAPS, 1)
            if not plan.single:
                os.setgroups(identity.groups)
            os.setresgid(identity.gid, identity.gid, identity.gid)
            os.setresuid(identity.uid, identity.uid, identity.uid)
            effective, permitted, _ = calls.capget()
            if effective != permitted:  # setresuid cleared the effective set
                calls.capset(effective=permitted, permitted=permitted, inheritable=0)
        except OSError as exc:
            raise _failure(f"become user {identity.uid}:{identity.gid}", exc) from exc

    def confine(self) -> None:
        """Install the seccomp filter and let the capabilities fall; the thread can do little after this."""
        plan = self.plan
        try:
            if plan.seccomp:
                calls.seccomp_set_filter(plan.seccomp)
        except OSError as exc:
            raise _failure("install the seccomp filter", exc) from exc
        try:
            mask = plan.capabilities & calls.capget()[1]
            calls.capset(effective=mask, permitted=mask, inheritable=0)
        except OSError as exc:
            raise _failure("set the capabilities", exc) from exc

    def execute(self) -> NoReturn:
        """Replace this process by the program.

        Raises:
            RuntimeSetupError: with exit code 127 (not found) or 126 (found, but cannot be executed).
        """
        env = environment(self.plan, self.identity.home)
        name = self.plan.argv[0]
        words = [os.fsencode(word) for word in self.plan.argv]
        path = env.get(b"PATH")
        error: OSError | None = None
        for candidate in candidates(name, None if path is None else os.fsdecode(path)):
            try:
                os.execve(candidate, words, env)  # noqa: S606  running it is the purpose
            except OSError as exc:
                if exc.errno not in (errno.ENOENT, errno.ENOTDIR) and error is None:
                    error = exc
        raise _exec_failure(name, error)


def preload(plan: ProcessPlan) -> None:
    """Import what the steps need while the interpreter's library can still be seen."""
    import fcntl  # noqa: F401

    if plan.ulimits:
        import resource  # noqa: F401
    b"".decode("utf-8", "surrogateescape")


def be_alone() -> None:
    """In a forked child: leave behind what belongs to the parent's Python.

    Garbage collection could close a descriptor number that we use for something else by now. Ignored
    signals survive exec, and Python ignores SIGPIPE: a container's `yes | head` must not.
    """
    gc.disable()
    for number in range(1, 32):
        if signal.getsignal(number) == signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def take_stdio(fds: tuple[int, int, int], *, owner: int) -> None:
    """Make three descriptors 0, 1 and 2, whatever numbers they have now.

    Args:
        owner: uid in this namespace that gets the pipes among them: a program that is not root opens
            /dev/stdout anew, and may then (runc does the same). A named FIFO of the host stays as it is.
    """
    import fcntl  # preloaded by `preload`

    high = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 3) for fd in fds]  # none may be overwritten by another
    for number, fd in enumerate(high):
        os.dup2(fd, number)
        os.close(fd)
        if owner and calls.fstatfs_type(number) == const.PIPEFS_MAGIC:
            _try_chown(number, owner)


def _close_range(first: int, last: int) -> None:
    try:
        calls.close_range(first, last)
    except OSError as exc:
        if exc.errno != errno.ENOSYS:  # before Linux 5.9
            raise
        os.closerange(first, min(last, os.sysconf("SC_OPEN_MAX")) + 1)


def _try_chown(fd: int, owner: int) -> None:
    try:
        os.fchown(fd, owner, -1)
    except OSError as exc:
        if exc.errno not in (errno.EPERM, errno.EINVAL):  # made by a user whom this namespace has no id for
            raise


def close_others(keep: tuple[int, ...]) -> None:
    """Close all descriptors above 2 but these: what our caller leaked must not reach the container."""
    first = 3
    for fd in sorted(keep):
        if fd > first:
            _close_range(first, fd - 1)
        first = max(first, fd + 1)
    _close_range(first, _LAST_FD)


def _leave_keyring() -> None:
    """Leave the login session's keyring, which may hold its Kerberos tickets and disk keys, to the host.

    Best effort, as in runc: there may be no keyrings, or their quota (200 keys a user) is used up. The
    default seccomp policy refuses keyctl anyway.
    """
    try:
        calls.join_session_keyring()
    except OSError as exc:
        if exc.errno not in (errno.ENOSYS, errno.EPERM, errno.EACCES, errno.EDQUOT, errno.ENOMEM):
            raise


def _drop_bounding(mask: int) -> None:
    """Drop what is not in the mask; the kernel's answer ends the list, not a /proc that may be forged."""
    for number in range(64):
        if mask >> number & 1:
            continue
        try:
            calls.prctl(const.PR_CAPBSET_DROP, number)
        except OSError as exc:
            if exc.errno == errno.EINVAL:
                return
            raise


def _write(dir_fd: int, name: str, data: bytes) -> None:
    fd = os.open(name, os.O_WRONLY | os.O_CLOEXEC, dir_fd=dir_fd)
    try:
        os.write(fd, data)
    finally:
        os.close(fd)


def _failure(what: str, exc: OSError) -> RuntimeSetupError:
    return RuntimeSetupError(
        f"cannot {what}: {os_error_text(exc)}", on=exc.filename, reference="process-setup"
    )


def _directory_failure(exc: OSError, path: str) -> RuntimeSetupError:
    """Return the error with the exit code that Docker has for it (moby daemon/errors.go)."""
    hints = {
        errno.ENOENT: "the container has no such directory; -w names another",
        errno.ENOTDIR: "it, or a part of the way to it, is a file; -w names another",
        errno.EACCES: "this user may not enter it; -u or -w name another",
    }
    return RuntimeSetupError(
        f"cannot enter the working directory: {os_error_text(exc)}",
        on=path,
        hint=hints.get(exc.errno or 0),
        reference="process-setup",
        exit_code=EXIT_NOT_FOUND if exc.errno in (errno.ENOENT, errno.ENOTDIR) else EXIT_NOT_EXECUTABLE,
    )


def _exec_failure(name: str, error: OSError | None) -> RuntimeSetupError:
    if error is None:
        exists = "/" in name and os.path.lexists(name)
        if exists:
            return RuntimeSetupError(
                f"cannot run `{name}`: no such file or directory",
                hint="the file is there, but the interpreter or loader that it names is not in the image",
                reference="command-not-found",
                exit_code=EXIT_NOT_FOUND,
            )
        where = "no such file or directory" if "/" in name else "executable file not found in $PATH"
        return RuntimeSetupError(
            f"cannot run `{name}`: {where}", reference="command-not-found", exit_code=EXIT_NOT_FOUND
        )
    hint = None
    if error.errno == errno.ENOEXEC:
        hint = "the file is for another architecture, or a script without a #! line"
    elif error.errno == errno.EACCES:
        hint = _access_hint(error.filename)
    return RuntimeSetupError(
        f"cannot run `{name}`: {os_error_text(error)}",
        hint=hint,
        reference="command-not-executable",
        exit_code=EXIT_NOT_EXECUTABLE,
    )


def _access_hint(path: str) -> str:
    try:
        mode = os.stat(path).st_mode
    except OSError:
        return "this user may not enter a directory on the way to it"
    if stat.S_ISDIR(mode):
        return "it is a directory"
    if not mode & 0o111:
        return "the file is not executable: chmod +x it, or name its interpreter, as in `sh FILE`"
    return "this user may not execute it or its interpreter, or one lies on a mount with noexec"
