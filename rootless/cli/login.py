"""`rootless login`: verify a user name and a password at a registry, and keep them."""

from __future__ import annotations

import os
import sys

from rootless.cli import output, terminal
from rootless.cli.args import BOOL, Command, Option
from rootless.errors import NotFound, RootlessError, UsageError, printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rootless._entry import GlobalOptions
    from rootless.cli.args import Parsed
    from rootless.registry.authfile import Credential
    from rootless.registry.settings import RegistrySettings

TLS_VERIFY = Option(
    "--tls-verify",
    kind=BOOL,
    default=True,
    help="Require HTTPS with a trusted certificate; plain HTTP is otherwise used for loopback only",
)
TABLE = Command(
    "login",
    "[OPTIONS] [SERVER]",
    "Authenticate to a registry",
    options=(
        Option("--get-login", kind=BOOL, help="Print the user name of the current login and change nothing"),
        Option("--password", "-p", help="Password or token; other users of this host can read it"),
        Option("--password-stdin", kind=BOOL, help="Take the password from stdin"),
        TLS_VERIFY,
        Option("--username", "-u", help="User name"),
    ),
    max_positionals=1,
)
_MAX_PASSWORD_BYTES = 1 << 20


def main(argv: list[str], options: GlobalOptions) -> int:
    """Log in; without a server, to Docker Hub."""
    parsed = TABLE.parse(argv)
    _check(parsed)
    # heavy, and not needed for a command line that is wrong
    from rootless.engine import logins
    from rootless.registry.authfile import Credential, registry_of
    from rootless.registry.settings import RegistrySettings

    registry = registry_of(parsed.positionals[0] if parsed.positionals else "")
    settings = RegistrySettings.of(os.environ, tls_verify=parsed.said("tls-verify"))
    if parsed.flag("get-login"):
        known = logins.current(settings, registry)
        if known is None or not known.username:
            raise NotFound(f"not logged in to {registry}", reference="not-logged-in")
        output.write(known.username + "\n")
        return 0
    if not _reuse(parsed, settings, registry):
        credential = Credential(username=_username(parsed), password=_password(parsed))
        _refuse_impossible(credential)
        logins.verify(settings, registry, credential)
        if other := logins.keep(settings, registry, credential):
            _say(f"WARNING! Other credentials for {registry} go first: they are in {other}")
    output.write("Login Succeeded\n")
    return 0


def _check(parsed: Parsed) -> None:
    """Refuse what makes no sense together, with Docker's words; warn of a password that others can read."""
    if parsed.given("password"):
        if parsed.flag("password-stdin"):
            raise UsageError("--password and --password-stdin are mutually exclusive")
        _say("WARNING! Using --password via the CLI is insecure. Use --password-stdin.")
    if parsed.flag("password-stdin") and not parsed.text("username"):
        raise UsageError("must provide --username with --password-stdin")


def _reuse(parsed: Parsed, settings: RegistrySettings, registry: str) -> bool:
    """Verify the credentials that are there, if nothing else was said; True when they are still good."""
    from rootless.engine import logins

    if any(map(parsed.given, ("username", "password", "password-stdin"))):
        return False
    try:
        known = logins.current(settings, registry)
    except RootlessError as exc:
        _say(exc.render())
        return False
    if known is None:
        return False
    output.write(f"Authenticating with existing credentials... [Username: {known.username}]\n")
    try:
        logins.verify(settings, registry, known)
    except RootlessError as exc:
        if exc.reference != "registry-denied" or not terminal.is_terminal():
            raise
        output.write("Login did not succeed with them\n")
        return False
    return True


def _username(parsed: Parsed) -> str:
    if name := parsed.text("username"):
        return name
    _need_terminal()
    output.write("Username: ")
    sys.stdout.flush()
    return sys.stdin.readline().strip()


def _password(parsed: Parsed) -> str:
    if parsed.given("password"):
        return parsed.text("password")
    if parsed.flag("password-stdin"):
        said = sys.stdin.buffer.read(_MAX_PASSWORD_BYTES).decode("utf-8", "surrogateescape")
        return said.removesuffix("\n").removesuffix("\r")
    _need_terminal()
    import getpass  # only who is asked pays for it

    return getpass.getpass("Password: ")


def _need_terminal() -> None:
    if not terminal.is_terminal():
        raise UsageError(
            "cannot perform an interactive login from a non TTY device",
            hint="give --username and --password-stdin",
        )


def _refuse_impossible(credential: Credential) -> None:
    """Refuse what cannot be sent (RFC 7617 §2: no colon in a user name, no control characters)."""
    for what, text in (("user name", credential.username), ("password", credential.password)):
        if not text:
            raise UsageError(f"the {what} is empty")
        if any(c < " " or c == "\x7f" or "\ud800" <= c <= "\udfff" for c in text):
            raise UsageError(f"the {what} holds a control character, or is not UTF-8")
    if ":" in credential.username:
        raise UsageError("the user name holds a colon")


def _say(text: str) -> None:
    print("\n".join(map(printable, text.splitlines())), file=sys.stderr, flush=True)
