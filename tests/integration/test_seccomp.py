"""The default filter in the kernel: real software runs under it, and what it must refuse is refused."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.helpers.product import REPOSITORY

if TYPE_CHECKING:
    from pathlib import Path

EPERM, ENOSYS = 1, 38
X86_64 = platform.machine() == "x86_64"

CALL = """
import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
from rootless.linux import abi
name, *args = sys.argv[1:]
number = int(name) if name.isdigit() else abi.load().NUMBERS[name]
words = [ctypes.c_ulong(int(a, 0)) for a in args]
result = libc.syscall(ctypes.c_long(number), *words)
print(ctypes.get_errno() if result == -1 else 0)
"""
"""Make one system call and print its errno."""

I386 = """
import ctypes, mmap
code = b"\\xb8\\x14\\x00\\x00\\x00\\xcd\\x80\\xc3"  # mov eax, 20 (getpid of i386); int 0x80; ret
page = mmap.mmap(-1, 4096, prot=7)
page.write(code)
print(ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(page)))(), flush=True)
import os; os._exit(0)
"""


def run(policy: str, *command: str, **options) -> subprocess.CompletedProcess[str]:
    """Run a command under a filter; "python" is this interpreter."""
    words = [sys.executable if command[0] == "python" else command[0], *command[1:]]
    return subprocess.run(
        [sys.executable, "-m", "tests.helpers.confined", policy, *words],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        cwd=REPOSITORY,
        env={**os.environ, "LC_ALL": "C.UTF-8"},
        **options,
    )


def call(policy: str, name: str, *args: int) -> int:
    result = run(policy, "python", "-c", CALL, name, *map(str, args))
    assert result.returncode == 0, result.stderr
    return int(result.stdout)


THREADS = """
import threading
found = []
workers = [threading.Thread(target=found.append, args=(i,)) for i in range(9)]
for worker in workers: worker.start()
for worker in workers: worker.join()
print(len(found))
"""
ASYNCIO = """
import asyncio
async def main():
    process = await asyncio.create_subprocess_exec("true")
    print(await process.wait())
asyncio.run(main())
"""
SHARED_MEMORY = """
from multiprocessing import shared_memory
memory = shared_memory.SharedMemory(create=True, size=9)
print(memory.size)
memory.unlink()
"""
STATUS = """
import threading
def show(): print(open("/proc/thread-self/status").read())
threading.Thread(target=show).start()
"""

SOFTWARE = {
    "bash": ("bash", "-c", "set -e; x=$(echo a | tr a b); (sleep 0.01 &); wait; echo $x", "b"),
    "bash job control": ("bash", "-ic", "true | cat; echo done", "done"),
    "perl": ("perl", "-e", "my @a = sort map { $_ * 2 } 1..3; fork or exit 0; wait; print qq(@a)", "2 4 6"),
    "perl sockets": (
        "perl",
        "-MIO::Socket::INET",
        "-e",
        "print IO::Socket::INET->new(Listen => 1) ? 1 : 0",
        "1",
    ),
    "python threads": ("python", "-c", THREADS, "9"),
    "python processes": (
        "python",
        "-c",
        "from concurrent.futures import ProcessPoolExecutor as P\n"
        "if __name__ == '__main__': print(sum(P(2).map(abs, range(-3, 1))))",
        "6",
    ),
    "python asyncio": ("python", "-c", ASYNCIO, "0"),
    "python shared memory": ("python", "-c", SHARED_MEMORY, "9"),
    "dpkg": ("dpkg-query", "--show", "--showformat", "${Package}", "dpkg", "dpkg"),
    "apt": ("apt-cache", "policy", "dpkg", "dpkg:"),
    "tar": ("sh", "-c", "tar -cf - /etc/os-release 2>/dev/null | tar -tf -", "etc/os-release"),
    "find and sort": ("sh", "-c", "find /usr/share/doc -maxdepth 1 | sort | head -1", "/usr/share/doc"),
    "gzip": ("sh", "-c", "echo hello | gzip | zcat", "hello"),
    "timeout": ("timeout", "5", "echo", "in time", "in time"),
    "setsid": ("setsid", "--wait", "echo", "leader", "leader"),
    "nice": ("nice", "-n", "5", "nice", "5"),
    "flock": ("flock", "/tmp", "echo", "locked", "locked"),
}


@pytest.mark.parametrize("words", SOFTWARE.values(), ids=SOFTWARE.keys())
@pytest.mark.parametrize("policy", ["default", "nesting"])
def test_software_runs_under_the_filter(policy: str, words: tuple[str, ...]) -> None:
    *command, expected = words
    result = run(policy, *command)
    assert (result.returncode, expected in result.stdout) == (0, True), result.stderr


@pytest.mark.parametrize(
    ("name", "args"),
    [
        ("unshare", (0x10000000,)),
        ("unshare", (0,)),
        ("mount", (0, 0, 0, 0, 0)),
        ("setns", (0, 0)),
        ("keyctl", (0, 0)),
        ("add_key", (0, 0, 0, 0, 0)),
        ("io_uring_setup", (1, 0)),
        ("userfaultfd", (0,)),
        ("bpf", (0, 0, 0)),
        ("perf_event_open", (0, 0, 0, 0, 0)),
        ("open_by_handle_at", (0, 0, 0)),
        ("kexec_load", (0, 0, 0, 0)),
        ("personality", (0x40000,)),
        ("socket", (38, 5, 0)),
        ("socket", (40, 1, 0)),
        ("socket", (40 | 1 << 32, 1, 0)),
        ("clone", (0x10000000 | 17, 0, 0, 0, 0)),
        ("clone", (0x10000000 | 17 | 1 << 40, 0, 0, 0, 0)),
        ("ioctl", (0, 0x5412, 0)),
        ("ioctl", (0, 0x5412 | 1 << 32, 0)),
    ],
)
def test_dangerous_call_is_refused(name: str, args: tuple[int, ...]) -> None:
    assert call("default", name, *args) == EPERM


def test_clone3_and_newer_calls_seem_not_to_exist() -> None:
    assert call("default", "clone3", 0, 0) == ENOSYS
    assert call("default", "600") == ENOSYS


@pytest.mark.skipif(not X86_64, reason="calls of 32-bit x86")
def test_call_of_another_architecture_is_refused() -> None:
    plain = subprocess.run([sys.executable, "-c", I386], capture_output=True, text=True, check=False)
    if plain.returncode or int(plain.stdout) <= 0:
        pytest.skip("this kernel has no 32-bit calls")
    confined = run("default", "python", "-c", I386)
    assert (confined.returncode, confined.stdout) == (0, f"-{ENOSYS}\n")


def test_nesting_lets_namespaces_be_made_inside() -> None:
    result = run("nesting", "unshare", "--user", "--map-root-user", "--mount", "--pid", "--fork", "id", "-u")
    assert (result.returncode, result.stdout) == (0, "0\n"), result.stderr
    assert call("nesting", "keyctl", 0, 0) == EPERM


def test_filter_holds_in_children_and_threads() -> None:
    result = run("default", "sh", "-c", '"$0" -c "$1"', sys.executable, STATUS)
    assert "Seccomp:\t2" in result.stdout


def test_profile_of_the_user_decides(tmp_path: Path) -> None:
    path = tmp_path / "profile.json"
    rule = {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 28}
    path.write_text(json.dumps({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]}))
    result = run(str(path), "mkdir", str(tmp_path / "new"))
    assert result.returncode == 1
    assert "No space left" in result.stderr
