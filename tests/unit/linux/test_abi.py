import os
import subprocess
import sys

import pytest

from rootless.linux import abi

SCRIPT = os.path.join(os.path.dirname(__file__), "..", "..", "..", "scripts", "gen-abi")


@pytest.mark.parametrize(
    ("machine", "numbers"),
    [
        ("x86_64", {"read": 0, "execve": 59, "clone3": 435, "mseal": 462, "arch_prctl": 158, "umount2": 166}),
        ("aarch64", {"read": 63, "execve": 221, "clone3": 435, "mseal": 462, "mmap": 222, "newfstatat": 79}),
    ],
)
def test_load_machine_has_its_own_numbers(machine, numbers):
    table = abi.load(machine).NUMBERS
    assert {name: table[name] for name in numbers} == numbers
    assert len(set(table.values())) == len(table)


def test_load_aarch64_has_no_32_bit_calls():
    table = abi.load("aarch64").NUMBERS
    assert not {"open", "fork", "futex_time64", "clock_gettime64", "timer_settime64", "syscalls"} & set(table)


def test_load_unknown_machine_says_so():
    with pytest.raises(LookupError, match="riscv64"):
        abi.load("riscv64")


def test_load_this_machine_is_the_default():
    assert abi.load() is abi.load(os.uname().machine)


@pytest.mark.skipif(
    not os.path.exists("/usr/include/x86_64-linux-gnu/asm/unistd_64.h"),
    reason="needs linux-libc-dev of x86-64",
)
def test_gen_abi_tables_are_current():
    result = subprocess.run([sys.executable, SCRIPT, "--check"], capture_output=True, text=True, check=False)
    assert (result.returncode, result.stderr) == (0, "")
