"""Time the project and its peers in turns, A B A B, and print a table of medians and ratios.

A peer is a program with Docker's command line. It may live behind a prefix command that takes one shell
command line as its last argument (another user, another root directory):

    scripts/bench --user rl-ranges --peer podman --enter 'bash enter-the-other-tree' --runs 15 run exec pull

Each side is one shell that stays, is told one command at a time and answers how long it took, so that
entering costs nothing. Without --image a registry on loopback serves the Debian image of `scripts/test`.

`idle` is no time: it is the memory of what stays beside idle containers, and needs root where a side runs as
another user.

`push`, `pull-many` and `copy-many` move an image of 20 layers, --size MB altogether, made on the spot; with
`--skopeo` beside skopeo, which unpacks nothing.

With --stores DIR `pull` and `pull-many` give each pull a store of its own below DIR, and remove nothing: a
file system that has just deleted much is slow for minutes. DIR must be writable for all sides, best a new
file system.
"""

from __future__ import annotations

import argparse
import os
import platform
import pwd
import shlex
import statistics
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from tests.bench import idle, many
from tests.bench.works import FRESH_PULL, FRESH_PULL_MANY, HAVE_IMAGE, MANY_WORKS, WORKS, unpack_work
from tests.helpers.images import copy
from tests.helpers.registry import running_registry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from tests.bench.works import Work

AGENT = r"""
LC_ALL=C; cd /
while IFS= read -r command; do
    start=$EPOCHREALTIME
    output=$(eval "$command" 2>&1 </dev/null); code=$?
    end=$EPOCHREALTIME
    printf "%d %d %s\n" $code $((${end/./} - ${start/./})) "${output//$'\n'/ | }"
done
"""
"""Answers each line with: exit code, microseconds, output."""


class Side:
    """One of the programs that are compared: a shell, and the program's name in it."""

    def __init__(self, name: str, program: str, enter: Sequence[str]) -> None:
        self.name = name
        self.program = program
        command = [*enter, f"exec bash -c {shlex.quote(AGENT)}"]
        self._shell = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )

    def time(self, command: str) -> float:
        """Run a shell command that must succeed; return its milliseconds."""
        assert self._shell.stdin
        assert self._shell.stdout
        self._shell.stdin.write(command + "\n")
        code, microseconds, output = (self._shell.stdout.readline().rstrip("\n") + "  ").split(" ", 2)
        if code != "0":
            raise SystemExit(f"{self.name}: `{command}` ended with {code}: {output}")
        self.output = output.strip()
        return int(microseconds) / 1000

    def close(self) -> None:
        assert self._shell.stdin
        self._shell.stdin.close()
        self._shell.wait(60)


def measure(
    work: Work,
    sides: Sequence[Side],
    *,
    runs: int,
    fields: Mapping[str, str],
    stores: str,
    wipe: Callable[[], None] | None = None,
) -> dict[str, list[float]]:
    """Run one work `runs` times on each side in turns, and once uncounted; return milliseconds by side.

    Args:
        fields: what the commands name. wipe: empties the registry for pushes.
    """

    def command(text: str, side: Side, turn: int = 0) -> str:
        store = shlex.quote(f"{stores or '/tmp'}/bench-{os.getpid()}-{side.name}-{turn if stores else 0}")
        return text.format(p=side.program, name=f"bench-{os.getpid()}", store=store, **fields)

    times: dict[str, list[float]] = {side.name: [] for side in sides}
    for side in sides:
        if work.by(side).setup:
            side.time(command(work.by(side).setup, side))
    try:
        for turn in range(runs + 1):
            for side in sides:
                if work.wipe and wipe:
                    wipe()
                if work.by(side).before:
                    side.time(command(work.by(side).before, side, turn))
                spent = side.time(command(work.by(side).timed, side, turn))
                if turn:
                    times[side.name].append(spent)
    finally:
        for side in sides:
            if work.by(side).teardown:
                side.time(command(work.by(side).teardown, side))
    return times


def row(title: str, times: dict[str, list[float]], names: Sequence[str]) -> str:
    """Return a line of the table: medians with their range, then the first side's over each other's."""
    medians = {name: statistics.median(values) for name, values in times.items()}
    first, *others = names
    cells = [
        f"{medians[n]:.0f} ms ({min(times[n]):.0f} to {max(times[n]):.0f})" if n in times else ""
        for n in names
    ]
    cells += [f"{medians[first] / medians[n]:.2f}" if n in times else "" for n in others]
    return f"| {title} | {' | '.join(cells)} |"


def machine() -> str:
    text = Path("/proc/cpuinfo").read_text()
    model = next((line.split(":")[1].strip() for line in text.splitlines() if "model name" in line), "")
    return f"{os.cpu_count()} × {model or platform.machine()}, Linux {platform.release()}"


def own_shell(user: str) -> list[str]:
    """Return the prefix that runs a shell command line as a user, with a clean environment."""
    account = pwd.getpwnam(user) if user else pwd.getpwuid(os.geteuid())
    become = ["runuser", "-u", account.pw_name, "--"] if account.pw_uid != os.geteuid() else []
    variables = [f"HOME={account.pw_dir}", f"USER={account.pw_name}", "LANG=C.UTF-8"]
    variables.append("PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin")
    runtime = f"/run/user/{account.pw_uid}"
    if os.path.isdir(runtime):
        variables.append(f"XDG_RUNTIME_DIR={runtime}")
    return [*become, "env", "-i", *variables, "bash", "-c"]


