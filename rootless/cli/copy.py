"""`rootless copy`: an image from one place to another, neither of which need be this store."""

from __future__ import annotations

import os

from rootless.cli import output
from rootless.cli.args import BOOL, Command, Option
from rootless.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rootless._entry import GlobalOptions

TABLE = Command(
    "copy",
    "[OPTIONS] SOURCE DESTINATION",
    "Copy an image between registries, directories and archives without unpacking it",
    options=(
        Option("--all", "-a", kind=BOOL, help="Copy the images of all platforms"),
        Option(
            "--format",
            choices=("oci", "docker"),
            help="Write manifests in this format, instead of the one that they have",
        ),
        Option("--platform", help="Copy the image of a platform, for example linux/arm64"),
        Option("--quiet", "-q", kind=BOOL, help="Suppress the progress output"),
        Option(
            "--tls-verify",
            kind=BOOL,
            default=True,
            help="Require HTTPS with a trusted certificate; plain HTTP is otherwise used for loopback only",
        ),
    ),
    min_positionals=2,
    max_positionals=2,
    completes="images",
)


def main(argv: list[str], options: GlobalOptions) -> int:
    """Copy one image; the last line of output is its digest."""
    parsed = TABLE.parse(argv)
    if parsed.flag("all") and parsed.given("platform"):
        raise UsageError("cannot copy one platform and all of them: --all and --platform exclude each other")

    from layers.manifest import Platform
    from rootless.cli.progress import make_progress
    from rootless.engine import copying
    from rootless.interface.images import pull_options

    source, destination = parsed.positionals
    wanted = pull_options(os.environ, platform=parsed.text("platform"), tls_verify=parsed.said("tls-verify"))
    quiet = parsed.flag("quiet")
    digest = copying.copy_blocking(
        source,
        destination,
        platform=None if parsed.flag("all") else wanted.platform or Platform.host(),
        form=parsed.text("format"),
        settings=wanted.settings,
        progress=make_progress(quiet=quiet),
    )
    output.write(f"{digest}\n" if quiet else f"Digest: {digest}\n")
    return 0
