"""What has changed between an image and a container: told, and packed as a layer that gives the same tree."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

import pytest

from layers.chain import Chain, PlainTree
from layers.diff import find_changes, pack_changes
from layers.effects import RecordedOwners
from layers.flatten import flatten
from layers.owners import encode_owner
from layers.pack import Packer
from layers.whiteout import OPAQUE_NAME, OWNER_XATTR
from tests.helpers.extraction import apply, read_members, umask_zero
from tests.helpers.images import Layer
from tests.helpers.trees import differences, read_tree

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

BASE = (
    Layer()
    .directory("etc")
    .file("etc/hostname", b"h")
    .file("etc/passwd", b"root")
    .directory("opt", mode=0o700)
    .directory("opt/a")
    .file("opt/a/x", b"1")
    .file("opt/a/y", b"2")
    .directory("srv")
    .symlink("lib", "usr/lib")
    .file("top", b"t")
)


class Upper:
    """A container's own layer, written as the kernel's overlay writes it, without a mount.

    Whiteouts have the other form, which fuse-overlayfs writes: a device needs a user namespace.
    """

    def __init__(self, path: Path, image: Path) -> None:
        self.path = path
        self.image = image
        path.mkdir()

    def directory(self, name: str) -> None:
        """Copy directories up, as the kernel does before it writes below."""
        for parent in reversed([name, *map(str, (self.path / name).relative_to(self.path).parents)]):
            mine, its = self.path / parent, self.image / parent
            if not mine.exists():
                mine.mkdir()
                if its.is_dir():
                    mine.chmod(stat.S_IMODE(its.stat().st_mode))
                    for xattr in os.listxattr(its):
                        os.setxattr(mine, xattr, os.getxattr(its, xattr))

    def write(self, name: str, data: bytes = b"") -> None:
        self.directory(os.path.dirname(name) or ".")
        (self.path / name).write_bytes(data)

    def delete(self, name: str) -> None:
        parent, base = os.path.split(name)
        self.write(os.path.join(parent, ".wh." + base))


@pytest.fixture
def image(tmp_path: Path) -> Path:
    return apply(tmp_path, BASE)[0]


@pytest.fixture
def upper(tmp_path: Path, image: Path) -> Upper:
    return Upper(tmp_path / "upper", image)


def changes(now: list[str], before: list[str], **options: object) -> list[str]:
    with Chain(now) as ours, Chain(before) as theirs:
        return told(ours, theirs, layered=True, **options)


def told(now: Chain, before: Chain, **options: object) -> list[str]:
    found = find_changes(now, before, **options)  # type: ignore[arg-type]
    return [f"{change.kind} {os.fsdecode(change.path)}" for change in found]


def layered(upper: Upper, **options: object) -> list[str]:
    return changes([str(upper.path), str(upper.image)], [str(upper.image)], **options)


def test_nothing_has_changed(upper: Upper) -> None:
    assert layered(upper) == []


def test_added_changed_and_deleted_in_the_order_of_names(upper: Upper) -> None:
    upper.write("etc/passwd", b"changed")
    upper.write("etc/new", b"")
    upper.delete("opt/a/x")
    upper.write("zoo/deep/f")
    assert layered(upper) == [
        "C etc",
        "A etc/new",
        "C etc/passwd",
        "C opt",
        "C opt/a",
        "D opt/a/x",
        "A zoo",
        "A zoo/deep",
        "A zoo/deep/f",
    ]


def test_directory_that_was_only_copied_up_does_not_count(upper: Upper) -> None:
    upper.directory("opt/a")
    assert layered(upper) == []


@pytest.mark.parametrize("trait", ["mode", "owner", "attribute"])
def test_directory_whose_own_traits_differ_counts(upper: Upper, trait: str) -> None:
    upper.directory("opt")
    if trait == "mode":
        (upper.path / "opt").chmod(0o711)
    elif trait == "owner":
        os.setxattr(upper.path / "opt", OWNER_XATTR, encode_owner(5, 5))
    else:
        os.setxattr(upper.path / "opt", "user.x", b"1")
    assert layered(upper) == ["C opt"]


def test_deleted_directory_is_told_once(upper: Upper) -> None:
    upper.delete("opt")
    assert layered(upper) == ["D opt"]


def test_whiteout_of_nothing_is_not_told(upper: Upper) -> None:
    upper.delete("etc/never-there")
    assert layered(upper) == []


def test_directory_made_anew_has_lost_what_was_in_it(upper: Upper) -> None:
    upper.write("opt/a/y", b"again")
    upper.write("opt/a/" + os.fsdecode(OPAQUE_NAME))
    assert layered(upper) == ["C opt", "C opt/a", "D opt/a/x", "C opt/a/y"]


def test_file_in_the_place_of_a_directory_and_the_other_way_round(upper: Upper) -> None:
    upper.write("opt", b"a file")
    upper.write("top/below", b"")
    assert layered(upper) == ["C opt", "C top", "A top/below"]


def test_mount_points_of_the_engine_count_once_they_are_used(upper: Upper) -> None:
    scaffold = frozenset((b"proc", b"dev", b"etc", b"etc/hosts", b"run", b"run/x"))
    upper.write("etc/hosts")
    for name in ("proc", "dev", "run"):
        upper.directory(name)
    upper.write("run/x")
    assert layered(upper, scaffold=scaffold) == []
    upper.write("dev/log")
    upper.write("etc/hosts", b"127.0.0.1 localhost")
    assert layered(upper, scaffold=scaffold) == ["A dev", "A dev/log", "C etc", "A etc/hosts"]


class TestCopy:
    """The image was copied: what differs is found by comparing."""

    @pytest.fixture
    def rootfs(self, tmp_path: Path, image: Path) -> Path:
        path = tmp_path / "rootfs"
        path.mkdir()
        fd = os.open(path, os.O_RDONLY)
        with umask_zero():
            flatten([str(image)], fd)
        os.close(fd)
        return path

    def changes(self, rootfs: Path, image: Path) -> list[str]:
        with PlainTree(str(rootfs)) as now, Chain([str(image)]) as before:
            return told(now, before, layered=False)

    def test_nothing_has_changed(self, rootfs: Path, image: Path) -> None:
        assert self.changes(rootfs, image) == []

    @pytest.mark.parametrize(
        ("change", "expected"),
        [
            (lambda r: (r / "etc/passwd").write_bytes(b"toor"), ["C etc", "C etc/passwd"]),
            (lambda r: (r / "etc/passwd").chmod(0o600), ["C etc", "C etc/passwd"]),
            (lambda r: os.setxattr(r / "top", "user.x", b"1"), ["C top"]),
            (lambda r: ((r / "lib").unlink(), (r / "lib").symlink_to("elsewhere")), ["C lib"]),
            (lambda r: (r / "etc/passwd").unlink(), ["C etc", "D etc/passwd"]),
            (lambda r: (r / "opt/a/z").mkdir(), ["C opt", "C opt/a", "A opt/a/z"]),
            (lambda r: (r / "srv").chmod(0o700), ["C srv"]),
            (lambda r: (r / ".wh.top").write_bytes(b""), ["A .wh.top"]),
            (lambda r: ((r / "srv").rmdir(), (r / "srv").write_bytes(b"")), ["C srv"]),
        ],
    )
    def test_each_kind_of_change(
        self, rootfs: Path, image: Path, change: Callable[[Path], object], expected: list[str]
    ) -> None:
        change(rootfs)
        assert self.changes(rootfs, image) == expected


class TestLayer:
    def write(self, now: list[str], before: list[str]) -> tuple[bytes, list[str]]:
        fd = os.memfd_create("layer")
        packer = Packer(fd, owners=RecordedOwners(), sparse=False)
        with Chain(now) as ours, Chain(before) as theirs:
            pack_changes(find_changes(ours, theirs, layered=True), ours, packer)
        packer.finish()
        content = os.pread(fd, packer.written, 0)
        os.close(fd)
        return content, packer.notes

    def test_deletions_are_whiteouts(self, upper: Upper) -> None:
        upper.delete("opt/a/x")
        upper.delete("top")
        content, _ = self.write([str(upper.path), str(upper.image)], [str(upper.image)])
        members = read_members(content)
        assert [m.name for m, _ in members] == [b"opt/", b"opt/a/", b"opt/a/.wh.x", b".wh.top"]

    def test_layer_on_its_image_gives_the_containers_tree(self, upper: Upper, tmp_path: Path) -> None:
        upper.write("etc/passwd", b"changed")
        upper.delete("opt/a/x")
        upper.delete("lib")
        upper.write("lib", b"a file")
        upper.write("top/below", b"t")
        upper.write("new/one", b"1")
        (upper.path / "new/two").hardlink_to(upper.path / "new/one")
        os.setxattr(upper.path / "new/one", OWNER_XATTR, encode_owner(7, 8))
        content, _ = self.write([str(upper.path), str(upper.image)], [str(upper.image)])
        other = tmp_path / "other"
        other.mkdir()
        made = apply(other, BASE, content)
        trees = []
        for n, layers in enumerate(([str(upper.image), str(upper.path)], [str(made[1]), str(made[0])])):
            target = tmp_path / f"flat{n}"
            target.mkdir()
            fd = os.open(target, os.O_RDONLY)
            with umask_zero():
                flatten(layers, fd)
            os.close(fd)
            trees.append(read_tree(target))
        del trees[0]["."], trees[1]["."]
        assert differences(*trees) == []

    def test_name_that_would_mean_a_deletion_is_left_out(self, upper: Upper) -> None:
        upper.write(".wh.top", b"not a whiteout: the kernel wrote it")
        fd = os.memfd_create("layer")
        packer = Packer(fd, owners=RecordedOwners())
        layers = [str(upper.path), str(upper.image)]
        with Chain(layers, plain_names=True) as now, Chain(layers[1:]) as before:
            pack_changes(find_changes(now, before, layered=True), now, packer)
        packer.finish()
        assert read_members(os.pread(fd, packer.written, 0)) == []
        assert "means a deletion" in packer.notes[0]
        os.close(fd)
