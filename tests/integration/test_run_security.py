"""What a container may not do, see or inherit (the default policy is Docker's)."""

from __future__ import annotations

import os
import pwd
from typing import TYPE_CHECKING

import pytest

from tests.helpers.product import QUICK

if TYPE_CHECKING:
    from pathlib import Path

    from tests.helpers.product import Product

DEFAULT_CAPABILITIES = 0xA80425FB
"""Docker's 14: AUDIT_WRITE CHOWN DAC_OVERRIDE FOWNER FSETID KILL MKNOD NET_BIND_SERVICE NET_RAW SETFCAP
SETGID SETPCAP SETUID SYS_CHROOT."""
SYS_PTRACE = 1 << 19
NET_RAW = 1 << 13


def status(product: Product, image: str, *options: str) -> dict[str, str]:
    """Return the fields of /proc/self/status of a program in a container."""
    lines = product.run(*QUICK, *options, image, "cat", "/proc/self/status").lines
    return {key: value.strip() for key, _, value in (line.partition(":") for line in lines)}


def capabilities(product: Product, image: str, *options: str) -> dict[str, int]:
    return {k: int(v, 16) for k, v in status(product, image, *options).items() if k.startswith("Cap")}


def test_capabilities_are_dockers_and_none_is_inheritable(product: Product, busybox: str) -> None:
    default = DEFAULT_CAPABILITIES
    expected = {"CapInh": 0, "CapPrm": default, "CapEff": default, "CapBnd": default, "CapAmb": 0}
    assert capabilities(product, busybox) == expected


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--cap-drop=ALL"], 0),
        (["--cap-drop=NET_RAW"], DEFAULT_CAPABILITIES & ~NET_RAW),
        (["--cap-add=SYS_PTRACE"], DEFAULT_CAPABILITIES | SYS_PTRACE),
        (["--cap-drop=all", "--cap-add=cap_net_raw"], NET_RAW),
    ],
)
def test_capability_options(product: Product, busybox: str, options: list[str], expected: int) -> None:
    found = capabilities(product, busybox, *options)
    assert (found["CapEff"], found["CapBnd"], found["CapInh"]) == (expected, expected, 0)


@pytest.mark.needs("subid")
def test_other_users_have_no_capabilities(product: Product, busybox: str) -> None:
    found = capabilities(product, busybox, "-u", "app")
    expected = {"CapInh": 0, "CapPrm": 0, "CapEff": 0, "CapBnd": DEFAULT_CAPABILITIES, "CapAmb": 0}
    assert found == expected


def test_unknown_capability_is_refused(product: Product, busybox: str) -> None:
    result = product.fail(125, *QUICK, "--cap-add=FLYING", busybox, "true")
    assert "FLYING" in result.err


def test_seccomp_filter_is_on_and_can_be_left_out(product: Product, busybox: str) -> None:
    assert status(product, busybox)["Seccomp"] == "2"
    assert status(product, busybox, "--security-opt", "seccomp=unconfined")["Seccomp"] == "0"


def test_no_new_privileges_is_an_option(product: Product, busybox: str) -> None:
    assert status(product, busybox)["NoNewPrivs"] == "0"
    assert status(product, busybox, "--security-opt=no-new-privileges")["NoNewPrivs"] == "1"


def test_user_namespaces_need_nesting(product: Product, busybox: str) -> None:
    result = product.attempt(*QUICK, busybox, "unshare", "-U", "true")
    assert result.code != 0
    assert "not permitted" in result.err
    product.run(*QUICK, "--security-opt=nesting", busybox, "unshare", "-U", "true")


@pytest.mark.parametrize(
    "command",
    [
        "mount -t tmpfs none /tmp",
        "umount /proc",
        "umount -l /proc/kcore",
        "mount -o remount,rw /proc/sys",
        "dmesg",
    ],
)
def test_administration_is_refused(product: Product, busybox: str, command: str) -> None:
    assert product.attempt(*QUICK, busybox, *command.split()).code != 0


