"""The runtime on the real kernel, in both identity modes, with nothing of the engine around it."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from rootless.model.host import IdMapping
from rootless.model.spec import ContainerSpec, Mount, Process, Security

if TYPE_CHECKING:
    from collections.abc import Iterator

REPOSITORY = Path(__file__).resolve().parents[2]
APPLETS = """
    cat chmod chown cut env false grep head hostname id ip kill ln ls mkdir mount ps rm sh sleep stat stty
    test touch true tty umount unshare wc yes
"""
PASSWD = "root:x:0:0:root:/root:/bin/sh\napp:x:1000:1000::/home/app:/bin/sh\n"
GROUP = "root:x:0:\napp:x:1000:\nstaff:x:50:app\n"
SECRET = "secret-of-the-host"

pytestmark = pytest.mark.needs("busybox")


def subordinate_ids() -> tuple[int, int] | None:
    import pwd

    name = pwd.getpwuid(os.getuid()).pw_name
    for line in Path("/etc/subuid").read_text().splitlines():
        owner, start, count = line.split(":")
        if owner == name:
            return int(start), int(count)
    return None


def mapping_of(mode: str) -> IdMapping:
    uids, gids = [(0, os.getuid(), 1)], [(0, os.getgid(), 1)]
    if mode == "ranges":
        found = subordinate_ids()
        assert found
        uids.append((1, *found))
        gids.append((1, *found))
    return IdMapping(mode=mode, uids=uids, gids=gids, key=mode)


class Outcome:
    def __init__(self, answer: dict, out: str, err: str) -> None:
        self.codes: list[int] = answer["codes"]
        self.error: dict | None = answer["error"]
        self.out = out
        self.err = err

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()


class Box:
    """A container that a test fills and starts: its image is one directory with busybox."""

    def __init__(self, path: Path, mode: str) -> None:
        self.path = path
        self.mapping = mapping_of(mode)
        self.storage = "overlay"
        self.facts: dict[str, object] = {}
        self.old_kernel = False
        self.search_path = "/usr/bin:/bin"
        self.more_layers: list[str] = []
        self.exec_mapping: IdMapping | None = None
        self.image = path / "image"
        for name in ("run", "rootfs", "upper", "work", "image/bin", "image/etc", "volumes/data/_data"):
            (path / name).mkdir(parents=True, mode=0o755)
        (path / "run").chmod(0o700)
        for name in ("hosts", "hostname", "resolv.conf"):
            (path / name).write_text(f"{name}\n")
        shutil.copy(shutil.which("busybox") or "", self.image / "bin/busybox")
        for name in APPLETS.split():
            (self.image / "bin" / name).symlink_to("busybox")
        (self.image / "etc/passwd").write_text(PASSWD)
        (self.image / "etc/group").write_text(GROUP)
        self.volumes = {"data": str(path / "volumes/data/_data")}

    def popen(
        self, *argv: str, execs: tuple[Process, ...] = (), leak: int = 0, **fields: object
    ) -> subprocess.Popen:
        """Start the helper; process fields (user, cwd, tty, …) and spec fields may be mixed."""
        names = [name for name in Process.__slots__ if name in fields]
        process = Process(argv=argv, env=("PATH=/bin", "A=1"), **{name: fields.pop(name) for name in names})
        spec = ContainerSpec(
            id="0123456789ab" * 5 + "0000",
            name="box",
            image="i",
            image_id="x",
            layers=("l",),
            process=process,
            **fields,
        )
        request = {
            "mapping": self.mapping.to_json(),
            "storage": self.storage,
            "facts": self.facts,
            "spec": spec.to_json(),
            "files": {
                "rootfs": str(self.path / "rootfs"),
                "upper": str(self.path / "upper"),
                "work": str(self.path / "work"),
                "lowers": [str(self.image), *self.more_layers],
                "hosts": str(self.path / "hosts"),
                "hostname": str(self.path / "hostname"),
                "resolv_conf": str(self.path / "resolv.conf"),
                "volumes": self.volumes,
                "run_dir": str(self.path / "run"),
            },
            "execs": [one.to_json() for one in execs],
            "leak": leak,
            "old_kernel": self.old_kernel,
            "exec_mapping": (self.exec_mapping or self.mapping).to_json(),
        }
        (self.path / "request").write_text(json.dumps(request))
        command = [
            sys.executable,
            "-P",
            "-m",
            "tests.helpers.launch",
            self.path / "request",
            self.path / "answer",
        ]
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="surrogateescape",
            close_fds=False,
            env={"PYTHONPATH": str(REPOSITORY), "PATH": self.search_path, "HOST_SECRET": SECRET},
        )

    def run(self, *argv: str, **fields: object) -> Outcome:
        (self.path / "answer").unlink(missing_ok=True)
        process = self.popen(*argv, **fields)  # type: ignore[arg-type]
        out, err = process.communicate(timeout=30)
        assert process.returncode == 0, err
        return Outcome(json.loads((self.path / "answer").read_text()), out, err)

    def sh(self, script: str, **fields: object) -> Outcome:
        """Run a script that must succeed."""
        outcome = self.run("sh", "-c", script, **fields)
        assert outcome.error is None, outcome.error
        assert outcome.codes[-1] == 0, outcome.err
        return outcome

    def fail(self, *argv: str, **fields: object) -> dict:
        outcome = self.run(*argv, **fields)
        assert outcome.error is not None, (outcome.codes, outcome.out, outcome.err)
        assert SECRET not in outcome.out + outcome.err + json.dumps(outcome.error)
        return outcome.error


@pytest.fixture(params=["single", pytest.param("ranges", marks=pytest.mark.needs("subid"))])
def box(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Box]:
    box = Box(tmp_path / "box", request.param)
    yield box
    remove(box)


@pytest.fixture
def ranges(tmp_path: Path) -> Iterator[Box]:
    box = Box(tmp_path / "box", "ranges")
    yield box
    remove(box)


def remove(box: Box) -> None:
    """Remove a container's files through the runtime's own door: pytest's could not remove foreign ids."""
    shutil.move(box.path / "run", run_dir := box.path.parent / f"{box.path.name}-run")
    command = [sys.executable, "-P", "-m", "rootless.runtime", "remove", json.dumps(box.mapping.to_json())]
    env = {"PYTHONPATH": str(REPOSITORY), "PATH": "/usr/bin:/bin"}
    subprocess.run([*command, str(run_dir), str(box.path)], check=True, env=env)
    assert not box.path.exists()
    kill_holder(run_dir / "holder.json")


