"""The default policy and Docker's profile format, decided by the simulator of the assembler's tests."""

import json
import time

import pytest

from rootless.errors import HostUnsupported, RootlessError
from rootless.linux import abi
from rootless.model.spec import Security
from rootless.runtime import caps, seccomp, seccomp_profile
from tests.unit.linux.test_bpf import run

ALLOW, EPERM, ENOSYS = 0x7FFF0000, 0x00050001, 0x00050026
DOCKER_CAPS = caps.mask_of(caps.DEFAULT)
ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
DANGEROUS = """
    acct add_key bpf clock_settime delete_module finit_module fsopen init_module io_uring_enter
    io_uring_register io_uring_setup kexec_file_load kexec_load keyctl mount mount_setattr move_mount
    open_by_handle_at open_tree perf_event_open pivot_root quotactl reboot request_key setdomainname
    sethostname setns settimeofday swapoff swapon syslog umount2 unshare userfaultfd vhangup
"""


class Filter:
    def __init__(self, program: bytes, machine: str = "x86_64") -> None:
        self.program = program
        self.machine = machine

    def __call__(self, name: str | int, *args: int) -> int:
        nr = abi.load(self.machine).NUMBERS[name] if isinstance(name, str) else name
        return run(self.program, nr, args, ARCH[self.machine])[0]


def default(capabilities: int = DOCKER_CAPS, *, machine: str = "x86_64", **security) -> Filter:
    return Filter(seccomp.compile_filter(Security(**security), capabilities, machine), machine)


@pytest.fixture(params=["x86_64", "aarch64"])
def machine(request):
    return request.param


def test_default_ordinary_calls_are_allowed(machine):
    policy = default(machine=machine)
    for name in (
        "read",
        "execve",
        "openat",
        "mmap",
        "futex",
        "ppoll",
        "statx",
        "chroot",
        "ptrace",
        "seccomp",
    ):
        assert policy(name) == ALLOW, name


@pytest.mark.parametrize("name", DANGEROUS.split())
def test_default_dangerous_call_is_refused(name, machine):
    assert default(machine=machine)(name) == EPERM


def test_default_clone_with_namespaces_is_refused(machine):
    policy = default(machine=machine)
    assert policy("clone", 0x003D0F00) == ALLOW  # pthread_create
    for flag in (0x20000, 0x2000000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000):
        assert policy("clone", flag | 17) == EPERM
        assert policy("clone", flag | 17 | 1 << 40) == EPERM


def test_default_clone3_says_that_it_does_not_exist(machine):
    assert default(machine=machine)("clone3") == ENOSYS


def test_default_terminal_injection_is_refused_whatever_the_high_half():
    policy = default()
    assert policy("ioctl", 0, 0x5401) == ALLOW
    for request in (0x5412, 0x541C):
        assert policy("ioctl", 0, request) == EPERM
        assert policy("ioctl", 0, request | 1 << 32) == EPERM  # CVE-2019-10063


def test_default_socket_families():
    policy = default()
    assert [policy("socket", f) for f in (1, 2, 10, 16, 17, 39, 44)] == [ALLOW] * 7
    assert [policy("socket", f) for f in (38, 40, 38 | 1 << 32, 40 | 1 << 32)] == [EPERM] * 4


def test_default_personality_has_five_values():
    policy = default()
    assert [policy("personality", v) for v in (0, 8, 0x20000, 0x20008, 0xFFFFFFFF)] == [ALLOW] * 5
    assert [policy("personality", v) for v in (1, 0x40000, 0x400000)] == [EPERM] * 3


def test_default_newer_and_unassigned_numbers_do_not_exist(machine):
    policy = default(machine=machine)
    assert [policy(nr) for nr in (472, 500, 1023, 0x3FFFFFFF)] == [ENOSYS] * 4
    assert policy(400) == ENOSYS


def test_default_other_abis_are_refused():
    policy = default()
    assert policy(0x40000000 | 1) == ENOSYS
    assert run(policy.program, 1, (), 0x40000003)[0] == ENOSYS
    assert run(default(machine="aarch64").program, 4, (), 0x40000028)[0] == ENOSYS  # AUDIT_ARCH_ARM


