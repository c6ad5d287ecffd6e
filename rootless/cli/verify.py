"""`rootless verify`: check that an image in its registry is signed."""

from __future__ import annotations

import os

from rootless.cli import output
from rootless.cli.args import LIST, Command, Option
from rootless.cli.login import TLS_VERIFY

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rootless._entry import GlobalOptions

TABLE = Command(
    "verify",
    "[OPTIONS] NAME[:TAG][@DIGEST]",
    "Verify the signature of an image in a registry",
    options=(
        Option("--identity", help="Repository that the image is to be signed for, if not its own"),
        Option(
            "--key",
            kind=LIST,
            metavar="file",
            completes="file",
            help="Public key; of several one has to have signed. Without, the policy says who",
        ),
        TLS_VERIFY,
    ),
    min_positionals=1,
    max_positionals=1,
    completes="images",
)


def main(argv: list[str], options: GlobalOptions) -> int:
    """Verify one image; a line for each signature that was wanted says what it signs, and the key."""
    parsed = TABLE.parse(argv)

    from layers.reference import Reference
    from rootless.engine import signing
    from rootless.registry.settings import RegistrySettings
    from rootless.trust.identity import OTHER_REPOSITORY, Identity

    identity = None
    if parsed.given("identity"):
        identity = Identity(OTHER_REPOSITORY, value=Reference.parse(parsed.text("identity")).repository)
    for proof in signing.verify_blocking(
        parsed.positionals[0],
        parsed.texts("key"),
        identity=identity,
        settings=RegistrySettings.of(os.environ, tls_verify=parsed.said("tls-verify")),
    ):
        output.write(f"{proof.digest}: signed with the key {proof.key}\n")
    return 0