def test_no_descriptor_leaks_into_a_container(product: Product, busybox: str, tmp_path: Path) -> None:
    leaked = os.open(tmp_path, os.O_RDONLY)
    high = os.dup2(leaked, 77, inheritable=True)
    try:
        result = product.run(*QUICK, busybox, "ls", "/proc/self/fd", pass_fds=[leaked, high])
    finally:
        os.close(leaked)
        os.close(high)
    assert result.lines == ["0", "1", "2", "3"]  # 3 is the directory that ls lists


def test_no_descriptor_leaks_into_an_exec_session(product: Product, busybox: str, tmp_path: Path) -> None:
    name = product.run("run", "-d", "--network=none", busybox, "sleep", "1000").out.strip()
    leaked = os.open(tmp_path, os.O_RDONLY)
    try:
        result = product.run("exec", name, "ls", "/proc/self/fd", pass_fds=[leaked])
    finally:
        os.close(leaked)
    assert result.lines == ["0", "1", "2", "3"]


@pytest.mark.parametrize("number", [*range(3, 16), 77])
def test_workdir_through_a_descriptor_does_not_leave_the_root(
    product: Product, busybox: str, number: int
) -> None:
    # CVE-2024-21626: a descriptor of the host left open, and a working directory that names it.
    script = "cat ../../../../../../../../etc/passwd; pwd"
    result = product.attempt(*QUICK, "-w", f"/proc/self/fd/{number}", busybox, "sh", "-c", script)
    assert pwd.getpwuid(os.geteuid()).pw_name not in result.out
    assert "(unreachable)" not in result.out


@pytest.mark.parametrize(
    "path",
    [
        "/proc/kcore",
        "/proc/keys",
        "/proc/latency_stats",
        "/proc/timer_list",
        "/proc/sched_debug",
        "/proc/interrupts",
    ],
)
def test_masked_files_are_empty(product: Product, busybox: str, path: str) -> None:
    script = f"if [ -e {path} ]; then wc -c < {path}; else echo 0; fi"
    assert product.run(*QUICK, busybox, "sh", "-c", script).out == "0\n"


@pytest.mark.parametrize(
    "path", ["/proc/acpi", "/proc/scsi", "/proc/asound", "/sys/firmware", "/sys/fs/selinux"]
)
def test_masked_directories_are_empty(product: Product, busybox: str, path: str) -> None:
    script = f"if [ -d {path} ]; then ls -A {path}; fi"
    assert product.run(*QUICK, busybox, "sh", "-c", script).out == ""


@pytest.mark.parametrize(
    "path", ["/proc/sys", "/proc/irq", "/proc/bus", "/proc/fs", "/proc/sysrq-trigger", "/sys"]
)
def test_kernel_files_are_read_only(product: Product, busybox: str, path: str) -> None:
    script = (
        f"[ -e {path} ] || exit 0; awk -v p={path} '$5 == p {{ print $6 }}' /proc/self/mountinfo | tail -n1"
    )
    result = product.run(*QUICK, busybox, "sh", "-c", script)
    assert not result.out or "ro" in result.out.strip().split(",")


def test_hosts_settings_cannot_be_written(product: Product, busybox: str) -> None:
    for path in ("/proc/sys/kernel/hostname", "/proc/sys/vm/overcommit_memory", "/proc/sysrq-trigger"):
        product.fail(1, *QUICK, busybox, "sh", "-c", f"echo x > {path}")


def test_proc_cannot_be_uncovered_through_a_second_mount(product: Product, busybox: str) -> None:
    words = ("--security-opt=nesting", busybox, "unshare", "-Urm", "sh", "-c")
    result = product.attempt(
        *QUICK, *words, "mkdir /tmp/p; mount -t proc none /tmp/p && wc -c < /tmp/p/kcore"
    )
    assert result.out in ("", "0\n")


def test_supplementary_groups_of_the_caller_are_dropped(product: Product, busybox: str) -> None:
    assert product.run(*QUICK, busybox, "id", "-G").out == "0\n"


