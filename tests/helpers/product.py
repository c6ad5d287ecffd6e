"""Run the product as its users do: the command line, in a home of its own.

product.run("run", "--rm", image, "id", "-u").out == "0\\n"
product.fail(125, "run", "--memory=banana", image)
with product.terminal("run", "-it", image, "sh") as terminal: …
"""

from __future__ import annotations

import errno
import fcntl
import os
import pty
import select
import shutil
import signal
import struct
import subprocess
import sys
import termios
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

REPOSITORY = Path(__file__).resolve().parents[2]
SEARCH_PATH = "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"
TIMEOUT_S = 60

QUICK = ("run", "--rm", "--network=none")
"""How most tests run a container: gone afterwards, and no network to set up."""


class Result:
    """How a command ended.

    Attributes:
        code: exit code; -n when the command itself died of signal n.
        out, err: what it wrote, as text (surrogateescape).
    """

    def __init__(self, argv: list[str], *, code: int, out: str, err: str) -> None:
        self.argv = argv
        self.code = code
        self.out = out
        self.err = err

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()

    def __str__(self) -> str:
        return f"{' '.join(self.argv)}\nexit code {self.code}\n{self.out}\nstderr:\n{self.err}"


class Product:
    """The command line of one user with one home.

    Args:
        base: directory of this user, short (sockets have 108 characters for their path), 0700;
            `home` and `run` are made in it.
        wrap: makes the command line that runs a command elsewhere (another user, a simulated host).
        root: the --root option, "" for none.
    """

    def __init__(
        self,
        base: Path,
        *,
        wrap: Callable[[list[str]], list[str]] | None = None,
        root: str = "",
        env: Mapping[str, str] | None = None,
    ) -> None:
        self.home = base / "home"
        self.runtime = base / "run"
        self.wrap = wrap
        self._root = root
        self.env = {
            "HOME": str(self.home),
            "XDG_RUNTIME_DIR": str(self.runtime),
            "PATH": SEARCH_PATH,
            "LANG": "C.UTF-8",
            "PYTHONPATH": str(REPOSITORY),
            "PYTHONDONTWRITEBYTECODE": "1",
            **(env or {}),
        }

    @property
    def store(self) -> Path:
        return Path(self._root) if self._root else self.home / ".local/share/rootless"

    def argv(self, *words: str) -> list[str]:
        """Return the whole command line of `rootless WORDS…`, to be run with `self.env`."""
        options = ["--root", self._root] if self._root else []
        command = [*_program(), *options, *words]
        if self.wrap is None:
            return command
        return self.wrap(["env", *(f"{k}={v}" for k, v in self.env.items()), *command])

    def start(self, *words: str, **options: Any) -> subprocess.Popen[bytes]:
        """Start a command and return it; stdin is /dev/null and output is piped unless options say else."""
        pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        settings: dict[str, Any] = {**pipes, "env": self.env, "cwd": "/", **options}
        return subprocess.Popen(self.argv(*words), **settings)

    def attempt(
        self, *words: str, input: bytes | str = b"", timeout: float = TIMEOUT_S, **options: Any
    ) -> Result:
        """Run a command to its end, however it ends; `input` is its stdin."""
        data = input.encode() if isinstance(input, str) else input
        with self.start(*words, stdin=subprocess.PIPE, **options) as process:
            try:
                out, err = process.communicate(data, timeout)
            except subprocess.TimeoutExpired:
                process.kill()
                out, err = process.communicate()
                raise AssertionError(f"no end within {timeout} s: {words}\n{out!r}\n{err!r}") from None
        text = (out or b"").decode(errors="surrogateescape"), (err or b"").decode(errors="surrogateescape")
        return Result(["rootless", *words], code=process.returncode, out=text[0], err=text[1])

    def run(self, *words: str, **options: Any) -> Result:
        """Run a command that must succeed."""
        result = self.attempt(*words, **options)
        assert result.code == 0, str(result)
        return result

    def fail(self, code: int, *words: str, **options: Any) -> Result:
        """Run a command that must end with this code."""
        result = self.attempt(*words, **options)
        assert result.code == code, f"expected {code}: {result}"
        return result

    @contextmanager
    def terminal(self, *words: str, rows: int = 24, columns: int = 80) -> Iterator[Terminal]:
        """Run a command on a new terminal of its own session; killed when the block ends."""
        terminal = Terminal(self.argv(*words), env=self.env, rows=rows, columns=columns)
        try:
            yield terminal
        finally:
            terminal.close()

    def containers(self) -> list[str]:
        return self.run("ps", "-aq", "--no-trunc").lines

    def remove_containers(self) -> None:
        """Remove every container of the store, running ones too."""
        if ids := self.containers():
            self.run("rm", "-f", *ids)

    def remove(self) -> None:
        """Remove everything: containers, images, the home; foreign ids need the user namespace."""
        if self.store.is_dir():
            self.remove_containers()
            self.attempt("unshare", "rm", "-rf", str(self.store))
        for path in (self.home, self.runtime):
            shutil.rmtree(path, ignore_errors=True)

    def mounts(self) -> list[str]:
        """Return the mounts under this product's directories that the present mount namespace sees."""
        text = Path("/proc/self/mountinfo").read_text()
        points = [line.split()[4] for line in text.splitlines()]
        return [p for p in points if p.startswith((f"{self.home}/", f"{self.runtime}/", f"{self.store}/"))]


