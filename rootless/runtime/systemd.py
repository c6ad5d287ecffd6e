"""A scope of its own from the user's systemd, whose cgroup is then ours to divide. Ring 1, imported late.

On most hosts a login shell sits in a cgroup of root's, and the tree that was delegated to the user belongs to
the user's manager (`systemd --user`), which moves processes there on request. This module speaks the little
D-Bus that the request takes, on the manager's private socket, as systemctl does.

References: man 5 org.freedesktop.systemd1; D-Bus Specification, "Message Protocol".
"""

from __future__ import annotations

import os
import struct
import time
from _socket import AF_UNIX, SOCK_STREAM, socket
from contextlib import contextmanager

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_TIMEOUT_S = 5.0
_PATH = "/org/freedesktop/systemd1"
_INTERFACE = "org.freedesktop.systemd1.Manager"
_CALL, _ANSWER, _ERROR, _SIGNAL = 1, 2, 3, 4
_FIELDS = ((1, "o", _PATH), (2, "s", _INTERFACE))  # of a header: path, interface
_MEMBER, _SIGNATURE = 3, 8
_MAX_BYTES = 1 << 20


def is_there() -> bool:
    """Tell whether this user has a manager that can be asked."""
    return os.access(_socket_path(), os.W_OK)


def manager_cgroup() -> str:
    """Return the path of the manager's cgroup below the root of the tree, as systemd names it."""
    uid = os.geteuid()
    return f"/user.slice/user-{uid}.slice/user@{uid}.service"


def start_scope(name: str, pid: int) -> None:
    """Move a process into a new scope, whose cgroup is delegated to it; returns when it is there.

    The scope is gone when its last process has ended.

    Raises:
        OSError: there is no manager, or it refuses.
    """
    body = Writer()
    body.string(name)
    body.string("fail")
    with body.array(8):
        for key, signature, value in (("PIDs", "au", pid), ("Delegate", "b", 1)):
            body.align(8)
            body.string(key)
            body.signature(signature)
            if signature == "au":
                with body.array(4):
                    body.number(value)
            else:
                body.number(value)
    with body.array(8):
        pass  # no auxiliary units
    manager = _Manager()
    try:
        manager.call("StartTransientUnit", "ssa(sv)a(sa(sv))", bytes(body.data))
        manager.wait_for_job(name)
    finally:
        manager.close()


def attach(name: str, subgroup: str, pid: int) -> None:
    """Move a process into a cgroup below that of a delegated unit ("/name").

    Raises:
        OSError: there is no manager, or it refuses.
    """
    body = Writer()
    body.string(name)
    body.string(subgroup)
    with body.array(4):
        body.number(pid)
    manager = _Manager()
    try:
        manager.call("AttachProcessesToUnit", "ssau", bytes(body.data))
    finally:
        manager.close()


class Writer:
    """Values in D-Bus's wire format, little endian; `data` grows."""

    def __init__(self) -> None:
        self.data = bytearray()

    def align(self, boundary: int) -> None:
        self.data += bytes(-len(self.data) % boundary)

    def number(self, value: int) -> None:
        self.align(4)
        self.data += struct.pack("<I", value)

    def string(self, text: str) -> None:
        data = text.encode()
        self.number(len(data))
        self.data += data + b"\0"

    def signature(self, text: str) -> None:
        self.data += bytes((len(text),)) + text.encode() + b"\0"

    @contextmanager
    def array(self, boundary: int) -> Iterator[None]:
        """Write items inside; the length before them does not count what aligns the first one."""
        self.number(0)
        place = len(self.data)
        self.align(boundary)
        begin = len(self.data)
        yield
        struct.pack_into("<I", self.data, place - 4, len(self.data) - begin)


def make_call(member: str, signature: str, body: bytes) -> bytes:
    """Return a whole message that calls a method of the manager. Pure."""
    message = Writer()
    message.data += struct.pack("<BBBBII", ord("l"), _CALL, 0, 1, len(body), 1)
    with message.array(8):
        for code, kind, text in (*_FIELDS, (_MEMBER, "s", member), (_SIGNATURE, "g", signature)):
            message.align(8)
            message.data.append(code)
            message.signature(kind)
            if kind == "g":
                message.signature(text)
            else:
                message.string(text)
    message.align(8)
    return bytes(message.data) + body


def read_strings(body: bytes, start: int = 0) -> list[str]:
    """Return the strings of a body from `start` on, up to what is none. Pure."""
    found, place = [], start
    while place + 4 <= len(body):
        (length,) = struct.unpack_from("<I", body, place)
        end = place + 4 + length
        if body[end : end + 1] != b"\0":
            break
        found.append(body[place + 4 : end].decode(errors="replace"))
        place = end + 1 + -(end + 1) % 4
    return found


class _Manager:
    """A connection to the user's manager; OSError when it fails or does not answer in time."""

    def __init__(self) -> None:
        self._socket = socket(AF_UNIX, SOCK_STREAM)
        self._received = b""
        try:
            self._socket.settimeout(_TIMEOUT_S)
            self._socket.connect(_socket_path())
            uid = str(os.geteuid()).encode().hex()
            self._socket.sendall(f"\0AUTH EXTERNAL {uid}\r\n".encode())
            answer = self._take_until(b"\r\n")
            if not answer.startswith(b"OK "):
                raise PermissionError(f"the user's systemd refuses: {answer[:80]!r}")
            self._socket.sendall(b"BEGIN\r\n")
        except BaseException:
            self._socket.close()
            raise

    def close(self) -> None:
        self._socket.close()

    def call(self, member: str, signature: str, body: bytes) -> None:
        self._socket.sendall(make_call(member, signature, body))
        while True:
            kind, body = self._receive()
            if kind == _ANSWER:
                return
            if kind == _ERROR:
                raise PermissionError(f"the user's systemd refuses: {' '.join(read_strings(body))}")

    def wait_for_job(self, unit: str) -> None:
        """Wait for the signal JobRemoved(id, job, unit, result)."""
        deadline = time.monotonic() + _TIMEOUT_S
        while time.monotonic() < deadline:
            kind, body = self._receive()
            strings = read_strings(body, 4) if kind == _SIGNAL else []
            if strings[1:2] == [unit]:
                if strings[2:] != ["done"]:
                    raise PermissionError(f"the user's systemd could not start {unit}: {strings[2:]}")
                return
        raise TimeoutError(f"the user's systemd does not start {unit}")

    def _receive(self) -> tuple[int, bytes]:
        """Return (type, body) of the next message; its header is not looked at."""
        _, kind, _, _, length, _, fields = struct.unpack("<BBBBIII", self._take(16))
        if length + fields > _MAX_BYTES:
            raise OSError("the user's systemd sends what is no message")
        self._take(fields + -fields % 8)
        return kind, self._take(length)

    def _take(self, count: int) -> bytes:
        while len(self._received) < count:
            self._fill()
        taken, self._received = self._received[:count], self._received[count:]
        return taken

    def _take_until(self, end: bytes) -> bytes:
        while end not in self._received:
            self._fill()
        taken, _, self._received = self._received.partition(end)
        return taken

    def _fill(self) -> None:
        data = self._socket.recv(4096)
        if not data:
            raise ConnectionResetError("the user's systemd hung up")
        self._received += data


def _socket_path() -> str:
    return f"/run/user/{os.geteuid()}/systemd/private"
