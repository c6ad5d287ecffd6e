"""`rootless trust generate-key`: a pair of keys to sign with and to verify with."""

from __future__ import annotations

from rootless.cli import output
from rootless.cli.args import Command, Option
from rootless.cli.password import PASSWORD_STDIN, read_password

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rootless._entry import GlobalOptions

TABLE = Command(
    "trust generate-key",
    "[OPTIONS]",
    "Make a pair of keys for signing images, in the form of cosign",
    options=(
        Option(
            "--output-prefix",
            metavar="path",
            default="cosign",
            completes="file",
            help="The files are this with .key, which is secret, and .pub",
        ),
        PASSWORD_STDIN,
    ),
)


def main(argv: list[str], options: GlobalOptions) -> int:
    """Make one pair; the lines are the names of its files."""
    parsed = TABLE.parse(argv)

    from rootless.trust.keys import create_pair

    for path in create_pair(parsed.text("output-prefix"), read_password(parsed, is_new=True)):
        output.write(f"{path}\n")
    return 0
