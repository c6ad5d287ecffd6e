"""What a container's first process and its monitor say to each other while it is being set up.

One message, one packet (SOCK_SEQPACKET on a socket pair); no traceback and no exception object crosses it.

Rules:
- The monitor says MAPPED once ids are mapped, then PROCEED once records and network are ready.
- The child says READY (with the console's descriptor, if any) once its file system stands, or FAILED, once,
  at any time. Its end closing after PROCEED means that exec succeeded: the descriptor is close-on-exec.
- Either end closing at any other time means that the other side is dead: the child exits, the monitor reaps.
Ring 1.
"""

from __future__ import annotations

import os

# The C module alone: socket.py would bring selectors and its enums, 4 ms on the launch path.
from _socket import AF_UNIX, CMSG_LEN, MSG_DONTWAIT, SCM_RIGHTS, SOCK_SEQPACKET, SOL_SOCKET, socketpair

from layers import jsontext
from rootless.errors import InternalError, RootlessError, RuntimeSetupError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _socket import socket
    from typing import Any, NoReturn

MAPPED = b"M"
PROCEED = b"P"
READY = b"R"
FAILED = b"F"
MAX_MESSAGE_BYTES = 64 << 10
MAX_FDS = 4
_FIELD = 1500
"""Characters of each field: JSON makes up to 12 bytes of one."""

LEGAL = {
    ("", READY): "ready",
    ("", FAILED): "failed",
    ("ready", FAILED): "failed",
    ("ready", b""): "executed",
}
"""(state of the child as the monitor knows it, message) → next state; b"" is the end of the stream."""


def channel() -> tuple[socket, socket]:
    """Return the monitor's end and the child's end; both close on exec, and neither is a standard stream."""
    low = []
    try:
        while True:
            monitor, child = socketpair(AF_UNIX, SOCK_SEQPACKET)
            if monitor.fileno() > 2 and child.fileno() > 2:
                return monitor, child
            low.append((monitor, child))  # our caller has closed 0, 1 or 2: fill them up
    finally:
        for pair in low:
            for end in pair:
                end.close()


def next_state(state: str, message: bytes) -> str:
    """Return the child's state after a message; "died" for an end of stream out of order.

    Raises:
        InternalError: the message cannot come now.
    """
    kind = message[:1]
    if (state, kind) in LEGAL:
        return LEGAL[state, kind]
    if not kind:
        return "died"
    raise InternalError(f"cannot set the container up: message {kind!r} in state `{state}`")


def encode_failure(error: RootlessError) -> bytes:
    """Return the FAILED message for an error."""
    return FAILED + jsontext.dumps(failure_fields(error)).encode()


def decode_failure(message: bytes) -> RuntimeSetupError:
    """Return the error that a FAILED message describes."""
    return failure_from(jsontext.loads(message[1:]))


def failure_fields(error: RootlessError) -> dict[str, Any]:
    """Return an error as JSON; long fields are cut to fit one packet."""
    return {
        "message": error.message[:_FIELD],
        "on": error.on and error.on[:_FIELD],
        "hint": error.hint and error.hint[:_FIELD],
        "reference": error.reference,
        "exit_code": error.exit_code,
    }


def failure_from(fields: dict[str, Any]) -> RuntimeSetupError:
    """Return the error that `failure_fields` described."""
    return RuntimeSetupError(
        fields["message"],
        on=fields["on"],
        hint=fields["hint"],
        reference=fields["reference"],
        exit_code=fields["exit_code"],
    )


def send(sock: socket, message: bytes, fd: int | None = None) -> None:
    """Send one message, with a copy of a descriptor if given."""
    send_all(sock, message, [] if fd is None else [fd])


def send_all(sock: socket, message: bytes, fds: list[int]) -> None:
    """Send one message with copies of descriptors."""
    if fds:
        numbers = b"".join(fd.to_bytes(4, "little") for fd in fds)  # both ABIs are little endian
        sock.sendmsg([message], [(SOL_SOCKET, SCM_RIGHTS, numbers)])
    else:
        sock.send(message)


def send_if_alive(sock: socket, message: bytes) -> None:
    """Send one message; a dead peer is no error here: what it said last, or its silence, tells why."""
    try:
        sock.send(message)
    except (BrokenPipeError, ConnectionResetError):
        return


def receive(sock: socket) -> tuple[bytes, int | None]:
    """Wait for one message: (b"", None) at the end of the stream; a received descriptor is the caller's."""
    message, fds = receive_all(sock)
    for fd in fds[1:]:
        os.close(fd)
    return message, fds[0] if fds else None


def receive_all(sock: socket) -> tuple[bytes, list[int]]:
    """Wait for one message with up to MAX_FDS descriptors, which are the caller's; b"" is the end."""
    try:
        message, ancillary, _, _ = sock.recvmsg(MAX_MESSAGE_BYTES, CMSG_LEN(4 * MAX_FDS))
    except ConnectionResetError:
        # The peer has closed with our message unread. That is told once, and before what it said last.
        return receive_all(sock)
    fds = []
    for level, kind, data in ancillary:
        if level == SOL_SOCKET and kind == SCM_RIGHTS:
            fds += [int.from_bytes(data[i : i + 4], "little") for i in range(0, len(data) - 3, 4)]
    for fd in fds:
        os.set_inheritable(fd, False)
    return message, fds


def expect(sock: socket, wanted: bytes) -> None:
    """In the child: wait for a message of the monitor; exit at once when the monitor is gone."""
    message, _ = receive(sock)
    if message != wanted:
        os._exit(1)


def exit_if_alone(sock: socket) -> None:
    """In the child, after PROCEED: exit when the monitor has died meanwhile.

    Closes the gap between the monitor's last word and our PR_SET_PDEATHSIG.
    """
    try:
        if not sock.recv(1, MSG_DONTWAIT):
            os._exit(1)
    except BlockingIOError:
        return
    except OSError:
        os._exit(1)


def report_and_exit(sock: socket, error: BaseException) -> NoReturn:
    """In the child: send what went wrong and end; the monitor raises it again."""
    if not isinstance(error, RootlessError):
        error = _bug(error)
    try:
        send(sock, encode_failure(error))
    finally:
        os._exit(error.exit_code or 125)


def _bug(error: BaseException) -> InternalError:
    """Name the place without the traceback module, which reads files that pivot_root has hidden."""
    place = error.__traceback__
    while place is not None and place.tb_next is not None:
        place = place.tb_next
    where = f"{os.path.basename(place.tb_frame.f_code.co_filename)}:{place.tb_lineno}" if place else "?"
    return InternalError(
        f"cannot set the container up: {type(error).__name__}: {error}",
        on=where,
        hint="this is a bug of rootless; please report it with this message",
    )