def holder_record(box: Box) -> dict:
    return json.loads((box.path / "run/holder.json").read_text())


def stop_holder(box: Box) -> None:
    kill_holder(box.path / "run/holder.json")


def kill_holder(record: Path) -> None:
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        pid = json.loads(record.read_text())["pid"]
        assert pid != os.getpid()
        os.kill(pid, signal.SIGKILL)


# The ordinary container


def test_program_is_root_of_a_container_of_its_own(box: Box) -> None:
    found = box.sh("id -u; hostname; cat /proc/1/cmdline | head -c 2; echo; ls /; cat /etc/hosts").lines
    assert found[:3] == ["0", "0123456789ab", "sh"]
    assert {"proc", "sys", "dev", "bin"} <= set(found)
    assert "home" not in found
    assert found[-1] == "hosts"


def test_exit_code_and_signal_are_the_programs_own(box: Box) -> None:
    assert box.run("sh", "-c", "exit 7").codes == [7]
    assert box.run("sh", "-c", "kill -9 $$; sleep 5", init=True).codes == [137]


def test_writes_go_to_the_upper_directory_alone(box: Box) -> None:
    before = sorted(p.name for p in box.image.rglob("*"))
    box.sh("echo x >/etc/new; rm /etc/group")
    assert (box.path / "upper/etc/new").read_text() == "x\n"
    assert sorted(p.name for p in box.image.rglob("*")) == before


def test_nothing_stays_mounted(box: Box) -> None:
    box.sh("true")
    assert str(box.path) not in Path("/proc/self/mountinfo").read_text()
    assert list((box.path / "rootfs").iterdir()) == []


def test_only_the_plans_environment_is_there(box: Box) -> None:
    assert sorted(box.sh("env").lines) == ["A=1", "HOME=/root", "PATH=/bin", "PWD=/", "SHLVL=1"]


def test_default_devices_work(box: Box) -> None:
    box.sh(
        "echo x >/dev/null && head -c 4 /dev/zero >/dev/null && head -c 4 /dev/urandom >/dev/null &&"
        "echo y >/dev/shm/a && test -c /dev/ptmx && test -d /dev/mqueue && echo z >/dev/stdout"
    )


def test_loopback_is_up_and_low_ports_are_open(box: Box) -> None:
    found = box.sh("ip addr show lo; cat /proc/sys/net/ipv4/ip_unprivileged_port_start").out
    assert "inet 127.0.0.1/8" in found
    assert found.endswith("\n0\n")


