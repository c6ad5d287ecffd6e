"""Extraction of any layers: never leaves the root, and does what a model in memory says.

The model knows nothing of files: a tree of dictionaries, with names resolved as in a chroot.
"""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from layers.errors import LayersError
from layers.snapshot import remove_tree
from tests.helpers.extraction import apply
from tests.helpers.images import Layer
from tests.helpers.trees import read_tree

PARTS = st.sampled_from(["a", "b", "c", "..", ".", "", "outside", ".wh.a", ".wh..wh..opq", ".wh..", "secret"])
ODD_PATHS = st.lists(PARTS, min_size=1, max_size=5).map("/".join)
KINDS = st.sampled_from(["file", "dir", "symlink", "hardlink", "fifo", "device"])
ODD_MEMBERS = st.lists(st.tuples(KINDS, ODD_PATHS, ODD_PATHS), max_size=12)

PATHS = st.lists(st.sampled_from("abc"), min_size=1, max_size=3).map("/".join)
TARGETS = st.lists(st.sampled_from(["a", "b", "c", ".."]), min_size=1, max_size=3).map("/".join)
MEMBERS = st.lists(
    st.tuples(KINDS, PATHS, st.one_of(TARGETS, TARGETS.map("/{}".format))), min_size=1, max_size=10
)


def build(members: list[tuple[str, str, str]]) -> Layer:
    layer = Layer()
    for n, (kind, name, target) in enumerate(members):
        if kind == "file":
            layer.file(name, b"%d" % n)
        elif kind == "dir":
            layer.directory(name, mode=0o700 + n)
        elif kind == "symlink":
            layer.symlink(name, target)
        elif kind == "hardlink":
            layer.hardlink(name, target)
        elif kind == "fifo":
            layer.fifo(name)
        else:
            layer.device(name, 0, 0)
    return layer


def applied(layers: list[Layer]) -> dict[str, Any] | None:
    """Return the tree of the topmost layer, None if the layers were refused; checks the canary."""
    sandbox = Path(tempfile.mkdtemp())
    try:
        return read_tree(apply(sandbox, *layers)[0])
    except LayersError:
        return None
    finally:
        remove_tree(sandbox)


@given(st.lists(ODD_MEMBERS, min_size=1, max_size=3))
def test_no_layers_ever_touch_anything_outside_of_the_root(layers: list[list[tuple[str, str, str]]]) -> None:
    applied([build(members) for members in layers])


@given(MEMBERS)
def test_extracted_tree_equals_the_model(members: list[tuple[str, str, str]]) -> None:
    tree = applied([build(members)])
    try:
        expected = Model(members).describe()
    except Refused:
        expected = None
    assert (tree is None) == (expected is None)
    if tree is not None:
        assert {name: shape(entry) for name, entry in tree.items()} == expected


def shape(entry: dict[str, Any]) -> tuple[Any, ...]:
    """Reduce a description to what the model has: kind, then mode, target or size, then its first name."""
    mode = int(entry["mode"], 8)
    if stat.S_ISDIR(mode):
        return "dir", stat.S_IMODE(mode)
    detail = entry.get("target", entry.get("size"))
    kind = "symlink" if stat.S_ISLNK(mode) else "file" if stat.S_ISREG(mode) else "fifo"
    return kind, detail, entry.get("same_as")


class Refused(Exception):
    """The layer is invalid."""


class Dir:
    def __init__(self, parent: Dir | None) -> None:
        self.parent = parent or self
        self.entries: dict[str, Dir | Leaf] = {}
        self.mode: int | None = None
        self.real = parent is None

    def mark(self) -> None:
        while not self.real:
            self.real = True
            self = self.parent


class Leaf:
    def __init__(self, kind: str, detail: Any) -> None:
        self.kind = kind
        self.detail = detail


