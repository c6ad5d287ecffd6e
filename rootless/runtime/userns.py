"""The user namespace in which files of foreign ids are ours: how to make it, join it, and work through it.

Two identity modes (model.host.IdMapping). `ranges`: the kernel maps subordinate ids; newuidmap and newgidmap
run once, a holder process (runtime.holder) keeps the namespace. `single`: one id, and every process makes
its own namespace, which costs nothing. Everything here needs a process with one thread, since
unshare(CLONE_NEWUSER) and setns into a user namespace fail in others: call it before trio is imported, or
through `python -P -m rootless.runtime`. Ring 1.
"""

from __future__ import annotations

import os

from rootless.errors import HostUnsupported, InternalError, RootlessError, os_error_text
from rootless.linux import calls, const, procfs
from rootless.runtime import handshake

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from rootless.model.host import IdMapping


def enter(mapping: IdMapping, run_dir: str) -> None:
    """Move this process into the user's namespace, as its root; there is no way back.

    With the mapping mode "none" there is no namespace, and nothing happens.

    Raises:
        HostUnsupported: the kernel or the helpers refuse.
    """
    try:
        if mapping.mode == "ranges":
            from rootless.runtime import holder  # single mode never needs it

            fd = holder.open_namespace(mapping, run_dir)
            try:
                calls.setns(fd, const.CLONE_NEWUSER)
            finally:
                os.close(fd)
        elif mapping.mode == "single":  # "none": the host refuses namespaces, files stay this user's own
            calls.unshare(const.CLONE_NEWUSER)
            write_single_map(mapping)
    except OSError as exc:
        raise refusal(exc) from exc


def join(fd: int, mapping: IdMapping) -> None:
    """Join a user namespace by descriptor and take its ids 0, and no others."""
    calls.setns(fd, const.CLONE_NEWUSER)
    if mapping.mode == "ranges":  # else setgroups is denied for ever
        os.setgroups([])  # the host user's would show as 65534 and keep their rights (CVE-2022-2989)
    os.setresgid(0, 0, 0)
    os.setresuid(0, 0, 0)


def write_single_map(mapping: IdMapping, *, pid: str = "self", proc_fd: int | None = None) -> None:
    """Map the one id of a user namespace that was made by this user.

    Args:
        pid: its process.
        proc_fd: descriptor of that process's directory in /proc, in place of `pid`.
    """
    prefix = "" if proc_fd is not None else f"/proc/{pid}/"
    procfs.write(prefix + "setgroups", b"deny", dir_fd=proc_fd)  # the kernel's condition for gid_map
    procfs.write(prefix + "uid_map", procfs.format_id_map(mapping.uids), dir_fd=proc_fd)
    procfs.write(prefix + "gid_map", procfs.format_id_map(mapping.gids), dir_fd=proc_fd)


def write_nested_map(mapping: IdMapping, pid: int) -> None:
    """Map a child namespace onto the present one, id by id; the caller is privileged in the present one."""
    for name, extents in (("uid_map", mapping.uids), ("gid_map", mapping.gids)):
        same = tuple((inside, inside, count) for inside, _, count in extents)
        procfs.write(f"/proc/{pid}/{name}", procfs.format_id_map(same))


def run_inside(mapping: IdMapping, run_dir: str, function: Callable[[], None]) -> None:
    """Run a function in a fork that has entered the namespace, and wait for its end.

    The function's RootlessError or OSError is raised here again (as RootlessError); what it returns is lost.

    Raises:
        RootlessError: what the function raised.
        HostUnsupported: the namespace cannot be entered.
    """
    parent, child = handshake.channel()
    pid = os.fork()
    if pid == 0:
        parent.close()
        try:
            enter(mapping, run_dir)
            function()
        except OSError as exc:
            handshake.report_and_exit(child, RootlessError(os_error_text(exc), on=exc.filename))
        except BaseException as exc:
            handshake.report_and_exit(child, exc)
        os._exit(0)
    child.close()
    message, _ = handshake.receive(parent)
    parent.close()
    _, status = os.waitpid(pid, 0)
    if message:
        raise handshake.decode_failure(message)
    if status:
        raise InternalError(f"cannot work in the user namespace: the helper process ended with {status:#x}")


def remove_tree(path: str, *, mapping: IdMapping, run_dir: str) -> None:
    """Remove a file or a tree whoever owns what is in it; idempotent.

    As the user first: most trees need no namespace, and it works on hosts that have none.

    Raises:
        RootlessError: something cannot be removed even inside the namespace.
    """
    from layers.removal import remove_tree as remove  # for commands that remove alone

    try:
        remove(path)
        return
    except PermissionError as exc:
        if mapping.mode != "ranges":  # the namespace would give no more rights
            raise RootlessError(
                f"cannot remove: {os_error_text(exc)}", on=exc.filename or path, reference="remove"
            ) from exc
    except OSError as exc:
        raise RootlessError(f"cannot remove: {os_error_text(exc)}", on=path, reference="remove") from exc
    run_inside(mapping, run_dir, lambda: remove(path))


def refusal(exc: OSError) -> HostUnsupported:
    """Return the error for a host that refuses user namespaces."""
    return HostUnsupported(
        f"cannot enter a user namespace: {os_error_text(exc)}",
        hint="`rootless doctor` says what restricts them on this host",
        reference="user-namespace",
    )
