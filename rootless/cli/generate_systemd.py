"""`rootless generate systemd`: print a user unit that starts containers at boot."""

from __future__ import annotations

from rootless.cli import invocation, output
from rootless.cli.args import Command
from rootless.engine import records
from rootless.errors import UsageError
from rootless.paths import find_paths

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from rootless._entry import GlobalOptions

_STOP_GRACE_S = 20
"""Beyond a container's own time to stop."""

TABLE = Command(
    "generate systemd",
    "[CONTAINER]",
    "Print a systemd user unit that starts containers at boot",
    max_positionals=1,
    completes="containers",
)


def main(argv: list[str], options: GlobalOptions) -> int:
    """Print the unit of one container, or of all that their restart policy keeps up."""
    parsed = TABLE.parse(argv)
    program, path = invocation.words(options), invocation.search_path()
    if parsed.positionals:
        spec = records.find(find_paths(options.root), parsed.positionals[0]).spec
        text = container_unit(program, spec.name, stop_timeout_s=spec.stop_timeout_s, path=path)
    else:
        text = store_unit(program, path=path)
    output.write(text)
    return 0


def store_unit(program: Sequence[str], *, path: str) -> str:
    """Return the unit that starts what restart policies keep up. Pure.

    At the end of the user's manager every process gets SIGTERM, and SIGKILL later: nothing is "stopped", so
    that all come up again at the next boot. The dash keeps the unit, and what it runs, alive when one of
    several containers cannot be started (man 5 systemd.service, "Command lines").
    """
    return _unit(
        "rootless",
        description="Containers with a restart policy",
        path=path,
        service=[f"ExecStart=-{_command([*program, 'start', '--restartable'])}"],
    )


def container_unit(program: Sequence[str], name: str, *, stop_timeout_s: int, path: str) -> str:
    """Return the unit that starts and stops one container. Pure."""
    limit = "infinity" if stop_timeout_s < 0 else stop_timeout_s + _STOP_GRACE_S
    return _unit(
        f"container-{name}",
        description=f"Container {name}",
        path=path,
        service=[
            f"ExecStart={_command([*program, 'start', name])}",
            f"ExecStop={_command([*program, 'stop', name])}",
            f"TimeoutStopSec={limit}",
        ],
    )


def _unit(name: str, *, description: str, path: str, service: Sequence[str]) -> str:
    lines = [
        f"# ~/.config/systemd/user/{name}.service",
        "# systemctl --user daemon-reload",
        f"# systemctl --user enable {name}.service",
        "# loginctl enable-linger     starts it at boot, not at the first login",
        "",
        "[Unit]",
        f"Description={description}",
        "",
        "[Service]",
        "Type=oneshot",
        "RemainAfterExit=yes",
        f"Environment={quote(f'PATH={path}')}",
        *service,
        "",
        "[Install]",
        "WantedBy=default.target",
    ]
    return "".join(f"{line}\n" for line in lines)


def _command(words: Sequence[str]) -> str:
    return " ".join(quote(word).replace("$", "$$") for word in words)


def quote(word: str) -> str:
    """Return a word as unit files need it: man 5 systemd.syntax ("Quoting"), man 5 systemd.unit ("%%").

    Raises:
        UsageError: it has a character that no unit can hold.
    """
    if any(ord(c) < 32 for c in word):
        raise UsageError("cannot write a unit: a path has a control character", on=word)
    word = word.replace("%", "%%")
    if word and not set(word) & set(" \"'\\;"):
        return word
    return '"' + word.replace("\\", "\\\\").replace('"', '\\"') + '"'
