"""`rootless top`: the processes of a container. Ring 1.

Without options the table of `ps -ef` is made here from /proc: no program is needed for it, and users are
shown as the container knows them. With options the host's ps makes it, restricted to the container's
processes, with users as the host knows them. Nothing of the container is executed (CVE-2022-1227). Pids are
the host's.
"""

from __future__ import annotations

import time

from rootless.cli import output
from rootless.cli.args import Command
from rootless.engine import process_list, records
from rootless.errors import HostUnsupported, StateConflict, UsageError
from rootless.linux import processes
from rootless.model import lifecycle
from rootless.paths import find_paths, find_program

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from rootless._entry import GlobalOptions

TABLE = Command(
    "top",
    "CONTAINER [ps OPTIONS]",
    "Display the running processes of a container",
    min_positionals=1,
    interspersed=False,
    completes="running",
)


def main(argv: list[str], options: GlobalOptions) -> int:
    """Print the processes; the first word names the container, the rest is for ps."""
    parsed = TABLE.parse(argv)
    query, *words = parsed.positionals
    container = records.find(find_paths(options.root), query)
    members = processes.find_members(container.state.pid, started=container.state.pid_start)
    if container.state.status not in lifecycle.ALIVE or not members:
        raise StateConflict(
            f"container `{container.spec.name}` is not running",
            hint=f"it is {container.state.status}; `rootless start {container.spec.name}` starts it",
            reference="not-running",
        )
    if words:
        rows = select_rows(_run_ps(words, [p.pid for p in members]), {p.pid for p in members})
    else:
        boot_s = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
        names = process_list.user_names(p.pid for p in members)
        rows = [process_list.TITLES]
        rows += [process_list.row(p, names=names, boot_s=boot_s, now_s=time.time()) for p in members]
    output.write(output.table(rows))
    return 0


def select_rows(text: str, pids: Collection[int]) -> list[Sequence[str]]:
    """Return the title and the lines of ps that are about these processes. Pure.

    Raises:
        UsageError: no column is the pid.
    """
    title, *lines = text.splitlines() or [""]
    titles = title.split()
    if "PID" not in titles:
        raise UsageError("cannot find the PID column in what ps printed", hint="add pid to the columns of -o")
    column = titles.index("PID")
    rows: list[Sequence[str]] = [titles]
    for line in lines:
        cells = line.split(None, len(titles) - 1)
        if len(cells) > column and cells[column].isdecimal() and int(cells[column]) in pids:
            rows.append(cells)
    return rows


def _run_ps(words: Sequence[str], pids: Sequence[int]) -> str:
    """Run the host's ps: procps looks at these processes alone with -q, others print all."""
    program = find_program("ps")
    if not program:
        raise HostUnsupported(
            "cannot run ps: it is not installed", hint="leave its options out: `rootless top` needs none then"
        )
    import subprocess  # only for those who give options to ps

    problem = ""
    for more in (["-q", ",".join(map(str, pids))], []):
        result = subprocess.run(
            [program, *words, *more], capture_output=True, text=True, errors="surrogateescape", check=False
        )
        if result.returncode == 0:
            return result.stdout
        problem = problem or result.stderr.strip().partition("\n")[0]
    raise UsageError(f"cannot list processes: ps says: {problem or result.returncode}", on=" ".join(words))
