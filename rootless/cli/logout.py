"""`rootless logout`: forget the login to a registry."""

from __future__ import annotations

import os

from rootless.cli import output
from rootless.cli.args import BOOL, Command, Option
from rootless.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rootless._entry import GlobalOptions

TABLE = Command(
    "logout",
    "[OPTIONS] [SERVER]",
    "Log out from a registry",
    options=(Option("--all", "-a", kind=BOOL, help="Forget every login that `rootless login` made"),),
    max_positionals=1,
)


def main(argv: list[str], options: GlobalOptions) -> int:
    """Log out; without a server, from Docker Hub."""
    parsed = TABLE.parse(argv)
    everywhere = parsed.flag("all")
    if everywhere and parsed.positionals:
        raise UsageError("--all takes no server")
    # heavy, and not needed for a command line that is wrong
    from rootless.engine import logins
    from rootless.registry.authfile import registry_of
    from rootless.registry.settings import RegistrySettings

    settings = RegistrySettings.of(os.environ, tls_verify=None)
    if everywhere:
        logins.forget_all(settings)
        output.write("Removed login credentials for all registries\n")
        return 0
    registry = registry_of(parsed.positionals[0] if parsed.positionals else "")
    known, left = logins.forget(settings, registry)
    output.write(f"{'Removed login credentials for' if known else 'Not logged in to'} {registry}\n")
    if left:
        from rootless.cli import foreground

        foreground.notice(f"credentials for {registry} are still in {left}, which another program wrote")
    return 0
