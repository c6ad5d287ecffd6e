"""Extraction of hostile and odd layers, each hazard by name; nothing outside of the root may change.

Runs as an ordinary user without any namespace: what works here works everywhere.
"""

from __future__ import annotations

import os
import stat
import tarfile
from typing import TYPE_CHECKING

import pytest

from layers.effects import DirectOwners, RecordedOwners, _not_mapped
from layers.errors import InvalidLayer
from layers.extract import Extractor
from layers.snapshot import remove_tree
from layers.tarcodec import TarReader
from layers.tree import MAX_DEPTH
from tests.helpers.extraction import apply, canary, extract, names, umask_zero
from tests.helpers.images import Layer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from layers.tarheader import Member

RECORD = "user.rootlesscontainers"


@pytest.fixture(autouse=True)
def _remove_deep_trees(tmp_path: Path) -> Iterator[None]:
    """pytest's own removal of old directories recurses, and fails on what is made here."""
    yield
    for name in os.listdir(tmp_path):
        remove_tree(tmp_path / name)


def listing(sandbox: Path, layer: Layer) -> list[str]:
    return [name for name in names(extract(sandbox, layer)) if name != "."]


# A1, A2: names that point outside.


@pytest.mark.parametrize(
    "name", ["/x", "///x", "../x", "../../../../x", "a/../../x", "./x", "x/.", "a/../x/."]
)
def test_name_pointing_outside_is_taken_inside_the_root(tmp_path: Path, name: str) -> None:
    assert listing(tmp_path, Layer().file(name, b"1")) == ["x"]


@pytest.mark.parametrize("name", ["..", ".", "/", "", "a/..", "../.."])
def test_file_in_the_place_of_the_root_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(InvalidLayer, match="root directory"):
        extract(tmp_path, Layer().file(name))


@pytest.mark.parametrize("name", ["./", "/", "../"])
def test_directory_member_of_the_root_sets_its_mode(tmp_path: Path, name: str) -> None:
    assert extract(tmp_path, Layer().directory(name, mode=0o711))["."]["mode"] == "0o40711"


def test_root_given_as_a_link_is_refused(tmp_path: Path) -> None:
    """CVE-2021-29136."""
    with pytest.raises(InvalidLayer, match="root directory"):
        extract(tmp_path, Layer().symlink(".", "../outside").file("secret", b"changed"))


# A3, A4: links on the way.


@pytest.mark.parametrize("target", ["../outside", "../../outside", "/../outside", "..", "/", "/outside"])
def test_write_through_a_link_of_the_same_layer_stays_inside(tmp_path: Path, target: str) -> None:
    absolute = str(tmp_path / "outside") if target == "/outside" else target
    tree = extract(tmp_path, Layer().symlink("link", absolute).file("link/secret", b"changed"))
    assert tree["link"]["target"] == absolute
    assert "link/secret" not in tree
    assert sum(name.endswith("secret") for name in tree) == 1


def test_parent_of_a_directory_in_a_link_is_followed_and_that_of_the_root_is_the_root(tmp_path: Path) -> None:
    layer = Layer().directory("a/b").symlink("a/up", "b/../../c").symlink("top", "../../d").file("a/up/x")
    assert listing(tmp_path, layer.file("top/y")) == ["a", "a/b", "a/up", "c", "c/x", "d", "d/y", "top"]


def test_write_through_links_that_point_at_each_other_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidLayer, match="too many symbolic links"):
        extract(tmp_path, Layer().symlink("a", "b").symlink("b", "a").file("a/x"))


def test_write_through_a_link_of_a_lower_layer_stays_inside(tmp_path: Path) -> None:
    base = Layer().symlink("link", "../../outside").symlink("absolute", str(tmp_path / "outside"))
    top = apply(tmp_path, base, Layer().file("link/secret", b"changed").file("absolute/secret", b"changed"))[
        0
    ]
    assert sorted(os.listdir(top))[0] == "outside"
    assert (top / "outside/secret").read_bytes() == b"changed"


def test_links_of_lower_layers_that_point_at_each_other_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidLayer, match="too many symbolic links"):
        apply(tmp_path, Layer().symlink("a", "b").symlink("b", "a"), Layer().file("a/x"))


def test_file_in_the_place_of_a_link_replaces_the_link_not_its_target(tmp_path: Path) -> None:
    tree = extract(
        tmp_path, Layer().symlink("link", str(tmp_path / "outside/secret")).file("link", b"changed")
    )
    assert tree["link"]["size"] == 7


