"""`rootless manifest push`: a manifest list, and the images in it, to a registry."""

from __future__ import annotations

from rootless.cli import output
from rootless.cli.args import BOOL, Command, Option
from rootless.cli.manifest_options import REACH, settings_of
from rootless.paths import find_paths

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rootless._entry import GlobalOptions

TABLE = Command(
    "manifest push",
    "[OPTIONS] LIST [DESTINATION]",
    "Push a manifest list, and the images in it, to a registry",
    options=(
        Option("--all", kind=BOOL, default=True, help="Push the images too, not only the list"),
        Option(
            "--format",
            choices=("oci", "docker"),
            help="Push manifests in this format, instead of the one that they have",
        ),
        Option("--purge", "-p", kind=BOOL, help="Remove the local manifest list after the push"),
        Option("--quiet", "-q", kind=BOOL, help="Suppress the push output"),
        *REACH,
    ),
    min_positionals=1,
    max_positionals=2,
    completes="images",
)


def main(argv: list[str], options: GlobalOptions) -> int:
    """Push the list; the last line is the digest that it has there, as Docker prints it."""
    parsed = TABLE.parse(argv)
    name, target = (*parsed.positionals, "")[:2]
    paths = find_paths(options.root)

    from rootless.cli.progress import make_progress
    from rootless.engine import manifest_lists, push
    from rootless.interface import store

    manifest_lists.find_list(paths, name)
    job = push.PushJob(
        name,
        target=target,
        form=parsed.text("format"),
        members=parsed.flag("all"),
        settings=settings_of(parsed),
    )
    progress = make_progress(quiet=parsed.flag("quiet"))
    (pushed,) = push.push_blocking(paths, job, progress=progress)
    if parsed.flag("purge"):
        store.ImageRemoval(paths, force=False).remove(name)
    output.write(f"{pushed.descriptor.digest}\n")
    return 0
