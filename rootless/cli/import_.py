"""`rootless import`: an image of a root file system in an archive."""

from __future__ import annotations

import os

from rootless.cli import foreground, output
from rootless.cli.args import LIST, Command, Option
from rootless.engine import modes
from rootless.errors import RootlessError, UsageError, os_error_text
from rootless.paths import find_paths

TYPE_CHECKING = False
if TYPE_CHECKING:
    from layers.platforms import Platform
    from rootless._entry import GlobalOptions

TABLE = Command(
    "import",
    "[OPTIONS] file|URL|- [REPOSITORY[:TAG]]",
    "Import the contents from a tarball to create a filesystem image",
    options=(
        Option("--change", "-c", kind=LIST, help="Apply Dockerfile instruction to the created image"),
        Option("--message", "-m", help="Set commit message for imported image"),
        Option("--platform", help="Set platform of the image, os/architecture[/variant]"),
    ),
    min_positionals=1,
    max_positionals=2,
)


def main(argv: list[str], options: GlobalOptions) -> int:
    """Make the image and print its id."""
    from rootless.engine import image_names, importing

    parsed = TABLE.parse(argv)
    source, *target = parsed.positionals
    request = importing.Request(
        source,
        platform=_platform(parsed.text("platform")),
        target=image_names.parse_target(target[0]) if target else None,
        message=parsed.text("message"),
        changes=parsed.texts("change"),
    )
    importing.image_config(request)  # a wrong change is told before the archive is read
    paths = find_paths(options.root)
    paths.ensure()
    chosen = modes.load_store_modes(paths)[1]
    image = importing.import_image(paths, _open(source, store=paths.store), request, modes=chosen)
    for note in image.notes:
        foreground.notice(note)
    output.write(f"{image.image_id}\n")
    return 0


def _open(source: str, *, store: str) -> int:
    """Return a descriptor of the archive, which is left to the end of the process."""
    if source == "-":
        return 0
    if source.lower().startswith(("http://", "https://")):
        from rootless.engine import importing
        from rootless.interface.images import pull_options

        settings = pull_options(os.environ, platform="", tls_verify=None).settings
        return importing.download(source, settings, directory=store)
    try:
        return os.open(source, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as exc:
        raise RootlessError(
            f"cannot open the archive: {os_error_text(exc)}", on=source, reference="files"
        ) from exc


def _platform(text: str) -> Platform:
    from layers.errors import InvalidPlatform
    from layers.platforms import Platform

    try:
        return Platform.parse(text) if text else Platform("linux", os.uname().machine)
    except InvalidPlatform as exc:
        raise UsageError(exc.message, on=text, hint=exc.hint or None) from exc