def test_directory_in_the_place_of_a_link_replaces_the_link(tmp_path: Path) -> None:
    layer = Layer().symlink("link", "../outside").directory("link", mode=0o700).file("link/secret", b"inside")
    assert stat.S_ISDIR(int(extract(tmp_path, layer)["link"]["mode"], 8))


# A5, A6: hard links.


@pytest.mark.parametrize("target", ["../outside/secret", "/../outside/secret", "../../outside/secret"])
def test_hard_link_to_something_outside_is_refused(tmp_path: Path, target: str) -> None:
    with pytest.raises(InvalidLayer, match="does not exist") as caught:
        extract(tmp_path, Layer().hardlink("h", target))
    assert caught.value.entry.endswith(b"h")


def test_hard_link_to_an_absolute_host_path_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidLayer, match="does not exist"):
        extract(tmp_path, Layer().hardlink("h", str(tmp_path / "outside/secret")))


def test_hard_link_through_a_link_stays_inside(tmp_path: Path) -> None:
    layer = Layer().symlink("out", str(tmp_path / "outside")).hardlink("h", "out/secret")
    with pytest.raises(InvalidLayer, match="does not exist"):
        extract(tmp_path, layer)


def test_hard_link_to_a_link_is_another_name_of_the_link(tmp_path: Path) -> None:
    layer = Layer().symlink("link", str(tmp_path / "outside/secret")).hardlink("h", "link").file("h2", b"")
    tree = extract(tmp_path, layer)
    assert tree["h"]["same_as"] == tree["link"]["same_as"]
    assert tree["h"]["target"] == str(tmp_path / "outside/secret")


@pytest.mark.parametrize(
    ("target", "reason"), [("d", "is a directory"), (".", "root directory"), ("h", "own target")]
)
def test_hard_link_to_what_cannot_have_one_is_refused(tmp_path: Path, target: str, reason: str) -> None:
    with pytest.raises(InvalidLayer, match=reason):
        extract(tmp_path, Layer().directory("d").hardlink("h", target))


def test_hard_link_before_its_target_is_made_all_the_same(tmp_path: Path) -> None:
    tree = extract(tmp_path, Layer().hardlink("d/h", "e/f").file("e/f", b"x"))
    assert tree["d/h"]["same_as"] == tree["e/f"]["same_as"]


def test_hard_link_to_a_file_of_a_lower_layer_copies_it_under_all_its_names(tmp_path: Path) -> None:
    base = Layer().file("a/f", b"x", mode=0o4755, uid=5).hardlink("b/g", "a/f").hardlink("gone", "a/f")
    top = apply(tmp_path, base, Layer().hardlink("c/h", "a/f").whiteout("gone"))[0]
    inodes = {(top / name).stat().st_ino for name in ("a/f", "b/g", "c/h")}
    assert len(inodes) == 1
    assert (top / "c/h").stat().st_mode == 0o104755
    assert os.getxattr(top / "c/h", RECORD) == bytes.fromhex("080510ffffffff0f")
    assert stat.S_ISCHR((top / "gone").lstat().st_mode)


def test_hard_link_replaced_by_a_later_member_is_not_made(tmp_path: Path) -> None:
    tree = extract(
        tmp_path, Layer().hardlink("h", "nowhere").file("h", b"file").hardlink("d", "no").directory("d")
    )
    assert (tree["h"]["size"], tree["d"]["mode"]) == (4, "0o40755")


# A7, A8, A9: whiteouts.


def test_whiteout_under_a_linked_parent_hides_nothing_outside(tmp_path: Path) -> None:
    layer = Layer().symlink("out", str(tmp_path / "outside")).whiteout("out/secret").opaque("out")
    base = Layer().directory("out").file("out/secret")
    assert apply(tmp_path, base, layer)
    assert (tmp_path / "outside/secret").exists()


def test_opaque_whiteout_under_a_link_of_a_lower_layer_hides_nothing_outside(tmp_path: Path) -> None:
    base = Layer().symlink("out", "../outside").symlink("up", "..")
    assert apply(tmp_path, base, Layer().opaque("out").whiteout("up/x").whiteout("out/secret"))
    assert (tmp_path / "outside/secret").exists()


