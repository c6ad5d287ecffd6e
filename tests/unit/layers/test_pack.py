"""Archives of trees: what they say, to whoever reads them, and what of a hostile tree stays out."""

from __future__ import annotations

import io
import os
import socket
import subprocess
import tarfile
import threading
import tracemalloc
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from layers.chain import Chain, ChainEntry, PlainTree
from layers.effects import CallersOwners, RecordedOwners
from layers.errors import LayersError
from layers.owners import encode_owner
from layers.pack import Packer
from layers.tarheader import DIRECTORY, LINK, REGULAR, SYMLINK
from layers.whiteout import OWNER_XATTR
from tests.helpers.extraction import apply, read_members
from tests.helpers.images import Layer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from layers.tarheader import Member


class Archive:
    """What was packed: the bytes, and the packer for its notes."""

    def __init__(self, content: bytes, packer: Packer) -> None:
        self.content = content
        self.notes = packer.notes
        assert packer.written == len(content)
        self.members = read_members(content)

    @property
    def names(self) -> list[bytes]:
        return [member.name for member, _ in self.members]

    def member(self, name: bytes) -> Member:
        return next(member for member, _ in self.members if member.name == name)

    def data(self, name: bytes) -> bytes:
        return next(data for member, data in self.members if member.name == name)


@contextmanager
def packing(*, owners: object = None, sparse: bool = True) -> Iterator[tuple[Packer, list[Archive]]]:
    """Give a packer; when the block ends the archive is in the list."""
    fd = os.memfd_create("archive")
    done: list[Archive] = []
    try:
        packer = Packer(fd, owners=owners or CallersOwners(), sparse=sparse)  # type: ignore[arg-type]
        yield packer, done
        packer.finish()
        size = os.lseek(fd, 0, os.SEEK_END)
        done.append(Archive(os.pread(fd, size, 0), packer))
    finally:
        os.close(fd)


def pack(path: Path, name: bytes = b"top", **options: object) -> Archive:
    with packing(**options) as (packer, done), PlainTree(str(path)) as tree:  # type: ignore[arg-type]
        assert tree.root is not None
        packer.add_tree(tree, tree.root, name)
    return done[0]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    path = tmp_path / "tree"
    path.mkdir(mode=0o750)
    return path


def test_parents_come_first_and_names_are_in_order(tree: Path) -> None:
    for name in ("b", "a", "c"):
        (tree / name).mkdir()
        (tree / name / "x").write_bytes(b"")
    (tree / "b0").write_bytes(b"")
    assert pack(tree).names == [b"top/", b"top/a/", b"top/a/x", b"top/b/", b"top/b/x", b"top/b0", b"top/c/",
                                b"top/c/x"]  # fmt: skip


def test_content_alone_has_no_entry_for_the_directory(tree: Path) -> None:
    (tree / "f").write_bytes(b"1")
    assert pack(tree, b"").names == [b"f"]


def test_mode_time_and_data_are_those_of_the_file(tree: Path) -> None:
    (tree / "f").write_bytes(b"data")
    (tree / "f").chmod(0o4751)
    os.utime(tree / "f", ns=(1, 1_700_000_000_123_456_789))
    archive = pack(tree)
    member = archive.member(b"top/f")
    assert (member.mode, member.mtime_ns, archive.data(b"top/f")) == (
        0o4751,
        1_700_000_000_123_456_789,
        b"data",
    )
    assert (member.uid, member.gid) == (os.getuid(), os.getgid())
    assert archive.member(b"top/").mode == 0o750


@pytest.mark.parametrize("time_ns", [-1, 0, 1, -1_500_000_000, (1 << 33) * 10**9, (1 << 40) + 1])
def test_any_time_survives(tree: Path, time_ns: int) -> None:
    (tree / "f").write_bytes(b"")
    os.utime(tree / "f", ns=(0, time_ns))
    stored = (tree / "f").stat().st_mtime_ns  # file systems narrow it
    assert pack(tree).member(b"top/f").mtime_ns == stored


