"""The process that stands between a container and the world: starts it, pumps its output, records its end,
and starts it again where its policy says so.

Ring 1; runs in a fork of the command line that has never had a second thread. It dies last: the
container's init is its child and has PR_SET_PDEATHSIG, helpers likewise, so a monitor that is killed takes
all of it along and leaves a record that `records.observe` can correct.

Rules:
- Each transition is on disk before anybody is told.
- What --rm removes is removed here: the command line may be gone.
- Whoever stops a container says so in its record before the signal: what ends then is not started again.
"""

from __future__ import annotations

import os
import select
import time

from rootless.engine import connect, events, health, limits, records, removal, restarts, storage
from rootless.engine import session as wire
from rootless.engine.audience import Audience
from rootless.engine.logfile import open_writer
from rootless.engine.pump import Tap, pump
from rootless.errors import EXIT_ENGINE, InternalError, NotFound, RootlessError, StateConflict
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


class Host:
    """What stays the same between the runs of a container."""

    __slots__ = ("facts", "modes", "paths")

    def __init__(self, paths: Paths, modes: Modes, facts: HostFacts) -> None:
        self.paths = paths
        self.modes = modes
        self.facts = facts


def run(host: Host, container: Container, minder: Minder, *, creator_pid: int, debug: bool) -> None:
    """Start the container, mind it until it is not to be started again, tell what happens; raises nothing.

    Args:
        creator_pid: see `records.claim`.
    """
    try:
        records.claim(host.paths, container, creator_pid=creator_pid)
    except (RootlessError, OSError) as exc:
        minder.send_failure(exc if isinstance(exc, RootlessError) else _bug(container, exc))
        return
    monitor = _Monitor(host, container, minder, debug=debug)
    delay_s = 0.0
    while monitor.run_once():
        delay_s = restarts.next_delay(delay_s, ran_s=monitor.ran_s)
        if not monitor.back_off(delay_s):
            break
    monitor.clean_up()


def _bug(container: Container, exc: Exception) -> InternalError:
    return InternalError(f"cannot run container: {type(exc).__name__}: {exc}", on=container.spec.id)