@pytest.mark.parametrize("name", [".wh.", ".wh..", ".wh...", "d/.wh..", "d/.wh...", ".wh./", "/.wh./"])
def test_whiteout_of_the_directory_itself_or_its_parent_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(InvalidLayer, match="names no entry"):
        extract(tmp_path, Layer().directory("d").file(name))


def test_nested_whiteout_is_skipped(tmp_path: Path) -> None:
    assert listing(tmp_path, Layer().file(".wh..wh.foo").file(".wh..wh.plnk").file("d/.wh..wh.aufs")) == []


def test_whiteout_as_a_directory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidLayer, match="whiteout stands in the place of a directory"):
        extract(tmp_path, Layer().file(".wh.x/file"))


def test_whiteout_of_any_type_is_one(tmp_path: Path) -> None:
    layer = (
        Layer().directory(".wh.a").symlink(".wh.b", "x").add(".wh.c", tarfile.CHRTYPE).hardlink(".wh.d", "e")
    )
    base = Layer().file("a").file("b").file("c").file("d")
    top = apply(tmp_path, base, layer)[0]
    assert all(stat.S_ISCHR((top / name).lstat().st_mode) for name in "abcd")


def test_whiteout_is_written_only_where_it_hides_something(tmp_path: Path) -> None:
    top = apply(tmp_path, Layer().file("a"), Layer().whiteout("a").whiteout("b").whiteout("c/d"))[0]
    assert os.listdir(top) == ["a"]


@pytest.mark.parametrize("first", [True, False])
def test_whiteout_and_file_of_the_same_name_leave_the_file(tmp_path: Path, first: bool) -> None:
    layer = Layer().whiteout("x").file("x", b"1") if first else Layer().file("x", b"1").whiteout("x")
    top = apply(tmp_path, Layer().file("x"), layer)[0]
    assert (top / "x").read_bytes() == b"1"


@pytest.mark.parametrize("first", [True, False])
def test_whiteout_and_directory_of_the_same_name_leave_an_opaque_directory(
    tmp_path: Path, first: bool
) -> None:
    layer = Layer().whiteout("d").directory("d") if first else Layer().directory("d").whiteout("d")
    top = apply(tmp_path, Layer().directory("d").file("d/x"), layer)[0]
    assert os.getxattr(top / "d", "user.overlay.opaque") == b"y"


def test_opaque_root_becomes_one_whiteout_per_entry(tmp_path: Path) -> None:
    """Overlayfs ignores the mark on a layer's root."""
    base = Layer().directory("d").file("d/x").file("f")
    top = apply(tmp_path, base, Layer().opaque("").file("d/y").file("new"))[0]
    assert stat.S_ISCHR((top / "f").lstat().st_mode)
    assert os.getxattr(top / "d", "user.overlay.opaque") == b"y"
    assert sorted(os.listdir(top)) == ["d", "f", "new"]


# A10, A11, A16: types that change, orders that surprise.


def test_directory_replaced_by_a_link_and_back_is_opaque(tmp_path: Path) -> None:
    layer = Layer().directory("d").file("d/x").symlink("d", "../outside").directory("d").file("d/y")
    top = apply(tmp_path, Layer().directory("d").file("d/old"), layer)[0]
    assert os.listdir(top / "d") == ["y"]
    assert os.getxattr(top / "d", "user.overlay.opaque") == b"y"


def test_directory_replaced_by_a_link_does_not_lead_later_members_out(tmp_path: Path) -> None:
    layer = (
        Layer()
        .directory("d")
        .file("d/a")
        .symlink("d", str(tmp_path / "outside"))
        .file("d/secret", b"changed")
    )
    tree = extract(tmp_path, layer)
    assert stat.S_ISLNK(int(tree["d"]["mode"], 8))


def test_child_before_its_parent_keeps_the_parents_mode(tmp_path: Path) -> None:
    tree = extract(tmp_path, Layer().file("d/f", b"x").directory("d", mode=0o500, mtime=99))
    assert (tree["d"]["mode"], tree["d"]["mtime_ns"]) == ("0o40500", 99 * 10**9)


def test_last_of_several_members_of_a_name_wins(tmp_path: Path) -> None:
    layer = Layer().file("f", b"1", mode=0o600).file("f", b"22", mode=0o640).directory("d", mode=0o700)
    tree = extract(tmp_path, layer.file("d/x").directory("d", mode=0o750).symlink("s", "f").file("s", b"3"))
    assert (tree["f"]["size"], tree["f"]["mode"], tree["d"]["mode"]) == (2, "0o100640", "0o40750")
    assert "d/x" in tree
    assert tree["s"]["size"] == 1


