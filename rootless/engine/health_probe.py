"""The process that checks a container: one command in it every now and then, asleep in between. Ring 1.

A fork of the monitor with one thread, in its session. It holds no descriptor of it: neither the container's
stdin nor its output may stay open through it.
"""

from __future__ import annotations

import gc
import os
import select
import signal
import time
from contextlib import suppress

from rootless.engine import events, health, limits, records
from rootless.engine import session as wire
from rootless.engine.health import MAX_OUTPUT_BYTES, Health, Result
from rootless.errors import NotFound, RootlessError
from rootless.linux import calls, const, processes, procfs
from rootless.model import lifecycle
from rootless.runtime import join, process
from rootless.runtime.process_plan import plan_process

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rootless.engine.records import Container
    from rootless.model.host import IdMapping
    from rootless.model.spec import ContainerSpec, Process
    from rootless.paths import Paths

_CHUNK_BYTES = 64 << 10
_MS = 1_000_000
_SHELL = ("/bin/sh", "-c")


def run(paths: Paths, container: Container, *, mapping: IdMapping, monitor: int) -> None:
    """Be the prober of a container until it ends.

    Args:
        monitor: pid of our parent, with which we end.
    """
    calls.prctl(const.PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != monitor:
        return  # it was killed before
    calls.set_process_name("rootless-health")
    process.be_alone()
    gc.freeze()  # nothing of the monitor is collected, which could close descriptors that are ours by now
    gc.enable()  # each check leaves some 3 KB of cycles behind
    process.close_others(())
    ended = os.pidfd_open(container.state.pid)
    if procfs.is_alive(container.state.pid, container.state.pid_start):
        _Prober(paths, container, mapping=mapping).watch(ended)


class _Prober:
    """The checks of one run of a container."""

    def __init__(self, paths: Paths, container: Container, *, mapping: IdMapping) -> None:
        self._paths = paths
        self._container = container
        self._confinement = limits.rejoin(container)
        checked = self._confinement.apply_to(_process(container.spec))
        self._plan = plan_process(checked, container.spec.security, mapping)

    def watch(self, ended: int) -> None:
        """Check, judge and tell, until the container's first process, a pidfd, has ended."""
        check = self._container.spec.healthcheck
        known = Health()
        begin_ns = time.monotonic_ns()
        while True:
            pause_ns = health.pause_ns(known, check, age_ns=time.monotonic_ns() - begin_ns)
            if _poll(-(-pause_ns // _MS), ended):
                return
            try:
                if records.load(self._paths, self._container.spec.id).state.status != lifecycle.RUNNING:
                    continue  # paused: what does not run cannot answer
            except NotFound:
                return
            age_ns = time.monotonic_ns() - begin_ns
            result = self._run(timeout_ns=check.timeout_ns)
            if _poll(0, ended):
                return
            before, known = known, health.judge(known, result, check, age_ns=age_ns)
            health.save(self._container, known)
            if known.status != before.status:
                events.record_container(self._paths, self._container, f"health_status: {known.status}")

    def _run(self, *, timeout_ns: int) -> Result:
        """Run the check to its end, or to the time-out; it dies with the container."""
        start_ns = time.time_ns()
        try:
            pid, source = self._launch()
        except RootlessError as exc:
            return Result(start_ns=start_ns, end_ns=time.time_ns(), exit_code=-1, output=exc.message)
        output = Output(source)
        is_over = _await_end(pid, output, timeout_ns=timeout_ns)
        if not is_over:
            kill_tree(pid)
        code = wire.exit_code_of(os.waitpid(pid, 0)[1])
        text = output.close()
        if not is_over:
            code = -1
            text = f"Health check exceeded timeout ({timeout_ns / 1e9:g}s)" + (f": {text}" if text else "")
        return Result(start_ns=start_ns, end_ns=time.time_ns(), exit_code=code, output=text)

    def _launch(self) -> tuple[int, int]:
        """Start the check as `exec` would; returns its pid, and the read end of its output."""
        state, confinement = self._container.state, self._confinement
        source, sink = os.pipe2(os.O_CLOEXEC)
        null = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        try:
            with confinement:
                launched = join.start(
                    state.pid,
                    state.pid_start,
                    self._plan,
                    stdio=(null, sink, sink),
                    cgroup_fd=confinement.cgroup_fd,
                )
            confinement.hold(launched.pid)
            launched.proceed()
        except RootlessError:
            os.close(source)
            raise
        finally:
            wire.close_fds(null, sink)
        return launched.pid, source


class Output:
    """What a check writes: the beginning is kept, the rest is read so that the check does not hang.

    Args:
        source: read end of its pipe; owned.
    """

    __slots__ = ("_data", "_is_cut", "source")

    def __init__(self, source: int) -> None:
        self.source = source
        self._data = b""
        self._is_cut = False
        os.set_blocking(source, False)

    def read(self) -> None:
        """Take what is there."""
        try:
            data = os.read(self.source, _CHUNK_BYTES)
        except BlockingIOError:
            return
        if not data:
            os.close(self.source)
            self.source = -1
        room = MAX_OUTPUT_BYTES - len(self._data)
        self._is_cut = self._is_cut or len(data) > room
        self._data += data[:room]

    def close(self) -> str:
        """Return what was written; what the check has left behind may write on, to nobody."""
        if self.source >= 0:
            self.read()
            wire.close_fds(self.source)
        return self._data.decode("utf-8", "replace") + ("..." if self._is_cut else "")


def kill_tree(pid: int) -> None:
    """Kill a child of ours, its process group and its descendants; the caller reaps it."""
    below = processes.descendants((pid,), processes.read_all())
    with suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)  # it leads a session of its own (`runtime.join`)
    for found in below:
        with suppress(OSError):  # it has ended
            fd = os.pidfd_open(found.pid)
            if procfs.is_alive(found.pid, found.start_ticks):  # no other process that got the pid meanwhile
                signal.pidfd_send_signal(fd, signal.SIGKILL)
            os.close(fd)


def _process(spec: ContainerSpec) -> Process:
    """Return what is run: with the container's environment, user and directory. Pure."""
    kind, *words = spec.healthcheck.test
    argv = tuple(words) if kind == "CMD" else (*_SHELL, words[0])
    return spec.process.replace(argv=argv, tty=False, stdin=False)


def _await_end(pid: int, output: Output, *, timeout_ns: int) -> bool:
    """Read output until the process has ended; False when it takes longer than it may."""
    deadline_ns = time.monotonic_ns() + timeout_ns
    ended = os.pidfd_open(pid)
    try:
        while (left_ns := deadline_ns - time.monotonic_ns()) > 0:
            ready = _poll(-(-left_ns // _MS), ended, output.source)
            if ended in ready:
                return True
            if output.source in ready:
                output.read()
        return False
    finally:
        os.close(ended)


def _poll(timeout_ms: int, *fds: int) -> set[int]:
    poller = select.poll()
    for fd in fds:
        if fd >= 0:
            poller.register(fd, select.POLLIN)
    return {fd for fd, _ in poller.poll(timeout_ms)}
