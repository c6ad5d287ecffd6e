"""The start-up rings: what the modules on the launch path may import, measured in fresh interpreters."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]

HEAVY = frozenset(
    """
    argparse asyncio cryptography dataclasses h11 hashlib httpx2 inspect logging nacl pathlib ptrace shutil
    subprocess tempfile tqdm trio typing
    """.split()  # noqa: SIM905  words read better than quoted strings
)
"""Each costs the start of a container several milliseconds; import them late, inside the function."""

RING_0 = frozenset(
    """
    __future__ _ctypes _struct collections ctypes enum errno fcntl functools importlib itertools keyword
    operator os reprlib rootless select signal stat struct sys time types warnings zlib
    """.split()  # noqa: SIM905
)
"""The package's own modules, and what the standard library's smallest modules consist of."""


def modules(*patterns: str) -> list[str]:
    """Return the dotted names of the modules that exist under these globs."""
    found = (p for pattern in patterns for p in sorted(REPOSITORY.glob(pattern)))
    names = (p.relative_to(REPOSITORY).with_suffix("").as_posix().replace("/", ".") for p in found)
    return [n.removesuffix(".__init__") for n in names if not n.endswith("__main__")]


RING_0_MODULES = modules(
    "rootless/_entry.py", "rootless/errors.py", "rootless/paths.py", "rootless/linux/*.py"
)
RING_1_MODULES = modules(
    *(f"rootless/cli/{verb}.py" for verb in ("run", "exec", "ps", "logs", "stop", "rm")),
    *(
        f"rootless/cli/{verb}.py"
        for verb in (
            "events",
            "inspect",
            "pause",
            "port",
            "rename",
            "stats",
            "top",
            "unpause",
            "update",
            "volume_ls",
        )
    ),
    "rootless/cli/agent.py",
    "rootless/cli/args.py",
    "rootless/cli/groups.py",
    "rootless/interface/store.py",
    "rootless/interface/wire.py",
    "rootless/model/*.py",
    "rootless/runtime/*.py",
    "rootless/network/*.py",
    *(
        f"rootless/engine/{name}.py"
        for name in ("records", "launch", "modes", "monitor", "relay", "image_lookup")
    ),
    "layers/manifest.py",
    "layers/reference.py",
    "layers/snapshot.py",
    "layers/store/directory.py",
)


def brought_in(module: str, *, isolated: bool = False) -> frozenset[str]:
    """Return the top-level names of the modules that importing one brings into a bare interpreter.

    Args:
        isolated: without site, whose .pth files may have imported something already.
    """
    code = (
        f"import sys; sys.path.insert(0, {str(REPOSITORY)!r}); before = set(sys.modules);"
        f" import {module}; print(*(set(sys.modules) - before))"
    )
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    flags = ["-P", *(["-S"] if isolated else [])]
    result = subprocess.run(
        [sys.executable, *flags, "-c", code], capture_output=True, text=True, check=False, env=environment
    )
    assert result.returncode == 0, result.stderr
    return frozenset(name.partition(".")[0] for name in result.stdout.split())


def test_the_package_imports_nothing() -> None:
    assert brought_in("rootless") == {"rootless"}


@pytest.mark.parametrize("module", RING_0_MODULES)
def test_ring_0_imports_almost_nothing(module: str) -> None:
    assert brought_in(module) - RING_0 == frozenset()


@pytest.mark.parametrize("module", RING_1_MODULES)
def test_ring_1_imports_nothing_heavy(module: str) -> None:
    assert brought_in(module) & HEAVY == frozenset()


def test_a_pull_without_a_policy_pays_for_none() -> None:
    costly = {"cryptography", "nacl", "tomllib", "httpx2"}
    assert brought_in("rootless.engine.admission") & costly == frozenset()


def test_registries_that_no_file_tells_of_cost_nothing() -> None:
    costly = {"tomllib", "trio", "httpx2"}
    assert brought_in("rootless.registry.registry_files") & costly == frozenset()


LAUNCH_PATH = (
    "rootless._entry",
    "rootless.cli.run",
    "rootless.cli.run_begin",
    "rootless.cli.creation",
    "rootless.cli.foreground",
    "rootless.cli.exec",
    "rootless.engine.exec_session",
    "rootless.engine.removal",
    "rootless.engine.image_lookup",
    "rootless.engine.monitor",
    "rootless.engine.storage",
    "rootless.network.pasta",
    "rootless.runtime.cgroups",
    "rootless.runtime.holder",
)
STANDARD_LIBRARY = frozenset("collections contextlib enum functools json re signal typing".split())  # noqa: SIM905
"""Together 8 of the 45 ms that a start would take with them: see `layers.contexts` and `layers.jsontext`."""


@pytest.mark.parametrize("module", LAUNCH_PATH)
def test_launch_path_needs_little_of_the_standard_library(module: str) -> None:
    assert brought_in(module, isolated=True) & STANDARD_LIBRARY == frozenset()
