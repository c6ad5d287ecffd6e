"""How the limits of a container are kept on this host: by its cgroup, or as closely as can be. Ring 1.

`settings` and `substitutes` decide; `confine` and `Confinement` act. A limit that a cgroup does not enforce
is never passed over in silence: one notice names it, and --limits=require makes it an error.

Substitutes, and why they are no more than that:
- --memory: RLIMIT_DATA of each process alone; memory that processes share and the page cache do not count.
- --cpus, --cpuset-cpus: CPU affinity, which a program may change.
- --cpu-shares: nice, which the kernel may apply within one session only (man 7 sched, autogroup).
- --pids-limit: RLIMIT_NPROC, which counts each user of the container alone; since Linux 5.14 it counts a user
  namespace by itself, before it would count all that its user runs on the host.
"""

from __future__ import annotations

import math
import os

from layers.contexts import suppress
from rootless.errors import EXIT_ENGINE, HostUnsupported
from rootless.linux import cgroups, procfs
from rootless.model.policy import parse_cpuset
from rootless.model.spec import Ulimit
from rootless.model.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from rootless.engine.records import Container
    from rootless.model.policy import Limits
    from rootless.model.spec import ContainerSpec, Process
    from rootless.runtime.cgroups import Cgroup

_PERIOD_US = 100_000
_DEFAULTS = {
    "memory.max": cgroups.UNLIMITED,
    "memory.swap.max": cgroups.UNLIMITED,
    "memory.low": "0",
    "cpu.max": f"{cgroups.UNLIMITED} {_PERIOD_US}",
    "cpu.weight": "100",
    "cpuset.cpus": "\n",
    "pids.max": cgroups.UNLIMITED,
}
"""What a cgroup says of itself when nothing is limited; an empty cpuset takes that of its parent."""
_OOM_SCORE = "/proc/self/oom_score_adj"


class Setting(Value):
    """A value for a file of a cgroup; `option` asked for it, "" when it only completes another."""

    __slots__ = ("file", "option", "value")

    def __init__(self, option: str, file: str, value: str) -> None:
        self.option = option
        self.file = file
        self.value = value


class Substitutes(Value):
    """What stands in for limits that no cgroup enforces.

    Attributes:
        ulimits: of every process. cpus: numbers of those it may use, () for all. nice: added.
        notes: option → how it is approximated.
    """

    __slots__ = ("cpus", "nice", "notes", "ulimits")

    def __init__(
        self,
        *,
        ulimits: tuple[Ulimit, ...] = (),
        cpus: tuple[int, ...] = (),
        nice: int = 0,
        notes: tuple[tuple[str, str], ...] = (),
    ) -> None:
        self.ulimits = ulimits
        self.cpus = cpus
        self.nice = nice
        self.notes = notes


def settings(limits: Limits) -> tuple[Setting, ...]:
    """Return what to write for limits (kernel: Documentation/admin-guide/cgroup-v2.rst). Pure."""
    found = []
    if limits.memory_bytes:
        found.append(Setting("--memory", "memory.max", str(limits.memory_bytes)))
        # Docker: as much swap again, unless something else is said
        total = limits.memory_swap_bytes or 2 * limits.memory_bytes
        swap = cgroups.UNLIMITED if total < 0 else str(total - limits.memory_bytes)
        option = "--memory-swap" if limits.memory_swap_bytes else ""
        found.append(Setting(option, "memory.swap.max", swap))
    if limits.memory_reservation_bytes:
        found.append(Setting("--memory-reservation", "memory.low", str(limits.memory_reservation_bytes)))
    if limits.cpus:
        quota = limits.cpus * _PERIOD_US // 1000
        found.append(Setting("--cpus", "cpu.max", f"{quota} {_PERIOD_US}"))
    if limits.cpu_shares:
        found.append(Setting("--cpu-shares", "cpu.weight", str(cpu_weight(limits.cpu_shares))))
    if limits.cpuset_cpus:
        found.append(Setting("--cpuset-cpus", "cpuset.cpus", limits.cpuset_cpus))
    if limits.pids > 0:
        found.append(Setting("--pids-limit", "pids.max", str(limits.pids)))
    return tuple(found)


def changed_settings(before: Limits, after: Limits) -> tuple[Setting, ...]:
    """Return what to write to a cgroup that holds `before`, so that it holds `after`. Pure."""
    old, new = settings(before), settings(after)
    files = {setting.file for setting in new}
    lifted = [Setting(s.option, s.file, _DEFAULTS[s.file]) for s in old if s.file not in files]
    return (*(setting for setting in new if setting not in old), *lifted)