@contextmanager
def image_source(options: argparse.Namespace) -> Iterator[str]:
    """Yield the image's name; without --image, serve the Debian image of the tests meanwhile."""
    if options.image or set(options.works) <= set(MANY_WORKS):
        yield options.image
        return
    if not Path(options.debian, "index.json").exists():
        raise SystemExit("no --image was given, and scripts/test has not made the Debian image here")
    with tempfile.TemporaryDirectory() as directory, running_registry(Path(directory)) as registry:
        copy(f"oci:{options.debian}:12", f"docker://{registry.address}/debian:12")
        blobs = Path(options.debian, "blobs/sha256").iterdir()
        options.layer = options.layer or str(max(blobs, key=lambda path: path.stat().st_size))
        yield f"{registry.address}/debian:12"


def parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="scripts/bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    words = f"{', '.join(WORKS)}, all of these (the default), {', '.join(MANY_WORKS)}, or idle"
    parser.add_argument("works", nargs="*", metavar="WORK", help=words)
    parser.add_argument("--user", default="", help="run the project (and peers without --enter) as this user")
    parser.add_argument("--image", default="", help="image to use, with its registry")
    parser.add_argument(
        "--peer", action="append", default=[], metavar="NAME[=COMMAND]", help="may be repeated"
    )
    parser.add_argument(
        "--enter", default="", metavar="PREFIX", help="command that runs a shell line for the peers"
    )
    parser.add_argument("--skopeo", action="store_true", help="beside skopeo, too, where it can do the work")
    parser.add_argument("--runs", type=int, default=11)
    parser.add_argument("--size", type=int, default=1000, metavar="MB", help="of the image of 20 layers")
    parser.add_argument(
        "--tls", default="--tls-verify=false", help="option of pull for a registry without TLS"
    )
    parser.add_argument("--layer", default="", help="gzip tar to unpack with tar(1) beside `pull`")
    parser.add_argument("--stores", default="", metavar="DIR", help="pull into new stores below DIR")
    parser.add_argument("--output", default="", help="write the table there too")
    parser.add_argument("--rootless", default="rootless", help=argparse.SUPPRESS)
    parser.add_argument("--debian", default="", help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    unknown = set(options.works) - {*WORKS, *MANY_WORKS, "idle", "all"}
    if unknown:
        parser.error(f"unknown work: {', '.join(sorted(unknown))}")
    if not options.works or "all" in options.works:
        options.works = list(WORKS)
    return options


def table(options: argparse.Namespace, image: str) -> Iterator[str]:
    """Measure, and yield the table line by line as it grows."""
    own = own_shell(options.user)
    sides = [Side("rootless", options.rootless, own)]
    for peer in options.peer:
        name, _, program = peer.partition("=")
        sides.append(Side(name, program or name, shlex.split(options.enter) or own))
    skopeo = [Side("skopeo", "skopeo", own)] if options.skopeo else []
    names = [side.name for side in (*sides, *skopeo)]
    yield f"{machine()}. Medians of {options.runs} runs in turns, with their range."
    for side in (*sides[1:], *skopeo):
        side.time(f"{side.program} --version")
        yield f"{side.name} is `{side.output}`."
    yield ""
    yield f"| work | {' | '.join(names)} | {' | '.join(f'ratio to {name}' for name in names[1:])} |"
    yield "|" + "---|" * (2 * len(names))
    fields = {"image": shlex.quote(image), "tls": options.tls}
    yield from _rows(options, sides, names, fields)
    if moves := [key for key in options.works if key in MANY_WORKS]:
        yield from _many_rows(options, moves, sides, skopeo, names)
    for side in (*sides, *skopeo):
        side.close()


def _rows(
    options: argparse.Namespace, sides: Sequence[Side], names: Sequence[str], fields: Mapping[str, str]
) -> Iterator[str]:
    """Yield the lines of all works but those of `many`."""

    def line(work: Work, sides: Sequence[Side]) -> str:
        times = measure(work, sides, runs=options.runs, fields=fields, stores=options.stores)
        return row(work.title, times, names)

    for key in options.works:
        fresh = key == "pull" and bool(options.stores)
        if key == "idle":
            for side in sides:
                side.time(HAVE_IMAGE.format(p=side.program, **fields))
            yield from idle.rows(sides, fields["image"])
        elif key in WORKS:
            yield line(FRESH_PULL if fresh else WORKS[key], sides)
            if key == "pull" and options.layer:
                yield line(unpack_work(options.layer, fresh=fresh), sides[:1])


def _many_rows(
    options: argparse.Namespace,
    keys: Sequence[str],
    sides: Sequence[Side],
    skopeo: Sequence[Side],
    names: Sequence[str],
) -> Iterator[str]:
    with many.place(megabytes=options.size) as place:
        fields = {**place.fields(), "tls": options.tls}
        for key in keys:
            work = FRESH_PULL_MANY if key == "pull-many" and options.stores else MANY_WORKS[key]
            chosen = sides[:1] if key == "copy-many" else sides
            times = measure(
                work,
                [*chosen, *skopeo],
                runs=options.runs,
                fields=fields,
                stores=options.stores,
                wipe=place.wipe,
            )
            yield row(work.title, times, names)


def main(argv: Sequence[str]) -> int:
    options = parse(argv)
    lines = []
    with image_source(options) as image:
        for line in table(options, image):
            print(line, flush=True)
            lines.append(line)
    if options.output:
        Path(options.output).write_text("\n".join(lines) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
