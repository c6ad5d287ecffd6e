"""`rootless start`: start containers that were created or have ended. Ring 1."""

from __future__ import annotations

from rootless.cli import foreground, run_options, several
from rootless.cli.args import BOOL, Command, Option
from rootless.engine import launch, modes, records, restarts
from rootless.errors import UsageError
from rootless.model import lifecycle
from rootless.paths import find_paths

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rootless._entry import GlobalOptions
    from rootless.engine.records import Container
    from rootless.engine.session import Session
    from rootless.paths import Paths

TABLE = Command(
    "start",
    "[OPTIONS] CONTAINER [CONTAINER...]",
    "Start one or more stopped containers",
    options=(
        Option("--attach", "-a", kind=BOOL, help="Attach STDOUT/STDERR and forward signals"),
        Option("--detach-keys", help="Override the key sequence for detaching a container"),
        Option("--interactive", "-i", kind=BOOL, help="Attach container's STDIN"),
        Option(
            "--restartable", kind=BOOL, help="Start those that their restart policy keeps up, after a boot"
        ),
    ),
    min_positionals=0,
    completes="containers",
)


def main(argv: list[str], options: GlobalOptions) -> int:
    """Start the containers; print each name or id as written, or stay with the one that is attached."""
    parsed = TABLE.parse(argv)
    paths = find_paths(options.root)
    paths.ensure()
    if parsed.flag("restartable"):
        if parsed.positionals:
            raise UsageError(
                "conflicting options: --restartable and a container", hint="leave one of them out"
            )
        names = [c.spec.name for c in records.load_all(paths) if _is_wanted(c)]
        return several.for_each(names, lambda name: _start_and_say(paths, name, options))
    if not parsed.positionals:
        raise UsageError("`rootless start` needs a container", hint="`rootless ps -a` lists them")
    if parsed.flag("attach") or parsed.flag("interactive"):
        if len(parsed.positionals) > 1:
            raise UsageError(
                "cannot start and attach multiple containers at once", hint="leave -a and -i out"
            )
        container = records.find(paths, parsed.positionals[0])
        process = container.spec.process.replace(
            stdin=container.spec.process.stdin and parsed.flag("interactive")
        )
        foreground.check_terminal(tty=process.tty, stdin=process.stdin)
        session = start(paths, container, options, watched=True)
        return foreground.attend(
            session, process, forward_signals=True, detach_keys=run_options.detach_keys(parsed)
        )
    return several.for_each(parsed.positionals, lambda name: _start_and_say(paths, name, options))


def start(paths: Paths, container: Container, options: GlobalOptions, *, watched: bool) -> Session:
    """Fork the monitor of a container that does not run; its first event is "started" or "failed".

    Args:
        watched: we stay to see its output.

    Raises:
        StateConflict: it cannot be started now.
    """
    spec = container.spec
    lifecycle.next_status(container.state.status, lifecycle.START, name=spec.name)
    facts, _ = modes.load_modes(paths, storage=spec.storage)
    return launch.stand_by(paths, debug=options.debug).start(
        spec.id,
        facts=facts,
        storage=spec.storage,
        tty=spec.process.tty,
        stdin=spec.process.stdin,
        watched=watched,
    )


def _start_and_say(paths: Paths, query: str, options: GlobalOptions) -> None:
    container = records.find(paths, query)
    if container.state.status not in (lifecycle.RUNNING, lifecycle.RESTARTING):  # docker: nothing to do
        session = start(paths, container, options, watched=False)
        foreground.wait_started(session)
        session.close()
        foreground.warn_of_logout(paths)
    print(query)


def _is_wanted(container: Container) -> bool:
    return container.state.status not in lifecycle.MINDED and restarts.wants_start_at_boot(
        container.spec.restart, stop_requested=container.state.stop_requested
    )