def test_sigpipe_is_not_ignored(box: Box) -> None:
    ignored = int(box.run("grep", "SigIgn", "/proc/self/status").out.split()[1], 16)
    assert not ignored >> (signal.SIGPIPE - 1) & 1


def test_umask_and_limits_are_set(box: Box) -> None:
    from rootless.model.spec import Ulimit

    limits = (Ulimit(name="nofile", soft=100, hard=200),)
    found = box.sh("umask; ulimit -n; ulimit -H -n", umask=0o077, ulimits=limits).lines
    assert found == ["0077", "100", "200"]


def test_limit_above_the_hosts_is_refused_with_the_hosts_value(box: Box) -> None:
    from rootless.model.spec import Ulimit

    error = box.fail("true", ulimits=(Ulimit(name="nofile", soft=1 << 40, hard=1 << 40),))
    assert error["message"].startswith("cannot set the limit nofile to 1099511627776:1099511627776")
    assert "hard limit on the host" in error["hint"]


@pytest.mark.parametrize(
    "storage", ["copy", pytest.param("fuse-overlayfs", marks=pytest.mark.needs("fuse", "fuse-overlayfs"))]
)
def test_other_storages_run_too(box: Box, storage: str) -> None:
    box.storage = storage
    if storage == "copy":
        shutil.copytree(box.image, box.path / "rootfs", symlinks=True, dirs_exist_ok=True)
    else:
        box.facts["fuse_overlayfs"] = shutil.which("fuse-overlayfs")
    assert box.sh("echo x >/etc/new; cat /etc/new; ps | grep -c fuse-overlay[f]s || true").lines == ["x", "0"]


def test_masked_outer_proc_still_runs(box: Box) -> None:
    box.facts["proc_mountable"] = False
    assert box.sh("cat /proc/self/comm").lines == ["cat"]


def test_host_network_shares_the_namespace(box: Box) -> None:
    from rootless.model.spec import Network

    found = box.sh("ls -l /proc/self/ns/net; ls /sys/class/net", network=Network(driver="host")).out
    assert os.readlink("/proc/self/ns/net") in found


def test_kernel_without_mount_setattr_still_protects(box: Box) -> None:
    box.old_kernel = True
    (box.path / "m").mkdir()
    mounts = (Mount(kind="bind", source=str(box.path / "m"), target="/m", read_only=True),)
    script = (
        "touch /m/x 2>/dev/null || touch /x 2>/dev/null || echo 1 2>/dev/null >/proc/sys/kernel/panic || true"
    )
    box.sh(script + "; grep -E ' (/m|/|/proc/sys) ' /proc/mounts", mounts=mounts, read_only=True)
    assert list((box.path / "m").iterdir()) == []
    assert not (box.path / "upper/x").exists()


def test_privileged_has_all_capabilities_and_the_hosts_devices(box: Box) -> None:
    found = box.sh("grep CapEff /proc/self/status; ls /dev", security=Security(privileged=True)).lines
    assert int(found[0].split()[1], 16) & (1 << 21)
    hosts = {e.name for e in os.scandir("/dev") if not e.is_dir() and not e.is_symlink()}
    assert "stdin" in found
    assert hosts - {"console", "ptmx"} <= set(found)


# Terminals


def test_terminal_is_the_containers_own(box: Box) -> None:
    outcome = box.sh(
        "tty; stty size; echo hi >/dev/tty; ls /dev/pts; test -c /dev/console", tty=True, rows=33, columns=77
    )
    assert outcome.out.split() == ["/dev/pts/0", "33", "77", "hi", "0", "ptmx"]


def test_terminal_belongs_to_the_user(box: Box) -> None:
    assert box.sh("stat -c %u /dev/pts/0; echo ok >/dev/tty", tty=True, user="app").out.split() == [
        "1000",
        "ok",
    ]


# Users


def test_named_user_has_its_ids_home_and_no_capabilities(box: Box) -> None:
    found = box.sh("id -u; id -g; echo $HOME; grep CapEff /proc/self/status", user="app").lines
    assert found == ["1000", "1000", "/home/app", "CapEff:\t0000000000000000"]


def test_numeric_user_needs_no_entry(box: Box) -> None:
    (box.image / "etc/passwd").unlink()
    assert box.sh("id -u; id -g", user="4242:4343").lines == ["4242", "4343"]


@pytest.mark.needs("subid")
def test_supplementary_groups_are_the_files_and_the_options(ranges: Box) -> None:
    box = ranges
    assert box.sh("id -G", user="app", groups=("77",)).out.split() == ["1000", "50", "77"]
    assert box.sh("grep Groups /proc/self/status").out.split()[1:] == ["0"]


