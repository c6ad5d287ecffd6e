"""`rootless system check`: whether the store is whole, and how to make it so (podman's command)."""

from __future__ import annotations

from rootless.cli import output, several
from rootless.cli.args import BOOL, Command, Option
from rootless.engine import modes
from rootless.engine.checking import Check
from rootless.errors import EXIT_FAILURE
from rootless.paths import find_paths

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rootless._entry import GlobalOptions
    from rootless.engine.checking import Finding

TABLE = Command(
    "system check",
    "[OPTIONS]",
    "Check that blobs, images, layers and containers are whole",
    options=(
        Option("--quick", "-q", kind=BOOL, help="Do not read the bytes of all blobs"),
        Option("--repair", "-r", kind=BOOL, help="Do what the check says that a repair would do"),
    ),
    max_positionals=0,
)


def main(argv: list[str], options: GlobalOptions) -> int:
    """Print what is wrong, object by object; exit with 1 if anything is, and still is after a repair."""
    parsed = TABLE.parse(argv)
    paths = find_paths(options.root)
    paths.ensure()
    chosen = modes.load_store_modes(paths)[1]
    check = Check(paths, chosen.mapping, read_all=not parsed.flag("quick"))
    for finding in check.findings:
        output.write(text(finding, repairing=parsed.flag("repair")))
    if parsed.flag("repair") and any(finding.remedy for finding in check.findings):
        from rootless.engine.repairing import repair

        for failure in repair(paths, check, modes=chosen):
            several.report(failure)
        check = Check(paths, chosen.mapping, read_all=False)
        for finding in check.findings:
            output.write("still: " + text(finding, repairing=False))
    output.write(summary(check))
    return EXIT_FAILURE if check.damages else 0


def text(finding: Finding, *, repairing: bool) -> str:
    """Return what is told of a finding: what, what a repair does, and what its user can do."""
    lines = [f"{finding.on}: {finding.problem}"]
    if finding.remedy:
        lines.append(f"  {'repair' if repairing else '--repair'}: {finding.remedy}")
    if finding.hint:
        lines.append(f"  hint: {finding.hint}")
    return "\n".join(lines) + "\n"


def summary(check: Check) -> str:
    """Return the last line."""
    counts = ", ".join(f"{count} {what}" for what, count in check.counts.items())
    if not check.damages:
        return f"No damage: {counts}\n"
    return f"Damage: {len(check.damages)} of {counts}\n"
