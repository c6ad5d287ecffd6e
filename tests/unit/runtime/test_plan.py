"""What a container's plan holds, in which order, and what it refuses."""

from __future__ import annotations

import pytest

from rootless.errors import UsageError
from rootless.linux import const
from rootless.model.host import HostFacts, IdMapping, Modes
from rootless.model.spec import ContainerSpec, Device, Mount, Network, Process, Security
from rootless.runtime import plan as planning

RANGES = IdMapping(
    mode="ranges", uids=((0, 1000, 1), (1, 100000, 65536)), gids=((0, 1000, 1), (1, 100000, 65536)), key="r1"
)
SINGLE = IdMapping(mode="single", uids=((0, 1000, 1),), gids=((0, 1000, 1),), key="single")
FILES = planning.Files(
    rootfs="/s/c/rootfs",
    upper="/s/c/upper",
    work="/s/c/work",
    lowers=("/s/l1", "/s/l2"),
    hosts="/s/c/hosts",
    hostname="/s/c/hostname",
    resolv_conf="/s/c/resolv.conf",
    volumes={"data": "/s/v/data/_data"},
    run_dir="/run/r",
)


def make(
    *, mapping: IdMapping = RANGES, storage: str = "overlay", facts: dict | None = None, **fields
) -> planning.Plan:
    process = fields.pop("process", Process(argv=("sh", "-c", "true"), env=("PATH=/bin",)))
    spec = ContainerSpec(
        id="0123456789ab" + "0" * 52,
        name="web",
        image="i",
        image_id="x",
        layers=("a",),
        process=process,
        **fields,
    )
    modes = Modes(identity=mapping.mode, mapping=mapping, storage=storage, network="pasta")
    host = HostFacts(uid=1000, gid=1000, fuse_overlayfs="/usr/bin/fuse-overlayfs", **(facts or {}))
    return planning.make_plan(spec, modes=modes, facts=host, files=FILES)


def lines(**fields) -> list[str]:
    return planning.describe(make(**fields))


def index(found: list[str], start: str) -> int:
    return next(i for i, line in enumerate(found) if line.startswith(start))


def test_default_plan_is_this() -> None:
    assert lines() == [
        "map ids: ranges (r1)",
        "make namespaces: user mnt pid ipc uts cgroup net",
        "make all mounts private",
        "mount overlay of 2 layers on /s/c/rootfs",
        "mount proc on /proc",
        "mount sysfs on /sys (read-only)",
        "mount cgroup2 on /sys/fs/cgroup (read-only)",
        "mount tmpfs on /dev (mode=755,size=64m)",
        *[f"bind the host's /dev/{name}" for name in ("null", "zero", "full", "random", "urandom", "tty")],
        "mount devpts on /dev/pts (mode=620,ptmxmode=666,gid=5)",
        "mount tmpfs on /dev/shm (mode=1777,size=67108864)",
        "mount mqueue on /dev/mqueue",
        "bind /s/c/hosts on /etc/hosts (rw)",
        "bind /s/c/hostname on /etc/hostname (rw)",
        "bind /s/c/resolv.conf on /etc/resolv.conf (rw)",
        *[f"mask {path}" for path in planning.MASKED_PATHS],
        *[f"make {path} read-only" for path in planning.READONLY_PATHS],
        "bring the loopback interface up",
        "set the hostname 0123456789ab",
        "pivot into the root file system",
        "become user 0 in /",
        "keep capabilities 0xa80425fb",
        lines()[-2],
        "execute sh -c true",
    ]


def test_single_mode_has_no_tty_group() -> None:
    assert "mount devpts on /dev/pts (mode=620,ptmxmode=666)" in lines(mapping=SINGLE)


def test_host_network_shares_the_namespace_and_binds_the_hosts_sysfs() -> None:
    plan = make(network=Network(driver="host"))
    assert not plan.clone_flags & const.CLONE_NEWNET
    found = planning.describe(plan)
    assert "bind the host's /sys on /sys (read-only)" in found
    assert "bring the loopback interface up" not in found


