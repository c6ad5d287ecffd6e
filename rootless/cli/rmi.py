"""`rootless rmi`: remove images."""

from __future__ import annotations

from functools import partial

from rootless.cli import output, several
from rootless.cli.args import BOOL, Command, Option
from rootless.engine import image_removal, modes, records
from rootless.errors import NotFound
from rootless.model import lifecycle
from rootless.paths import find_paths
from rootless.runtime import userns

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rootless._entry import GlobalOptions

TABLE = Command(
    "rmi",
    "[OPTIONS] IMAGE [IMAGE...]",
    "Remove one or more images",
    options=(
        Option("--force", "-f", kind=BOOL, help="Force removal of the image"),
        Option("--no-prune", kind=BOOL, help="Do not delete layers that nothing else needs"),
    ),
    min_positionals=1,
    completes="images",
)


def main(argv: list[str], options: GlobalOptions) -> int:
    """Remove the images; print what was untied and what was deleted."""
    parsed = TABLE.parse(argv)
    paths = find_paths(options.root)
    force = parsed.flag("force")
    containers = records.load_all(paths)
    users: dict[str, list[str]] = {}
    for container in containers:
        users.setdefault(container.spec.image_id, []).append(container.spec.id)
    running = {c.spec.id for c in containers if c.state.status == lifecycle.RUNNING}

    def remove(query: str) -> None:
        try:
            removed = image_removal.remove_image(
                paths, query, force=force, users=users, running=running.__contains__
            )
        except NotFound as exc:
            if force and exc.reference == "no-such-image":  # -f asks for absence, which is given
                return
            raise
        output.write("".join(line + "\n" for line in removed.lines))

    code = several.for_each(parsed.positionals, remove)
    if not parsed.flag("no-prune"):
        mapping = modes.load_store_modes(paths)[1].mapping
        image_removal.free_space_of_images(
            paths,
            image_ids=frozenset(users),
            chains=frozenset(chain for c in containers for chain in c.spec.layers),
            remove_tree=partial(userns.remove_tree, mapping=mapping, run_dir=paths.run),
        )
    return code
