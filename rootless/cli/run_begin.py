"""What `run` does once its monitor stands by: make a container, have it started. Ring 1 for a local image."""

from __future__ import annotations

from rootless.cli import creation, foreground, run_options, run_unsupported
from rootless.cli.run_options import TABLE
from rootless.engine import modes, removal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rootless._entry import GlobalOptions
    from rootless.cli.args import Parsed
    from rootless.engine.launch import Standby
    from rootless.engine.session import Session
    from rootless.model.spec import ContainerSpec
    from rootless.paths import Paths


def run(argv: list[str], paths: Paths, options: GlobalOptions, standby: Standby) -> int:
    """Do all of `rootless run`, and stay with the container if that is wanted; returns the exit code."""
    parsed = TABLE.parse(argv)
    session, spec = begin(paths, parsed, options, standby=standby, watched=not parsed.flag("detach"))
    if spec.detached:
        foreground.wait_started(session)
        foreground.warn_of_logout(paths)
        print(spec.id)
        return 0
    return foreground.attend(
        session,
        spec.process,
        forward_signals=parsed.flag("sig-proxy"),
        detach_keys=run_options.detach_keys(parsed),
        streams=run_options.attached_streams(parsed),
    )


def begin(
    paths: Paths, parsed: Parsed, options: GlobalOptions, *, standby: Standby, watched: bool
) -> tuple[Session, ContainerSpec]:
    """Create the container that a command line asks for, and tell its monitor to start it; prints notices.

    Args:
        standby: the monitor.
        watched: we stay to see its output.

    Returns:
        the session, whose next event is "started" or "failed", and what was recorded.
    Raises:
        RootlessError: nothing was recorded.
    """
    run_options.check_conflicts(parsed)
    paths.ensure()
    facts, mode = modes.load_modes(paths, storage=parsed.text("storage"))
    if watched:
        foreground.check_terminal(tty=parsed.flag("tty"), stdin=parsed.flag("interactive"))
    removal.sweep(paths, mapping=mode.mapping)
    spec = creation.create(paths, parsed, options, mapping_key=mode.mapping.key, starting=True)
    for text in mode.notices:
        foreground.notice_once(paths, text)
    for text in run_unsupported.notices(parsed):
        foreground.notice(text)
    session = standby.start(
        spec.id,
        facts=facts,
        storage=parsed.text("storage"),
        tty=parsed.flag("tty"),
        stdin=parsed.flag("interactive"),
        watched=watched,
    )
    return session, spec