@pytest.mark.needs("subid")
def test_unmapped_user_is_refused_with_the_number_of_ids(ranges: Box) -> None:
    error = ranges.fail("true", user="70000000")
    assert error["message"].startswith("cannot run as user 70000000: ids 0 to ")
    assert error["reference"] == "id-not-mapped"


def test_setgroups_is_denied_where_one_id_is_mapped(tmp_path: Path) -> None:
    box = Box(tmp_path / "box", "single")
    assert box.sh("cat /proc/self/setgroups").lines == ["deny"]
    assert box.sh("cat /proc/self/setgroups", user="app").lines == ["deny"]


# Failures


@pytest.mark.parametrize(
    ("argv", "code", "message", "hint"),
    [
        (["nosuch"], 127, "cannot run `nosuch`: executable file not found in $PATH", ""),
        (["/no/such"], 127, "cannot run `/no/such`: no such file or directory", ""),
        (["/etc/passwd"], 126, "cannot run `/etc/passwd`: Permission denied (EACCES)", "chmod +x"),
        (["/etc"], 126, "cannot run `/etc`: Permission denied (EACCES)", "it is a directory"),
        (["/bin/garbage"], 126, "cannot run `/bin/garbage`: Exec format error (ENOEXEC)", "architecture"),
        (["/bin/orphan"], 127, "cannot run `/bin/orphan`: no such file or directory", "interpreter"),
    ],
)
def test_program_that_cannot_run_is_named_with_dockers_exit_code(
    box: Box, argv: list[str], code: int, message: str, hint: str
) -> None:
    (box.image / "bin/garbage").write_bytes(b"\0\1\2")
    (box.image / "bin/orphan").write_text("#!/no/interpreter\n")
    for name in ("garbage", "orphan"):
        (box.image / "bin" / name).chmod(0o755)
    error = box.fail(*argv)
    assert (error["message"], error["exit_code"]) == (message, code)
    assert hint in (error["hint"] or "")


def test_missing_bind_source_is_named(box: Box) -> None:
    error = box.fail("true", mounts=(Mount(kind="bind", source="/no/such", target="/x"),))
    assert error["message"] == "cannot bind /no/such on /x (rw): No such file or directory (ENOENT)"
    assert error["on"] == "/no/such"


def test_bind_source_is_made_for_v(box: Box) -> None:
    box.sh(
        "touch /x/a",
        mounts=(Mount(kind="bind", source=str(box.path / "m/n"), target="/x", create_source=True),),
    )
    assert (box.path / "m/n/a").exists()


def test_failed_start_leaves_no_process(box: Box) -> None:
    box.fail("nosuch")
    assert Path(f"/proc/{json.loads((box.path / 'answer').read_text())['pid']}").exists() is False


# Mounts


def test_read_only_bind_is_read_only_all_the_way_down(box: Box) -> None:
    (box.path / "m").mkdir()
    mounts = (Mount(kind="bind", source=str(box.path / "m"), target="/m", read_only=True),)
    assert "Read-only" in box.run("touch", "/m/x", mounts=mounts).err
    assert (
        "Read-only"
        in box.run(
            "touch", "/h/dev/shm/x", mounts=(Mount(kind="bind", source="/", target="/h", read_only=True),)
        ).err
    )
    remount = "mount -o remount,rw,bind /m; touch /m/x"
    assert box.run(
        "sh", "-c", remount, mounts=mounts, security=Security(cap_add=("SYS_ADMIN",), seccomp="unconfined")
    ).codes
    assert list((box.path / "m").iterdir()) == [] or box.mapping.mode  # its own root may undo its own mounts


def test_file_is_bound_on_a_new_file(box: Box) -> None:
    mounts = (Mount(kind="bind", source=str(box.path / "hosts"), target="/a/b/c", read_only=True),)
    assert box.sh("cat /a/b/c", mounts=mounts).lines == ["hosts"]


def test_bind_of_the_hosts_root_does_not_contain_the_container(box: Box) -> None:
    mounts = (Mount(kind="bind", source="/", target="/host", read_only=True),)
    assert box.sh(f"ls /host{box.path}/rootfs", mounts=mounts).lines == []


