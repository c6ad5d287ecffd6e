"""`rootless registry serve`: a registry of one's own."""

from __future__ import annotations

import os
import sys

from rootless.cli import output
from rootless.cli.args import BOOL, Command, Option
from rootless.errors import UsageError, printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rootless._entry import GlobalOptions

DIRECTORY = Option(
    "--volume",
    "-v",
    metavar="dir",
    completes="directory",
    help="Directory of the registry (default: registry/ in the store)",
)
TABLE = Command(
    "registry serve",
    "[OPTIONS]",
    "Serve a registry",
    options=(
        Option(
            "--htpasswd", metavar="file", completes="file", help="Let in the users of this file (htpasswd -B)"
        ),
        Option(
            "--listen",
            metavar="ip[:port]",
            help="Address to listen on, other machines' too, with plain HTTP unless there is a certificate",
        ),
        Option("--mirror", metavar="url", help="Fetch what is not there from this registry, and keep it"),
        Option("--publish", "-p", metavar="[ip:]port", help="Port to listen on (default: 127.0.0.1:5000)"),
        Option("--read-only", kind=BOOL, help="Refuse everything that changes the registry"),
        Option(
            "--tls-cert", metavar="file", completes="file", help="Certificate, with those that vouch for it"
        ),
        Option("--tls-key", metavar="file", completes="file", help="Key of the certificate"),
        DIRECTORY,
    ),
    max_positionals=0,
)


def main(argv: list[str], options: GlobalOptions) -> int:
    """Serve until interrupted; the one line of output says where."""
    parsed = TABLE.parse(argv)
    cert, key = parsed.text("tls-cert"), parsed.text("tls-key")
    if bool(cert) != bool(key):
        raise UsageError("--tls-cert and --tls-key belong together")

    from rootless.engine import registry
    from rootless.paths import find_paths
    from rootless.registry.server.address import choose_address
    from rootless.registry.settings import Deadlines, RegistrySettings

    address = choose_address(publish=parsed.text("publish"), listen=parsed.text("listen"), tls=bool(cert))
    directory = parsed.text("volume")
    if not directory:
        paths = find_paths(options.root)
        paths.ensure()
        directory = registry.default_directory(paths)
    job = registry.RegistryJob(
        directory=directory,
        address=address,
        tls_cert=cert,
        tls_key=key,
        htpasswd=parsed.text("htpasswd"),
        read_only=parsed.flag("read-only"),
        mirror=parsed.text("mirror"),
    )
    # Without the configuration of registries: it may name this very server as a mirror of the one behind it.
    deadlines = Deadlines.parse(os.environ.get("ROOTLESS_REGISTRY_DEADLINES", ""))
    settings = RegistrySettings(environment=dict(os.environ), deadlines=deadlines)
    registry.serve_blocking(job, settings, ready=_say_where, complain=_complain)
    return 0


def _say_where(url: str) -> None:
    output.write(f"registry listens on {url}\n")
    if sys.stdout is not None:
        sys.stdout.flush()  # whoever waits for the line reads a pipe


def _complain(line: str) -> None:
    if sys.stderr is not None:
        print(f"registry: {printable(line)}", file=sys.stderr, flush=True)