class Model:
    """What a layer without others below unpacks to."""

    def __init__(self, members: list[tuple[str, str, str]]) -> None:
        self.root = Dir(None)
        self.late: list[tuple[Dir, str, str]] = []
        for n, (kind, name, target) in enumerate(members):
            *way, last = name.split("/")
            self.add(n, kind, self.walk(way), last, target)
        for directory, name, target in self.late:
            self.link_late(directory, name, target)

    def add(self, n: int, kind: str, directory: Dir, name: str, target: str) -> None:
        old = directory.entries.get(name)
        if kind == "dir":
            if not isinstance(old, Dir):
                self.forget(directory, name)
                old = directory.entries[name] = Dir(directory)
            old.mode = 0o700 + n
            old.mark()
            return
        directory.mark()
        self.forget(directory, name)
        if kind == "hardlink":
            self.link(directory, name, target)
        elif kind == "symlink":
            directory.entries[name] = Leaf("symlink", target)
        elif kind == "fifo":
            directory.entries[name] = Leaf("fifo", None)
        else:
            directory.entries[name] = Leaf("file", len(str(n)) if kind == "file" else 0)

    def link(self, directory: Dir, name: str, target: str) -> None:
        way = clean(target)
        if not way:
            raise Refused
        parent, last = self.find(way[:-1]), way[-1]
        if parent is directory and last == name:
            raise Refused
        found = parent.entries.get(last) if parent is not None else None
        if isinstance(found, Leaf):
            directory.entries[name] = found
        elif isinstance(found, Dir) and found.mode is not None:
            raise Refused
        else:
            directory.entries.pop(name, None)
            self.late.append((directory, name, target))

    def link_late(self, directory: Dir, name: str, target: str) -> None:
        way = clean(target)
        found = self.walk(way[:-1]).entries.get(way[-1])
        if not isinstance(found, Leaf):
            raise Refused
        directory.entries.setdefault(name, found)

    def forget(self, directory: Dir, name: str) -> None:
        """Cancel what was put off under a name, and below a directory that something replaced."""
        replaced = directory.entries.get(name)
        gone = below(replaced) if isinstance(replaced, Dir) else []
        self.late = [
            item for item in self.late if (item[0], item[1]) != (directory, name) and item[0] not in gone
        ]

    def walk(self, way: list[str]) -> Dir:
        """Go to a directory, making what is missing."""
        found = self.find(way, make=True)
        assert found is not None
        return found

    def find(self, way: list[str], *, make: bool = False) -> Dir | None:
        directory, todo, links = self.root, way[::-1], 0
        while todo:
            part = todo.pop()
            if part == "..":
                directory = directory.parent
                continue
            entry = directory.entries.get(part)
            if isinstance(entry, Leaf) and entry.kind == "symlink":
                links += 1
                if links > 255:
                    if make:
                        raise Refused
                    return None
                if entry.detail.startswith("/"):
                    directory = self.root
                todo += [p for p in entry.detail.split("/") if p][::-1]
                continue
            if not make and not isinstance(entry, Dir):
                return None
            if isinstance(entry, Leaf) or any(d is directory and n == part for d, n, _ in self.late):
                raise Refused
            if entry is None:
                entry = directory.entries[part] = Dir(directory)
            directory = entry
        return directory

    def describe(self) -> dict[str, tuple[Any, ...]]:
        shown: dict[str, tuple[Any, ...]] = {
            ".": ("dir", 0o755 if self.root.mode is None else self.root.mode)
        }
        leaves: dict[str, Leaf] = {}
        todo = [("", self.root)]
        while todo:
            prefix, directory = todo.pop()
            for name, entry in directory.entries.items():
                if isinstance(entry, Leaf):
                    leaves[prefix + name] = entry
                elif entry.real:
                    shown[prefix + name] = ("dir", 0o755 if entry.mode is None else entry.mode)
                    todo.append((prefix + name + "/", entry))
        for name, leaf in leaves.items():
            others = sorted(other for other, each in leaves.items() if each is leaf)
            shown[name] = (leaf.kind, leaf.detail, others[0] if len(others) > 1 else None)
        return shown


def clean(path: str) -> list[str]:
    return [part for part in os.path.normpath("/" + path).split("/") if part]


def below(top: Dir) -> list[Dir]:
    found = [top]
    for directory in found:
        found += [entry for entry in directory.entries.values() if isinstance(entry, Dir)]
    return found