def test_ipc_of_the_host_binds_its_shared_memory_and_uts_keeps_its_name() -> None:
    plan = make(ipc="host", uts="host")
    assert not plan.clone_flags & (const.CLONE_NEWIPC | const.CLONE_NEWUTS)
    found = planning.describe(plan)
    assert "make namespaces: user mnt pid cgroup net" in found
    assert any(line.startswith("bind /dev/shm on /dev/shm") for line in found)
    assert not any("mqueue" in line or "hostname" in line.split(" on ")[0] for line in found[:2] + found[-4:])


@pytest.mark.parametrize("driver", ["none", "pasta", "slirp4netns", ""])
def test_other_networks_have_their_own_namespace(driver: str) -> None:
    assert make(network=Network(driver=driver)).clone_flags & const.CLONE_NEWNET


def test_masked_outer_proc_is_bound() -> None:
    assert "bind the outer /proc on /proc" in lines(facts={"proc_mountable": False})


def test_mounts_come_parents_first_and_before_masks() -> None:
    mounts = (
        Mount(kind="bind", source="/b", target="/data/sub"),
        Mount(kind="volume", source="data", target="/data", read_only=True),
        Mount(kind="tmpfs", target="/tmp"),
    )
    found = lines(mounts=mounts)
    volume = index(found, "bind volume /s/v/data/_data on /data (ro, filled from the image when empty)")
    assert volume < index(found, "bind /b on /data/sub (rw)") < index(found, "mask ")
    assert index(found, "mount mqueue") < volume


def test_masks_come_after_everything_that_a_user_mounts() -> None:
    found = lines(mounts=(Mount(kind="bind", source="/sys", target="/sys"),))
    assert "mount sysfs on /sys (read-only)" not in found
    assert index(found, "bind /sys on /sys") < index(found, "mask /sys/firmware")


@pytest.mark.parametrize(
    "path", ["/dev/shm", "/dev/mqueue", "/sys", "/sys/fs/cgroup", "/etc/hosts", "/etc/resolv.conf"]
)
def test_user_mount_takes_the_place_of_a_default_one(path: str) -> None:
    found = [
        line
        for line in lines(mounts=(Mount(kind="bind", source="/x", target=path),))
        if f" on {path} " in line
    ]
    assert found == [f"bind /x on {path} (rw)"]


def test_own_dev_takes_the_place_of_the_whole() -> None:
    found = lines(mounts=(Mount(kind="bind", source="/dev", target="/dev"),))
    assert not [line for line in found if "devpts" in line or "host's /dev" in line]


@pytest.mark.parametrize("kind", ["bind", "volume", "tmpfs"])
@pytest.mark.parametrize(
    "target", ["/", "/proc", "/proc/", "/proc/sys", "//proc", "/x/../proc", "/proc/self/fd", "/proc/1"]
)
def test_mount_over_proc_is_refused(kind: str, target: str) -> None:
    with pytest.raises(UsageError, match="the container's own file system belongs there"):
        make(mounts=(Mount(kind=kind, source="data", target=target),))


def test_lxcfs_files_below_proc_are_allowed() -> None:
    assert "bind /var/lib/lxcfs/meminfo on /proc/meminfo (rw)" in lines(
        mounts=(Mount(kind="bind", source="/var/lib/lxcfs/meminfo", target="/proc/meminfo"),)
    )


@pytest.mark.parametrize("target", ["/sys", "/dev", "/dev/pts", "/./dev/", "/dev/../sys"])
def test_volume_of_an_image_over_kernel_file_systems_is_refused(target: str) -> None:
    with pytest.raises(UsageError, match="own file system belongs there"):
        make(mounts=(Mount(kind="volume", source="data", target=target),))


def test_prefix_is_not_taken_for_a_parent() -> None:
    assert "bind /b on /process (rw)" in lines(mounts=(Mount(kind="bind", source="/b", target="/process"),))


def test_volume_target_cannot_leave_the_root() -> None:
    found = lines(mounts=(Mount(kind="volume", source="data", target="/../../etc/cron.d"),))
    assert index(found, "bind volume /s/v/data/_data on /etc/cron.d ")


