"""`rootless version`: the version, and what it runs on, in the shape of `docker version`."""

from __future__ import annotations

import os
import sys

from rootless import __version__
from rootless.cli import output
from rootless.cli.args import Command, Option

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from rootless._entry import GlobalOptions

ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
TABLE = Command(
    "version",
    "[OPTIONS]",
    "Show the version",
    options=(
        Option("--format", "-f", help="Format output using a custom template: 'json', or a Go template"),
    ),
    max_positionals=0,
)


def main(argv: list[str], options: GlobalOptions) -> int:
    parsed = TABLE.parse(argv)
    data = describe()
    if parsed.given("format"):
        output.write(render(data, parsed.text("format")))
        return 0
    client = data["Client"]
    rows = [
        ("Version", client["Version"]),
        ("Python", client["PythonVersion"]),
        ("OS/Arch", f"{client['Os']}/{client['Arch']}"),
        ("Kernel", client["KernelVersion"]),
    ]
    output.write("rootless\n" + "".join(f" {label + ':':<10} {value}\n" for label, value in rows))
    return 0


def describe() -> dict[str, Any]:
    """Return Docker's two halves; there is no server, so both are this program."""
    kernel = os.uname()
    python = ".".join(map(str, sys.version_info[:3]))
    half = {
        "Version": __version__,
        "PythonVersion": python,
        "Os": "linux",
        "Arch": ARCHITECTURES.get(kernel.machine, kernel.machine),
        "KernelVersion": kernel.release,
    }
    return {"Client": half, "Server": dict(half)}


def render(data: dict[str, Any], form: str) -> str:
    """Return one object as --format asks: "json", or a template."""
    if form == "json":
        import json

        return json.dumps(data, ensure_ascii=False, separators=(",", ":")) + "\n"
    from rootless.cli.template import Template

    return Template(form).render(data) + "\n"
