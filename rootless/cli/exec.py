"""`rootless exec`: a further process in a running container. Ring 1."""

from __future__ import annotations

from rootless.cli import foreground, run_options
from rootless.cli.args import Command
from rootless.engine import exec_session, modes, records
from rootless.errors import StateConflict
from rootless.model import lifecycle
from rootless.model.names import find_container_id
from rootless.paths import find_paths

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rootless._entry import GlobalOptions
    from rootless.cli.args import Parsed
    from rootless.engine.records import Container
    from rootless.engine.session import Session
    from rootless.model.spec import ContainerSpec, Process
    from rootless.paths import Paths

TABLE = Command(
    "exec",
    "[OPTIONS] CONTAINER COMMAND [ARG...]",
    "Execute a command in a running container",
    options=run_options.PROCESS_OPTIONS,
    min_positionals=2,
    interspersed=False,
    completes="containers",
)


def main(argv: list[str], options: GlobalOptions) -> int:
    parsed = TABLE.parse(argv)
    session, process = begin(find_paths(options.root), parsed)
    if parsed.flag("detach"):
        foreground.wait_started(session)
        return 0
    return foreground.attend(
        session, process, forward_signals=True, detach_keys=run_options.detach_keys(parsed)
    )


def begin(paths: Paths, parsed: Parsed) -> tuple[Session, Process]:
    """Begin to start the process that a command line asks for; must run in a process without threads.

    Returns:
        the session, whose next event is "started" or "failed", and the process.
    Raises:
        RootlessError: there is no such container, it does not run, or the options are wrong.
    """
    container = records.find(paths, parsed.positionals[0])
    if container.state.status != lifecycle.RUNNING:
        raise _not_running(container)
    process = _make_process(paths, parsed, container.spec)
    detached = parsed.flag("detach")
    if not detached:
        foreground.check_terminal(tty=process.tty, stdin=process.stdin)
    process = foreground.with_window_size(process)
    _, mode = modes.load_modes(paths)
    security = container.spec.security.replace(
        privileged=container.spec.security.privileged or parsed.flag("privileged")
    )
    session = exec_session.start(
        paths, container, process=process, security=security, mapping=mode.mapping, detached=detached
    )
    return session, process


def _not_running(container: Container) -> StateConflict:
    name = container.spec.name
    if container.state.status == lifecycle.PAUSED:
        return StateConflict(
            f"container `{name}` is paused", hint=f"`rootless unpause {name}` first", reference="not-running"
        )
    return StateConflict(
        f"container `{name}` is not running",
        hint=f"it is {container.state.status}; exec needs a running one",
        reference="not-running",
    )


def _make_process(paths: Paths, parsed: Parsed, spec: ContainerSpec) -> Process:
    """Merge the options with the container's own process: environment, user and directory are inherited."""

    def find_container(query: str) -> str:
        return find_container_id(query, records.read_names(paths), records.list_ids(paths))

    caller = run_options.Caller.here(find_container=find_container, hostname_of=str)
    tty = parsed.flag("tty")
    env = dict(entry.partition("=")[::2] for entry in spec.process.env)
    if tty:
        env.setdefault("TERM", "xterm")
    for name, value in run_options.environment_changes(parsed, caller=caller):
        if value is None:
            env.pop(name, None)
        else:
            env[name] = value
    return spec.process.replace(
        argv=parsed.positionals[1:],
        env=tuple(f"{name}={value}" for name, value in env.items()),
        cwd=parsed.text("workdir") or spec.process.cwd,
        user=parsed.text("user") or spec.process.user,
        tty=tty,
        stdin=parsed.flag("interactive"),
    )