class _Monitor:
    """The runs of one container, one after the other."""

    def __init__(self, host: Host, container: Container, minder: Minder, *, debug: bool) -> None:
        self._host = host
        self._paths = host.paths
        self._container = container
        self._minder = minder
        self._debug = debug
        self._driver = ""
        self._network: Attachment | None = None
        self._launched: Launched | None = None
        self._confinement: limits.Confinement | None = None
        self._taps: list[Tap] = []
        self._audience = Audience(
            minder,
            directory=container.directory,
            closes_stdin=not container.spec.detached,
            note=lambda action: events.record_container(host.paths, container, action),
        )
        self._listens_in = ""
        self._prober = 0
        self._restart_count = 0
        self.ran_s = 0.0

    def run_once(self) -> bool:
        """Run the container from its start to its end; True when it is to be started again."""
        try:
            return self._start() and self._mind()
        except RootlessError as exc:
            self._fail(exc)
        except Exception as exc:  # a bug must be told too: there is no terminal behind this process
            self._fail(_bug(self._container, exc))
        return False

    def back_off(self, delay_s: float) -> bool:
        """Wait before the next start; False when the container was stopped or removed meanwhile.

        Whoever stops it connects to our socket, which wakes us.
        """
        deadline = time.monotonic() + delay_s
        while (left_s := deadline - time.monotonic()) > 0:
            poller = select.poll()
            for fd in self._audience.descriptors():
                poller.register(fd, select.POLLIN)
            ready = {fd for fd, _ in poller.poll(left_s * 1000)}
            if ready:
                self._audience.hear(ready)
            if self._is_stopped():
                return False
        self._restart_count += 1
        return not self._is_stopped()

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
                removal.remove(
                    self._paths, self._container, mapping=self._host.modes.mapping, with_volumes=True
                )
            except (OSError, RootlessError) as exc:
                self._audience.tell(wire.NOTICE, text=f"cannot remove the container: {exc}")
        self._audience.close()
        self._disconnect()
        connect.remove_run_dir(self._paths, self._container.spec.id)

    def _start(self) -> bool:
        """Bring the container to the execution of its command, and say so; False if it was stopped before.

        Raises:
            RootlessError: a step failed.
        """
        confinement = self._confinement = limits.confine(self._container.spec)
        if confinement.notice and not self._restart_count:
            self._audience.tell(wire.NOTICE, text=confinement.notice)
        plan, candidates = self._make_plan(confinement)
        if self._debug:
            self._audience.tell(wire.NOTICE, text="\n".join(planning.describe(plan)), level="debug")
        with confinement:
            self._launched = stages.start(plan, stdio=self._make_stdio(), cgroup_fd=confinement.cgroup_fd)
        confinement.hold(self._launched.pid)
        self._connect(candidates)
        self._launched.wait_ready()
        if not self._record_start():
            self._abort()
            return False
        self._launched.proceed()
        self._prober = health.start(self._paths, self._container, mapping=self._host.modes.mapping)
        self._announce()
        return True

    def _mind(self) -> bool:
        """Pump output until the container has ended, then record its end and tell it.

        Returns:
            True when it is to be started again.
        """
        assert self._launched is not None
        pid = self._launched.pid
        begin = time.monotonic()
        pidfd = os.pidfd_open(pid)
        log = open_writer(self._container.directory, self._container.spec)
        pump(self._taps, log, pidfd=pidfd, audience=self._audience)
        os.close(pidfd)
        log.close()
        code = wire.exit_code_of(os.waitpid(pid, 0)[1])
        self.ran_s = time.monotonic() - begin
        self._launched = None
        if self._network is not None:
            self._network.kill()  # ends while the record is written; nobody waits for the kernel here
        restarting = self._record_end(code, log_lost_bytes=log.lost_bytes, oom_killed=self._release())
        if restarting:
            self._disconnect()
        self._audience.end(code, restarting=restarting)
        self._taps = []
        return restarting

    def _fail(self, error: RootlessError) -> None:
        """Undo what has been started, record why, and tell it."""
        self._abort()
        code = EXIT_ENGINE if error.exit_code is None else error.exit_code
        self._record_end(code, error=error.message)
        self._audience.fail(error)

    def _abort(self) -> None:
        if self._launched is not None:
            self._launched.abort()
            self._launched = None
        self._release()

    def _release(self) -> bool:
        """End the prober and remove the cgroup; True when the kernel has killed for want of memory."""
        health.stop(self._prober)
        self._prober = 0
        confinement, self._confinement = self._confinement, None
        return confinement is not None and confinement.end()

    def _make_plan(self, confinement: limits.Confinement) -> tuple[Plan, list[str]]:
        """Return the plan and the network drivers to try."""
        modes, facts = self._host.modes, self._host.facts
        spec = confinement.apply(self._container.spec)
        candidates = connect.driver_candidates(spec, modes, facts)
        files = storage.prepare(self._paths, self._container, modes)
        owner = None
        if spec.network.driver == "container":
            other = _running(records.load(self._paths, spec.network.container))
            files = files.replace(hosts=other.path("hosts"), resolv_conf=other.path("resolv.conf"))
            owner = (other.state.pid, other.state.pid_start)
        plan = planning.make_plan(
            spec, modes=modes, facts=facts, files=files, network=candidates[0], network_owner=owner
        )
        return plan, candidates

    def _make_stdio(self) -> tuple[int, int, int]:
        """Return the container's descriptors 0, 1 and 2; our ends of its output become taps."""
        minder, process = self._minder, self._container.spec.process
        if process.tty:
            return (-1, -1, -1)
        if minder.stdin < 0:  # a restart
            if process.stdin:
                minder.stdin, self._audience.stdin = os.pipe2(os.O_CLOEXEC)
            else:
                minder.stdin = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        for stream in ("stdout", "stderr"):
            source, sink = os.pipe2(os.O_CLOEXEC)
            self._taps.append(Tap(stream=stream, source=source))
            setattr(minder, stream, sink)
        return (minder.stdin, minder.stdout, minder.stderr)

    def _connect(self, candidates: list[str]) -> None:
        """Set the network up while the container's file system is being mounted, and listen for clients."""
        assert self._launched is not None
        run_dir = connect.make_run_dir(self._paths, self._container)
        if self._listens_in != run_dir or not os.path.lexists(os.path.join(run_dir, wire.SOCKET_NAME)):
            self._audience.listen(run_dir)
            self._listens_in = run_dir
        try:
            self._driver, self._network = connect.attach(
                self._container,
                candidates,
                pid=self._launched.pid,
                facts=self._host.facts,
                run_dir=run_dir,
                notice=lambda text: self._audience.tell(wire.NOTICE, text=text),
            )
        except RootlessError:
            self._launched.wait_ready()  # a container that failed meanwhile is the cause, and says why
            raise

    def _disconnect(self) -> None:
        if self._network is not None:
            self._network.stop()
            self._network = None

    def _announce(self) -> None:
        """Tell that the command runs; hand its terminal over, and let go of the container's own ends."""
        assert self._launched is not None
        minder, console = self._minder, self._launched.console_fd
        if console >= 0:
            self._taps.append(Tap(stream="stdout", source=console, is_terminal=True))
        wire.close_fds(minder.stdin, minder.stdout, minder.stderr)
        minder.stdin = minder.stdout = minder.stderr = -1
        self._audience.begin(self._taps, pid=self._launched.pid)

    def _record_start(self) -> bool:
        """Record that the command runs; False when a user has stopped it since its last end."""
        with records.locked(self._paths, self._container):
            stopped = self._container.state.stop_requested
            if stopped:
                records.apply_event(self._container, lifecycle.EXIT)
            else:
                records.apply_event(self._container, lifecycle.START, **self._facts_of_run())
        if not stopped:
            events.record_volumes(self._paths, self._container, "mount")
            events.record_container(self._paths, self._container, "start")
        return not stopped

    def _facts_of_run(self) -> dict[str, object]:
        assert self._launched is not None
        assert self._network is not None
        return {
            "pid": self._launched.pid,
            "pid_start": procfs.start_time(self._launched.pid),
            "started_ns": time.time_ns(),
            "finished_ns": 0,
            "exit_code": 0,
            "error": "",
            "oom_killed": False,
            "restart_count": self._restart_count,
            "identity": self._host.modes.identity,
            "storage": self._container.spec.storage or self._host.modes.storage,
            "network": self._driver,
            "cgroup": "" if self._confinement is None else self._confinement.cgroup,
            "ports": tuple(port.to_json() for port in self._network.ports),
        }

    def _record_end(
        self, code: int, *, error: str = "", log_lost_bytes: int = 0, oom_killed: bool = False
    ) -> bool:
        """Record that the container has ended; True when its policy starts it again."""
        changes = {"exit_code": code, "error": error, "pid": 0, "finished_ns": time.time_ns()}
        changes |= {"oom_killed": oom_killed, "cgroup": ""}
        changes["log_lost_bytes"] = self._container.state.log_lost_bytes + log_lost_bytes
        try:
            with records.locked(self._paths, self._container):
                again = not error and self._wants_restart(code)
                event = lifecycle.BACK_OFF if again else lifecycle.EXIT
                records.apply_event(self._container, event, **changes)
        except (OSError, StateConflict) as exc:  # a full disk must not hide the exit code
            self._audience.tell(wire.NOTICE, text=f"cannot record the container's end: {exc}")
            return False
        except NotFound:  # removed by force
            return False
        if oom_killed:
            events.record_container(self._paths, self._container, "oom")
        events.record_container(self._paths, self._container, "die", exitCode=str(code))
        events.record_volumes(self._paths, self._container, "unmount")
        return again

    def _wants_restart(self, code: int) -> bool:
        return restarts.wants_restart(
            self._container.spec.restart,
            exit_code=code,
            restart_count=self._restart_count,
            stop_requested=self._container.state.stop_requested,
        )

    def _is_stopped(self) -> bool:
        """Tell whether a user wants no further start; then that is recorded."""
        try:
            with records.locked(self._paths, self._container):
                if self._container.state.stop_requested:
                    records.apply_event(self._container, lifecycle.EXIT)
                    return True
        except NotFound:
            return True
        return False


def _running(container: Container) -> Container:
    if container.state.status not in lifecycle.ALIVE:
        raise StateConflict(
            f"cannot join the network of container `{container.spec.name}`: it is not running",
            hint=f"`rootless start {container.spec.name}` first",
            reference="not-running",
        )
    return container