def test_privileged_has_no_masks_no_filter_and_all_devices() -> None:
    found = lines(security=Security(privileged=True))
    assert not [line for line in found if line.startswith(("mask", "make /proc"))]
    assert "install a seccomp filter of 0 instructions" in found
    assert "bind all device nodes of the host" in found
    assert "mount sysfs on /sys" in found


@pytest.mark.parametrize("security", [Security(privileged=True), Security(mask_paths=False)])
@pytest.mark.parametrize(
    "uids", [((0, 0, 1),), ((0, 0, 1), (1, 100000, 65536)), ((0, 100000, 1), (1, 0, 1))], ids=str
)
def test_host_root_gets_no_writable_sysctls_of_the_host(security: Security, uids: tuple) -> None:
    found = lines(security=security, mapping=IdMapping(mode="ranges", uids=uids, gids=uids, key="r0"))
    for path in planning.READONLY_PATHS:
        assert f"make {path} read-only" in found
    assert "mount sysfs on /sys (read-only)" in found
    assert not [line for line in found if line.startswith("mask")]


def test_unmasked_system_paths_keep_the_rest() -> None:
    found = lines(security=Security(mask_paths=False))
    assert not [line for line in found if line.startswith(("mask", "make /proc"))]
    assert "mount sysfs on /sys (read-only)" in found


def test_read_only_root_is_set_after_all_mount_points_are_made() -> None:
    found = lines(read_only=True)
    assert found.index("make the root file system read-only") + 1 == found.index(
        "pivot into the root file system"
    )


def test_working_directory_of_a_read_only_root_is_made_before() -> None:
    found = lines(read_only=True, process=Process(argv=("a",), cwd="/srv/x"))
    assert index(found, "make the directory /srv/x") < index(found, "make the root file system read-only")


def test_terminal_is_made_before_the_pivot() -> None:
    found = lines(process=Process(argv=("sh",), tty=True))
    assert index(found, "make a terminal") < index(found, "pivot")


def test_slave_propagation_receives_from_the_host() -> None:
    found = lines(mounts=(Mount(kind="bind", source="/m", target="/m", propagation="rslave"),))
    assert "make all mounts slaves of the host" in found
    assert "bind /m on /m (rw,rslave)" in found


def test_tmpfs_options_become_attributes() -> None:
    mount = Mount(kind="tmpfs", target="/t", options=("size=1m", "exec", "mode=700"), read_only=True)
    op = next(op for op in make(mounts=(mount,)).ops if op.describe().startswith("mount tmpfs on /t "))
    assert op.describe() == "mount tmpfs on /t (mode=700,size=1m)"
    assert op.attributes == (  # type: ignore[attr-defined]
        const.MOUNT_ATTR_RDONLY | const.MOUNT_ATTR_NOSUID | const.MOUNT_ATTR_NODEV
    )


def test_devices_are_bound() -> None:
    assert "bind /dev/fuse on /dev/fuse (rw)" in lines(
        devices=(Device(source="/dev/fuse", target="/dev/fuse"),)
    )


def test_copy_storage_binds_the_prepared_tree() -> None:
    assert "bind the root file system /s/c/rootfs on itself" in lines(storage="copy")


def test_fuse_storage_runs_the_program_top_layer_first() -> None:
    assert make(storage="fuse-overlayfs").fuse == (
        "/usr/bin/fuse-overlayfs",
        "-o",
        "lowerdir=/s/l2:/s/l1,upperdir=/s/c/upper,workdir=/s/c/work",
        "/s/c/rootfs",
    )


def test_network_of_a_container_is_joined() -> None:
    spec_network = Network(driver="container", container="x")
    modes = Modes(identity="ranges", mapping=RANGES, storage="overlay", network="pasta")
    spec = ContainerSpec(
        id="0" * 64,
        name="n",
        image="i",
        image_id="x",
        layers=(),
        process=Process(argv=("a",)),
        network=spec_network,
    )
    plan = planning.make_plan(
        spec, modes=modes, facts=HostFacts(uid=1, gid=1), files=FILES, network_owner=(42, 7)
    )
    assert plan.network_owner == (42, 7)
    assert "join the network namespace of process 42" in planning.describe(plan)
