"""`rootless sign`: sign an image in its registry, as cosign does."""

from __future__ import annotations

import os

from rootless.cli import output
from rootless.cli.args import BOOL, Command, Option
from rootless.cli.login import TLS_VERIFY
from rootless.cli.password import PASSWORD_STDIN, read_password

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rootless._entry import GlobalOptions

TABLE = Command(
    "sign",
    "[OPTIONS] NAME[:TAG][@DIGEST]",
    "Sign an image in a registry with a private key",
    options=(
        Option("--identity", help="Name that the signature is for, if not this one; without a tag for all"),
        Option(
            "--key",
            metavar="file",
            default="cosign.key",
            completes="file",
            help="Private key that `rootless trust generate-key` or cosign has made",
        ),
        PASSWORD_STDIN,
        Option("--recursive", "-r", kind=BOOL, help="Sign the images of all platforms, too"),
        TLS_VERIFY,
    ),
    min_positionals=1,
    max_positionals=1,
    completes="images",
)


def main(argv: list[str], options: GlobalOptions) -> int:
    """Sign one image; a line for each digest says where the signature is."""
    parsed = TABLE.parse(argv)

    from rootless.engine import signing
    from rootless.registry.settings import RegistrySettings
    from rootless.trust.keys import PrivateKey

    settings = RegistrySettings.of(os.environ, tls_verify=parsed.said("tls-verify"))
    key = PrivateKey.load(parsed.text("key"), lambda: read_password(parsed, is_new=False))
    for made in signing.sign_blocking(
        parsed.positionals[0],
        key,
        identity=parsed.text("identity"),
        recursive=parsed.flag("recursive"),
        settings=settings,
    ):
        output.write(f"{made.digest}: {'signed' if made.is_new else 'was signed already'}, tag {made.tag}\n")
    return 0
