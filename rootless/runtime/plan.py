"""From what a container should be to the operations that make it on this host. Pure.

`make_plan` decides, `runtime.stages` does. The order of operations is part of the security: the image's own
/proc, /sys and /dev are covered before anything below them is touched, what the user mounts comes after, and
masks come last, so that nothing can be mounted over them. Ring 1.
"""

from __future__ import annotations

import posixpath

from rootless.errors import UsageError
from rootless.linux import const
from rootless.model.value import Value
from rootless.runtime import devices, kernel_mounts, mounting, ops, roots
from rootless.runtime.process_plan import ProcessPlan, plan_process

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from rootless.model.host import HostFacts, IdMapping, Modes
    from rootless.model.spec import ContainerSpec, Mount

MASKED_PATHS = (  # what Docker or Podman mask at their newest
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/system/cpu/cpu*/thermal_throttle",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
    "/sys/fs/selinux",
)
READONLY_PATHS = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")
_BELOW_PROC = frozenset(  # files that lxcfs and its like replace; runc allows the same
    f"/proc/{name}"
    for name in (
        "cpuinfo",
        "diskstats",
        "loadavg",
        "meminfo",
        "net/dev",
        "slabinfo",
        "stat",
        "swaps",
        "uptime",
    )
)
MOUNT_POINTS = frozenset(  # what a start makes in the root file system, as layers name it
    (b"dev", b"etc", b"etc/hostname", b"etc/hosts", b"etc/resolv.conf", b"proc", b"sys")
)
_TMPFS_ATTRIBUTES = {
    "noexec": const.MOUNT_ATTR_NOEXEC,
    "nosuid": const.MOUNT_ATTR_NOSUID,
    "nodev": const.MOUNT_ATTR_NODEV,
    "noatime": const.MOUNT_ATTR_NOATIME,
    "nodiratime": const.MOUNT_ATTR_NODIRATIME,
    "strictatime": const.MOUNT_ATTR_STRICTATIME,
}
_TMPFS_CLEARS = {
    "exec": const.MOUNT_ATTR_NOEXEC,
    "suid": const.MOUNT_ATTR_NOSUID,
    "dev": const.MOUNT_ATTR_NODEV,
}
_TTY_GID = 5
_NAMESPACES = {
    "user": const.CLONE_NEWUSER,
    "mnt": const.CLONE_NEWNS,
    "pid": const.CLONE_NEWPID,
    "ipc": const.CLONE_NEWIPC,
    "uts": const.CLONE_NEWUTS,
    "cgroup": const.CLONE_NEWCGROUP,
    "net": const.CLONE_NEWNET,
}


class Files(Value):
    """Where the parts of a container lie on the host.

    Attributes:
        rootfs: existing directory: the mount point, or with storage "copy" the whole root file system.
        lowers: snapshots of the image's layers, bottom first. upper, work: existing; unused with "copy".
        hosts, hostname, resolv_conf: existing files, bound as they are; later writes must be in place (a
            rename would leave the container with the old file). "" leaves the image's own.
        volumes: volume name → its existing data directory.
        run_dir: Paths.run.
    """

    __slots__ = (
        "hostname",
        "hosts",
        "lowers",
        "resolv_conf",
        "rootfs",
        "run_dir",
        "upper",
        "volumes",
        "work",
    )

    def __init__(
        self,
        *,
        rootfs: str,
        run_dir: str,
        lowers: tuple[str, ...] = (),
        upper: str = "",
        work: str = "",
        hosts: str = "",
        hostname: str = "",
        resolv_conf: str = "",
        volumes: Mapping[str, str] | None = None,
    ) -> None:
        self.rootfs = rootfs
        self.run_dir = run_dir
        self.lowers = lowers
        self.upper = upper
        self.work = work
        self.hosts = hosts
        self.hostname = hostname
        self.resolv_conf = resolv_conf
        self.volumes = dict(volumes or {})


class Plan:
    """What `runtime.stages.start` does.

    Attributes:
        name: of the container, for messages.
        mapping, run_dir: how the user namespace is made.
        clone_flags: namespaces that the first process is born into.
        network_owner: (pid, start time) of the process whose network namespace is joined, or None.
        fuse: command line of fuse-overlayfs, () for none.
        ops: in order; the last one is the pivot.
        init: a small reaper is process 1 (--init).
    """

    __slots__ = (
        "clone_flags",
        "fuse",
        "init",
        "mapping",
        "name",
        "network_owner",
        "ops",
        "process",
        "run_dir",
    )

    def __init__(
        self,
        *,
        name: str,
        mapping: IdMapping,
        run_dir: str,
        clone_flags: int,
        network_owner: tuple[int, int] | None,
        fuse: tuple[str, ...],
        ops: tuple[ops.Op, ...],
        process: ProcessPlan,
        init: bool,
    ) -> None:
        self.name = name
        self.mapping = mapping
        self.run_dir = run_dir
        self.clone_flags = clone_flags
        self.network_owner = network_owner
        self.fuse = fuse
        self.ops = ops
        self.process = process
        self.init = init


