"""`rootless doctor`, `info` and `version` on hosts that lack something."""

from __future__ import annotations

import json
import os
import pwd
from typing import TYPE_CHECKING

import pytest

from tests.helpers.hosts import simulated_host

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.helpers.hosts import Host

pytestmark = pytest.mark.root
COMMAND = ("python", "-m", "rootless")


@pytest.fixture
def store() -> Iterator[str]:
    """A place for the store of both users, and for their run directories."""
    import shutil
    import tempfile

    path = tempfile.mkdtemp(prefix="rl-doctor-", dir="/var/tmp")
    os.chmod(path, 0o755)
    for user in ("rl-ranges", "rl-single"):
        account = pwd.getpwnam(user)
        for name in (user, f"{user}/run"):
            os.mkdir(f"{path}/{name}", 0o700)
            os.chown(f"{path}/{name}", account.pw_uid, account.pw_gid)
    yield path
    shutil.rmtree(path)


def environment(store: str, user: str) -> dict[str, str]:
    return {"ROOTLESS_ROOT": f"{store}/{user}/store", "XDG_RUNTIME_DIR": f"{store}/{user}/run"}


def diagnose(host: Host, *, code: int = 0) -> dict:
    result = host.run(*COMMAND, "doctor", "--json")
    assert result.returncode == code, result.stderr
    report = json.loads(result.stdout)
    report["by_name"] = {check["name"]: check for check in report["checks"]}
    text = host.run(*COMMAND, "doctor")
    assert (text.returncode, text.stderr) == (code, "")
    return report


def statuses(report: dict) -> dict[str, str]:
    return {name: check["status"] for name, check in report["by_name"].items()}


def modes(report: dict) -> tuple[str, str, str]:
    chosen = report["modes"]
    return chosen["identity"], chosen["storage"], chosen["network"]


def check_explained(report: dict) -> None:
    for check in report["checks"]:
        assert check["detail"], check
        assert check["meaning"], check
        if check["status"] != "ok":
            assert check["remedy"] or check["meanwhile"], check


def test_user_with_ranges_has_the_best_modes(store):
    with simulated_host("rl-ranges", env=environment(store, "rl-ranges")) as host:
        report = diagnose(host)
    assert modes(report) == ("ranges", "overlay", "pasta")
    assert report["can_run"]
    assert statuses(report)["subordinate-ids"] == "ok"
    check_explained(report)


def test_user_without_ranges_is_told_the_command(store):
    with simulated_host("rl-single", env=environment(store, "rl-single")) as host:
        report = diagnose(host)
    assert modes(report) == ("single", "overlay", "pasta")
    check = report["by_name"]["subordinate-ids"]
    assert check["remedy"].startswith("sudo usermod --add-subuids ")
    assert check["remedy"].endswith(" rl-single")
    check_explained(report)


@pytest.mark.parametrize(
    ("without", "words"),
    [
        ("newuidmap", "not installed"),
        ("newuidmap-suid", "nosuid"),
        ("new-privileges", "no_new_privs"),
    ],
)
def test_helpers_that_cannot_work_are_not_used(store, without, words):
    with simulated_host("rl-ranges", without=(without,), env=environment(store, "rl-ranges")) as host:
        report = diagnose(host)
    assert modes(report)[0] == "single"
    check = report["by_name"]["newuidmap"]
    assert check["status"] == "limited"
    assert words in check["detail"]
    assert check["remedy"]


def test_missing_devices_are_noticed(store):
    with simulated_host("rl-single", without=("fuse", "tun"), env=environment(store, "rl-single")) as host:
        report = diagnose(host)
    assert modes(report) == ("single", "overlay", "host")
    assert "/dev/fuse" in report["by_name"]["fuse-overlayfs"]["detail"]
    assert "chmod 666 /dev/net/tun" in report["by_name"]["network"]["remedy"]


def test_missing_programs_are_noticed(store):
    without = ("fuse-overlayfs", "pasta", "slirp4netns")
    with simulated_host("rl-single", without=without, env=environment(store, "rl-single")) as host:
        report = diagnose(host)
    assert modes(report)[2] == "host"
    assert report["by_name"]["network"]["detail"] == "pasta is not installed, slirp4netns is not installed"
    assert report["by_name"]["fuse-overlayfs"]["remedy"].endswith("fuse-overlayfs")


def test_pasta_missing_leaves_slirp4netns(store):
    with simulated_host("rl-single", without=("pasta",), env=environment(store, "rl-single")) as host:
        assert modes(diagnose(host))[2] == "slirp4netns"