def test_file_in_the_place_of_a_full_directory_replaces_it(tmp_path: Path) -> None:
    assert listing(tmp_path, Layer().file("d/e/f").file("d/x").file("d", b"file")) == ["d"]


@pytest.mark.parametrize("kind", ["file", "fifo"])
def test_entry_below_something_that_is_no_directory_is_refused(tmp_path: Path, kind: str) -> None:
    layer = Layer().file("f") if kind == "file" else Layer().fifo("f")
    with pytest.raises(InvalidLayer, match="parent is not a directory") as caught:
        extract(tmp_path, layer.file("f/x"))
    assert caught.value.entry == b"f/x"


def test_entry_below_a_file_of_a_lower_layer_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidLayer, match="not a directory in the layers below"):
        apply(tmp_path, Layer().file("f"), Layer().file("f/x"))


def test_unknown_type_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidLayer, match="unknown type b'Z'"):
        extract(tmp_path, Layer().add("f", b"Z"))


# A12: set-id bits, xattrs, forged records.


def test_set_id_and_sticky_bits_are_kept(tmp_path: Path) -> None:
    layer = (
        Layer().file("su", b"x", mode=0o6711, uid=7).directory("tmp", mode=0o3777).file("empty", mode=0o4400)
    )
    tree = extract(tmp_path, layer)
    assert [tree[n]["mode"] for n in ("su", "tmp", "empty")] == ["0o106711", "0o43777", "0o104400"]


def test_modes_do_not_depend_on_the_directory_around(tmp_path: Path) -> None:
    """A shared directory passes its group and set-group-id bit on."""
    os.chmod(tmp_path, 0o2770)
    tree = extract(tmp_path, Layer().directory("d").file("d/f"))
    assert (tree["."]["mode"], tree["d"]["mode"], tree["d/f"]["mode"]) == ("0o40755", "0o40755", "0o100644")


def test_read_only_directories_are_filled_and_keep_their_times(tmp_path: Path) -> None:
    tree = extract(
        tmp_path, Layer().directory("d", mode=0o500, mtime=5).directory("d/e", mode=0o500).file("d/e/f")
    )
    assert (tree["d"]["mode"], tree["d"]["mtime_ns"]) == ("0o40500", 5 * 10**9)


def test_forged_owner_and_overlay_xattrs_are_dropped(tmp_path: Path) -> None:
    forged = [
        "user.rootlesscontainers",
        "user.overlay.opaque",
        "user.overlay.redirect",
        "trusted.overlay.opaque",
    ]
    forged += ["user.containers.override_stat", "user.fuseoverlayfs.override_stat", "user.overlay.metacopy"]
    headers = {f"SCHILY.xattr.{name}": "y" for name in forged} | {"SCHILY.xattr.user.good": "1"}
    layer = Layer().file("f", pax_headers=headers).directory("d", pax_headers=headers)
    tree = extract(tmp_path, layer)
    assert tree["f"]["xattrs"] == tree["d"]["xattrs"] == {"user.good": b"1".hex()}


def test_forged_record_does_not_beat_the_real_owner(tmp_path: Path) -> None:
    headers = {"SCHILY.xattr.user.rootlesscontainers": "forged"}
    tree = extract(tmp_path, Layer().file("f", uid=1000, gid=100, pax_headers=headers))
    assert tree["f"]["xattrs"] == {RECORD: "08e8071064"}


def test_xattrs_that_need_privileges_are_left_out(tmp_path: Path) -> None:
    headers = {"SCHILY.xattr.trusted.x": "1", "SCHILY.xattr.security.x": "1", "SCHILY.xattr.user.y": "2"}
    assert extract(tmp_path, Layer().file("f", mode=0o444, pax_headers=headers))["f"]["xattrs"] == {
        "user.y": "32"
    }


# A13: devices, FIFOs.


def test_devices_become_empty_files(tmp_path: Path) -> None:
    tree = extract(
        tmp_path, Layer().device("sda", 8, 0, block=True, mode=0o660).device("wh", 0, 0, mode=0o600)
    )
    assert [(tree[n]["mode"], tree[n]["size"]) for n in ("sda", "wh")] == [("0o100660", 0), ("0o100600", 0)]