def test_same_tree_gives_the_same_bytes(tree: Path, tmp_path: Path) -> None:
    (tree / "d").mkdir()
    for name in ("z", "a", "d/b"):
        (tree / name).write_bytes(name.encode())
    again = tmp_path / "again"
    again.mkdir(mode=0o750)
    for name in ("a", "z"):
        (again / name).write_bytes(name.encode())
    (again / "d").mkdir()
    (again / "d/b").write_bytes(b"d/b")
    for path in (tree, again):
        for each in [path, *path.rglob("*")]:
            os.utime(each, ns=(0, 0))
    assert pack(tree).content == pack(again).content


@pytest.mark.parametrize(
    "name",
    [b"new\nline", b"\xff\xfe", b"x" * 255, b"sp ace", b"\xc3\xa9", b"=", b"-rf", b".wh.x", b"10 path=x\n"],
)
def test_any_name_survives(tree: Path, name: bytes) -> None:
    (tree / os.fsdecode(name)).write_bytes(b"1")
    (tree / "link").symlink_to(os.fsdecode(name))
    archive = pack(tree)
    assert archive.data(b"top/" + name) == b"1"
    assert archive.member(b"top/link").linkname == name


def test_long_paths_survive_and_are_read_by_others(tree: Path) -> None:
    below = tree
    for _ in range(5):
        below = below / ("d" * 120)
        below.mkdir()
    (below / "f").write_bytes(b"deep")
    with tarfile.open(fileobj=io.BytesIO(pack(tree).content)) as theirs:
        deepest = theirs.getmembers()[-1]
        assert deepest.name == "top/" + ("d" * 120 + "/") * 5 + "f"


def test_hard_links_are_kept_and_their_data_is_written_once(tree: Path) -> None:
    (tree / "a").write_bytes(b"x" * 5000)
    (tree / "b").hardlink_to(tree / "a")
    archive = pack(tree)
    assert [(m.name, m.typeflag, m.linkname) for m, _ in archive.members[1:]] == [
        (b"top/a", REGULAR, b""),
        (b"top/b", LINK, b"top/a"),
    ]


def test_hard_links_of_symbolic_links_are_kept(tree: Path) -> None:
    (tree / "a").symlink_to("nowhere")
    os.link(tree / "a", tree / "b", follow_symlinks=False)
    assert [(m.typeflag, m.linkname) for m, _ in pack(tree).members[1:]] == [
        (SYMLINK, b"nowhere"),
        (LINK, b"top/a"),
    ]


def test_link_to_the_outside_is_packed_as_a_link(tree: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"of the host")
    (tree / "file").symlink_to(tmp_path / "secret")
    (tree / "directory").symlink_to(tmp_path)
    archive = pack(tree)
    assert b"of the host" not in archive.content
    assert archive.names == [b"top/", b"top/directory", b"top/file"]


def test_fifo_is_not_opened(tree: Path) -> None:
    os.mkfifo(tree / "p", 0o640)
    assert pack(tree).member(b"top/p").mode == 0o640


def test_socket_is_left_out_with_a_note(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tree / "f").write_bytes(b"")
    monkeypatch.chdir(tree)  # a socket's path has 108 characters
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind("s")
    archive = pack(tree)
    assert archive.names == [b"top/", b"top/f"]
    assert archive.notes == ["left out: top/s is a socket, which archives cannot hold"]


def test_file_that_became_a_fifo_is_left_out_and_nobody_waits(tree: Path) -> None:
    (tree / "f").write_bytes(b"")
    info = (tree / "f").lstat()
    (tree / "f").unlink()
    os.mkfifo(tree / "f")
    with packing() as (packer, done), PlainTree(str(tree)) as source:
        assert source.root is not None
        packer.add_entry(source, ChainEntry(source.root.parts[0], b"f", info), b"f")
    assert done[0].names == []
    assert "another kind" in done[0].notes[0]