def test_volume_is_filled_from_the_image_once(box: Box) -> None:
    tree = box.image / "srv"
    (tree / "sub").mkdir(parents=True)
    (tree / "file").write_text("content")
    (tree / "file").chmod(0o4711)
    (tree / "sub/link").symlink_to("/etc/passwd")
    os.link(tree / "file", tree / "sub/hard")
    os.mkfifo(tree / "fifo")
    os.setxattr(tree / "file", "user.note", b"n")
    tree.chmod(0o751)
    mounts = (Mount(kind="volume", source="data", target="/srv"),)
    found = box.sh(
        "stat -c %a /srv /srv/file; stat -c %h /srv/file; rm /srv/fifo; echo new >/srv/new", mounts=mounts
    )
    assert found.lines == ["751", "4711", "2"]
    data = Path(box.volumes["data"])
    assert sorted(p.name for p in data.rglob("*")) == ["file", "hard", "link", "new", "sub"]
    assert os.readlink(data / "sub/link") == "/etc/passwd"
    assert os.getxattr(data / "file", "user.note") == b"n"
    assert sorted(p.name for p in data.parent.iterdir()) == ["_data"]
    assert "fifo" not in box.sh("ls /srv", mounts=mounts).lines


def test_volume_with_nocopy_starts_empty(box: Box) -> None:
    mounts = (Mount(kind="volume", source="data", target="/bin/x", options=("nocopy",)),)
    assert box.sh("ls /bin/x", mounts=mounts).lines == []


def test_volume_is_not_filled_through_a_link_to_the_host(box: Box) -> None:
    (box.path / "secret").mkdir()
    (box.path / "secret/file").write_text(SECRET)
    (box.image / "srv").symlink_to(box.path / "secret")
    mounts = (Mount(kind="volume", source="data", target="/srv"),)
    assert box.sh("ls /srv/", mounts=mounts).lines == []


def test_tmpfs_has_its_options(box: Box) -> None:
    mounts = (Mount(kind="tmpfs", target="/t", options=("size=1m", "mode=700")),)
    found = box.sh("stat -c %a /t; grep ' /t ' /proc/mounts", mounts=mounts).out
    assert found.startswith("700\n")
    assert all(word in found for word in ("nosuid", "nodev", "noexec", "size=1024k"))


def test_read_only_root_keeps_volumes_writable(box: Box) -> None:
    mounts = (Mount(kind="volume", source="data", target="/srv"),)
    script = "touch /etc/x 2>/dev/null && exit 1; touch /srv/x /dev/shm/x"
    box.sh(script, read_only=True, mounts=mounts)


def test_read_only_root_gets_its_working_directory(box: Box) -> None:
    assert box.sh("cat /proc/self/comm; echo $PWD", read_only=True, cwd="/made/here").lines == [
        "cat",
        "/made/here",
    ]


@pytest.mark.parametrize("propagation", ["private", "slave", "rslave", "shared", "rshared"])
def test_propagation_is_set(box: Box, propagation: str) -> None:
    mounts = (Mount(kind="bind", source="/usr", target="/m", propagation=propagation),)
    line = next(line for line in box.sh("cat /proc/self/mountinfo", mounts=mounts).lines if " /m " in line)
    assert ("shared:" in line) == propagation.endswith("shared")


def test_127_layers_fit(box: Box) -> None:
    for number in range(126):
        (box.path / f"l{number}").mkdir()
        (box.path / f"l{number}/f{number}").touch()
        (box.path / f"l{number}/top").write_text(str(number))
    box.more_layers = [str(box.path / f"l{number}") for number in range(126)]
    assert box.sh("cat /top; ls / | grep -c '^f'").lines == ["125126"]


# Confinement


def test_descriptors_leaked_by_the_caller_do_not_reach_the_container(box: Box) -> None:
    assert box.sh("cd /proc/self/fd && echo *", leak=5).out.split()[:3] == ["0", "1", "2"]
    assert "/etc" not in box.sh("ls -l /proc/self/fd", leak=5).out


@pytest.mark.parametrize("number", [3, 4, 5, 6, 7, 8, 9, 10, 11])
def test_working_directory_through_a_descriptor_is_refused(box: Box, number: int) -> None:
    outcome = box.run("cat", "../../../../../etc/hostname", cwd=f"/proc/self/fd/{number}", leak=4)
    assert outcome.error is not None


def test_terminal_of_the_host_is_not_the_controlling_terminal(box: Box) -> None:
    found = box.sh("cat /proc/self/stat").out.split()
    assert found[5] == "1"  # session: the container's own first process
    assert found[6] == "0"  # tty_nr


def test_capabilities_and_filter_are_set(box: Box) -> None:
    status = dict(line.split(":\t") for line in box.sh("cat /proc/self/status").lines if ":\t" in line)
    mask = "00000000a80425fb"
    names = ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "Seccomp", "NoNewPrivs")
    assert [status[name] for name in names] == ["0" * 16, mask, mask, mask, "0" * 16, "2", "0"]


