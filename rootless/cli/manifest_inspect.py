"""`rootless manifest inspect`: a manifest list of this store, or what a registry has under a name."""

from __future__ import annotations

import base64
import json

from layers import media
from layers.reference import Reference
from rootless.cli import output
from rootless.cli.args import BOOL, Command, Option
from rootless.cli.manifest_options import REACH, settings_of
from rootless.paths import find_paths

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from rootless._entry import GlobalOptions
    from rootless.engine.list_members import Shown

TABLE = Command(
    "manifest inspect",
    "[OPTIONS] LIST|IMAGE",
    "Display a local manifest list, or what a registry has under a name",
    options=(
        Option("--verbose", "-v", kind=BOOL, help="Output the members too, with their descriptors"),
        *REACH,
    ),
    min_positionals=1,
    max_positionals=1,
    completes="images",
)


def main(argv: list[str], options: GlobalOptions) -> int:
    """Print the document, or with -v Docker's description of each manifest."""
    parsed = TABLE.parse(argv)
    (name,) = parsed.positionals

    from rootless.engine import list_members

    verbose = parsed.flag("verbose")
    root, *members = list_members.inspect(
        find_paths(options.root), name, deep=verbose, settings=settings_of(parsed)
    )
    shown: Any = json.loads(root.data)
    if verbose:
        shown = [described(name, each) for each in members]
        if not media.is_index(root.descriptor.media_type):
            shown = described(name, root)
    output.write(json.dumps(shown, indent=4, ensure_ascii=False) + "\n")
    return 0


def described(name: str, shown: Shown) -> dict[str, Any]:
    """Return what `docker manifest inspect -v` prints of a manifest.

    Shape: docker/cli cli/manifest/types, ImageManifest.
    """
    kind = "SchemaV2Manifest" if shown.descriptor.media_type == media.DOCKER_MANIFEST else "OCIManifest"
    return {
        "Ref": f"{Reference.parse(name.removeprefix('docker://')).canonical}@{shown.descriptor.digest}",
        "Descriptor": shown.item,
        "Raw": base64.b64encode(shown.data).decode(),
        kind: json.loads(shown.data),
    }