@pytest.mark.needs("subid")
def test_group_add(product: Product, busybox: str) -> None:
    assert (
        product.run(*QUICK, "--group-add=extra", "--group-add=77", busybox, "id", "-G").out == "0 77 2000\n"
    )


def test_processes_of_the_host_cannot_be_reached(product: Product, busybox: str) -> None:
    result = product.attempt(*QUICK, busybox, "sh", "-c", f"kill -0 {os.getpid()}; ls /proc/{os.getpid()}")
    assert result.code != 0


def test_program_behind_pid_1_cannot_be_overwritten(product: Product, busybox: str) -> None:
    # CVE-2019-5736: the engine's own program, reached through /proc/PID/exe while it joins.
    name = product.run("run", "-d", "--network=none", busybox, "sleep", "1000").out.strip()
    attack = (
        "n=0; while [ $n -lt 300 ]; do"
        " for p in /proc/[0-9]*; do echo x 2>/dev/null > $p/exe; done; n=$((n+1)); done"
    )
    with product.start("exec", name, "sh", "-c", attack) as attacker:
        for _ in range(5):
            product.run("exec", name, "true")
        attacker.kill()
        attacker.communicate()
    product.run("version")


@pytest.mark.parametrize("name", ["../escape", "a/b", "-dash", "a\nb", ".", "..", "a b", "x" * 300, "é"])
def test_hostile_container_names_are_refused(product: Product, busybox: str, name: str) -> None:
    result = product.fail(125, *QUICK, f"--name={name}", busybox, "true")
    assert "\n" not in name or name not in result.err
    assert not (product.store.parent / "escape").exists()


@pytest.mark.parametrize(
    "image", ["../escape", "a/../b", "-dash", "a\nb", "Upper", "a:b:c", "", "/etc/passwd", "a@b"]
)
def test_hostile_image_names_are_refused(product: Product, image: str) -> None:
    product.fail(125, *QUICK, "--pull=never", "--", image, "true")


def test_network_none_has_loopback_only(product: Product, busybox: str) -> None:
    result = product.run(
        *QUICK, busybox, "sh", "-c", "ls /sys/class/net; ping -c1 -W1 127.0.0.1 >/dev/null && echo up"
    )
    assert set(result.lines) <= {"lo", "up"}
    assert "lo" in result.lines


def test_set_id_files_of_containers_are_out_of_others_reach(
    fresh_product: Product, busybox_ref: str, tmp_path: Path
) -> None:
    """Whoever could execute one by its path on the host would become this user."""
    store = tmp_path / "store"
    store.mkdir(mode=0o755)
    store.chmod(0o755)
    options = (f"--root={store}", "run", "--name=made", "--network=none", "-v", "kept:/kept")
    fresh_product.run(f"--root={store}", "pull", "-q", busybox_ref)
    (store / "containers").chmod(0o755)  # as an earlier version left it
    script = "cp /bin/busybox /set-id; cp /set-id /kept; chmod 4755 /set-id /kept/set-id"
    fresh_product.run(*options, busybox_ref, "sh", "-c", script)
    found = list(store.rglob("set-id"))
    assert [bool(path.stat().st_mode & 0o4000) for path in found] == [True, True]
    for path in found:
        above = [parent for parent in path.parents if parent.is_relative_to(store)]
        assert any(parent.stat().st_mode & 0o077 == 0 for parent in above), path
    fresh_product.run(f"--root={store}", "rm", "made")


@pytest.mark.root
@pytest.mark.parametrize("option", ["--privileged", "--security-opt=systempaths=unconfined"])
def test_host_root_cannot_change_sysctls_of_the_host_by_accident(
    product: Product, busybox: str, option: str
) -> None:
    found = product.run(*QUICK, option, busybox, "cat", "/proc/self/mountinfo").lines
    mounts = {words[4]: words[5].split(",") for words in map(str.split, found)}
    for path in ("/proc/sys", "/proc/irq", "/sys"):
        assert "ro" in mounts[path], path
