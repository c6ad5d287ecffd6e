"""The rules about the source that no linter knows: one door per dependency, one reader of the environment."""

from __future__ import annotations

import ast
import tomllib
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
PRODUCT = sorted(p for top in ("rootless", "layers") for p in (REPOSITORY / top).rglob("*.py"))
TESTS = sorted((REPOSITORY / "tests").rglob("*.py"))

DOORS = {
    # layers/ is a library of its own and cannot use rootless.linux: one module holds the calls that it needs.
    "ctypes": ("rootless/linux/", "layers/syscalls.py"),
    "trio": (
        "rootless/engine/",
        "rootless/interface/",
        "rootless/registry/",
        "rootless/network/proxy.py",
        "rootless/api/",
        "rootless/build/executor.py",
    ),
    "httpx2": ("rootless/registry/",),
    "h11": ("rootless/api/", "rootless/registry/server/http.py"),
    "bcrypt": ("rootless/registry/server/auth.py",),
    "ptrace": ("rootless/shim/tracer.py",),
    "cryptography": ("rootless/trust/keys.py", "rootless/registry/logins.py"),
    "nacl": ("rootless/trust/keys.py",),
    "tqdm": ("rootless/cli/progress.py",),
}
"""Module → the only places that import it."""

BLOCKING = ("rootless/engine/records.py", "rootless/engine/launch.py", "rootless/engine/modes.py")
"""Parts of the engine on the launch path, where trio would cost more than everything else together."""

MAX_LINES = 600


def name(path: Path) -> str:
    return path.relative_to(REPOSITORY).as_posix()


def imports(tree: ast.AST) -> set[str]:
    """Return the top-level packages that a module imports anywhere."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.partition(".")[0])
    return found


def attributes(tree: ast.AST) -> set[str]:
    """Return every "name.attribute" that a module mentions."""
    return {
        f"{node.value.id}.{node.attr}"
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)
    }


def offenders(paths: list[Path], wrong: object) -> list[str]:
    return [name(path) for path in paths if wrong(path, ast.parse(path.read_text()))]  # type: ignore[operator]


@pytest.mark.parametrize("module", DOORS)
def test_dependency_has_one_door(module: str) -> None:
    def wrong(path: Path, tree: ast.AST) -> bool:
        return module in imports(tree) and not name(path).startswith(DOORS[module])

    assert offenders(PRODUCT, wrong) == []


def test_launch_path_of_the_engine_is_free_of_trio() -> None:
    assert [m for m in BLOCKING if "trio" in imports(ast.parse((REPOSITORY / m).read_text()))] == []


def test_trio_run_is_called_in_one_place() -> None:
    def wrong(path: Path, tree: ast.AST) -> bool:
        return "trio.run" in attributes(tree)

    assert offenders(PRODUCT, wrong) in ([], ["rootless/engine/loop.py"])


def test_environment_is_read_by_the_command_line_only() -> None:
    readers = {"os.environ", "os.environb", "os.getenv", "os.getenvb", "os.putenv"}

    def wrong(path: Path, tree: ast.AST) -> bool:
        return bool(readers & attributes(tree)) and not name(path).startswith(
            ("rootless/cli/", "rootless/paths.py", "rootless/interface/caller.py")
        )

    assert offenders(PRODUCT, wrong) == []


def test_every_module_says_what_it_is() -> None:
    def wrong(path: Path, tree: ast.Module) -> bool:
        return bool(tree.body) and not ast.get_docstring(tree)

    assert offenders(PRODUCT, wrong) == []


def test_modules_have_one_subject() -> None:
    assert [name(p) for p in PRODUCT if len(p.read_text().splitlines()) > MAX_LINES] == []
    assert [name(p) for p in PRODUCT if p.stem in ("utils", "util", "helpers", "common", "misc")] == []


def test_package_init_imports_nothing() -> None:
    assert imports(ast.parse((REPOSITORY / "rootless/__init__.py").read_text())) == set()


def test_unit_and_property_tests_do_not_sleep() -> None:
    def wrong(path: Path, tree: ast.AST) -> bool:
        return name(path).startswith(("tests/unit/", "tests/property/")) and "time.sleep" in attributes(tree)

    assert offenders(TESTS, wrong) == []


def test_licence_is_stated_everywhere_it_is_looked_for() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    assert project["license"] == "GPL-2.0-or-later"
    title = " ".join((REPOSITORY / "LICENSE").read_text().split()[:6])
    assert title == "GNU GENERAL PUBLIC LICENSE Version 2,"
    assert "GPL-2.0-or-later" in (REPOSITORY / "README.md").read_text()