def make_product(base: Path, **options: Any) -> Product:
    """Make the directories of a product and return it."""
    product = Product(base, **options)
    for path in (product.home, product.runtime):
        path.mkdir(mode=0o700, parents=True)
    return product


def copy_store(source: Product, target: Product) -> None:
    """Give a product without a store a copy of another's, whose files all belong to this user."""
    target.store.parent.mkdir(mode=0o700, parents=True)
    # The marks go as soon as the disk has what they stand for.
    shutil.copytree(source.store, target.store, symlinks=True, ignore=shutil.ignore_patterns("unsynced"))


class Terminal:
    """A program on a pseudo-terminal, and we are its user."""

    def __init__(self, argv: list[str], *, env: Mapping[str, str], rows: int, columns: int) -> None:
        self.master, slave = pty.openpty()
        self.resize(rows, columns)
        self._seen = b""
        self.process = subprocess.Popen(
            [sys.executable, "-c", _OWN_TERMINAL, *argv],
            stdin=slave, stdout=slave, stderr=slave, env=dict(env), cwd="/", start_new_session=True,
        )  # fmt: skip
        os.close(slave)

    def resize(self, rows: int, columns: int) -> None:
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def type(self, text: str) -> None:
        os.write(self.master, text.encode())

    def expect(self, text: str, timeout: float = 20) -> str:
        """Read until `text` appears; return everything up to its end, and forget it."""
        deadline = time.monotonic() + timeout
        wanted = text.encode()
        while wanted not in self._seen:
            assert self._read(deadline), f"{text!r} did not appear in {self._seen!r}"
        before, _, self._seen = self._seen.partition(wanted)
        return (before + wanted).decode(errors="replace")

    def wait(self, timeout: float = 20) -> tuple[int, str]:
        """Read to the end; return the exit code and the rest of the output."""
        deadline = time.monotonic() + timeout
        while self._read(deadline):
            pass
        code = self.process.wait(max(1, deadline - time.monotonic()))
        return code, self._seen.decode(errors="replace")

    def hang_up(self) -> None:
        """Close the terminal as when its window is closed; its program gets SIGHUP."""
        os.close(self.master)
        self.master = os.open(os.devnull, os.O_RDWR)

    def close(self) -> None:
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(10)
        os.close(self.master)

    def _read(self, deadline: float) -> bool:
        ready, _, _ = select.select([self.master], [], [], max(0, deadline - time.monotonic()))
        if not ready:
            return False
        try:
            data = os.read(self.master, 65536)
        except OSError as exc:
            if exc.errno == errno.EIO:  # man 4 pts: the other side is closed
                return False
            raise
        self._seen += data
        return bool(data)


_OWN_TERMINAL = (
    "import fcntl, os, sys, termios; "
    "fcntl.ioctl(0, termios.TIOCSCTTY, 0); "
    "os.execvp(sys.argv[1], sys.argv[1:])"
)
"""Make stdin the controlling terminal of the new session: preexec_fn would do it in a threaded parent."""


def _program() -> list[str]:
    script = Path(sys.executable).parent / "rootless"
    return [str(script)] if script.exists() else [sys.executable, "-m", "rootless"]
