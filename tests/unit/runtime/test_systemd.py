"""The little D-Bus that asks the user's systemd for a scope, against a manager that is played here."""

from __future__ import annotations

import os
import socket
import struct
import threading
from typing import TYPE_CHECKING

import pytest

from rootless.runtime import systemd
from rootless.runtime.systemd import Writer, make_call, read_strings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

ANSWER, ERROR, SIGNAL = 2, 3, 4
UNIT = "rootless-abc.scope"


def words(*values: str | int) -> bytes:
    body = Writer()
    for value in values:
        body.number(value) if isinstance(value, int) else body.string(value)
    return bytes(body.data)


def message(kind: int, body: bytes) -> bytes:
    fields = b"\x01\x01o\0\x01\0\0\0/\0\0\0\0\0\0\0"  # one header field, 10 bytes and their padding
    return struct.pack("<BBBBIII", ord("l"), kind, 0, 1, len(body), 7, 10) + fields + body


def removed(unit: str, result: str) -> bytes:
    return message(SIGNAL, words(5, "/org/freedesktop/systemd1/job/5", unit, result))


@pytest.fixture
def play(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., list[bytes]]]:
    """Play the manager: answer the first call with these messages; returns what was received."""
    path = str(tmp_path / "private")
    monkeypatch.setattr(systemd, "_socket_path", lambda: path)
    received: list[bytes] = []
    threads = []

    def start(*messages: bytes, greeting: bytes = b"OK 0123\r\n") -> list[bytes]:
        server = socket.socket(socket.AF_UNIX)
        server.bind(path)
        server.listen()
        thread = threading.Thread(target=serve, args=(server, messages, greeting))
        thread.start()
        threads.append(thread)
        return received

    def serve(server: socket.socket, messages: tuple[bytes, ...], greeting: bytes) -> None:
        connection, _ = server.accept()
        server.close()
        with connection:
            received.append(connection.recv(4096))
            connection.sendall(greeting)
            data = b""
            while b"Transient" not in data and b"Attach" not in data:
                part = connection.recv(4096)
                if not part:
                    return
                data += part
            received.append(data)
            connection.sendall(b"".join(messages))

    yield start
    for thread in threads:
        thread.join(10)


def test_scope_stands_when_its_job_is_done(play: Callable[..., list[bytes]]) -> None:
    received = play(
        removed("other.scope", "failed"),
        message(ANSWER, words("/org/freedesktop/systemd1/job/5")),
        removed("another.scope", "failed"),
        removed(UNIT, "done"),
    )
    systemd.start_scope(UNIT, 4711)
    assert received[0] == b"\0AUTH EXTERNAL " + str(os.geteuid()).encode().hex().encode() + b"\r\n"
    assert received[1].startswith(b"BEGIN\r\nl\x01\0\x01")
    assert struct.pack("<I", 4711) in received[1]
    assert b"Delegate" in received[1]


@pytest.mark.parametrize(
    "messages",
    [
        [message(ERROR, words("Unit rootless-abc.scope already exists."))],
        [message(ANSWER, words("/job")), removed(UNIT, "failed")],
        [message(ANSWER, words("/job"))[:20]],
        [struct.pack("<BBBBIII", ord("l"), 2, 0, 1, 1 << 30, 1, 8)],
    ],
)
def test_refusal_is_an_error(play: Callable[..., list[bytes]], messages: list[bytes]) -> None:
    play(*messages)
    with pytest.raises(OSError, match="systemd"):
        systemd.start_scope(UNIT, 4711)


def test_manager_that_does_not_know_us_is_an_error(play: Callable[..., list[bytes]]) -> None:
    play(greeting=b"REJECTED EXTERNAL\r\n")
    with pytest.raises(PermissionError, match="REJECTED"):
        systemd.attach(UNIT, "/", 4711)


def test_no_manager_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(systemd, "_socket_path", lambda: str(tmp_path / "none"))
    assert not systemd.is_there()
    with pytest.raises(FileNotFoundError):
        systemd.start_scope(UNIT, 4711)


def test_message_is_aligned_as_the_specification_says() -> None:
    data = make_call("Get", "s", words("x"))
    assert len(data) % 8 == len(words("x")) % 8
    length, _, fields = struct.unpack_from("<III", data, 4)
    assert length == len(words("x"))
    assert data[16 + fields + -fields % 8 :] == words("x")


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (("a", "bc", "def"), ["a", "bc", "def"]),
        ((7, "job", "unit", "done"), ["job", "unit", "done"]),
        ((), []),
    ],
)
def test_strings_of_a_body(values: tuple[str | int, ...], expected: list[str]) -> None:
    start = 4 if values and isinstance(values[0], int) else 0
    assert read_strings(words(*values), start) == expected


def test_what_is_no_string_ends_them() -> None:
    assert read_strings(words("a") + b"\xff\xff\xff\xff") == ["a"]
    assert read_strings(b"\x05\0\0\0ab") == []