@pytest.mark.parametrize("became", ["nothing", "link"])
def test_what_vanishes_while_it_is_read_is_left_out(tree: Path, became: str, tmp_path: Path) -> None:
    (tree / "d").mkdir()
    (tree / "f").write_bytes(b"")
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/secret").write_bytes(b"of the host")
    with packing() as (packer, done), PlainTree(str(tree)) as source:
        assert source.root is not None
        found = source.entries(source.root)
        (tree / "d").rmdir()
        (tree / "f").unlink()
        if became == "link":
            (tree / "d").symlink_to(tmp_path / "outside")
            (tree / "f").symlink_to(tmp_path / "outside/secret")
        assert not packer.add_directory(source, found[b"d"], b"d")  # type: ignore[arg-type]
        packer.add_entry(source, found[b"f"], b"f")  # type: ignore[arg-type]
    assert done[0].names == []
    assert len(done[0].notes) == 2


def test_directory_swapped_for_a_link_again_and_again_never_leads_out(tree: Path, tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/x").write_bytes(b"of the host")
    (tree / "d").mkdir()
    (tree / "d/x").write_bytes(b"inside")
    (tree / "l").symlink_to(tmp_path / "outside")
    stop = threading.Event()

    def swap() -> None:
        while not stop.is_set():
            for one, two in (("d", "t"), ("l", "d"), ("d", "l"), ("t", "d")):
                os.rename(tree / one, tree / two)

    swapper = threading.Thread(target=swap)
    swapper.start()
    try:
        for _ in range(200):
            assert b"of the host" not in pack(tree).content
    finally:
        stop.set()
        swapper.join()


def test_file_cut_short_while_it_is_read_is_padded(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tree / "a").write_bytes(b"x" * 1000)
    (tree / "b").write_bytes(b"after")
    real = os.pread

    def pread(fd: int, count: int, offset: int) -> bytes:
        os.truncate(tree / "a", 10)
        return real(fd, count, offset)

    with monkeypatch.context() as patch:
        patch.setattr(os, "pread", pread)
        fd = os.memfd_create("archive")
        packer = Packer(fd, owners=CallersOwners())
        with PlainTree(str(tree)) as source:
            assert source.root is not None
            packer.add_tree(source, source.root, b"top")
        packer.finish()
    archive = Archive(os.pread(fd, packer.written, 0), packer)
    os.close(fd)
    assert archive.data(b"top/a") == b"x" * 10 + bytes(990)
    assert archive.data(b"top/b") == b"after"
    assert "lost 990 bytes" in archive.notes[0]


class TestHoles:
    def write(self, path: Path, *runs: tuple[int, bytes], size: int) -> None:
        with open(path, "wb") as file:
            for offset, data in runs:
                file.seek(offset)
                file.write(data)
            file.truncate(size)

    def test_huge_file_of_holes_costs_nothing(self, tree: Path) -> None:
        self.write(tree / "f", (1 << 30, b"middle"), size=1 << 42)
        archive = pack(tree)
        assert len(archive.content) < 20_000
        member = archive.member(b"top/f")
        assert member.real_size == 1 << 42
        assert member.segments is not None
        assert len(member.segments) == 1

    def test_file_that_is_one_hole(self, tree: Path) -> None:
        self.write(tree / "f", size=1 << 20)
        member = pack(tree).member(b"top/f")
        assert (member.real_size, member.segments, member.size) == (1 << 20, [], 0)

    def test_holes_can_be_written_as_zeros(self, tree: Path) -> None:
        self.write(tree / "f", (1 << 20, b"end"), size=(1 << 20) + 3)
        archive = pack(tree, sparse=False)
        assert archive.data(b"top/f") == bytes(1 << 20) + b"end"

    def test_memory_does_not_grow_with_the_file(self, tree: Path) -> None:
        self.write(tree / "f", size=1 << 28)
        fd = os.open(os.devnull, os.O_WRONLY)
        packer = Packer(fd, owners=CallersOwners(), sparse=False)
        tracemalloc.start()
        with PlainTree(str(tree)) as source:
            assert source.root is not None
            packer.add_tree(source, source.root, b"top")
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        os.close(fd)
        assert packer.written > 1 << 28
        assert peak < 1 << 23

    @pytest.mark.needs("tar")
    def test_gnu_tar_unpacks_them(self, tree: Path, tmp_path: Path) -> None:
        self.write(tree / "f", (1 << 20, b"one"), (1 << 22, b"two"), size=1 << 23)
        out = tmp_path / "out"
        out.mkdir()
        subprocess.run(["tar", "-xf", "-"], input=pack(tree).content, cwd=out, check=True)
        assert (out / "top/f").read_bytes() == (tree / "f").read_bytes()


def test_recorded_owners_are_those_in_the_archive(tree: Path) -> None:
    (tree / "f").write_bytes(b"")
    (tree / "d").mkdir()
    os.setxattr(tree / "f", OWNER_XATTR, encode_owner(1000, 0))
    os.setxattr(tree / "d", OWNER_XATTR, encode_owner(33, 2**31))
    os.setxattr(tree / "f", "user.note", b"n\0")
    archive = pack(tree, owners=RecordedOwners())
    shown = {m.name: (m.uid, m.gid, m.xattrs) for m, _ in archive.members}
    assert shown[b"top/"] == (0, 0, None)
    assert shown[b"top/f"] == (1000, 0, {b"user.note": b"n\0"})
    assert shown[b"top/d/"] == (33, 2**31, None)


def test_forged_owner_record_is_no_failure(tree: Path) -> None:
    (tree / "f").write_bytes(b"")
    os.setxattr(tree / "f", OWNER_XATTR, b"\xff" * 30)
    member = pack(tree, owners=RecordedOwners()).member(b"top/f")
    assert (member.uid, member.gid) == (0, 0)


def test_merged_layers_are_packed_as_one_tree(tmp_path: Path) -> None:
    lower = Layer().directory("d").file("d/old", b"1").file("d/gone", b"2").directory("e").file("e/x", b"")
    upper = Layer().directory("d").file("d/old", b"new").whiteout("d/gone").opaque("e").file("e/y", b"")
    layers = apply(tmp_path, lower, upper)
    with packing() as (packer, done), Chain([str(path) for path in layers]) as chain:
        assert chain.root is not None
        packer.add_tree(chain, chain.root, b"")
    assert done[0].names == [b"d/", b"d/old", b"e/", b"e/y"]
    assert done[0].data(b"d/old") == b"new"


def test_whiteout_prefix_is_a_plain_name_where_the_kernel_wrote_it(tmp_path: Path) -> None:
    for name, files in (("upper", [".wh.x"]), ("lower", ["x"])):
        (tmp_path / name).mkdir()
        for each in files:
            (tmp_path / name / each).write_bytes(b"")
    layers = [str(tmp_path / "upper"), str(tmp_path / "lower")]
    shown = {}
    for plain in (True, False):
        with Chain(layers, plain_names=plain) as chain:
            assert chain.root is not None
            shown[plain] = sorted(chain.entries(chain.root))
            assert (chain.lookup(chain.root, b"x") is not None) == plain
    assert shown == {True: [b".wh.x", b"x"], False: []}


def test_deep_tree_needs_few_descriptors_and_ends_in_a_clear_error_when_endless(tmp_path: Path) -> None:
    top = tmp_path / "deep"
    top.mkdir()
    fd = os.open(top, os.O_RDONLY)
    for _ in range(400):
        os.mkdir("d" * 200, dir_fd=fd)
        below = os.open("d" * 200, os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = below
    os.close(fd)
    with pytest.raises(LayersError, match="a path is longer than 65536 bytes"):
        pack(top)


def test_directory_type_is_told_by_type_and_slash(tree: Path) -> None:
    member = pack(tree).members[0][0]
    assert (member.name, member.typeflag) == (b"top/", DIRECTORY)


def test_reader_that_goes_away_is_told(tree: Path) -> None:
    (tree / "f").write_bytes(b"x" * (1 << 20))
    read, write = os.pipe()
    os.close(read)
    packer = Packer(write, owners=CallersOwners())
    with PlainTree(str(tree)) as source:
        assert source.root is not None
        with pytest.raises(BrokenPipeError):
            packer.add_tree(source, source.root, b"top")
    os.close(write)
