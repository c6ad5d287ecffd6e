"""What each command really imports: the console script's entry, run in a fresh interpreter to its end.

`run` is stopped where it forks the monitor: until there every module delays the container.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from rootless.cli import COMMANDS
from tests.helpers.store import Store

REPOSITORY = Path(__file__).resolve().parents[2]

HEAVY = frozenset(
    """
    argparse asyncio backports concurrent cryptography csv ctypes.util dataclasses datetime decimal difflib
    email h11 hashlib http httpx2 importlib.metadata inspect logging pathlib pickle ptrace queue shutil
    ssl subprocess tempfile textwrap threading tqdm traceback trio typing unittest urllib uuid zlib_ng
    """.split()  # noqa: SIM905  words read better than quoted strings
)
"""None of these is worth its time on the way to a container (docs/architecture.md, "Start-up rings")."""

REPORT = """
import os, sys
bare = set(sys.modules)
def report(*_, **__):
    sys.stdout.flush()
    os.write(int(os.environ["REPORT_FD"]), " ".join(sorted(set(sys.modules) - bare)).encode())
    os._exit(0)
from rootless import _entry
if os.environ.get("STOP_AT_LAUNCH"):
    from rootless.engine import launch, modes
    from rootless.model.host import HostFacts, IdMapping, Modes
    launch.Standby.start = report
    mapping = IdMapping(mode="single", uids=((0, 1, 1),), gids=((0, 1, 1),), key="single")
    chosen = Modes(identity="single", mapping=mapping, storage="overlay", network="none")
    modes.load_modes = lambda *_, **__: (HostFacts(uid=1, gid=1), chosen)
try:
    code = _entry.main()
finally:
    report()
"""


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    run = tmp_path / "run"
    run.mkdir(mode=0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(run))
    made = Store(str(tmp_path / "store"))
    made.running("live", pid=os.getpid())
    made.add_image("docker.io/library/debian:12", key="single")
    return made


def imported(store: Store, *words: str, stop_at_launch: bool = False) -> frozenset[str]:
    """Return the modules beyond a bare interpreter's after a command line."""
    read, write = os.pipe()
    environment = {
        **os.environ,
        "PYTHONPATH": str(REPOSITORY),
        "REPORT_FD": str(write),
        "STOP_AT_LAUNCH": "1" if stop_at_launch else "",
    }
    command = [sys.executable, "-P", "-c", REPORT, "--root", store.paths.store, *words]
    result = subprocess.run(
        command, pass_fds=(write,), env=environment, capture_output=True, text=True, check=False
    )
    os.close(write)
    with open(read, encoding="ascii") as file:
        modules = frozenset(file.read().split())
    assert modules, result.stderr
    assert "error:" not in result.stderr
    assert "Traceback" not in result.stderr
    return modules


def heavy(modules: frozenset[str]) -> list[str]:
    return sorted(name for name in modules if name in HEAVY or name.partition(".")[0] in HEAVY)


@pytest.mark.parametrize(
    "words",
    [
        ("--help",),
        ("run", "--help"),
        ("ps",),
        ("ps", "-aq"),
        ("ps", "-a", "--format", "json"),
        ("logs", "live"),
        ("inspect", "live"),
        ("inspect", "debian:12"),
    ],
)
def test_reading_commands_import_nothing_heavy(store: Store, words: tuple[str, ...]) -> None:
    found = heavy(imported(store, *words))
    assert found == [], f"`rootless {' '.join(words)}` must not import: {' '.join(found)}"


@pytest.mark.parametrize(
    "words",
    [
        ("run", "--rm", "debian:12", "true"),
        (
            "run",
            "-i",
            "-e",
            "A=1",
            "-v",
            "/a:/b",
            "--mount",
            "type=tmpfs,dst=/t",
            "-p",
            "80:80",
            "debian:12",
        ),
        ("run", "-d", "--cap-add", "NET_ADMIN", "--ulimit", "core=0", "--shm-size", "1g", "debian:12"),
    ],
)
def test_run_imports_nothing_heavy_before_the_container_starts(store: Store, words: tuple[str, ...]) -> None:
    modules = imported(store, *words, stop_at_launch=True)
    assert "rootless.cli.run_options" in modules
    found = heavy(modules)
    assert found == [], f"`rootless {' '.join(words)}` must not import: {' '.join(found)}"


def test_help_imports_no_command(store: Store) -> None:
    modules = imported(store, "--help")
    commands = {module for module, _ in COMMANDS.values()}
    assert modules & commands == frozenset()
    assert "json" not in modules


def test_a_command_imports_no_other_command(store: Store) -> None:
    modules = imported(store, "ps")
    commands = {module for module, _ in COMMANDS.values()}
    assert modules & commands == {"rootless.cli.ps"}
    assert "rootless.cli.template" not in modules
