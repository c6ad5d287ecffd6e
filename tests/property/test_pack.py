"""Unpacking what was packed gives the same tree, whatever the tree is; so does GNU tar."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from layers.chain import PlainTree
from layers.effects import CallersOwners, RecordedOwners
from layers.pack import Packer
from layers.places import Places
from layers.tarcodec import TarReader
from layers.unpack import Unpacker
from tests.helpers.extraction import umask_zero
from tests.helpers.trees import differences, read_tree

NAMES = st.one_of(
    st.sampled_from([b"a", b"b", b"c"]),
    st.binary(min_size=1, max_size=120)
    .map(lambda name: name.replace(b"\0", b"0").replace(b"/", b"s"))
    .filter(lambda name: name not in (b".", b"..")),
)
TIMES = st.integers(0, 2**33 * 10**9)
LEAVES = st.one_of(
    st.tuples(st.just("file"), st.binary(max_size=2000), st.integers(0o400, 0o777), TIMES),
    st.tuples(st.just("holes"), st.integers(1, 1 << 20), st.just(0o600), TIMES),
    st.tuples(st.just("link"), NAMES, st.just(0), TIMES),
    st.tuples(st.just("twin"), st.just(b""), st.just(0), TIMES),
    st.tuples(st.just("fifo"), st.just(b""), st.integers(0, 0o777), TIMES),
)
TREES = st.recursive(LEAVES, lambda below: st.dictionaries(NAMES, below, max_size=4), max_leaves=12).filter(
    lambda tree: isinstance(tree, dict)
)


def build(path: bytes, tree: dict, files: list[bytes]) -> None:
    for name, content in tree.items():
        here = path + b"/" + name
        if isinstance(content, dict):
            os.mkdir(here)
            build(here, content, files)
            continue
        kind, detail, mode, time_ns = content
        if kind == "link":
            os.symlink(detail, here)
        elif kind == "fifo":
            os.mkfifo(here, mode)
        elif kind == "twin" and files:
            os.link(files[-1], here)
            continue
        else:
            with open(here, "wb") as file:
                if kind == "holes":
                    file.seek(detail * 3)
                    file.write(b"x" * (detail % 5000))
                    file.truncate(detail * 5)
                elif kind == "file":
                    file.write(detail)
            os.chmod(here, mode or 0o644)
            files.append(here)
        os.utime(here, ns=(time_ns, time_ns), follow_symlinks=False)


def pack(path: Path) -> bytes:
    fd = os.memfd_create("archive")
    try:
        packer = Packer(fd, owners=CallersOwners())
        with PlainTree(str(path)) as source:
            assert source.root is not None
            packer.add_tree(source, source.root, b"")
        packer.finish()
        assert packer.notes == []
        return os.pread(fd, packer.written, 0)
    finally:
        os.close(fd)


def unpack(content: bytes, path: Path, *, chunk: int) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    places = Places(fd, follow=False)
    with umask_zero():
        reader = TarReader(iter(content[n : n + chunk] for n in range(0, len(content), chunk)))
        Unpacker(places, places.root, owners=RecordedOwners()).run(reader)
    places.close()
    os.close(fd)


def described(path: Path, *, times: bool = True) -> dict:
    tree = read_tree(path)
    del tree["."]
    for entry in tree.values():
        if not times and entry["mode"].startswith("0o4"):
            del entry["mtime_ns"]
    return tree


@given(tree=TREES, chunk=st.integers(1, 5000))
def test_unpacking_undoes_packing(tree: dict, chunk: int) -> None:
    work = Path(tempfile.mkdtemp())
    try:
        for name in ("one", "two"):
            (work / name).mkdir()
        with umask_zero():
            build(os.fsencode(work / "one"), tree, [])
        content = pack(work / "one")
        unpack(content, work / "two", chunk=chunk)
        assert differences(described(work / "one"), described(work / "two")) == []
        assert pack(work / "two") == content
        unpack(content, work / "two", chunk=chunk)  # onto itself
        assert differences(described(work / "one", times=False), described(work / "two", times=False)) == []
    finally:
        shutil.rmtree(work)


@given(tree=TREES)
def test_gnu_tar_reads_the_same(tree: dict) -> None:
    work = Path(tempfile.mkdtemp())
    try:
        for name in ("one", "two"):
            (work / name).mkdir()
        with umask_zero():
            build(os.fsencode(work / "one"), tree, [])
        command = ["tar", "-xpf", "-", "-C", str(work / "two")]
        subprocess.run(command, input=pack(work / "one"), check=True)
        assert differences(described(work / "one"), described(work / "two")) == []
    finally:
        shutil.rmtree(work)
