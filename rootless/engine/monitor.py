"""The process that stands between a container and the world: starts it, pumps its output, records its end.

Ring 1; runs in a fork of the command line that has never had a second thread. It dies last: the
container's init is its child and has PR_SET_PDEATHSIG, helpers likewise, so a monitor that is killed takes
all of it along and leaves a record that `records.observe` can correct.

Rules:
- Each transition is on disk before anybody is told.
- What --rm removes is removed here: the command line may be gone.
"""

from __future__ import annotations

import os
import time

from rootless.engine import connect, records, removal, storage
from rootless.engine import session as wire
from rootless.engine.logfile import LogWriter
from rootless.engine.pump import Tap, deliver, pump
from rootless.errors import EXIT_ENGINE, InternalError, RootlessError, StateConflict
from rootless.linux import procfs
from rootless.model import lifecycle
from rootless.runtime import plan as planning
from rootless.runtime import stages

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rootless.engine.records import Container
    from rootless.engine.session import Minder
    from rootless.model.host import HostFacts, Modes
    from rootless.network.driver import Attachment
    from rootless.paths import Paths
    from rootless.runtime.plan import Plan
    from rootless.runtime.stages import Launched


def run(
    paths: Paths, container: Container, minder: Minder, *, modes: Modes, facts: HostFacts, debug: bool
) -> None:
    """Start the container, mind it to its end, and tell `minder` what happens; raises nothing."""
    monitor = _Monitor(paths, container, minder, modes=modes, facts=facts)
    try:
        monitor.start(debug=debug)
        monitor.mind()
    except RootlessError as exc:
        monitor.fail(exc)
    except Exception as exc:  # a bug must be told too: there is no terminal behind this process
        monitor.fail(
            InternalError(f"cannot run container: {type(exc).__name__}: {exc}", on=container.spec.id)
        )
    monitor.clean_up()