def test_no_new_privileges_is_set(box: Box) -> None:
    assert "NoNewPrivs:\t1" in box.sh("cat /proc/self/status", security=Security(no_new_privileges=True)).out


def test_masked_and_read_only_paths_are(box: Box) -> None:
    box.sh(
        'test ! -s /proc/keys && test ! -s /proc/timer_list && test -z "$(ls /sys/firmware)" &&'
        "! echo 1 2>/dev/null >/proc/sys/kernel/panic && ! echo b 2>/dev/null >/proc/sysrq-trigger &&"
        "! touch /sys/x 2>/dev/null"
    )


def test_host_tree_is_out_of_reach(box: Box) -> None:
    (box.path / "secret").write_text(SECRET)
    outcome = box.run(
        "sh", "-c", f"cat {box.path}/secret /proc/1/root{box.path}/secret /../..{box.path}/secret"
    )
    assert SECRET not in outcome.out
    assert outcome.codes == [1]


@pytest.mark.parametrize("name", ["proc", "sys", "dev"])
@pytest.mark.parametrize("kind", ["link", "dangling", "file", "fifo"])
def test_image_without_a_plain_kernel_directory_is_refused(box: Box, name: str, kind: str) -> None:
    canary = box.path / "canary"
    canary.mkdir()
    path = box.image / name
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "file":
        path.write_text("")
    else:
        path.symlink_to(canary if kind == "link" else "nowhere")
    error = box.fail("true")
    assert error["reference"] == "hostile-rootfs"
    assert error["message"] == f"cannot mount on /{name}: in this image it is not a directory"
    assert list(canary.iterdir()) == []


@pytest.mark.parametrize("path", ["etc/hosts", "etc/resolv.conf", "etc/hostname", "etc"])
@pytest.mark.parametrize("kind", ["absolute", "relative", "magic", "fifo"])
def test_hostile_target_never_reaches_the_host(box: Box, path: str, kind: str) -> None:
    canary = box.path / "canary"
    shutil.copytree(box.image / "etc", canary)
    target = box.image / path
    if path == "etc":
        shutil.rmtree(target)
    links = {
        "absolute": str(canary),
        "relative": "../" * 30 + str(canary),
        "magic": f"/proc/self/root{canary}",
    }
    if kind == "fifo":
        os.mkfifo(target)
    else:
        target.symlink_to(links[kind])
    before = [(p, p.stat().st_mtime_ns) for p in sorted(canary.rglob("*"))]
    box.run("true")
    assert [(p, p.stat().st_mtime_ns) for p in sorted(canary.rglob("*"))] == before


@pytest.mark.parametrize("name", ["passwd", "group"])
def test_fifo_for_a_users_file_does_not_block(box: Box, name: str) -> None:
    (box.image / "etc" / name).unlink()
    os.mkfifo(box.image / "etc" / name)
    assert box.run("true").codes == [0]  # busybox's own shell would block


# --init


def test_init_reaps_orphans_and_forwards_signals(box: Box) -> None:
    script = "(sleep 0.1 &) ; trap 'exit 42' USR1; kill -USR1 1; sleep 1; sleep 1; exit 1"
    assert box.run("sh", "-c", script, init=True).codes == [42]
    script = "(true & ) ; sleep 0.3; cat /proc/[0-9]*/stat | cut -d ' ' -f 3"
    assert "Z" not in box.run("sh", "-c", script, init=True).lines


def test_init_cannot_be_looked_into(box: Box) -> None:
    script = "cat /proc/1/exe >/dev/null || ls /proc/1/fd || cat /proc/1/mem; cat /proc/1/cmdline"
    outcome = box.run("sh", "-c", script, init=True)
    assert outcome.out.rstrip("\0") == "rootless-init"
    assert outcome.err.count("ermission denied") == 3


# exec


def test_exec_joins_all_namespaces(box: Box) -> None:
    script = "for n in mnt pid net ipc uts cgroup user; do stat -L -c %i /proc/self/ns/$n /proc/1/ns/$n; done"
    one = Process(argv=("sh", "-c", script), env=("PATH=/bin",))
    outcome = box.run("sleep", "20", execs=(one,))
    assert outcome.codes == [0, -9]
    assert outcome.lines[::2] == outcome.lines[1::2]


