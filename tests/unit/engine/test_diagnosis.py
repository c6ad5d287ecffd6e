"""What `rootless doctor` makes of facts: pure, so every limit of a host can be tried here."""

import pytest

from rootless.engine import diagnosis, kernel_checks
from rootless.engine.diagnosis import Surroundings
from rootless.model.check import LIMITED, MISSING, OK, Check
from rootless.model.host import HostFacts
from rootless.runtime import restrictions
from rootless.runtime.survey import Survey
from tests.unit.engine.test_modes import facts

AROUND = Surroundings(executable="/opt/env/bin/python3.12", subuid="root:100000:65536\n", subgid="")
DEBIAN = "ID=debian\n"


def survey(**changes) -> Survey:
    full = {
        "kernel": "6.12.3-amd64",
        "machine": "x86_64",
        "distribution": DEBIAN,
        "landlock": 6,
        "cgroups": "v2",
        "controllers": ("cpu", "memory", "pids"),
        "file_system": "btrfs",
        "free_bytes": 50 << 30,
        "free_inodes": 1000000,
    }
    return Survey(**(full | changes))


def check(name: str, of: HostFacts | None = None, **changes) -> Check:
    checks = diagnosis.examine(of or facts(reflink=True), survey(**changes), AROUND)
    return next(check for check in checks if check.name == name)


def test_examine_fully_equipped_host_is_ok_throughout():
    checks = diagnosis.examine(facts(reflink=True), survey(), AROUND)
    assert {c.status for c in checks} == {OK}
    assert len({c.name for c in checks}) == len(checks)


@pytest.mark.parametrize(
    ("restriction", "command"),
    [
        (
            restrictions.APPARMOR,
            'profile rootless-python "/opt/env/bin/python3.12" flags=(unconfined) {\n  userns,',
        ),
        (restrictions.LIMIT, "user.max_user_namespaces=15000"),
        (restrictions.CLONE, "kernel.unprivileged_userns_clone=1"),
        (restrictions.SECCOMP, "seccomp=unconfined"),
    ],
)
def test_user_namespaces_refused_names_the_command(restriction, command):
    found = check("user-namespaces", facts(user_namespaces="refused", restriction=restriction, overlay="x"))
    assert (found.status, found.detail) == (MISSING, "refused")
    assert command in found.remedy
    assert "pull" in found.meanwhile


def test_subordinate_ids_missing_proposes_a_free_range():
    found = check("subordinate-ids", facts(subuids=()))
    assert found.status == LIMITED
    assert found.remedy == "sudo usermod --add-subuids 165536-231071 --add-subgids 165536-231071 ada"


@pytest.mark.parametrize(
    ("reason", "remedy"),
    [
        ("it is not installed", "sudo apt-get install uidmap"),
        ("no_new_privs is set for this process", "NoNewPrivileges=no"),
        ("it is on a file system mounted nosuid", "remount,suid"),
        ("/usr/bin/newuidmap has neither the set-user-id bit nor file capabilities", "chmod u+s"),
    ],
)
def test_id_helpers_unusable_names_the_remedy(reason, remedy):
    found = check("newuidmap", facts(newuidmap="", reasons={"newuidmap": reason}))
    assert found.status == LIMITED
    assert reason in found.detail
    assert remedy in found.remedy


def test_overlay_refused_tells_what_is_used_instead():
    assert check("overlayfs", facts(overlay="mount: EPERM")).meanwhile == "fuse-overlayfs does it, slower"
    copied = check("overlayfs", facts(overlay="mount: EPERM", fuse_overlayfs="", reflink=True))
    assert copied.meanwhile == "each container gets a copy of its image, sharing blocks"
    assert "not on nfs" in check("overlayfs", facts(overlay="mount: EINVAL"), file_system="nfs").remedy


@pytest.mark.parametrize(
    ("name", "changes", "status", "words"),
    [
        ("store", {"store_problem": "/s is not writable for this user"}, MISSING, "not writable"),
        ("store", {"file_system": "nfs4", "shared": True}, LIMITED, "shared with other hosts"),
        ("space", {"free_bytes": 64 << 20}, LIMITED, "0.1 GiB"),
        ("space", {"free_inodes": 100}, LIMITED, "100 files"),
        ("space", {"free_inodes": -1}, OK, "50.0 GiB free"),
        ("locks", {"locks": "No locks available"}, MISSING, "No locks"),
        ("seccomp", {"seccomp": False}, MISSING, "no seccomp filters"),
        ("seccomp", {"notifications": False}, LIMITED, "user notifications"),
        ("landlock", {"landlock": 0}, LIMITED, "not in this kernel"),
        ("ptrace", {"ptrace": "a process may not trace its child"}, LIMITED, "may not trace"),
        ("cgroups", {"controllers": ()}, LIMITED, "nothing"),
        ("cgroups", {"controllers": ("memory", "pids")}, LIMITED, "memory pids"),
        ("cgroups", {"cgroups": "v1", "controllers": ()}, LIMITED, "v1"),
        ("cgroups", {"cgroups": "hybrid", "controllers": ()}, LIMITED, "hybrid"),
        ("cgroups", {"cgroups": "none", "controllers": ()}, LIMITED, "no cgroup file system"),
        ("kernel", {"kernel": "5.4.0-200-generic"}, LIMITED, "5.4.0"),
        ("kernel", {"machine": "riscv64"}, LIMITED, "riscv64"),
    ],
)
def test_limit_of_the_host_is_told(name, changes, status, words):
    found = check(name, **changes)
    assert found.status == status
    assert words in found.detail


def test_network_missing_names_program_or_device():
    none = facts(
        pasta="",
        slirp4netns="",
        reasons={"pasta": "pasta is not installed", "slirp4netns": "slirp4netns is not installed"},
    )
    assert check("network", none).remedy == "sudo apt-get install passt"
    device = "cannot open /dev/net/tun: No such file or directory"
    closed = facts(pasta="", slirp4netns="", reasons={"pasta": device, "slirp4netns": device})
    assert check("network", closed).remedy.startswith("sudo modprobe tun && sudo chmod 666 /dev/net/tun")


def test_proc_masked_is_told():
    found = check("proc", facts(proc_mountable=False, reasons={"proc_mountable": "mount: EPERM"}))
    assert "systempaths=unconfined" in found.remedy


def test_every_limit_is_explained():
    poor = facts(
        subuids=(),
        newuidmap="",
        overlay="x",
        fuse_overlayfs="",
        pasta="",
        slirp4netns="",
        proc_mountable=False,
    )
    low = survey(landlock=0, ptrace="x", cgroups="v1", controllers=(), kernel="5.4", free_bytes=1, locks="x")
    for each in diagnosis.examine(poor, low, AROUND):
        assert each.status == OK or each.remedy or each.meanwhile, each.name


@pytest.mark.parametrize(
    ("release", "expected"), [("6.18.44-fc", (6, 18)), ("5.4", (5, 4)), ("6.1-rc3", (6, 1)), ("frob", (0, 0))]
)
def test_version_of_a_kernel_release(release, expected):
    assert kernel_checks.version(release) == expected
