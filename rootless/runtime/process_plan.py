"""What a program of a container is to be, for its first process and for exec alike. Pure.

`plan_process` decides; `runtime.process` takes a process to the program. Ring 1.
"""

from __future__ import annotations

import os

from rootless.errors import RuntimeSetupError
from rootless.model.value import Value
from rootless.runtime import caps, seccomp

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rootless.model.host import IdMapping
    from rootless.model.spec import Process, Security, Ulimit


class ProcessPlan(Value):
    """A program and all that the kernel will hold of it.

    Attributes:
        argv, env, cwd, user, groups, umask, ulimits, tty, rows, columns: as in model.spec.Process.
        capabilities: mask of the permitted, effective and bounding sets; inheritable and ambient are empty
            (CVE-2022-24769).
        seccomp: struct sock_filter[], b"" for none.
        single: one id is mapped: another uid is shown through a nested user namespace, groups cannot be set.
        uids, gids: how many ids are mapped.
    """

    __slots__ = (
        "argv",
        "capabilities",
        "columns",
        "cwd",
        "env",
        "gids",
        "groups",
        "no_new_privileges",
        "rows",
        "seccomp",
        "single",
        "tty",
        "uids",
        "ulimits",
        "umask",
        "user",
    )

    def __init__(
        self,
        *,
        argv: tuple[str, ...],
        env: tuple[str, ...],
        cwd: str,
        user: str,
        groups: tuple[str, ...],
        umask: int,
        ulimits: tuple[Ulimit, ...],
        tty: bool,
        rows: int,
        columns: int,
        capabilities: int,
        seccomp: bytes,
        no_new_privileges: bool,
        single: bool,
        uids: int,
        gids: int,
    ) -> None:
        self.argv = argv
        self.env = env
        self.cwd = cwd
        self.user = user
        self.groups = groups
        self.umask = umask
        self.ulimits = ulimits
        self.tty = tty
        self.rows = rows
        self.columns = columns
        self.capabilities = capabilities
        self.seccomp = seccomp
        self.no_new_privileges = no_new_privileges
        self.single = single
        self.uids = uids
        self.gids = gids


def plan_process(process: Process, security: Security, mapping: IdMapping) -> ProcessPlan:
    """Turn what was asked for into what the kernel gets.

    Raises:
        UsageError: an unknown capability, or a wrong seccomp profile.
        RuntimeSetupError: a NUL byte in a word.
    """
    mask = caps.compute(security)
    for word in (*process.argv, *process.env, process.cwd):
        if "\0" in word:
            raise RuntimeSetupError("cannot run a command whose words or environment hold a NUL", on=word)
    return ProcessPlan(
        argv=process.argv,
        env=process.env,
        cwd=process.cwd or "/",
        user=process.user,
        groups=process.groups,
        umask=process.umask,
        ulimits=process.ulimits,
        tty=process.tty,
        rows=process.rows,
        columns=process.columns,
        capabilities=mask,
        seccomp=seccomp.compile_filter(security, mask),
        no_new_privileges=security.no_new_privileges,
        single=mapping.mode == "single",
        uids=sum(count for _, _, count in mapping.uids),
        gids=sum(count for _, _, count in mapping.gids),
    )


def environment(plan: ProcessPlan, home: str) -> dict[bytes, bytes]:
    """Return the environment of the program: the plan's, and HOME if the plan has none. Pure."""
    env = {}
    for item in plan.env:
        name, equals, value = item.partition("=")
        if equals and name:
            env[os.fsencode(name)] = os.fsencode(value)
    env.setdefault(b"HOME", os.fsencode(home or "/"))
    return env


def candidates(name: str, path: str | None) -> list[str]:
    """Return the files to try for a command word, in order (as execvp(3)). Pure."""
    if not name:
        return []
    if "/" in name:
        return [name]
    return [f"{directory or '.'}/{name}" for directory in (path or "").split(":")]
