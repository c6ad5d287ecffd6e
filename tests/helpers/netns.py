"""A small network of namespaces: a "host" with an uplink, and an "outside" machine. Needs root.

    with host_network() as net:
        server = net.serve(net.outside, "tcp", 7000)
        net.run_as("rl-ranges", "curl", net.outside_ip)

Nothing leaves the machine: the two namespaces are joined by a veth pair, with documentation addresses
(RFC 5737, RFC 3849). `ip netns exec` gives commands in "host" a resolv.conf of their own.
"""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
import sys
from contextlib import ExitStack, contextmanager

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

REPOSITORY = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
HOST_IP, OUTSIDE_IP = "203.0.113.2", "203.0.113.1"
HOST_IP6, OUTSIDE_IP6 = "2001:db8::2", "2001:db8::1"
_NUMBERS = itertools.count()

ECHO = """
import socket, sys
kind, address, port = sys.argv[1], sys.argv[2], int(sys.argv[3])
family = socket.AF_INET6 if ":" in address else socket.AF_INET
s = socket.socket(family, socket.SOCK_STREAM if kind == "tcp" else socket.SOCK_DGRAM)
s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.bind((address, port))
if kind == "tcp":
    s.listen()
print("ready", flush=True)
while True:
    if kind == "tcp":
        c, peer = s.accept()
        with c:
            c.sendall(peer[0].encode() + b" " + c.recv(1000))
    else:
        data, peer = s.recvfrom(1000)
        s.sendto(peer[0].encode() + b" " + data, peer)
"""
"""Answers each message with "<address of the peer> <message>"."""

ASK = """
import socket, sys
kind, address, port = sys.argv[1], sys.argv[2], int(sys.argv[3])
family = socket.AF_INET6 if ":" in address else socket.AF_INET
s = socket.socket(family, socket.SOCK_STREAM if kind == "tcp" else socket.SOCK_DGRAM)
s.settimeout(float(sys.argv[4]))
try:
    s.connect((address, port))
    s.send(b"hello")
    print(s.recv(1000).decode())
except OSError as exc:
    print("failed:", exc)
"""


class HostNetwork:
    """The two namespaces, by name, and the processes started in them; ends with its context."""

    def __init__(self, host: str, outside: str, stack: ExitStack) -> None:
        self.host = host
        self.outside = outside
        self._stack = stack

    def argv_as(self, user: str, *command: str) -> list[str]:
        """Return the command line that runs a command on the host as an ordinary user."""
        env = [f"HOME=/home/{user}", "PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin", "LC_ALL=C.UTF-8"]
        prefix = [
            "ip",
            "netns",
            "exec",
            self.host,
            "runuser",
            "-u",
            user,
            "--",
            "env",
            "-i",
            "-C",
            REPOSITORY,
        ]
        return [*prefix, *env, *command]

    def serve(self, namespace: str, kind: str, address: str, port: int) -> subprocess.Popen[str]:
        """Start an echo service in a named namespace; returns when it is bound."""
        return self.serve_with(["ip", "netns", "exec", namespace], kind, address, port)

    def serve_with(self, prefix: list[str], kind: str, address: str, port: int) -> subprocess.Popen[str]:
        """Start an echo service behind any command that enters a namespace."""
        argv = [*prefix, sys.executable, "-I", "-c", ECHO, kind, address, str(port)]
        process = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
        self._stack.callback(_end, process)
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        return process

    def ask(self, kind: str, address: str, port: int, *, timeout_s: float = 3) -> str:
        """Send one message from the host; return the answer, or "failed: …"."""
        return ask_with(["ip", "netns", "exec", self.host], kind, address, port, timeout_s=timeout_s)


def ask_with(prefix: list[str], kind: str, address: str, port: int, *, timeout_s: float = 3) -> str:
    """Send one message behind any command that enters a namespace; return the answer, or "failed: …"."""
    argv = [*prefix, sys.executable, "-I", "-c", ASK, kind, address, str(port), str(timeout_s)]
    return subprocess.run(argv, capture_output=True, text=True, check=True, timeout=30).stdout.strip()


@contextmanager
def host_network(*, uplink: bool = True, nameserver: str = OUTSIDE_IP) -> Iterator[HostNetwork]:
    """Make the namespaces; without `uplink` the host has its loopback interface only."""
    number = f"{os.getpid()}-{next(_NUMBERS)}"
    host, outside = f"rl-host-{number}", f"rl-outside-{number}"
    with ExitStack() as stack:
        for name in (host, outside):
            _run("ip", "netns", "add", name)
            stack.callback(_run, "ip", "netns", "delete", name)
            _run("ip", "-n", name, "link", "set", "lo", "up")
        os.makedirs(f"/etc/netns/{host}", exist_ok=True)
        stack.callback(shutil.rmtree, f"/etc/netns/{host}")
        with open(f"/etc/netns/{host}/resolv.conf", "w") as file:
            file.write(f"nameserver {nameserver}\n")
        if uplink:
            _join(host, outside)
        yield HostNetwork(host, outside, stack)


def _join(host: str, outside: str) -> None:
    _run("ip", "-n", host, "link", "add", "up0", "type", "veth", "peer", "name", "down0", "netns", outside)
    for name, link, address, address6 in (
        (host, "up0", HOST_IP, HOST_IP6),
        (outside, "down0", OUTSIDE_IP, OUTSIDE_IP6),
    ):
        _run("ip", "-n", name, "addr", "add", f"{address}/24", "dev", link)
        _run("ip", "-n", name, "addr", "add", f"{address6}/64", "dev", link, "nodad")
        _run("ip", "-n", name, "link", "set", link, "up")
    _run("ip", "-n", host, "route", "add", "default", "via", OUTSIDE_IP)
    _run("ip", "-n", host, "route", "add", "default", "via", OUTSIDE_IP6)


def _run(*argv: str) -> None:
    subprocess.run(argv, check=True, capture_output=True, text=True)


def _end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.wait()
    if process.stdout is not None:
        process.stdout.close()
