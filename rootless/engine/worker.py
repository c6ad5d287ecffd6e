"""The process of a worker: started before anybody knows what it will unpack.

The first is a fork of the command line, made before that imports trio, which takes 0.1 s: meanwhile the
worker finds out what this host can do, enters the user namespace and imports its own. Later ones are
interpreters of their own, for a process with threads can neither fork nor enter a namespace. What to unpack
follows over a control socket, one layer after the other; a worker that is told nothing ends by itself.
`unpack` talks to it. No trio here.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from contextlib import suppress

from rootless.engine import modes
from rootless.engine.pipes import make_pipe
from rootless.model.host import HostFacts

TYPE_CHECKING = False
if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable
    from typing import NoReturn

    from rootless.model.host import IdMapping
    from rootless.paths import Paths

_CONTROL = 3
_HIGHEST_FD = 1 << 20
"""The kernel's default limit of descriptors; closerange uses close_range(2), one system call."""
_MAX_FACTS_BYTES = 1 << 20


class Fork:
    """A fork of this process, with as much of `subprocess.Popen` as a worker needs."""

    __slots__ = ("pid", "returncode")

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None

    def poll(self) -> int | None:
        return self._reap(os.WNOHANG)

    def wait(self) -> int | None:
        return self._reap(0)

    def _reap(self, flags: int) -> int | None:
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, flags)
            if pid:
                self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode


class WorkerProcess:
    """A started worker and our ends of its pipes. Owns them all, -1 once closed.

    Attributes:
        layer: non-blocking write end of its stdin. control: a socket: the request, then the parents.
        answers: read end of its stdout, non-blocking for `unpack`. errors: file that is its stderr.
        pidfd: readable once it has ended.
    """

    __slots__ = ("answers", "control", "errors", "layer", "pidfd", "process")

    def __init__(
        self, process: subprocess.Popen[bytes] | Fork, *, layer: int, control: int, answers: int, errors: int
    ) -> None:
        self.process = process
        self.layer = layer
        self.control = control
        self.answers = answers
        self.errors = errors
        self.pidfd = os.pidfd_open(process.pid)

    @property
    def has_ended(self) -> bool:
        """Tell whether it has ended, and reap it."""
        return self.process.poll() is not None

    def receive_facts(self) -> HostFacts | None:
        """Wait for what a forked worker has found out about this host, the first that it says.

        None when it could not: whoever tries again will see why.
        """
        line = b""
        while not line.endswith(b"\n"):
            data = os.read(self.answers, 1 << 16)
            if not data or len(line) > _MAX_FACTS_BYTES:
                return None
            line += data
        os.set_blocking(self.answers, False)
        return HostFacts.from_json(json.loads(line))

    def tell(self, message: dict[str, object]) -> None:
        """Send a line over the control socket, which a living worker reads at once."""
        line = json.dumps(message).encode() + b"\n"
        with suppress(BrokenPipeError):  # its answer will say why
            while line:
                line = line[os.write(self.control, line) :]

    def renew(self) -> None:
        """Give a worker that has finished a layer a new stdin, for the next one."""
        import socket

        self.close_layer()
        theirs, self.layer = make_pipe()
        try:
            with suppress(OSError), socket.socket(fileno=os.dup(self.control)) as control:
                socket.send_fds(control, [b"\n"], [theirs])
        finally:
            os.close(theirs)

    def close_layer(self) -> None:
        """Let the worker see the end of the layer; idempotent."""
        fd, self.layer = self.layer, -1
        if fd >= 0:
            os.close(fd)

    def kill(self) -> None:
        """Kill it with all that it started; harmless if it has ended."""
        if not self.has_ended:
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)

    def close(self) -> None:
        """Close our ends and reap it; kill it first, unless it was told nothing, or has ended."""
        self.close_layer()
        for fd in (self.control, self.answers, self.errors):
            os.close(fd)
        self.process.wait()
        os.close(self.pidfd)


class _Ends:
    """The worker's ends of its pipes."""

    __slots__ = ("answers", "control", "errors", "layer")

    def __init__(self, *, layer: int, control: int, answers: int, errors: int) -> None:
        self.layer = layer
        self.control = control
        self.answers = answers
        self.errors = errors


def fork(paths: Paths) -> WorkerProcess:
    """Fork the first worker: its first answer is what it found out about this host (`receive_facts`).

    Must run in a process with one thread that has not imported trio, after `paths.ensure()`.

    Raises:
        OSError: no more processes or descriptors.
    """
    return _start(lambda theirs: _fork(paths, theirs))


def start(mapping: IdMapping, run_dir: str) -> WorkerProcess:
    """Start a worker as an interpreter of its own; its request is the first thing to `tell` it.

    Raises:
        OSError: no more processes or descriptors.
    """
    worker = _start(lambda theirs: _spawn(mapping, run_dir, theirs))
    os.set_blocking(worker.answers, False)
    return worker


def _start(make: Callable[[_Ends], subprocess.Popen[bytes] | Fork]) -> WorkerProcess:
    """Make the pipes of a worker, and by `make` its process."""
    from socket import socketpair  # trio imports it, too

    layer_read, layer_write = make_pipe()
    control_read, control_write = (end.detach() for end in socketpair())
    answers_read, answers_write = os.pipe2(os.O_CLOEXEC)
    errors = os.memfd_create("worker-errors", os.MFD_CLOEXEC)
    try:
        process = make(_Ends(layer=layer_read, control=control_read, answers=answers_write, errors=errors))
    except BaseException:
        for fd in (layer_write, control_write, answers_read, errors):
            os.close(fd)
        raise
    finally:
        for fd in (layer_read, control_read, answers_write):
            os.close(fd)
    return WorkerProcess(
        process, layer=layer_write, control=control_write, answers=answers_read, errors=errors
    )


def _spawn(mapping: IdMapping, run_dir: str, ends: _Ends) -> subprocess.Popen[bytes]:
    import subprocess

    command = [
        sys.executable,
        "-P",  # whatever lies in the present directory is not ours (not -I: it hides pip install --user)
        "-m",
        "rootless.runtime",
        "apply",
        json.dumps(mapping.to_json()),
        run_dir,
        str(ends.control),
    ]
    return subprocess.Popen(
        command,
        stdin=ends.layer,
        stdout=ends.answers,
        stderr=ends.errors,
        pass_fds=(ends.control,),
        start_new_session=True,  # the terminal's Ctrl-C is for us; we end the worker
    )


def _fork(paths: Paths, ends: _Ends) -> Fork:
    pid = os.fork()
    if pid == 0:
        _serve(paths, ends)
    return Fork(pid)


def _serve(paths: Paths, ends: _Ends) -> NoReturn:
    """Be the forked worker."""
    code = 1
    try:
        os.setsid()
        for old, new in ((ends.layer, 0), (ends.answers, 1), (ends.errors, 2), (ends.control, _CONTROL)):
            os.dup2(old, new)
        os.closerange(_CONTROL + 1, _HIGHEST_FD)
        sys.stdout, sys.stderr = (open(fd, "w", closefd=False) for fd in (1, 2))
        facts, mode = modes.load_store_modes(paths)
        print(json.dumps(facts.to_json()), flush=True)
        from rootless.runtime import layer_worker

        code = layer_worker.serve(mode.mapping, paths.run, control=_CONTROL)
        sys.stdout.flush()
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stderr.flush()
        os._exit(code)
