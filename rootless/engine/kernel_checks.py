"""The checks of `rootless doctor` that ask for features of the running kernel. Pure.

Those of users, storage and network are in `engine.diagnosis`, which calls these.
"""

from __future__ import annotations

from rootless.engine import remedies
from rootless.model.check import LIMITED, MISSING, OK, Check

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rootless.model.host import HostFacts
    from rootless.runtime.survey import Survey


def proc(facts: HostFacts) -> Check:
    name, meaning = "proc", "containers see their own processes in /proc, and no others"
    if facts.user_namespaces:
        return Check(name=name, status=LIMITED, detail="not tried without user namespaces", meaning=meaning)
    if facts.proc_mountable:
        return Check(name=name, status=OK, detail="a new /proc can be mounted", meaning=meaning)
    return Check(
        name=name,
        status=LIMITED,
        detail=f"a new /proc cannot be mounted: {facts.reasons.get('proc_mountable', '')}",
        meaning=meaning,
        remedy="start the outer container with --security-opt systempaths=unconfined (podman: unmask=ALL)",
        meanwhile="the outer /proc is shown in containers",
    )


def seccomp(survey: Survey) -> Check:
    name, meaning = "seccomp", "dangerous system calls are refused in containers"
    if survey.seccomp and survey.notifications:
        return Check(name=name, status=OK, detail="filters and user notifications", meaning=meaning)
    what = "user notifications (Linux 5.0)" if survey.seccomp else "filters"
    return Check(
        name=name,
        status=LIMITED if survey.seccomp else MISSING,
        detail=f"this kernel has no seccomp {what}",
        meaning=meaning,
        remedy="boot a kernel built with CONFIG_SECCOMP_FILTER=y",
        meanwhile="" if survey.seccomp else "containers run with --security-opt seccomp=unconfined only",
    )


def landlock(survey: Survey) -> Check:
    name, meaning = "landlock", "a second fence around files, for modes without namespaces"
    if survey.landlock:
        return Check(name=name, status=OK, detail=f"ABI {survey.landlock}", meaning=meaning)
    return Check(
        name=name,
        status=LIMITED,
        detail="not in this kernel, or off",
        meaning=meaning,
        remedy="boot with landlock in lsm=, as in lsm=landlock,lockdown,yama,apparmor",
        meanwhile="nothing is lost where user namespaces work",
    )


def ptrace(survey: Survey) -> Check:
    name, meaning = "ptrace", "debuggers in containers, and modes without namespaces, trace child processes"
    if not survey.ptrace:
        return Check(name=name, status=OK, detail="processes may trace their children", meaning=meaning)
    return Check(
        name=name,
        status=LIMITED,
        detail=survey.ptrace,
        meaning=meaning,
        remedy="sudo sysctl kernel.yama.ptrace_scope=1",
        meanwhile="debuggers do not work",
    )


def cgroups(survey: Survey) -> Check:
    name, meaning = "cgroups", "limits on memory, processors and the number of processes"
    given = " ".join(survey.controllers)
    if {"cpu", "memory", "pids"} <= set(survey.controllers):
        return Check(name=name, status=OK, detail=f"v2, delegated: {given}", meaning=meaning)
    reason = {
        "v2": f"v2, delegated to this user: {given or 'nothing'}",
        "hybrid": "v1 with an empty v2 (hybrid): nothing can be delegated to this user",
        "v1": "v1: nothing can be delegated to this user",
        "none": "no cgroup file system is mounted",
    }[survey.cgroups]
    return Check(
        name=name,
        status=LIMITED,
        detail=reason,
        meaning=meaning,
        remedy=remedies.cgroups(survey.cgroups),
        meanwhile="limits are approximated where that is possible, and `run` says which; --ulimit works",
    )


def kernel(survey: Survey) -> Check:
    name, meaning = "kernel", "Linux 5.11 or newer on x86-64 or arm64 has everything"
    detail = f"Linux {survey.kernel} on {survey.machine}"
    if version(survey.kernel) >= (5, 11) and survey.machine in ("x86_64", "aarch64"):
        return Check(name=name, status=OK, detail=detail, meaning=meaning)
    return Check(
        name=name,
        status=LIMITED,
        detail=detail,
        meaning=meaning,
        remedy="boot a newer kernel" if survey.machine in ("x86_64", "aarch64") else "",
        meanwhile="what the kernel lacks is listed above",
    )


def version(release: str) -> tuple[int, int]:
    """Return (major, minor) of a kernel release, (0, 0) for one that is not understood."""
    major, _, rest = release.partition(".")
    digits = ""
    for character in rest:
        if not character.isdigit():
            break
        digits += character
    return (int(major), int(digits)) if major.isdigit() and digits else (0, 0)
