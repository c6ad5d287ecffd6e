"""`rootless volume create`: make a volume. Ring 1."""

from __future__ import annotations

import os
import time

from rootless.cli.args import LIST, Command, Option, bad_value
from rootless.engine import volumes
from rootless.engine.volumes import Volume
from rootless.errors import UsageError
from rootless.model.names import check_name, new_id
from rootless.paths import find_paths

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from rootless._entry import GlobalOptions

TABLE = Command(
    "volume create",
    "[OPTIONS] [VOLUME]",
    "Create a volume",
    options=(
        Option("--driver", "-d", default="local", help="Specify volume driver name"),
        Option("--label", kind=LIST, help="Set metadata for a volume"),
        Option("--opt", "-o", kind=LIST, metavar="map", help="Set driver specific options"),
    ),
    max_positionals=1,
)


def main(argv: list[str], options: GlobalOptions) -> int:
    """Make the volume if there is none of that name, and print its name."""
    parsed = TABLE.parse(argv)
    if parsed.text("driver") != "local":
        raise bad_value("--driver", parsed.text("driver"), "no such driver", hint="there is one: local")
    name = check_name(parsed.positionals[0]) if parsed.positionals else new_id()
    volume = Volume(
        name=name,
        anonymous=not parsed.positionals,
        created_ns=time.time_ns(),
        labels=parsed.texts("label"),
        options=check_options(parsed.texts("opt")),
    )
    paths = find_paths(options.root)
    paths.ensure()
    print(volumes.create(paths, volume).name)
    return 0


def check_options(texts: Sequence[str]) -> tuple[str, ...]:
    """Return the options of Docker's local driver, as written, if an ordinary user can have them.

    A directory of the host can get another name: type=none, o=bind, device=/PATH.

    Raises:
        UsageError: it would be a mount that needs privileges, or that no other container would share.
    """
    given = dict(text.partition("=")[::2] for text in texts)
    unknown = given.keys() - {"type", "o", "device"}
    if unknown:
        raise bad_value("--opt", min(unknown), "not supported", hint="there are: type, o, device")
    if not given:
        return ()
    kind = given.get("type", "")
    if kind == "tmpfs":
        raise bad_value(
            "--opt",
            "type=tmpfs",
            "each container would have one of its own",
            hint="write --tmpfs /TARGET, or --mount type=tmpfs,target=/TARGET, at `rootless run`",
        )
    if kind not in ("", "none", "bind"):
        raise bad_value(
            "--opt", f"type={kind}", "an ordinary user cannot mount it", hint="mount it first, and use o=bind"
        )
    if given.get("o") not in ("bind", "rbind"):
        raise UsageError("cannot create the volume: of mounts, only binds are possible", hint="add -o o=bind")
    if not os.path.isabs(given.get("device", "")):
        raise UsageError("cannot create the volume: a bind needs a source", hint="add -o device=/PATH")
    return tuple(texts)
