"""What the facts of a host mean: one check per capability, its remedy, and what happens meanwhile. Pure.

`rootless doctor` prints it. Nothing is decided here: that is `engine.modes`. What the running kernel is asked
for beyond namespaces and file systems is in `engine.kernel_checks`.
"""

from __future__ import annotations

from rootless.engine import kernel_checks, modes, remedies
from rootless.model.check import LIMITED, MISSING, OK, Check
from rootless.model.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rootless.model.host import HostFacts
    from rootless.runtime.survey import Survey

_SMALL_BYTES = 1 << 30
_FEW_INODES = 20000
"""A Debian image has 7,000 files; a thousand more per package is common."""
_GIB = 1 << 30
_SHARED = ("nfs", "nfs4", "lustre", "cifs", "gpfs", "beegfs", "ceph")
_ID_LOSS = "containers have one id, root's, which is this user; owners of files are recorded, not set"


class Surroundings(Value):
    """What the remedies name: the interpreter without links, the texts of /etc/subuid and /etc/subgid."""

    __slots__ = ("executable", "subgid", "subuid")

    def __init__(self, *, executable: str, subuid: str = "", subgid: str = "") -> None:
        self.executable = executable
        self.subuid = subuid
        self.subgid = subgid


def examine(facts: HostFacts, survey: Survey, around: Surroundings) -> list[Check]:
    """Return all checks, the most important first."""
    return [
        _user_namespaces(facts, around),
        _subordinate_ids(facts, survey, around),
        _id_helpers(facts, survey),
        _overlay(facts, survey),
        _fuse(facts, survey),
        _store(facts, survey),
        _reflink(facts, survey),
        _space(survey),
        _locks(survey),
        _network(facts, survey),
        kernel_checks.proc(facts),
        kernel_checks.seccomp(survey),
        kernel_checks.landlock(survey),
        kernel_checks.ptrace(survey),
        kernel_checks.cgroups(survey),
        kernel_checks.kernel(survey),
    ]


def _user_namespaces(facts: HostFacts, around: Surroundings) -> Check:
    name, meaning = "user-namespaces", "containers are made of namespaces that an ordinary user may create"
    if not facts.user_namespaces:
        return Check(name=name, status=OK, detail="they can be created", meaning=meaning)
    return Check(
        name=name,
        status=MISSING,
        detail=facts.user_namespaces,
        meaning=meaning,
        remedy=remedies.user_namespaces(facts.restriction, executable=around.executable),
        meanwhile="containers cannot run; pull, images, rmi and inspect work",
    )


def _subordinate_ids(facts: HostFacts, survey: Survey, around: Surroundings) -> Check:
    name = "subordinate-ids"
    meaning = (
        "further user and group ids, so that files and programs in containers can have owners of their own"
    )
    if facts.user_namespaces:
        return Check(name=name, status=LIMITED, detail="of no use without user namespaces", meaning=meaning)
    counts = [sum(item.count for item in ranges) for ranges in (facts.subuids, facts.subgids)]
    if min(counts) >= remedies.RANGE_SIZE:
        detail = f"{counts[0]} user ids and {counts[1]} group ids belong to {facts.user}"
        return Check(name=name, status=OK, detail=detail, meaning=meaning)
    detail = facts.reasons.get("subuids", f"{min(counts)} ids belong to {facts.user}, images expect 65536")
    return Check(
        name=name,
        status=LIMITED,
        detail=detail,
        meaning=meaning,
        remedy=remedies.add_ranges(facts.user, subuid=around.subuid, subgid=around.subgid),
        meanwhile=_ID_LOSS if not min(counts) else f"containers have the ids 0 to {min(counts)}",
    )


def _id_helpers(facts: HostFacts, survey: Survey) -> Check:
    name, meaning = "newuidmap", "the set-user-id programs newuidmap and newgidmap put subordinate ids to use"
    missing = [helper for helper in ("newuidmap", "newgidmap") if not getattr(facts, helper)]
    if facts.user_namespaces:
        return Check(name=name, status=LIMITED, detail="not tried without user namespaces", meaning=meaning)
    if not missing:
        return Check(name=name, status=OK, detail=f"{facts.newuidmap}, {facts.newgidmap}", meaning=meaning)
    reason = facts.reasons.get(missing[0], "it is not installed")
    return Check(
        name=name,
        status=LIMITED,
        detail=f"{missing[0]}: {reason}",
        meaning=meaning,
        remedy=_helper_remedy(missing[0], reason, remedies.family(survey.distribution)),
        meanwhile=_ID_LOSS,
    )


def _helper_remedy(helper: str, reason: str, distribution: str) -> str:
    if "not installed" in reason:
        return remedies.install(helper, distribution)
    if "no_new_privs" in reason:
        return "leave the sandbox that sets no_new_privs (systemd: NoNewPrivileges=no)"
    if "nosuid" in reason:
        return "sudo mount -o remount,suid MOUNTPOINT, or install the program elsewhere"
    if "set-user-id" in reason:
        return "sudo chmod u+s $(command -v newuidmap newgidmap)"
    return ""