def test_exec_has_the_same_confinement(box: Box) -> None:
    script = "grep -E 'Cap|Seccomp:|NoNewPrivs' /proc/self/status; ls -l /proc/self/fd"
    outcome = box.run("sleep", "20", execs=(Process(argv=("sh", "-c", script), env=("PATH=/bin",)),), leak=4)
    assert "CapEff:\t00000000a80425fb\nCapBnd:\t00000000a80425fb" in outcome.out
    assert "Seccomp:\t2" in outcome.out
    assert "/etc" not in outcome.out


@pytest.mark.parametrize("init", [False, True])
@pytest.mark.parametrize("user", ["", "app"])
def test_exec_as_any_user_into_any_container(box: Box, init: bool, user: str) -> None:
    execs = tuple(Process(argv=("id", "-u"), env=("PATH=/bin",), user=name) for name in ("", "app", "4242"))
    outcome = box.run("sleep", "20", execs=execs, user=user, init=init)
    assert outcome.lines == ["0", "1000", "4242"]


def test_exec_reads_the_mapping_from_the_container(box: Box) -> None:
    box.exec_mapping = mapping_of("single").replace(
        mode="ranges" if box.mapping.mode == "single" else "single"
    )
    execs = tuple(Process(argv=("id", "-u"), env=("PATH=/bin",), user=name) for name in ("", "app"))
    assert box.run("sleep", "20", execs=execs).lines == ["0", "1000"]


def test_exec_hides_the_callers_command_line(box: Box) -> None:
    watch = "while :; do cat /proc/[0-9]*/cmdline 2>/dev/null; done"
    execs = tuple(Process(argv=("true",), env=("PATH=/bin",)) for _ in range(10))
    assert "launch" not in box.run("sh", "-c", watch, execs=execs).out


def test_exec_with_a_terminal(box: Box) -> None:
    one = Process(argv=("sh", "-c", "tty; stty size"), env=("PATH=/bin",), tty=True, rows=10, columns=20)
    assert box.run("sleep", "20", execs=(one,)).out.split() == ["/dev/pts/0", "10", "20"]


def test_exec_of_a_missing_program_is_127(box: Box) -> None:
    error = box.fail("sleep", "20", execs=(Process(argv=("nosuch",), env=("PATH=/bin",)),))
    assert error["exit_code"] == 127


def test_exec_in_a_missing_directory_is_an_error(box: Box) -> None:
    error = box.fail("sleep", "20", execs=(Process(argv=("true",), env=("PATH=/bin",), cwd="/none"),))
    assert error["message"] == "cannot enter the working directory: No such file or directory (ENOENT)"
    assert "no such directory" in error["hint"]
    assert error["exit_code"] == 127


def test_exec_into_a_container_that_replaced_its_pts_is_an_error(box: Box) -> None:
    script = (
        "umount /dev/pts; rm -r /dev/pts; mkdir /dev/pts; touch /dev/pts/ptmx; echo ready >/ready; sleep 20"
    )
    wait = Process(argv=("sh", "-c", "until test -e /ready; do sleep 0.05; done"), env=("PATH=/bin",))
    one = Process(argv=("true",), env=("PATH=/bin",), tty=True)
    security = Security(cap_add=("SYS_ADMIN",))
    error = box.fail("sh", "-c", script, execs=(wait, one), security=security)
    assert error["message"] == "cannot make a terminal: /dev/pts of the container is not a devpts"


# Death


@pytest.mark.parametrize("user", ["", "app"])
@pytest.mark.parametrize("init", [False, True])
def test_killed_monitor_takes_the_container_along(box: Box, user: str, init: bool) -> None:
    process = box.popen("sh", "-c", "echo started; sleep 60 & sleep 60", user=user, init=init)
    assert process.stdout is not None
    assert process.stdout.readline() == "started\n"
    process.kill()
    assert process.stdout.read() == ""  # all of the container's processes had it open
    process.wait()
    assert process.stderr is not None
    process.stderr.close()
    process.stdout.close()


@pytest.mark.parametrize("delay_ms", [0, 20, 40, 60, 80, 100, 120])
def test_monitor_killed_during_the_start_leaves_nothing(box: Box, delay_ms: int) -> None:
    process = box.popen("sleep", "60")
    time.sleep(delay_ms / 1000)
    process.kill()
    out, _ = process.communicate(timeout=10)  # returns when nobody holds the pipe
    assert out == ""


# The holder


@pytest.mark.needs("subid")
def test_second_start_uses_the_first_ones_namespace(ranges: Box) -> None:
    ranges.sh("true")
    first = holder_record(ranges)
    ranges.sh("true")
    assert holder_record(ranges) == first
    assert Path(f"/proc/{first['pid']}/comm").read_text() == "sleep\n"