def make_plan(
    spec: ContainerSpec,
    *,
    modes: Modes,
    facts: HostFacts,
    files: Files,
    network: str = "",
    network_owner: tuple[int, int] | None = None,
) -> Plan:
    """Decide how to make a container.

    Args:
        network: name of the driver that was chosen; by default the spec's, else the host's best. "host" and
            "container" mean no network namespace of its own, every other name means one.
        network_owner: (pid, start time) of the first process of the container whose network is joined.
    Raises:
        UsageError: a mount target, capability, option or profile that is not possible.
    Cost: no I/O but reading a seccomp profile, if one is named.
    """
    network = network or spec.network.driver or modes.network
    storage = spec.storage or modes.storage
    process = plan_process(spec.process, spec.security, modes.mapping)
    own_network = network not in ("host", "container")
    is_host_root = any(host_id == 0 for _, host_id, _ in modes.mapping.uids)
    operations = (
        ops.Isolate(receive=any(m.propagation.lstrip("r") in ("slave", "shared") for m in spec.mounts)),
        root_op(storage, files, volatile=spec.auto_remove),
        *_kernel_ops(spec, facts, own_network=own_network, is_host_root=is_host_root),
        *_device_ops(spec, tty_group=process.gids > _TTY_GID),
        *_file_ops(spec, files),
        *mount_ops(spec.mounts, files),
        *(ops.Bind(d.source, _check_target(d.target, kind="bind")) for d in spec.devices),
        *_closing_ops(spec, process, own_network=own_network, is_host_root=is_host_root),
    )
    return Plan(
        name=spec.name,
        mapping=modes.mapping,
        run_dir=files.run_dir,
        clone_flags=_clone_flags(spec, own_network=own_network),
        network_owner=network_owner if network == "container" else None,
        fuse=fuse_command(facts.fuse_overlayfs, files) if storage == "fuse-overlayfs" else (),
        ops=operations,
        process=process,
        init=spec.init,
    )


def describe(plan: Plan) -> list[str]:
    """Return the plan as lines for `--log-level debug`."""
    names = [name for name, flag in _NAMESPACES.items() if plan.clone_flags & flag]
    process = plan.process
    lines = [f"map ids: {plan.mapping.mode} ({plan.mapping.key})", f"make namespaces: {' '.join(names)}"]
    if plan.network_owner:
        lines.append(f"join the network namespace of process {plan.network_owner[0]}")
    if plan.fuse:
        lines.append(f"run {plan.fuse[0]}")
    lines += [op.describe() for op in plan.ops]
    lines.append(f"become user {process.user or '0'} in {process.cwd}")
    lines.append(f"keep capabilities {process.capabilities:#x}")
    lines.append(f"install a seccomp filter of {len(process.seccomp) // 8} instructions")
    lines.append("execute " + " ".join(process.argv))
    return lines


def root_op(storage: str, files: Files, *, volatile: bool) -> ops.Op:
    """Return the operation that mounts the root file system."""
    if storage == "overlay":
        return roots.OverlayRoot(
            files.rootfs, lowers=files.lowers, upper=files.upper, work=files.work, volatile=volatile
        )
    return roots.BindRoot(files.rootfs)


def fuse_command(program: str, files: Files) -> tuple[str, ...]:
    """Return the command line that mounts the image with fuse-overlayfs.

    Raises:
        UsageError: the store's path has characters that its options cannot hold.
    """
    for path in (*files.lowers, files.upper, files.work):
        if ":" in path or "," in path or "\\" in path:
            raise UsageError(
                "cannot use fuse-overlayfs on a store whose path has a colon, comma or backslash",
                on=path,
                hint="choose another place with --root, or --storage=copy",
            )
    lowers = ":".join(reversed(files.lowers))
    options = f"lowerdir={lowers},upperdir={files.upper},workdir={files.work}"
    return (program, "-o", options, files.rootfs)


def mount_ops(mounts: Iterable[Mount], files: Files) -> list[ops.Op]:
    """Return the operations for the user's mounts: one on /a comes before one on /a/b."""
    return [_mount_op(mount, files) for mount in _by_depth(mounts)]


def _clone_flags(spec: ContainerSpec, *, own_network: bool) -> int:
    shared = {"ipc": spec.ipc == "host", "uts": spec.uts == "host", "net": not own_network}
    return sum(flag for name, flag in _NAMESPACES.items() if not shared.get(name))


def _kernel_ops(
    spec: ContainerSpec, facts: HostFacts, *, own_network: bool, is_host_root: bool
) -> Iterator[ops.Op]:
    read_only = not spec.security.privileged
    yield kernel_mounts.Proc(fresh=facts.proc_mountable)
    if not _has_target(spec, "/sys"):
        yield kernel_mounts.Sys(fresh=own_network, read_only=read_only or is_host_root)
        if not _has_target(spec, "/sys/fs/cgroup"):
            yield kernel_mounts.Cgroup(read_only=read_only)


