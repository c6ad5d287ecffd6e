"""What `compare` times: shell commands, one set for Docker's command line and one for skopeo's."""

from __future__ import annotations

import os
import shlex
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.bench.compare import Side

SKOPEO = "skopeo --insecure-policy copy -q --src-tls-verify=false --dest-tls-verify=false"


class Work:
    """Something to time: shell commands.

    In them `{p}` is the program, `{image}` the image, `{name}` a container, `{store}` a new path, and what
    `many.Place` adds.

    Attributes:
        skopeo: the same by skopeo, None for nothing. wipe: empty the registry for pushes before each run.
    """

    def __init__(
        self,
        title: str,
        timed: str,
        *,
        before: str = "",
        setup: str = "",
        teardown: str = "",
        skopeo: Work | None = None,
        wipe: bool = False,
    ) -> None:
        self.title = title
        self.timed = timed
        self.before = before
        self.setup = setup
        self.teardown = teardown
        self.skopeo = skopeo
        self.wipe = wipe

    def by(self, side: Side) -> Work:
        """Return the work as one side does it."""
        return self.skopeo if self.skopeo and side.name == "skopeo" else self


HAVE_IMAGE = "{p} inspect {image} || {p} pull {tls} {image}"
WORKS = {
    "run": Work(
        "`run --rm --network none IMAGE true`", "{p} run --rm --network none {image} true", setup=HAVE_IMAGE
    ),
    "run-network": Work("`run --rm IMAGE true`", "{p} run --rm {image} true", setup=HAVE_IMAGE),
    "exec": Work(
        "`exec CONTAINER true`",
        "{p} exec {name} true",
        setup=f"({HAVE_IMAGE}) && {{p}} run -d --name {{name}} --network none {{image}} sleep 1000000",
        teardown="{p} rm -f {name}",
    ),
    "pull": Work("`pull IMAGE`", "{p} pull -q {tls} {image}", before="{p} rmi -f {image} || true"),
}


HAVE_MANY = "{p} inspect {many} || {p} pull {tls} {many}"
FRESH_COPY = f"{SKOPEO} docker://{{many}} oci:{{store}}"
MANY_WORKS = {
    "push": Work(
        "`push` of 20 layers",
        "{p} push -q {tls} {pushed}",
        setup=f"({HAVE_MANY}) && {{p}} tag {{many}} {{pushed}}",
        teardown="{p} rmi {pushed} {many}",
        skopeo=Work("", f"{SKOPEO} oci:{{layout}} docker://{{pushed}}"),
        wipe=True,
    ),
    "pull-many": Work(
        "`pull` of 20 layers",
        "{p} pull -q {tls} {many}",
        before="{p} rmi -f {many} || true",
        teardown="{p} rmi -f {many}",
        skopeo=Work("", FRESH_COPY, before="rm -rf {store}", teardown="rm -rf {store}"),
    ),
    "copy-many": Work(
        "`copy` of 20 layers to a folder",
        "{p} copy -q docker://{many} oci:{store}",
        before="rm -rf {store}",
        teardown="rm -rf {store}",
        skopeo=Work("", FRESH_COPY, before="rm -rf {store}", teardown="rm -rf {store}"),
    ),
}
FRESH_PULL_MANY = Work(
    "`pull` of 20 layers into a new store",
    "{p} --root {store} pull -q {tls} {many}",
    skopeo=Work("", FRESH_COPY),
)
FRESH_PULL = Work("`pull IMAGE` into a new store", "{p} --root {store} pull -q {tls} {image}")


def unpack_work(layer: str, *, fresh: bool) -> Work:
    """Return the yardstick of `pull`: tar(1) on the same bytes, but for the devices that no user can make."""
    directory = "{store}-tar" if fresh else f"/tmp/bench-{os.getpid()}"
    remove = "" if fresh else f"rm -rf {directory}; "
    return Work(
        "`tar -xzf` of its layer, by the same user",
        f"tar -xzf {shlex.quote(layer)} --exclude './dev/*' -C {directory}",
        before=f"{remove}mkdir {directory}",
        teardown=remove,
    )