def test_host_without_user_namespaces_cannot_run_containers(store):
    with simulated_host("rl-ranges", without=("userns",), env=environment(store, "rl-ranges")) as host:
        report = diagnose(host, code=1)
        info = host.run(*COMMAND, "info", "--format", "json")
    assert not report["can_run"]
    assert report["modes"] is None
    assert "seccomp filter" in report["obstacle"]
    assert report["by_name"]["user-namespaces"]["remedy"].startswith("start the outer container")
    assert info.returncode == 0
    assert json.loads(info.stdout)["IdMapping"]["mode"] == "none"


@pytest.mark.parametrize(
    ("kind", "storage", "check", "words"),
    [
        ("ramfs", "copy", "store", "ramfs takes no user.* attributes"),
        ("overlay", "fuse-overlayfs", "overlayfs", "mount"),
        ("tmpfs:32m", "overlay", "space", "0.0 GiB"),
    ],
)
def test_file_system_of_the_store_decides_the_storage(store, kind, storage, check, words):
    variables = environment(store, "rl-single")
    os.mkdir(variables["ROOTLESS_ROOT"])
    places = {variables["ROOTLESS_ROOT"]: kind}
    with simulated_host("rl-single", filesystems=places, env=variables) as host:
        report = diagnose(host)
    assert modes(report)[1] == storage
    assert report["by_name"][check]["status"] == "limited"
    assert words in report["by_name"][check]["detail"]
    check_explained(report)


def test_read_only_store_is_an_obstacle_and_no_traceback(store):
    variables = environment(store, "rl-single")
    os.mkdir(variables["ROOTLESS_ROOT"])
    os.chown(variables["ROOTLESS_ROOT"], pwd.getpwnam("rl-single").pw_uid, -1)
    places = {variables["ROOTLESS_ROOT"]: "readonly"}
    with simulated_host("rl-single", filesystems=places, env=variables) as host:
        report = diagnose(host, code=1)
    assert "read-only" in report["by_name"]["store"]["detail"]


def test_full_store_leaves_no_wrong_answer_in_the_cache(store):
    variables = environment(store, "rl-single")
    root = variables["ROOTLESS_ROOT"]
    with simulated_host("rl-single", filesystems={root: "tmpfs:64k"}, env=variables) as host:
        host.run("sh", "-c", f"head -c 1m /dev/zero >{root}/filler")
        diagnose(host)
        cached = host.run("sh", "-c", f"ls {variables['XDG_RUNTIME_DIR']}/rootless/").stdout
        host.run("rm", f"{root}/filler")
        report = diagnose(host)
    assert "host-" not in cached
    assert modes(report)[1] == "overlay"


def test_lifted_restriction_is_noticed_at_once(store):
    variables = environment(store, "rl-ranges")
    template = ("info", "--format", "{{.Identity}} {{.Network}}")
    with simulated_host("rl-ranges", without=("newuidmap", "tun"), env=variables) as host:
        assert host.run(*COMMAND, *template).stdout == "single host\n"
    with simulated_host("rl-ranges", env=variables) as host:
        assert host.run(*COMMAND, *template).stdout == "ranges pasta\n"


def test_nothing_is_left_in_the_store(store):
    with simulated_host("rl-ranges", env=environment(store, "rl-ranges")) as host:
        diagnose(host)
    assert [n for n in os.listdir(f"{store}/rl-ranges/store") if n.startswith(".")] == []


def test_doctor_is_quick(store):
    with simulated_host("rl-ranges", env=environment(store, "rl-ranges")) as host:
        code = (
            "import time; from rootless.cli import doctor; from rootless.paths import find_paths\n"
            "start = time.perf_counter(); doctor.examine(find_paths()); print(time.perf_counter() - start)"
        )
        best = min(float(host.run("python", "-c", code).stdout) for _ in range(3))
    assert best < 0.2


def test_facts_from_the_cache_cost_less_than_a_probe(store):
    code = (
        "import time; from rootless.engine import modes; from rootless.paths import find_paths\n"
        "paths = find_paths(); paths.ensure(); modes.load_facts(paths)\n"
        "start = time.perf_counter(); modes.load_facts(paths); print(time.perf_counter() - start)"
    )
    with simulated_host("rl-single", env=environment(store, "rl-single")) as host:
        best = min(float(host.run("python", "-c", code).stdout) for _ in range(3))
    assert best < 0.005  # 0.4 ms on a quiet machine


def test_version_has_dockers_fields(store):
    with simulated_host("rl-single", env=environment(store, "rl-single")) as host:
        result = host.run(*COMMAND, "version", "--format", "{{.Client.Version}} {{.Server.Os}}")
        plain = host.run(*COMMAND, "--version")
    from rootless import __version__

    assert result.stdout == f"{__version__} linux\n"
    assert plain.stdout == f"rootless version {__version__}\n"
