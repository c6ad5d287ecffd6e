"""The messages between a monitor and the process that it makes."""

from __future__ import annotations

import os
import signal

import pytest

from rootless.errors import InternalError, RuntimeSetupError
from rootless.runtime import handshake


@pytest.mark.parametrize(
    ("state", "message", "expected"),
    [
        ("", handshake.READY, "ready"),
        ("", handshake.FAILED + b"{}", "failed"),
        ("ready", b"", "executed"),
        ("ready", handshake.FAILED + b"{}", "failed"),
        ("", b"", "died"),
        ("failed", b"", "died"),
    ],
)
def test_child_state_follows_the_table(state: str, message: bytes, expected: str) -> None:
    assert handshake.next_state(state, message) == expected


@pytest.mark.parametrize(
    ("state", "message"), [("ready", handshake.READY), ("executed", handshake.FAILED), ("", b"?")]
)
def test_message_out_of_order_is_a_bug(state: str, message: bytes) -> None:
    with pytest.raises(InternalError):
        handshake.next_state(state, message)


def test_failure_survives_the_way_across_processes() -> None:
    error = RuntimeSetupError("cannot x: y", on="/o\udcff", hint="do z", reference="r", exit_code=127)
    copy = handshake.decode_failure(handshake.encode_failure(error))
    assert (copy.message, copy.on, copy.hint, copy.reference, copy.exit_code) == (
        "cannot x: y",
        "/o\udcff",
        "do z",
        "r",
        127,
    )


def test_long_failure_fits_one_packet() -> None:
    error = RuntimeSetupError("\udcff" * 100_000, on="\udcff" * 100_000, hint="\udcff" * 100_000)
    assert len(handshake.encode_failure(error)) < handshake.MAX_MESSAGE_BYTES


def test_descriptor_travels_with_a_message_and_closes_on_exec() -> None:
    one, other = handshake.channel()
    read_end, write_end = os.pipe()
    handshake.send(one, handshake.READY, read_end)
    message, fd = handshake.receive(other)
    assert message == handshake.READY
    assert fd is not None
    os.write(write_end, b"x")
    assert (os.read(fd, 1), os.get_inheritable(fd)) == (b"x", False)
    for number in (read_end, write_end, fd):
        os.close(number)
    one.close()
    other.close()


def test_channel_never_takes_the_place_of_a_closed_standard_stream() -> None:
    pid = os.fork()
    if pid == 0:
        os.close(0)
        os.close(1)
        one, other = handshake.channel()
        os._exit(0 if min(one.fileno(), other.fileno()) > 2 else 1)
    assert os.waitpid(pid, 0)[1] == 0


def test_child_of_a_dead_monitor_ends_instead_of_going_on() -> None:
    ours, its = handshake.channel()
    pid = os.fork()
    if pid == 0:
        ours.close()
        handshake.expect(its, handshake.PROCEED)
        os.kill(os.getpid(), signal.SIGKILL)  # must not be reached
    its.close()
    ours.close()
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 1


def test_unexpected_exception_is_reported_as_a_bug_with_its_place() -> None:
    ours, its = handshake.channel()
    pid = os.fork()
    if pid == 0:
        try:
            raise KeyError("k")
        except KeyError as exc:
            handshake.report_and_exit(its, exc)
    its.close()
    message, _ = handshake.receive(ours)
    ours.close()
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 125
    error = handshake.decode_failure(message)
    assert error.message == "cannot set the container up: KeyError: 'k'"
    assert error.on is not None
    assert error.on.startswith("test_handshake.py:")