@pytest.mark.parametrize(
    ("capability", "names"),
    [
        ("SYS_ADMIN", "mount umount2 unshare setns clone3 bpf sethostname"),
        ("SYS_PTRACE", "kcmp pidfd_getfd process_madvise"),
        ("SYS_TIME", "clock_settime settimeofday"),
        ("DAC_READ_SEARCH", "open_by_handle_at"),
        ("SYS_NICE", "mbind set_mempolicy"),
        ("SYS_BOOT", "reboot"),
        ("SYSLOG", "syslog"),
        ("SYS_MODULE", "init_module finit_module delete_module"),
    ],
)
def test_capability_opens_its_calls(capability, names):
    policy = default(DOCKER_CAPS | caps.mask_of([capability]))
    assert {policy(name) for name in names.split()} == {ALLOW}
    assert policy("keyctl") == EPERM
    assert EPERM in {default()(name) for name in names.split()}


def test_capability_sys_admin_opens_clone_with_namespaces():
    assert default(DOCKER_CAPS | caps.mask_of(["SYS_ADMIN"]))("clone", 0x10000000) == ALLOW


def test_capability_sys_chroot_dropped_closes_chroot():
    assert default(0)("chroot") == EPERM


def test_nesting_allows_what_an_engine_needs():
    policy = default(nesting=True)
    for name in ("clone", "clone3", "unshare", "setns", "mount", "umount2", "pivot_root", "sethostname"):
        assert policy(name, 0x10000000) == ALLOW, name
    for name in ("bpf", "keyctl", "io_uring_setup", "open_by_handle_at", "userfaultfd", "kexec_load"):
        assert policy(name) == EPERM, name


def test_unconfined_has_no_filter():
    assert default(seccomp="unconfined").program == b""
    assert default(privileged=True).program == b""


def test_unknown_machine_is_unsupported():
    with pytest.raises(HostUnsupported, match="mips"):
        default(machine="mips")


def test_every_name_of_the_policy_is_a_system_call():
    table = seccomp.default_table((1 << 41) - 1, nesting=True)
    assert set(table) <= set(abi.load("x86_64").NUMBERS)


def test_compile_filter_is_small_and_quick(machine):
    default(machine=machine)
    best = min(_time(lambda: default(machine=machine)) for _ in range(10))
    assert best < 0.01  # 2 ms on a quiet machine
    assert len(default(machine=machine).program) < 8 * 400


def test_compile_filter_needs_few_steps_per_call(machine):
    policy = default(machine=machine)
    assert max(run(policy.program, nr, (), ARCH[machine])[1] for nr in range(480)) <= 14


def _time(function) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


# Docker's JSON format


def profile(*rules, capabilities=DOCKER_CAPS, machine="x86_64", **fields) -> Filter:
    data = {"defaultAction": "SCMP_ACT_ERRNO", "syscalls": list(rules)} | fields
    return Filter(seccomp_profile.compile_json(data, capabilities, machine), machine)


def rule(*names, action="SCMP_ACT_ALLOW", **fields):
    return {"names": list(names), "action": action} | fields


def argument(index, op, value, second=0):
    return {"index": index, "op": f"SCMP_CMP_{op}", "value": value, "valueTwo": second}


def test_profile_default_action_and_errno():
    policy = profile(rule("read"), defaultErrnoRet=38)
    assert [policy("read"), policy("write")] == [ALLOW, ENOSYS]


def test_profile_allow_by_default_with_refused_calls():
    policy = profile(
        rule("chmod", action="SCMP_ACT_ERRNO", errnoRet=13),
        {"name": "chown", "action": "SCMP_ACT_KILL_PROCESS"},
        defaultAction="SCMP_ACT_ALLOW",
    )
    assert [policy("chmod"), policy("chown"), policy("read")] == [0x0005000D, 0x80000000, ALLOW]


def test_profile_includes_and_excludes():
    rules = (
        rule("mount", includes={"caps": ["CAP_SYS_ADMIN"]}),
        rule("unshare", excludes={"caps": ["CAP_SYS_ADMIN"]}),
        rule("arch_prctl", includes={"arches": ["amd64", "x32"]}),
        rule("read", excludes={"arches": ["arm64"]}),
        rule("ptrace", includes={"minKernel": "4.8"}),
        rule("splice", includes={"minKernel": "99.0"}),
    )
    plain, admin = profile(*rules), profile(*rules, capabilities=caps.mask_of(["SYS_ADMIN"]))
    names = ("mount", "unshare", "arch_prctl", "read", "ptrace", "splice")
    assert [plain(n) for n in names] == [EPERM, ALLOW, ALLOW, ALLOW, ALLOW, EPERM]
    assert [admin(n) for n in names[:2]] == [ALLOW, EPERM]
    assert profile(*rules, machine="aarch64")("read") == EPERM


