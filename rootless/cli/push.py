"""`rootless push`: an image of this store to the registry that its name names."""

from __future__ import annotations

import os

from rootless.cli import output
from rootless.cli.args import BOOL, INT, Command, Option
from rootless.cli.login import TLS_VERIFY
from rootless.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rootless._entry import GlobalOptions

TABLE = Command(
    "push",
    "[OPTIONS] NAME[:TAG] [DESTINATION]",
    "Upload an image to a registry",
    options=(
        Option("--all-tags", "-a", kind=BOOL, help="Push all tags of the repository"),
        Option(
            "--compression",
            choices=("gzip", "zstd"),
            help="Compress the layers anew, which gives the image another digest",
        ),
        Option(
            "--compression-level", kind=INT, help="Level of compression: 1 to 9 for gzip, 1 to 22 for zstd"
        ),
        Option(
            "--format",
            choices=("oci", "docker"),
            help="Push manifests in this format, instead of the one that they have",
        ),
        Option("--platform", help="Push only an image of this platform, for example linux/arm64"),
        Option("--quiet", "-q", kind=BOOL, help="Suppress the push output"),
        TLS_VERIFY,
    ),
    min_positionals=1,
    max_positionals=2,
    completes="images",
)


def main(argv: list[str], options: GlobalOptions) -> int:
    """Push one image, or all tags of one; the last line says what the tag means, or with -q its name."""
    parsed = TABLE.parse(argv)
    query, target = (*parsed.positionals, "")[:2]
    if target and parsed.flag("all-tags"):
        raise UsageError("--all-tags takes no destination")

    from rootless.cli.progress import make_progress
    from rootless.engine import push
    from rootless.engine.repack import packing_of
    from rootless.interface.images import pull_options
    from rootless.paths import find_paths

    wanted = pull_options(os.environ, platform=parsed.text("platform"), tls_verify=parsed.said("tls-verify"))
    job = push.PushJob(
        query,
        target=target,
        all_tags=parsed.flag("all-tags"),
        platform=wanted.platform,
        packing=packing_of(
            parsed.text("compression"), parsed.number("compression-level"), form=parsed.text("format")
        ),
        form=parsed.text("format"),
        settings=wanted.settings,
    )
    quiet = parsed.flag("quiet")
    for pushed in push.push_blocking(find_paths(options.root), job, progress=make_progress(quiet=quiet)):
        output.write(f"{pushed.name if quiet else pushed.status_text}\n")
    return 0