def _overlay(facts: HostFacts, survey: Survey) -> Check:
    name, meaning = "overlayfs", "the kernel stacks the layers of an image without copying them"
    if not facts.overlay:
        return Check(name=name, status=OK, detail="mounted with userxattr on the store", meaning=meaning)
    best = "fuse-overlayfs" if not modes.storage_problem(facts, "fuse-overlayfs") else "copy"
    texts = {
        "fuse-overlayfs": "fuse-overlayfs does it, slower",
        "copy": "each container gets a copy of its image" + (", sharing blocks" if facts.reflink else ""),
    }
    return Check(
        name=name,
        status=LIMITED,
        detail=facts.overlay,
        meaning=meaning,
        remedy="" if facts.user_namespaces else _overlay_remedy(facts, survey),
        meanwhile="" if facts.user_namespaces else texts[best],
    )


def _overlay_remedy(facts: HostFacts, survey: Survey) -> str:
    if not facts.xattrs or survey.file_system in ("overlay", "ramfs", *_SHARED):
        return f"keep the store on ext4, xfs or btrfs, not on {survey.file_system}: rootless --root DIR"
    return "boot Linux 5.11 or newer with the overlay module: sudo modprobe overlay"


def _fuse(facts: HostFacts, survey: Survey) -> Check:
    name, meaning = "fuse-overlayfs", "stacks layers where the kernel's overlayfs is refused"
    if facts.fuse_overlayfs:
        return Check(name=name, status=OK, detail=facts.fuse_overlayfs, meaning=meaning)
    reason = facts.reasons.get("fuse_overlayfs", "not installed")
    return Check(
        name=name,
        status=LIMITED,
        detail=reason,
        meaning=meaning,
        remedy=_program_remedy("fuse-overlayfs", "/dev/fuse", reason, survey),
        meanwhile="nothing is lost while overlayfs works" if not facts.overlay else "images are copied",
    )


def _program_remedy(program: str, device: str, reason: str, survey: Survey) -> str:
    if "installed" in reason:
        return remedies.install(program, remedies.family(survey.distribution))
    return remedies.device(device)


def _store(facts: HostFacts, survey: Survey) -> Check:
    name, meaning = "store", "where images and containers are kept; needs user.* extended attributes"
    kind = survey.file_system or "unknown file system"
    if survey.store_problem:
        return Check(
            name=name,
            status=MISSING,
            detail=survey.store_problem,
            meaning=meaning,
            remedy="choose a writable place: rootless --root DIR, or ROOTLESS_ROOT",
            meanwhile="nothing can be pulled or run",
        )
    if not facts.xattrs:
        return Check(
            name=name,
            status=LIMITED,
            detail=f"{kind} takes no user.* attributes: {facts.reasons.get('xattrs', '')}",
            meaning=meaning,
            remedy="keep the store on ext4, xfs, btrfs or (Linux 6.6) tmpfs: rootless --root DIR",
            meanwhile="owners of files are not recorded, images are copied",
        )
    if survey.shared:
        return Check(
            name=name,
            status=LIMITED,
            detail=f"{kind} is shared with other hosts",
            meaning=meaning,
            remedy="a directory on a local disk is faster: rootless --root DIR",
            meanwhile="it works; locks hold on this host only",
        )
    return Check(name=name, status=OK, detail=f"{kind} with extended attributes", meaning=meaning)


def _reflink(facts: HostFacts, survey: Survey) -> Check:
    name, meaning = "reflink", "copies of files share their blocks until one is written"
    if facts.reflink:
        return Check(name=name, status=OK, detail="the store's file system clones files", meaning=meaning)
    return Check(
        name=name,
        status=LIMITED,
        detail=f"{survey.file_system or 'the file system'} does not clone files",
        meaning=meaning,
        meanwhile="nothing is lost while overlayfs works" if not facts.overlay else "copies take full space",
    )


def _space(survey: Survey) -> Check:
    name, meaning = "space", "room for images and containers"
    inodes = "" if survey.free_inodes < 0 else f", {survey.free_inodes} files"
    detail = f"{survey.free_bytes / _GIB:.1f} GiB{inodes} free"
    few = 0 <= survey.free_inodes < _FEW_INODES
    if survey.free_bytes >= _SMALL_BYTES and not few:
        return Check(name=name, status=OK, detail=detail, meaning=meaning)
    return Check(
        name=name,
        status=LIMITED,
        detail=detail,
        meaning=meaning,
        remedy="make room, or keep the store elsewhere: rootless --root DIR",
        meanwhile="a pull that does not fit fails and leaves nothing half-made",
    )


def _locks(survey: Survey) -> Check:
    name, meaning = (
        "locks",
        "commands that run at the same time wait for each other (flock in the run directory)",
    )
    if not survey.locks:
        return Check(name=name, status=OK, detail="flock works", meaning=meaning)
    return Check(
        name=name,
        status=MISSING,
        detail=survey.locks,
        meaning=meaning,
        remedy="set XDG_RUNTIME_DIR to a directory on this host that the user owns",
        meanwhile="commands fail",
    )


def _network(facts: HostFacts, survey: Survey) -> Check:
    name, meaning = (
        "network",
        "containers get a network of their own, with published ports, through pasta or slirp4netns",
    )
    found = [path for path in (facts.pasta, facts.slirp4netns) if path]
    if found:
        return Check(name=name, status=OK, detail=", ".join(found), meaning=meaning)
    reasons = [facts.reasons.get(fact, "not installed") for fact in ("pasta", "slirp4netns")]
    device = next((reason for reason in reasons if "installed" not in reason), "")
    return Check(
        name=name,
        status=LIMITED,
        detail=device or ", ".join(reasons),
        meaning=meaning,
        remedy=_program_remedy("pasta", "/dev/net/tun", device or reasons[0], survey),
        meanwhile="containers share the host's network (--network host), or have none (--network none)",
    )