def test_profile_arguments():
    policy = profile(
        rule("personality", args=[argument(0, "EQ", 8)]),
        rule("personality", args=[argument(0, "EQ", 0)]),
        rule("clone", args=[argument(0, "MASKED_EQ", 0x7E020000, 0)]),
        rule("socket", args=[argument(0, "NE", 40), argument(1, "LT", 4)]),
        rule("lseek", args=[argument(1, "GE", 1 << 33)]),
    )
    assert [policy("personality", v) for v in (0, 8, 9)] == [ALLOW, ALLOW, EPERM]
    assert [policy("clone", v) for v in (17, 0x10000011)] == [ALLOW, EPERM]
    assert [policy("socket", *v) for v in ((1, 1), (40, 1), (40 | 1 << 32, 1), (1, 5))] == [ALLOW] + [
        EPERM
    ] * 3
    assert [policy("lseek", 0, v) for v in (1 << 33, (1 << 33) - 1)] == [ALLOW, EPERM]


def test_profile_of_two_matching_rules_the_strictest_decides():
    policy = profile(
        rule("mprotect"),
        rule("mprotect", action="SCMP_ACT_ERRNO", errnoRet=13, args=[argument(2, "MASKED_EQ", 4, 4)]),
    )
    assert [policy("mprotect", 0, 0, v) for v in (1, 5)] == [ALLOW, 0x0005000D]


def test_profile_unknown_names_are_skipped_and_empty_is_unconfined():
    assert profile(rule("read", "no_such_call", "socketcall"))("read") == ALLOW
    assert seccomp_profile.compile_json({}, 0, "x86_64") == b""


@pytest.mark.parametrize(
    "data",
    [
        [],
        "x",
        {"defaultAction": "SCMP_ACT_FROB"},
        {"defaultAction": "SCMP_ACT_NOTIFY"},
        {"defaultAction": "SCMP_ACT_ALLOW", "extra": 1},
        {"syscalls": [rule("read")]},
        {"defaultAction": "SCMP_ACT_ERRNO", "syscalls": {}},
        {"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [{"action": "SCMP_ACT_ALLOW"}]},
        {"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [rule("read", args=[argument(6, "EQ", 1)])]},
        {"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [rule("read", args=[argument(0, "FROB", 1)])]},
        {"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [rule("read", args=[argument(0, "EQ", -1)])]},
        {"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [rule("read", args=[argument(0, "EQ", "1")])]},
        {"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [rule("read", args=[argument(0, "EQ", 1 << 64)])]},
        {"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [rule("read", includes={"caps": ["FROB"]})]},
        {"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [rule("read", includes={"minKernel": "new"})]},
        {"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 70000},
        {"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": "EPERM"},
        {"defaultAction": "SCMP_ACT_ERRNO", "architectures": ["SCMP_ARCH_S390X"]},
        {"defaultAction": "SCMP_ACT_ERRNO", "archMap": [7]},
        {"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [rule(["read"])]},
    ],
)
def test_profile_bad_input_is_an_error_not_a_filter(data):
    with pytest.raises(RootlessError):
        seccomp_profile.compile_json(data, DOCKER_CAPS, "x86_64")


def test_profile_file_that_is_missing_huge_or_no_json_is_an_error(tmp_path):
    cases = {"missing": None, "huge": b" " * (1 << 20) + b"{}", "text": b"hello", "deep": b"[" * 100_000}
    for name, content in cases.items():
        path = tmp_path / name
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(seccomp_profile.ProfileError) as caught:
            seccomp.compile_filter(Security(seccomp=str(path)), DOCKER_CAPS, "x86_64")
        assert str(path) in caught.value.render()


def test_profile_file_is_used_even_for_a_privileged_container(tmp_path):
    path = tmp_path / "p.json"
    path.write_text(json.dumps({"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [rule("read")]}))
    program = seccomp.compile_filter(Security(seccomp=str(path), privileged=True), DOCKER_CAPS, "x86_64")
    assert Filter(program)("write") == EPERM
