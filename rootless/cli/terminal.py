"""The user's own terminal: raw mode while a container has it, and its modes back afterwards. Ring 1."""

from __future__ import annotations

import os
import termios

from layers.contexts import contextmanager, suppress

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
    from collections.abc import Iterator
    from types import FrameType
    from typing import Any
else:
    import _signal as signal  # the C module alone: signal.py makes enums of its numbers, 1.3 ms

_DEADLY = (signal.SIGHUP, signal.SIGQUIT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2, signal.SIGALRM)


def is_terminal(fd: int = 0) -> bool:
    try:
        return os.isatty(fd)
    except OSError:
        return False  # closed, as under some cron and CI runners


def size(fd: int = 0) -> tuple[int, int]:
    """Return (rows, columns), (0, 0) when unknown."""
    try:
        columns, rows = os.get_terminal_size(fd)
    except OSError:
        return 0, 0
    return rows, columns


@contextmanager
def raw_mode(fd: int = 0) -> Iterator[None]:
    """Pass every key through untouched (man 3 termios, cfmakeraw) until the block ends.

    A signal that would end this process has the modes put back first; only SIGKILL leaves them to `reset`(1).
    """
    before = termios.tcgetattr(fd)

    def restore() -> None:
        with suppress(termios.error):  # it was closed
            termios.tcsetattr(fd, termios.TCSADRAIN, before)

    def end(number: int, _frame: FrameType | None) -> None:
        restore()
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)

    deadly = [number for number in _DEADLY if signal.getsignal(number) == signal.SIG_DFL]
    for number in deadly:
        signal.signal(number, end)
    termios.tcsetattr(fd, termios.TCSADRAIN, _raw(before))
    try:
        yield
    finally:
        restore()
        for number in deadly:
            signal.signal(number, signal.SIG_DFL)


def _raw(modes: list[Any]) -> list[Any]:
    iflag, oflag, cflag, lflag, ispeed, ospeed, characters = modes
    iflag &= ~(
        termios.IGNBRK
        | termios.BRKINT
        | termios.PARMRK
        | termios.ISTRIP
        | termios.INLCR
        | termios.IGNCR
        | termios.ICRNL
        | termios.IXON
    )
    oflag &= ~termios.OPOST
    lflag &= ~(termios.ECHO | termios.ECHONL | termios.ICANON | termios.ISIG | termios.IEXTEN)
    cflag = (cflag & ~(termios.CSIZE | termios.PARENB)) | termios.CS8
    characters = list(characters)
    characters[termios.VMIN] = 1
    characters[termios.VTIME] = 0
    return [iflag, oflag, cflag, lflag, ispeed, ospeed, characters]
