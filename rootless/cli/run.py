"""`rootless run`: create a container from an image, start it, and stay with it. Ring 1 for a local image."""

from __future__ import annotations

from rootless.cli import run_options, run_unsupported
from rootless.engine import launch, modes
from rootless.paths import find_paths

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rootless._entry import GlobalOptions
    from rootless.cli.args import Parsed
    from rootless.engine.session import Session
    from rootless.model.spec import ContainerSpec
    from rootless.paths import Paths

TABLE = run_options.TABLE


def main(argv: list[str], options: GlobalOptions) -> int:
    parsed = TABLE.parse(argv)
    paths = find_paths(options.root)
    session, spec = begin(paths, parsed, options, watched=not parsed.flag("detach"))
    from rootless.cli import foreground  # not before the monitor's fork: see `begin`

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
    paths: Paths, parsed: Parsed, options: GlobalOptions, *, watched: bool
) -> tuple[Session, ContainerSpec]:
    """Create the container that a command line asks for, and tell its monitor to start it; prints notices.

    Must run in a process without threads.

    Args:
        watched: we stay to see its output.

    Returns:
        the session, whose next event is "started" or "failed", and what was recorded.
    Raises:
        RootlessError: nothing was recorded.
    """
    run_options.check_conflicts(parsed)
    paths.ensure()
    facts, mode = modes.load_modes(paths, storage=parsed.text("storage"))
    session = launch.prepare(
        paths,
        modes=mode,
        facts=facts,
        tty=parsed.flag("tty"),
        stdin=parsed.flag("interactive"),
        watched=watched,
        debug=options.debug,
    )
    # Imported while the monitor imports its own share: one after the other they take 30 ms.
    from rootless.cli import creation, foreground
    from rootless.engine import removal

    if watched:
        foreground.check_terminal(tty=parsed.flag("tty"), stdin=parsed.flag("interactive"))
    removal.sweep(paths, mapping=mode.mapping)
    spec = creation.create(paths, parsed, options, mapping_key=mode.mapping.key)
    for text in mode.notices:
        foreground.notice_once(paths, text)
    for text in run_unsupported.notices(parsed):
        foreground.notice(text)
    session.begin(spec.id)
    return session, spec
