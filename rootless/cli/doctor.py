"""`rootless doctor`: what this host can do, and what an administrator could change."""

from __future__ import annotations

import os
import sys

from rootless.cli import output
from rootless.cli.args import BOOL, Command, Option
from rootless.engine import diagnosis, modes
from rootless.errors import EXIT_FAILURE, HostUnsupported
from rootless.model.check import OK
from rootless.paths import find_paths

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from rootless._entry import GlobalOptions
    from rootless.model.check import Check
    from rootless.model.host import HostFacts, Modes
    from rootless.paths import Paths

TABLE = Command(
    "doctor",
    "[OPTIONS]",
    "Say what this host can do and what an administrator could change",
    options=(Option("--json", kind=BOOL, help="Print everything as JSON"),),
    max_positionals=0,
)
_LABELS = (("meaning", "what for"), ("meanwhile", "meanwhile"), ("remedy", "remedy"))


def main(argv: list[str], options: GlobalOptions) -> int:
    """Print the report; exit code 1 when no container can run."""
    parsed = TABLE.parse(argv)
    paths = find_paths(options.root)
    facts, checks, chosen, obstacle = examine(paths)
    if parsed.flag("json"):
        output.write(_as_json(facts, checks, chosen, obstacle))
    else:
        output.write(render(checks, chosen, obstacle))
    return EXIT_FAILURE if obstacle else 0


def examine(paths: Paths) -> tuple[HostFacts, list[Check], Modes | None, str]:
    """Try everything again, and return the facts, the checks, the modes or None, and what prevents all."""
    from rootless.runtime import probe, survey

    obstacle = ""
    try:
        paths.ensure()
    except HostUnsupported as exc:  # told among the other checks
        obstacle = f"{exc.message} ({exc.on})"
    facts = probe.load_facts(paths, fresh=True)
    seen = survey.take_survey(paths.store, paths.run)
    checks = diagnosis.examine(facts, seen, _surroundings())
    obstacle = obstacle or seen.store_problem or seen.locks or facts.user_namespaces
    return facts, checks, None if facts.user_namespaces else modes.choose(facts), obstacle


def render(checks: Sequence[Check], chosen: Modes | None, obstacle: str) -> str:
    """Return the report for people: a verdict, a line for each capability, more where something is lost."""
    lines = [f"Containers cannot run here: {obstacle}" if obstacle else "Containers can run here."]
    if chosen is not None:
        lines.append(f"identity {chosen.identity}, storage {chosen.storage}, network {chosen.network}")
    lines.append("")
    for check in checks:
        lines.append(f"{check.status:<8} {check.name:<16} {check.detail}")
        if check.status != OK:
            lines.extend(_explanation(check))
    return "\n".join(lines) + "\n"


def _explanation(check: Check) -> list[str]:
    lines = []
    for field, label in _LABELS:
        for position, text in enumerate(getattr(check, field).splitlines()):
            lines.append(f"{'':<9}{label + ':' if not position else '':<11}{text}")
    return lines


def _as_json(facts: HostFacts, checks: Sequence[Check], chosen: Modes | None, obstacle: str) -> str:
    import json

    report: dict[str, Any] = {
        "can_run": not obstacle,
        "obstacle": obstacle,
        "modes": chosen.to_json() if chosen is not None else None,
        "checks": [check.to_json() for check in checks],
        "facts": facts.to_json(),
    }
    return json.dumps(report, indent=2) + "\n"


def _surroundings() -> diagnosis.Surroundings:
    return diagnosis.Surroundings(
        executable=os.path.realpath(sys.executable),
        subuid=_text("/etc/subuid"),
        subgid=_text("/etc/subgid"),
    )


def _text(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read(1 << 22)
    except OSError:
        return ""