def cpu_weight(shares: int) -> int:
    """Return the weight, 1 to 10000, of shares, 2 to 262144, such that both defaults meet: 1024 is 100.

    The curve is the one that container runtimes agreed on (opencontainers/cgroups, issue 5 and
    kubernetes/enhancements, KEP-2254): log10 of the weight is a quadratic function of log2 of the shares.
    """
    exponent = math.log2(min(max(shares, 2), 262144))
    return math.ceil(10 ** ((exponent**2 + 125 * exponent) / 612 - 7 / 34))


def substitutes(
    limits: Limits,
    missing: Collection[str],
    *,
    ulimits: Iterable[Ulimit],
    allowed: Collection[int],
    per_namespace: bool,
    seed: int,
) -> Substitutes:
    """Decide what stands in for limits. Pure.

    Args:
        missing: options that no cgroup enforces.
        ulimits: those that the user gave: they stay.
        allowed: CPUs that this process may use.
        per_namespace: RLIMIT_NPROC counts a user namespace by itself.
        seed: which CPUs are chosen for --cpus, so that containers do not crowd on the first ones.
    """
    given = {ulimit.name for ulimit in ulimits}
    added, notes, nice = [], [], 0
    if "--memory" in missing and "data" not in given:
        added.append(Ulimit(name="data", soft=limits.memory_bytes, hard=limits.memory_bytes))
        notes.append(("--memory", "for each process alone"))
    if "--pids-limit" in missing and "nproc" not in given and per_namespace:
        count = limits.pids + 1  # the network's helper joins the container's user namespace, and counts
        added.append(Ulimit(name="nproc", soft=count, hard=count))
        notes.append(("--pids-limit", "for each user alone"))
    cpus = sorted(allowed)
    if "--cpuset-cpus" in missing:
        cpus = sorted(parse_cpuset(limits.cpuset_cpus) & set(allowed)) or cpus
        notes.append(("--cpuset-cpus", "programs may change it"))
    if "--cpus" in missing and (width := -(-limits.cpus // 1000)) < len(cpus):
        cpus = sorted((cpus[seed % len(cpus) :] + cpus)[:width])
        notes.append(("--cpus", f"{width} of the host's may be used"))
    if "--cpu-shares" in missing and limits.cpu_shares < 1024:
        nice = min(round(math.log(1024 / max(limits.cpu_shares, 2), 1.25)), 19)  # man 7 sched
        notes.append(("--cpu-shares", f"nice {nice}"))
    chosen = () if len(cpus) == len(allowed) else tuple(cpus)
    return Substitutes(ulimits=tuple(added), cpus=chosen, nice=nice, notes=tuple(notes))


def notice(missing: Sequence[str], notes: Sequence[tuple[str, str]]) -> str:
    """Return the line that tells which limits do not hold as asked for; "" when all do. Pure."""
    near = dict(notes)
    lost = [option for option in missing if option not in near]
    parts = [f"not enforced: {', '.join(lost)}"] if lost else []
    if near:
        parts.append("approximated: " + ", ".join(f"{option} ({how})" for option, how in near.items()))
    return f"limits {'; '.join(parts)}; `rootless doctor` says why" if parts else ""


class Confinement:
    """What keeps one container, or one process added to it, within its limits.

    Attributes:
        cgroup: the directory, "" for none. cgroup_fd: of that directory, -1 for none.
        ulimits: to be set beside those of the user. notice: one line for the user, "" for none.
    """

    __slots__ = ("_made", "_score", "_substitutes", "cgroup", "cgroup_fd", "notice")

    def __init__(
        self, *, cgroup: str, made: Cgroup | None, substitutes: Substitutes, score: int | None, notice: str
    ) -> None:
        self.cgroup = cgroup
        self.cgroup_fd = os.open(cgroup, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC) if cgroup else -1
        self.notice = notice
        self._made = made
        self._substitutes = substitutes
        self._score = score

    def apply(self, spec: ContainerSpec) -> ContainerSpec:
        """Return the specification of what is started: processes carry some limits themselves."""
        return spec.replace(process=self.apply_to(spec.process))

    def apply_to(self, process: Process) -> Process:
        return process.replace(ulimits=(*process.ulimits, *self._substitutes.ulimits))

    def __enter__(self) -> Confinement:
        """Inside this block children are born with the OOM score of the container.

        It could not be given later: the files of a process that became another user belong to that user.
        """
        self._swap_score()
        return self

    def __exit__(self, *_: object) -> None:
        self._swap_score()

    def hold(self, pid: int) -> None:
        """Limit a process that has not executed its program yet; its children inherit it."""
        if self._substitutes.cpus:
            os.sched_setaffinity(pid, self._substitutes.cpus)
        if self._substitutes.nice:
            nice = os.getpriority(os.PRIO_PROCESS, pid) + self._substitutes.nice
            os.setpriority(os.PRIO_PROCESS, pid, min(nice, 19))

    def end(self) -> bool:
        """Remove the container's cgroup; returns whether the kernel killed a process for want of memory."""
        if self.cgroup_fd < 0:
            return False
        events = cgroups.parse_flat(cgroups.read_text(self.cgroup, "memory.events"))
        os.close(self.cgroup_fd)
        self.cgroup_fd = -1
        if self._made is not None:
            self._made.remove()
        return events.get("oom_kill", 0) > 0

    def _swap_score(self) -> None:
        if self._score is not None:
            before = int(procfs.read(_OOM_SCORE))
            with suppress(PermissionError):
                procfs.write(_OOM_SCORE, str(self._score).encode())
            self._score = before


def confine(spec: ContainerSpec) -> Confinement:
    """Make the cgroup of a container that is to be started, and set its limits.

    Raises:
        HostUnsupported: one cannot be enforced, and the user requires it.
    """
    made = _make_cgroup(spec)
    missing = write_settings("" if made is None else made.path, settings(spec.limits))
    score = spec.limits.oom_score_adj
    if score is not None and not _can_have_score(score):
        missing.append("--oom-score-adj")
        score = None  # as it is
    if missing and spec.limits.required:
        if made is not None:
            made.remove()
        raise refusal(missing)
    chosen = _substitutes(spec, missing)
    return Confinement(
        cgroup="" if made is None else made.path,
        made=made,
        substitutes=chosen,
        score=score,
        notice=notice(missing, chosen.notes),
    )


def rejoin(container: Container) -> Confinement:
    """Return the limits of a running container for a further process."""
    from rootless.runtime.cgroups import enter_scope, may_move_to

    spec, cgroup, text = container.spec, container.state.cgroup, ""
    if cgroup and not (os.path.isdir(cgroup) and (may_move_to(cgroup) or enter_scope(cgroup))):
        cgroup = ""
        if settings(spec.limits):
            text = "this process is not held to the limits of the container: it may not join its cgroup"
    missing = [s.option for s in settings(spec.limits) if s.option and not _has(cgroup, s.file)]
    return Confinement(
        cgroup=_leaf(cgroup, container.state.pid) if cgroup else "",
        made=None,
        substitutes=_substitutes(spec, missing),
        score=spec.limits.oom_score_adj,
        notice=text,
    )


def write_settings(cgroup: str, values: Iterable[Setting]) -> list[str]:
    """Write to a cgroup, "" for none; returns the options that cannot be enforced there."""
    missing = []
    for setting in values:
        try:
            if not cgroup:
                raise FileNotFoundError
            cgroups.write(cgroup, setting.file, setting.value)
        except OSError:  # no such controller, or a value that the kernel does not take
            missing.append(setting.option)
    return [option for option in missing if option]


def refusal(options: Sequence[str]) -> HostUnsupported:
    """Return the error for limits that are required and cannot be enforced."""
    from rootless.engine import remedies  # text that only a failure needs
    from rootless.runtime.cgroups import available

    given = " ".join(sorted(available()))
    what = f"only {given} is" if given else "no cgroup controller is"
    return HostUnsupported(
        f"cannot enforce {', '.join(options)}: {what} delegated to this user",
        hint=remedies.cgroups(cgroups.find_version(cgroups.read_mounts())),
        reference="limits-not-enforced",
        exit_code=EXIT_ENGINE,
    )


def _make_cgroup(spec: ContainerSpec) -> Cgroup | None:
    from rootless.runtime.cgroups import ask_for_home, find_home, make

    home = find_home()
    if home is None and settings(spec.limits):
        home = ask_for_home(spec.id)
    if home is None:
        return None
    try:
        return make(home, spec.id)
    except OSError:  # taken back meanwhile, or cgroup.max.descendants is reached: as if there were none
        return None


def _substitutes(spec: ContainerSpec, missing: Sequence[str]) -> Substitutes:
    if not missing:
        return Substitutes()
    from rootless.engine.kernel_checks import version

    return substitutes(
        spec.limits,
        missing,
        ulimits=spec.process.ulimits,
        allowed=os.sched_getaffinity(0),
        per_namespace=version(os.uname().release) >= (5, 14),
        seed=int(spec.id[:8], 16),
    )


def _can_have_score(score: int) -> bool:
    """Tell whether this process may take a score: a lower one than it ever had needs privilege."""
    before = procfs.read(_OOM_SCORE)
    try:
        procfs.write(_OOM_SCORE, str(score).encode())
        procfs.write(_OOM_SCORE, before)
    except PermissionError:
        return False
    return True


def _leaf(cgroup: str, first: int) -> str:
    """Return the cgroup of a container's first process, which a further one is to join.

    An engine in the container may have divided the container's own: that holds no processes then.
    """
    own = cgroups.own_directory(str(first))
    return own if own.startswith(f"{cgroup}/") else cgroup


def _has(cgroup: str, file: str) -> bool:
    return bool(cgroup) and os.path.exists(f"{cgroup}/{file}")
