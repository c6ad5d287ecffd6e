"""The names that docs/python.md promises."""

from __future__ import annotations

import ast
import inspect
import re
from pathlib import Path

import pytest

import rootless

REPOSITORY = Path(__file__).resolve().parents[3]
DOC = (REPOSITORY / "docs/python.md").read_text()
EXAMPLES = re.findall(r"```python\n(.*?)```", DOC, re.DOTALL)
RECEIVERS = {
    "engine": rootless.Engine,
    "engine.images": rootless.Images,
    "engine.containers": rootless.Containers,
    "container": rootless.Container,
    "process": rootless.Process,
}
CALLS = re.findall(r"\b(engine(?:\.images|\.containers)?|container|process)\.(\w+)\(([^`]*)\)", DOC)


def test_type_checkers_see_the_names_that_programs_find():
    stub = ast.parse((REPOSITORY / "rootless/__init__.pyi").read_text())
    imported = {
        (node.module, alias.name)
        for node in stub.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    places = {(place, name) for place, names in rootless._PLACES.items() for name in names}
    assert imported == places
    (exported,) = (node.value for node in stub.body if isinstance(node, ast.Assign))
    assert sorted(ast.literal_eval(exported)) == sorted(rootless.__all__)


def test_every_name_can_be_imported():
    assert [name for name in rootless.__all__ if getattr(rootless, name).__name__ != name] == []
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        rootless.nothing  # noqa: B018


def test_every_name_is_documented():
    assert [name for name in rootless.__all__ if not re.search(rf"\b{name}\b", DOC)] == []


@pytest.mark.parametrize(("receiver", "name", "arguments"), CALLS)
def test_documented_methods_exist(receiver, name, arguments):
    assert CALLS
    method = getattr(RECEIVERS[receiver], name)
    parameters = inspect.signature(method).parameters
    if "*," in arguments:  # a signature, not an example
        documented = re.findall(r"[a-z_]+", re.sub(r"=[^,)]*", "", arguments))
        assert documented == [each for each in parameters if each != "self"]


def test_every_public_method_is_documented():
    for receiver, kind in RECEIVERS.items():
        methods = [name for name, _ in inspect.getmembers(kind, inspect.isfunction) if name[0] != "_"]
        missing = [name for name in methods if not re.search(rf"\.{name}\(", DOC)]
        assert (receiver, missing) == (receiver, [])


@pytest.mark.parametrize("example", EXAMPLES)
def test_examples_compile(example):
    compile("import rootless\n" + example, "docs/python.md", "exec")