@pytest.mark.needs("subid")
def test_dead_holder_is_replaced(ranges: Box) -> None:
    ranges.sh("true")
    first = holder_record(ranges)
    os.kill(first["pid"], signal.SIGKILL)
    ranges.sh("true")  # at once: as long as nobody has reaped it, its namespace can still be joined
    while Path(f"/proc/{first['pid']}").exists():
        time.sleep(0.01)
    ranges.sh("true")
    assert holder_record(ranges)["pid"] != first["pid"]


@pytest.mark.needs("subid")
@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"pid": 1}', '{"pid": 1, "start": 0, "boot_id": "x", "made": 0}']
)
def test_broken_record_is_replaced(ranges: Box, text: str) -> None:
    (ranges.path / "run/holder.json").write_text(text)
    ranges.sh("true")
    assert holder_record(ranges)["pid"] > 1


@pytest.mark.needs("subid")
def test_process_with_another_mapping_is_not_taken_for_the_holder(ranges: Box) -> None:
    ranges.sh("true")
    record = holder_record(ranges)
    stop_holder(ranges)
    from rootless.linux import procfs

    record |= {"pid": os.getpid(), "start": procfs.start_time(os.getpid())}
    (ranges.path / "run/holder.json").write_text(json.dumps(record))
    ranges.sh("true")
    assert holder_record(ranges)["pid"] != os.getpid()


@pytest.mark.needs("subid")
def test_old_holder_is_renewed_without_the_helpers(ranges: Box) -> None:
    ranges.sh("true")
    record = holder_record(ranges)
    namespace = os.readlink(f"/proc/{record['pid']}/ns/user")
    (ranges.path / "run/holder.json").write_text(json.dumps(record | {"made": record["made"] - 200}))
    ranges.sh("true")
    renewed = holder_record(ranges)
    assert renewed["pid"] != record["pid"]
    assert os.readlink(f"/proc/{renewed['pid']}/ns/user") == namespace
    os.kill(record["pid"], signal.SIGKILL)


@pytest.mark.needs("subid")
def test_missing_helper_is_named(ranges: Box) -> None:
    ranges.search_path = "/nowhere"
    error = ranges.fail("true")
    assert error["message"] == "cannot map subordinate ids: newuidmap is missing"
    assert "/etc/subuid" in error["hint"]
    ranges.search_path = "/usr/bin"
    ranges.sh("true")


@pytest.mark.needs("subid")
def test_foreign_range_is_refused_with_the_helpers_words(ranges: Box) -> None:
    good = ranges.mapping
    ranges.mapping = IdMapping(
        mode="ranges", uids=((0, os.getuid(), 1), (1, 1, 9)), gids=good.gids, key="bad"
    )
    error = ranges.fail("true")
    assert error["message"] == "cannot map subordinate ids: newuidmap failed"
    assert "not allowed" in error["on"]
    ranges.mapping = good
    ranges.sh("true")


@pytest.mark.needs("subid")
def test_two_first_starts_share_one_holder(tmp_path: Path) -> None:
    boxes = [Box(tmp_path / str(number), "ranges") for number in range(3)]
    for box in boxes[1:]:
        shutil.rmtree(box.path / "run")
        (box.path / "run").symlink_to(boxes[0].path / "run")
    running = [box.popen("ls", "-l", "/proc/self/ns/user") for box in boxes]
    for process in running:
        process.communicate(timeout=30)
    assert [process.returncode for process in running] == [0, 0, 0]
    holders = subprocess.run(["pgrep", "-u", str(os.getuid()), "-x", "sleep"], capture_output=True, text=True)
    alive = [pid for pid in holders.stdout.split() if int(pid) == holder_record(boxes[0])["pid"]]
    assert len(alive) == 1
    stop_holder(boxes[0])


@pytest.mark.needs("subid")
def test_containers_do_not_share_a_user_namespace(ranges: Box, tmp_path: Path) -> None:
    one = ranges.sh("ls -l /proc/self/ns/user").out.split()[-1]
    namespace = os.readlink(f"/proc/{holder_record(ranges)['pid']}/ns/user")
    assert one != namespace


def test_tree_of_foreign_ids_is_removed_through_the_door(box: Box) -> None:
    box.sh("mkdir -p /deep/a && touch /deep/a/f && chmod 000 /deep/a && chown 0 /deep")
    if box.mapping.mode == "ranges":
        box.sh("mkdir /deep2 && touch /deep2/f && chown -R 1000:1000 /deep2 && chmod 700 /deep2")
    # the fixture removes it and checks