def test_fifo_is_made_and_never_opened(tmp_path: Path) -> None:
    tree = extract(tmp_path, Layer().fifo("p", mode=0o640).hardlink("q", "p"))
    assert (tree["p"]["mode"], tree["q"]["mode"]) == ("0o10640", "0o10640")


# A14, A15: names and sizes.


def test_odd_names_are_kept_byte_by_byte(tmp_path: Path) -> None:
    odd = ["new\nline", "\udcff\udcfe", " ", "-rf", "\x1b[31m", "a\tb", "☃", "Case", "case", "...", "*"]
    layer = Layer()
    for name in odd:
        layer.file(name)
    assert listing(tmp_path, layer) == sorted(odd)


def test_component_of_255_bytes_fits_and_one_of_256_is_refused(tmp_path: Path) -> None:
    assert listing(tmp_path, Layer().file("x" * 255)) == ["x" * 255]
    with pytest.raises(InvalidLayer, match="too long"):
        apply(tmp_path / "outside", Layer().file("x" * 256))


def test_path_longer_than_path_max_is_extracted(tmp_path: Path) -> None:
    path = "/".join(["d" * 250] * 40) + "/file"
    assert len(path) > 10_000
    assert path in extract(tmp_path, Layer().file(path, b"x").symlink("l", path[:4000]))


def test_link_target_longer_than_the_kernel_takes_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidLayer, match="too long"):
        extract(tmp_path, Layer().symlink("l", "x" * 5000))


def test_link_with_an_empty_target_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidLayer, match="empty"):
        extract(tmp_path, Layer().symlink("l", ""))


def test_levels_of_directories_are_bounded(tmp_path: Path) -> None:
    assert extract(tmp_path, Layer().directory("/".join(["d"] * MAX_DEPTH)))
    with pytest.raises(InvalidLayer, match=f"more than {MAX_DEPTH} levels"):
        apply(tmp_path / "outside", Layer().directory("/".join(["d"] * (MAX_DEPTH + 1))))


def test_sparse_file_has_its_holes(tmp_path: Path) -> None:
    headers = {"GNU.sparse.size": str(1 << 40), "GNU.sparse.map": f"{1 << 39},512"}
    layer = Layer().add("s", b"0", data=b"AB" * 256, pax_headers=headers)
    (root,) = apply(tmp_path, layer)
    info = (root / "s").stat()
    assert (info.st_size, info.st_blocks * 512 < 1 << 20) == (1 << 40, True)
    with (root / "s").open("rb") as file:
        file.seek(1 << 39)
        assert file.read(513) == b"AB" * 256 + b"\0"


# A17: times and ids that overflow.


@pytest.mark.parametrize("mtime", [-(2**40), 2**40, 2**62, -(2**62)])
def test_time_out_of_range_is_clamped(tmp_path: Path, mtime: int) -> None:
    tree = extract(
        tmp_path, Layer(format=tarfile.GNU_FORMAT).file("f", mtime=mtime).directory("d", mtime=mtime)
    )
    assert (tree["f"]["mtime_ns"] > 0) == (mtime > 0)


@pytest.mark.parametrize(("uid", "gid"), [(2**32 - 1, 0), (0, 2**32 - 1), (2**32, 0), (2**40, 5), (-1, 0)])
@pytest.mark.parametrize("owners", ["recorded", "direct"])
def test_owner_that_no_file_can_have_is_refused(tmp_path: Path, uid: int, gid: int, owners: str) -> None:
    """CVE-2024-40635: 2^32 would wrap around to root."""
    for kind in (b"0", b"2", b"5", b"6"):
        layer = Layer(format=tarfile.GNU_FORMAT).add("f", kind, uid=uid, gid=gid, linkname="x")
        sandbox = tmp_path / kind.decode()
        sandbox.mkdir()
        with pytest.raises(InvalidLayer, match="outside of 0 to 4294967294"):
            apply(sandbox, layer, owners=owners)


def test_owner_beyond_the_mapped_ids_is_refused_with_the_remedy() -> None:
    error = _not_mapped(OSError(22, "Invalid argument"), 100000, 5)
    assert isinstance(error, InvalidLayer)
    assert str(error) == "cannot extract entry: its owner 100000:5 is beyond the ids mapped for this user"
    assert "/etc/subuid" in error.hint


