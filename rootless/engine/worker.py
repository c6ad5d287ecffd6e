"""The process of a worker: started before anybody knows what it will unpack, and before trio is imported.

Starting an interpreter inside the user namespace takes as long as importing trio here: the two overlap. What
to unpack follows over the control pipe; a worker that is told nothing ends by itself. `unpack` talks to it.
No trio here.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from contextlib import suppress

from rootless.engine.pipes import make_pipe

TYPE_CHECKING = False
if TYPE_CHECKING:
    import subprocess

    from rootless.model.host import IdMapping


class WorkerProcess:
    """A started worker and our ends of its pipes. Owns them all, -1 once closed.

    Attributes:
        layer: non-blocking write end of its stdin. control: write end: the request, then the parents.
        answers: non-blocking read end of its stdout. errors: file that is its stderr.
        pidfd: readable once it has ended.
    """

    __slots__ = ("answers", "control", "errors", "layer", "pidfd", "process")

    def __init__(
        self, process: subprocess.Popen[bytes], *, layer: int, control: int, answers: int, errors: int
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

    def tell(self, message: dict[str, object]) -> None:
        """Send a line over the control pipe, which a living worker reads at once."""
        line = json.dumps(message).encode() + b"\n"
        with suppress(BrokenPipeError):  # its answer will say why
            while line:
                line = line[os.write(self.control, line) :]

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


def start(mapping: IdMapping, run_dir: str) -> WorkerProcess:
    """Start a worker; its request is the first thing to `tell` it.

    Raises:
        OSError: no more processes or descriptors.
    """
    import subprocess

    layer_read, layer_write = make_pipe()
    control_read, control_write = os.pipe2(os.O_CLOEXEC)
    answers_read, answers_write = os.pipe2(os.O_CLOEXEC)
    errors = os.memfd_create("worker-errors", os.MFD_CLOEXEC)
    try:
        process = subprocess.Popen(
            worker_command(mapping, run_dir, control=control_read),
            stdin=layer_read,
            stdout=answers_write,
            stderr=errors,
            pass_fds=(control_read,),
            start_new_session=True,  # the terminal's Ctrl-C is for us; we end the worker
        )
    except BaseException:
        for fd in (layer_write, control_write, answers_read, errors):
            os.close(fd)
        raise
    finally:
        for fd in (layer_read, control_read, answers_write):
            os.close(fd)
    os.set_blocking(answers_read, False)
    return WorkerProcess(
        process, layer=layer_write, control=control_write, answers=answers_read, errors=errors
    )


def worker_command(mapping: IdMapping, run_dir: str, *, control: int) -> list[str]:
    """Return the command line of a worker."""
    return [
        sys.executable,
        "-P",  # whatever lies in the present directory is not ours (not -I: it hides pip install --user)
        "-m",
        "rootless.runtime",
        "apply",
        json.dumps(mapping.to_json()),
        run_dir,
        str(control),
    ]
