"""`rootless attach`: watch a running container, and type into it. Ring 1."""

from __future__ import annotations

from rootless.cli import foreground, run_options
from rootless.cli.args import BOOL, Command, Option
from rootless.engine import connect, records
from rootless.engine import session as wire
from rootless.errors import StateConflict
from rootless.model import lifecycle
from rootless.paths import find_paths

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rootless._entry import GlobalOptions
    from rootless.engine.records import Container
    from rootless.engine.session import Session
    from rootless.paths import Paths

TABLE = Command(
    "attach",
    "[OPTIONS] CONTAINER",
    "Attach local standard input, output, and error streams to a running container",
    options=(
        Option("--detach-keys", help="Override the key sequence for detaching a container"),
        Option("--no-stdin", kind=BOOL, help="Do not attach STDIN"),
        Option("--sig-proxy", kind=BOOL, default=True, help="Proxy all received signals to the process"),
    ),
    min_positionals=1,
    max_positionals=1,
    completes="running",
)
_HINTS = {
    lifecycle.PAUSED: "`rootless unpause` it first",
    lifecycle.RESTARTING: "wait until it runs",
}


def main(argv: list[str], options: GlobalOptions) -> int:
    """Show what the container writes from now on; returns its exit code, or 0 after the detach keys."""
    parsed = TABLE.parse(argv)
    paths = find_paths(options.root)
    container = records.find(paths, parsed.positionals[0])
    state, process = container.state, container.spec.process
    if state.status != lifecycle.RUNNING:
        raise StateConflict(
            f"cannot attach to container `{container.spec.name}`: it is {state.status}",
            hint=_HINTS.get(state.status, "`rootless start -a` starts and attaches"),
            reference="not-running",
        )
    process = process.replace(stdin=process.stdin and not parsed.flag("no-stdin"))
    foreground.check_terminal(tty=process.tty, stdin=process.stdin)
    session = _connect(paths, container, with_input=process.stdin)
    return foreground.attend(
        session,
        process,
        forward_signals=parsed.flag("sig-proxy"),
        detach_keys=run_options.detach_keys(parsed),
        redraw=True,
    )


def _connect(paths: Paths, container: Container, *, with_input: bool) -> Session:
    streams = ("stdout",) if container.spec.process.tty else ("stdout", "stderr")
    try:
        return wire.attach(connect.run_directory(paths, container), streams=streams, with_input=with_input)
    except OSError as exc:
        raise StateConflict(
            f"cannot attach to container `{container.spec.name}`: its monitor does not answer",
            hint="it may just have ended; if `rootless ps` shows it, a logout has removed its socket:"
            f" `rootless restart {container.spec.name}` makes a new one",
            reference="not-running",
        ) from exc