def test_owners_are_recorded_and_zero_is_not(tmp_path: Path) -> None:
    tree = extract(
        tmp_path, Layer().file("f", uid=5, mode=0o400).directory("d", gid=6, mode=0o500).file("root")
    )
    assert tree["f"]["xattrs"] == {RECORD: "080510ffffffff0f"}
    assert tree["d"]["xattrs"] == {RECORD: "08ffffffff0f1006"}
    assert tree["root"]["xattrs"] == {}


def test_direct_owners_leave_no_record(tmp_path: Path) -> None:
    (root,) = apply(tmp_path, Layer().file("f"), owners="direct")
    assert os.listxattr(root / "f") == []
    assert DirectOwners().read((root / "f").stat(), b"") == (os.geteuid(), os.getegid())


# A22: another process of the same user swaps a directory for a link meanwhile.


class Swapping(TarReader):
    """Puts links to the outside in the place of the layer's directories before each member."""

    root: Path
    outside: Path
    before_second: Callable[[], None] | None = None

    def next_member(self) -> Member | None:
        member = super().next_member()
        if member is not None and member.name == b"d/e/second":
            if self.before_second is not None:
                self.before_second()
            os.rename(self.root / "d", self.root / "moved")
            os.symlink(self.outside, self.root / "d")
            os.rename(self.root / "moved/e", self.root / "moved/f")
            os.symlink(self.outside, self.root / "moved/e")
        return member


@pytest.mark.parametrize("keep_open", [True, False])
def test_directory_swapped_for_a_link_during_extraction_leads_nowhere(
    tmp_path: Path, keep_open: bool
) -> None:
    layer = Layer().directory("d").directory("d/e").file("d/e/first", b"1").file("d/e/second", b"2")
    root = tmp_path / "layer0"
    with umask_zero(), canary(tmp_path):
        root.mkdir()
        fd = os.open(root, os.O_RDONLY)
        reader = Swapping(iter([layer.bytes()]))
        reader.root, reader.outside = root, tmp_path / "outside"
        extractor = Extractor(fd, owners=RecordedOwners())
        if not keep_open:
            reader.before_second = extractor.tree.close
        try:
            if keep_open:
                extractor.run(reader)
                assert (root / "moved/f/second").read_bytes() == b"2"
            else:
                with pytest.raises(InvalidLayer, match="parent is not a directory"):
                    extractor.run(reader)
        finally:
            extractor.tree.close()
            os.close(fd)


# What lower layers pass on.


def test_implied_directory_takes_over_what_the_layer_below_has(tmp_path: Path) -> None:
    headers = {"SCHILY.xattr.user.colour": "blue"}
    base = (
        Layer().directory("a", mode=0o710, uid=3, mtime=77, pax_headers=headers).directory("a/b", mode=0o1777)
    )
    top = apply(tmp_path, base, Layer().file("a/b/x"))[0]
    info = (top / "a").stat()
    assert (info.st_mode, info.st_mtime) == (0o040710, 77)
    assert os.getxattr(top / "a", "user.colour") == b"blue"
    assert os.getxattr(top / "a", RECORD) == bytes.fromhex("080310ffffffff0f")
    assert (top / "a/b").stat().st_mode == 0o041777


def test_implied_root_takes_over_the_one_below(tmp_path: Path) -> None:
    top = apply(tmp_path, Layer().directory("./", mode=0o711, mtime=5), Layer().file("x"))[0]
    assert (top.stat().st_mode, top.stat().st_mtime) == (0o040711, 5)


def test_implied_directory_without_one_below_is_plain(tmp_path: Path) -> None:
    tree = extract(tmp_path, Layer().file("a/b/x"))
    assert (tree["a"]["mode"], tree["a"]["mtime_ns"], tree["."]["mode"]) == ("0o40755", 0, "0o40755")


def test_whiteouts_of_a_middle_layer_count_for_the_ones_above(tmp_path: Path) -> None:
    layers = [
        Layer().directory("d", mode=0o700).file("f"),
        Layer().whiteout("d").whiteout("f"),
        Layer().file("d/x"),
    ]
    top = apply(tmp_path, *layers)[0]
    assert (top / "d").stat().st_mode == 0o040755
    (tmp_path / "again").mkdir()
    with pytest.raises(InvalidLayer, match="does not exist"):
        apply(tmp_path / "again", *layers[:2], Layer().hardlink("h", "f"))
