"""A container's monitor reduced to its network: python -m tests.helpers.net_monitor, one JSON line on stdin.

{"driver": …, "ports": ["8080:80"], "options": […], "run_dir": …, "program": …}

Makes a process in user and network namespaces of its own (subordinate ids where there are any), starts
the driver for it, and answers with one JSON line: what was attached, or the error. Each further line on stdin
asks for one `kill` or `stop`; the end of stdin ends everything.
"""

from __future__ import annotations

import json
import os
import pwd
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

from rootless.errors import RootlessError
from rootless.linux import calls, const
from rootless.network.driver import NetTarget, find_driver
from rootless.network.ports import parse_publish


def make_container() -> int:
    """Return the pid of a sleeping process, root in new namespaces."""
    made, mapped = os.pipe(), os.pipe()
    pid = os.fork()
    if pid == 0:
        null = os.open(os.devnull, os.O_RDWR)
        for fd in (0, 1):  # whoever reads our answers must see our end
            os.dup2(null, fd)
        calls.unshare(const.CLONE_NEWUSER | const.CLONE_NEWNET)
        os.write(made[1], b"x")
        os.read(mapped[0], 1)
        while True:
            signal.pause()
    os.read(made[0], 1)
    map_ids(pid)
    os.write(mapped[1], b"x")
    for fd in (*made, *mapped):
        os.close(fd)
    return pid


def map_ids(pid: int) -> None:
    name = pwd.getpwuid(os.getuid()).pw_name
    for kind, own in (("uid", os.getuid()), ("gid", os.getgid())):
        ranges = [line.split(":") for line in Path(f"/etc/sub{kind}").read_text().splitlines()]
        extra = [word for user, start, count in ranges if user == name for word in ("1", start, count)]
        if extra:
            subprocess.run([f"new{kind}map", str(pid), "0", str(own), "1", *extra], check=True)
            continue
        if kind == "gid":
            with open(f"/proc/{pid}/setgroups", "w") as file:
                file.write("deny")
        with open(f"/proc/{pid}/{kind}_map", "w") as file:
            file.write(f"0 {own} 1")


def main() -> None:
    request = json.loads(sys.stdin.readline())
    pid = make_container()
    try:
        ports = tuple(port for text in request["ports"] for port in parse_publish(text))
        began = time.monotonic()
        attachment = find_driver(request["driver"]).start(
            NetTarget(pid),
            ports=ports,
            options=tuple(request["options"]),
            run_dir=request["run_dir"],
            program=request["program"],
        )
        answer = {
            "pid": pid,
            "pids": attachment.pids,
            "ports": [port.to_json() for port in attachment.ports],
            "addresses": attachment.addresses,
            "host_gateway": attachment.host_gateway,
            "resolver": attachment.resolver,
            "notices": attachment.notices,
            "start_s": time.monotonic() - began,
        }
    except RootlessError as exc:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        left = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
        answer = {
            "error": type(exc).__name__,
            "message": exc.message,
            "hint": exc.hint,
            "reference": exc.reference,
            "left": left,
        }
    print(json.dumps(answer), flush=True)
    for line in sys.stdin:
        began = time.monotonic()
        if line == "kill\n":
            attachment.kill()
        else:
            attachment.stop()
        print(json.dumps({"stop_s": time.monotonic() - began}), flush=True)
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


if __name__ == "__main__":
    main()