def _device_ops(spec: ContainerSpec, *, tty_group: bool) -> Iterator[ops.Op]:
    if not _has_target(spec, "/dev"):
        yield devices.Dev()
        for name in devices.NODES:
            yield devices.Node(name)
        yield devices.DevPts(tty_group=tty_group)
        if spec.ipc == "host":
            yield ops.Bind("/dev/shm", "/dev/shm")  # noqa: S108  shared memory of the host, as asked for
        elif not _has_target(spec, "/dev/shm"):  # noqa: S108  a mount point in the container
            yield devices.Shm(size_bytes=spec.shm_size_bytes)
        if spec.ipc != "host" and not _has_target(spec, "/dev/mqueue"):
            yield devices.Mqueue()
        if spec.security.privileged:
            yield devices.HostNodes()


def _file_ops(spec: ContainerSpec, files: Files) -> Iterator[ops.Op]:
    for source, target in (
        (files.hosts, "/etc/hosts"),
        (files.hostname, "/etc/hostname"),
        (files.resolv_conf, "/etc/resolv.conf"),
    ):
        if source and not _has_target(spec, target):
            yield ops.Bind(source, target)


def _closing_ops(
    spec: ContainerSpec, process: ProcessPlan, *, own_network: bool, is_host_root: bool
) -> Iterator[ops.Op]:
    if process.tty:
        yield devices.Console(rows=process.rows, columns=process.columns)
    is_open = spec.security.privileged or not spec.security.mask_paths
    if not is_open:
        for path in MASKED_PATHS:
            yield kernel_mounts.Mask(path)
    # The kernel asks for the owner alone before it changes a sysctl of the whole host: what is refused to
    # the root of a user namespace is granted to one that is the host's own root. Against accidents: a
    # privileged container can mount another /proc.
    if not is_open or is_host_root:
        for path in READONLY_PATHS:
            yield kernel_mounts.ReadOnly(path)
    if own_network:
        yield ops.Loopback(gids=process.gids)
    if spec.uts != "host":
        yield ops.Hostname(spec.hostname)
    if spec.read_only:
        yield ops.Directory(process.cwd)  # later it could not be made
        yield roots.ReadOnlyRoot()
    yield roots.Pivot()


def _mount_op(mount: Mount, files: Files) -> ops.Op:
    target = _check_target(mount.target, kind=mount.kind)
    if mount.kind == "tmpfs":
        return _tmpfs_op(mount, target)
    if mount.kind == "volume":
        from layers import removal  # noqa: F401  preloaded for the container's first process
        from rootless.runtime.volumes import Volume  # most containers have no volume

        data = files.volumes[mount.source]
        return Volume(data, target, read_only=mount.read_only, copy="nocopy" not in mount.options)
    return ops.Bind(
        mount.source,
        target,
        attributes=const.MOUNT_ATTR_RDONLY if mount.read_only else 0,
        propagation=mount.propagation,
        create_source=mount.create_source,
    )


def _tmpfs_op(mount: Mount, target: str) -> ops.Op:
    attributes = mounting.SAFE | (const.MOUNT_ATTR_RDONLY if mount.read_only else 0)
    options = {"mode": "1777"}
    for word in mount.options:
        name, equals, value = word.partition("=")
        if equals:
            options[name] = value
        elif name in _TMPFS_CLEARS:
            attributes &= ~_TMPFS_CLEARS[name]
        else:
            attributes |= _TMPFS_ATTRIBUTES.get(
                name, 0
            )  # the rest is the kernel's default, or without effect
    return ops.Tmpfs(target, options.items(), attributes=attributes)


def _check_target(target: str, *, kind: str) -> str:
    """Return a mount target as a normal absolute path.

    Refused: what would take the place of the kernel's file systems, on which masks and the runtime's own
    steps rely (CVE-2019-16884, CVE-2023-27561). A host directory on /sys or /dev is the user's own wish; a
    volume there can be an image's.

    Raises:
        UsageError: it cannot be mounted on.
    """
    path = "/" + posixpath.normpath("/" + target).lstrip("/")
    fixed = path == "/proc" or (path.startswith("/proc/") and path not in _BELOW_PROC)
    if path == "/" or fixed or (kind != "bind" and path in ("/sys", "/dev", "/dev/pts")):
        raise UsageError(
            f"cannot mount on {path}: the container's own file system belongs there",
            hint="choose another target; if it comes from the image's VOLUME, the image is broken or hostile",
        )
    return path


def _has_target(spec: ContainerSpec, path: str) -> bool:
    return any(posixpath.normpath(mount.target) == path for mount in spec.mounts)


def _by_depth(mounts: Iterable[Mount]) -> list[Mount]:
    """Sort so that a mount on /a comes before one on /a/b; equal depths keep the user's order."""
    return sorted(mounts, key=lambda mount: posixpath.normpath(mount.target).count("/"))