class _Monitor:
    """One run of one container."""

    def __init__(
        self, paths: Paths, container: Container, minder: Minder, *, modes: Modes, facts: HostFacts
    ) -> None:
        self._paths = paths
        self._container = container
        self._minder = minder
        self._modes = modes
        self._facts = facts
        self._driver = ""
        self._network: Attachment | None = None
        self._launched: Launched | None = None
        self._taps: list[Tap] = []

    def start(self, *, debug: bool) -> None:
        """Bring the container to the execution of its command, and say so.

        Raises:
            RootlessError: a step failed.
        """
        plan, candidates = self._make_plan()
        if debug:
            self._minder.send(wire.NOTICE, text="\n".join(planning.describe(plan)), level="debug")
        self._launched = stages.start(plan, stdio=self._make_stdio())
        self._connect(candidates)
        self._launched.wait_ready()
        self._record_start()
        self._launched.proceed()
        self._announce()

    def mind(self) -> None:
        """Pump output until the container has ended, then record its end and tell it."""
        assert self._launched is not None
        pid = self._launched.pid
        pidfd = os.pidfd_open(pid)
        log = LogWriter(self._container.path("log.json"))
        pump(self._taps, log, pidfd=pidfd, minder=self._minder)
        os.close(pidfd)
        log.close()
        code = wire.exit_code_of(os.waitpid(pid, 0)[1])
        self._launched = None
        if self._network is not None:
            self._network.kill()  # ends while the record is written; nobody waits for the kernel here
        self._record_end(code, log_lost_bytes=log.lost_bytes)
        deliver(self._taps)
        self._minder.send(wire.EXITED, code=code)

    def fail(self, error: RootlessError) -> None:
        """Undo what has been started, record why, and tell it."""
        if self._launched is not None:
            self._launched.abort()
            self._launched = None
        code = EXIT_ENGINE if error.exit_code is None else error.exit_code
        self._record_end(code, error=error.message)
        self._minder.send_failure(error)

    def clean_up(self) -> None:
        """Remove what --rm removes, then let the command line go.

        The kernel takes tens of milliseconds to take a tap device apart. The command line waits for that only
        where its user could notice: a published port must be free for the next container.
        """
        ports_in_use = self._network is not None and self._network.ports
        if ports_in_use:
            self._disconnect()
        if self._container.spec.auto_remove:
            try:
                removal.remove(self._paths, self._container, mapping=self._modes.mapping, with_volumes=True)
            except (OSError, RootlessError) as exc:
                self._minder.send(wire.NOTICE, text=f"cannot remove the container: {exc}")
        self._minder.events.close()
        self._disconnect()

    def _make_plan(self) -> tuple[Plan, list[str]]:
        """Return the plan and the network drivers to try."""
        spec = self._container.spec
        candidates = connect.driver_candidates(spec, self._modes, self._facts)
        files = storage.prepare(self._paths, self._container, self._modes)
        owner = None
        if spec.network.driver == "container":
            other = _running(records.load(self._paths, spec.network.container))
            files = files.replace(hosts=other.path("hosts"), resolv_conf=other.path("resolv.conf"))
            owner = (other.state.pid, other.state.pid_start)
        plan = planning.make_plan(
            spec,
            modes=self._modes,
            facts=self._facts,
            files=files,
            network=candidates[0],
            network_owner=owner,
        )
        return plan, candidates

    def _make_stdio(self) -> tuple[int, int, int]:
        """Return the container's descriptors 0, 1 and 2; our ends of its output become taps."""
        minder = self._minder
        if self._container.spec.process.tty:
            return (-1, -1, -1)
        for stream, target in (("stdout", minder.output), ("stderr", minder.error_output)):
            source, sink = os.pipe2(os.O_CLOEXEC)
            self._taps.append(Tap(stream=stream, source=source, target=target))
            setattr(minder, stream, sink)
        return (minder.stdin, minder.stdout, minder.stderr)

    def _connect(self, candidates: list[str]) -> None:
        """Set the network up while the container's file system is being mounted."""
        assert self._launched is not None
        try:
            self._driver, self._network = connect.attach(
                self._container,
                candidates,
                pid=self._launched.pid,
                facts=self._facts,
                run_dir=connect.make_run_dir(self._paths, self._container),
                notice=lambda text: self._minder.send(wire.NOTICE, text=text),
            )
        except RootlessError:
            self._launched.wait_ready()  # a container that failed meanwhile is the cause, and says why
            raise

    def _disconnect(self) -> None:
        if self._network is not None:
            self._network.stop()
            self._network = None
        connect.remove_run_dir(self._paths, self._container)

    def _announce(self) -> None:
        """Tell that the command runs; hand its terminal over, and let go of the container's own ends."""
        assert self._launched is not None
        minder, console = self._minder, self._launched.console_fd
        if console >= 0:
            self._taps.append(Tap(stream="stdout", source=console, target=minder.output))
            minder.send(wire.STARTED, pid=self._launched.pid, fd=console)
        else:
            minder.send(wire.STARTED, pid=self._launched.pid)
        wire.close_fds(minder.stdin, minder.stdout, minder.stderr)

    def _record_start(self) -> None:
        assert self._launched is not None
        assert self._network is not None
        records.apply_event(
            self._container,
            lifecycle.START,
            pid=self._launched.pid,
            pid_start=procfs.start_time(self._launched.pid),
            monitor_pid=os.getpid(),
            monitor_start=procfs.start_time(os.getpid()),
            boot_id=procfs.boot_id(),
            started_ns=time.time_ns(),
            finished_ns=0,
            exit_code=0,
            error="",
            identity=self._modes.identity,
            storage=self._container.spec.storage or self._modes.storage,
            network=self._driver,
            ports=tuple(port.to_json() for port in self._network.ports),
        )

    def _record_end(self, code: int, *, error: str = "", log_lost_bytes: int = 0) -> None:
        try:
            records.apply_event(
                self._container,
                lifecycle.EXIT,
                exit_code=code,
                error=error,
                pid=0,
                finished_ns=time.time_ns(),
                log_lost_bytes=self._container.state.log_lost_bytes + log_lost_bytes,
            )
        except (OSError, StateConflict) as exc:  # a full disk must not hide the exit code
            self._minder.send(wire.NOTICE, text=f"cannot record the container's end: {exc}")


def _running(container: Container) -> Container:
    if container.state.status != lifecycle.RUNNING:
        raise StateConflict(
            f"cannot join the network of container `{container.spec.name}`: it is not running",
            hint=f"`rootless start {container.spec.name}` first",
            reference="not-running",
        )
    return container
