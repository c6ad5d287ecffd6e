"""Archives unpacked onto trees that exist: what replaces what, and that nothing ever appears elsewhere."""

from __future__ import annotations

import os
import stat
import threading
from typing import TYPE_CHECKING

import pytest

from layers.effects import AttemptedOwners, CallersOwners, RecordedOwners
from layers.errors import InvalidLayer, LayersError
from layers.owners import decode_owner
from layers.places import Places
from layers.tarcodec import TarReader
from layers.unpack import Unpacker, replace_top
from layers.whiteout import OWNER_XATTR
from tests.helpers.extraction import SECRET, canary, umask_zero
from tests.helpers.images import EPOCH, Layer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "layer-root"
    path.mkdir()
    with canary(tmp_path):
        yield path


def unpack(
    root: Path, layer: Layer, *, at: bytes = b"", follow: bool = False, **options: object
) -> list[str]:
    """Unpack at a path below the root; returns the notes."""
    fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    places = Places(fd, follow=follow)
    settings: dict[str, object] = {"owners": CallersOwners(), **options}
    try:
        with umask_zero():
            unpacker = Unpacker(places, places.enter(places.find(at)), **settings)  # type: ignore[arg-type]
            unpacker.run(TarReader(iter([layer.bytes()])))
    finally:
        places.close()
        os.close(fd)
    return unpacker.notes


def test_file_replaces_a_file_and_not_what_that_was_linked_to(root: Path) -> None:
    (root / "f").write_bytes(b"old")
    (root / "other").hardlink_to(root / "f")
    unpack(root, Layer().file("f", b"new", mode=0o604))
    assert ((root / "f").read_bytes(), (root / "other").read_bytes()) == (b"new", b"old")
    assert stat.S_IMODE((root / "f").stat().st_mode) == 0o604
    assert (root / "f").stat().st_mtime == EPOCH


def test_file_replaces_a_link_and_not_what_that_leads_to(root: Path) -> None:
    (root / "f").symlink_to("../outside/secret")
    unpack(root, Layer().file("f", b"new"))
    assert (root / "f").read_bytes() == b"new"
    assert not (root / "f").is_symlink()


def test_file_never_replaces_a_directory_nor_a_directory_a_file(root: Path) -> None:
    (root / "d").mkdir()
    (root / "f").write_bytes(b"")
    with pytest.raises(LayersError, match="overwrite a directory with a file"):
        unpack(root, Layer().file("d"))
    with pytest.raises(LayersError, match="overwrite a file with a directory"):
        unpack(root, Layer().directory("f"))
    (root / "l").symlink_to("d")
    with pytest.raises(LayersError, match="overwrite a file with a directory"):
        unpack(root, Layer().directory("l"), follow=True)


def test_directories_merge_and_old_ones_stay_as_they_are(root: Path) -> None:
    (root / "d").mkdir(mode=0o711)
    (root / "d/old").write_bytes(b"")
    unpack(root, Layer().directory("d", mode=0o700).file("d/f").directory("n", mode=0o701))
    assert sorted(os.listdir(root / "d")) == ["f", "old"]
    assert stat.S_IMODE((root / "d").stat().st_mode) == 0o711
    assert stat.S_IMODE((root / "n").stat().st_mode) == 0o701
    assert (root / "n").stat().st_mtime == EPOCH


def test_archive_mode_gives_old_directories_what_the_archive_says(root: Path) -> None:
    (root / "d").mkdir(mode=0o711)
    unpack(root, Layer().directory("d", mode=0o700), archive=True)
    assert stat.S_IMODE((root / "d").stat().st_mode) == 0o700


def test_directory_without_write_permission_is_filled(root: Path) -> None:
    unpack(root, Layer().directory("d", mode=0o555).file("d/f", b"1"))
    assert (root / "d/f").read_bytes() == b"1"
    assert stat.S_IMODE((root / "d").stat().st_mode) == 0o555
    (root / "d").chmod(0o755)


def test_destination_itself_stays_as_it_is(root: Path) -> None:
    root.chmod(0o750)
    unpack(root, Layer().directory("./", mode=0o777).file("./f"), archive=True)
    assert stat.S_IMODE(root.stat().st_mode) == 0o750


def test_child_may_come_before_its_directory(root: Path) -> None:
    unpack(root, Layer().file("d/e/f", b"1").directory("d", mode=0o710))
    assert stat.S_IMODE((root / "d").stat().st_mode) == 0o710
    assert stat.S_IMODE((root / "d/e").stat().st_mode) == 0o755


def test_owners_are_recorded_only_in_archive_mode(root: Path) -> None:
    layer = Layer().file("f", uid=1000, gid=7).directory("d", uid=3)
    unpack(root, layer, owners=RecordedOwners())
    assert os.listxattr(root / "f") == []
    unpack(root, layer, owners=RecordedOwners(), archive=True)
    assert decode_owner(os.getxattr(root / "f", OWNER_XATTR)) == (1000, 7)
    assert decode_owner(os.getxattr(root / "d", OWNER_XATTR)) == (3, 0)


def test_owner_that_cannot_be_given_is_noted_once(root: Path) -> None:
    owners = AttemptedOwners()
    layer = Layer().file("a", uid=0).file("b", uid=0).file("c", uid=os.getuid(), gid=os.getgid())
    unpack(root, layer, owners=owners, archive=True)
    assert len(owners.notes) == (0 if os.getuid() == 0 else 1)
    assert sorted(os.listdir(root)) == ["a", "b", "c"]


def test_set_id_bits_can_be_dropped(root: Path) -> None:
    layer = Layer().file("f", mode=0o6755).directory("d", mode=0o3777)
    unpack(root, layer, set_ids=False)
    assert stat.S_IMODE((root / "f").stat().st_mode) == 0o755
    assert stat.S_IMODE((root / "d").stat().st_mode) == 0o1777


def test_forged_attributes_are_dropped(root: Path) -> None:
    forged = {f"SCHILY.xattr.{OWNER_XATTR.decode()}": "x", "SCHILY.xattr.user.overlay.opaque": "y"}
    unpack(root, Layer().file("f", pax_headers={**forged, "SCHILY.xattr.user.mine": "1"}))
    assert os.listxattr(root / "f") == ["user.mine"]


def test_device_is_left_out_with_a_note(root: Path) -> None:
    assert unpack(root, Layer().device("null", 1, 3)) == ["left out: null is a device"]
    assert os.listdir(root) == []


def test_top_level_entry_gets_another_name_and_links_follow(root: Path) -> None:
    layer = Layer().directory("old").file("old/a", b"1").hardlink("old/b", "old/a").symlink("old/c", "a")
    unpack(root, layer, rename=replace_top(b"new"))
    assert sorted(os.listdir(root / "new")) == ["a", "b", "c"]
    assert os.path.samefile(root / "new/a", root / "new/b")
    unpack(root, layer, rename=replace_top(b""))
    assert sorted(os.listdir(root)) == ["a", "b", "c", "new"]
    unpack(root, Layer().file("x", b"data"), rename=replace_top(b"y"))
    assert (root / "y").read_bytes() == b"data"


def test_hard_link_onto_itself_or_its_twin(root: Path) -> None:
    layer = Layer().file("a", b"1").hardlink("b", "a").hardlink("b", "b").hardlink("a", "b")
    unpack(root, layer)
    assert (root / "a").read_bytes() == b"1"
    assert os.path.samefile(root / "a", root / "b")


@pytest.mark.parametrize("target", ["nowhere", "../outside/secret", "/etc/passwd", "d/x"])
def test_hard_link_to_what_is_not_there_is_refused(root: Path, target: str) -> None:
    with pytest.raises(InvalidLayer, match="target does not exist"):
        unpack(root, Layer().hardlink("a", target))


def test_holes_stay_holes(root: Path) -> None:
    fields = {"GNU.sparse.major": "0", "GNU.sparse.minor": "1", "GNU.sparse.name": "f",
              "GNU.sparse.size": str(1 << 40), "GNU.sparse.map": "5,3"}  # fmt: skip
    unpack(root, Layer().file("ignored", b"abc", pax_headers=fields))
    info = (root / "f").stat()
    assert info.st_size == 1 << 40
    assert info.st_blocks < 100


@pytest.mark.parametrize("follow", [True, False])
@pytest.mark.parametrize(
    "name", ["../outside/x", "/outside/x", "a/../../outside/x", "../../../../../../tmp/x", "./../x"]
)
def test_names_never_lead_out(root: Path, name: str, follow: bool) -> None:
    (root / "a").mkdir()
    unpack(root, Layer().file(name, b"1"), follow=follow)


@pytest.mark.parametrize("target", ["../outside", "/", "../../../../..", "/proc/self/cwd"])
def test_link_then_a_file_through_it_stays_inside_or_is_refused(root: Path, target: str) -> None:
    layer = Layer().symlink("l", target).file("l/secret", b"overwritten").file("l/new", b"")
    with pytest.raises(NotADirectoryError):
        unpack(root, layer)
    unpack(root, layer, follow=True)
    (root / "l2").symlink_to(target)
    with pytest.raises(NotADirectoryError):
        unpack(root, Layer().file("l2/secret", b"overwritten"))


def test_links_lead_on_inside_the_root_where_they_may(root: Path) -> None:
    (root / "usr/lib").mkdir(parents=True)
    (root / "lib").symlink_to("/usr/lib")
    (root / "home").mkdir()
    (root / "home/l").symlink_to("../../../lib")
    unpack(root, Layer().file("l/x", b"1"), at=b"home", follow=True)
    assert (root / "usr/lib/x").read_bytes() == b"1"


def test_loops_of_links_end(root: Path) -> None:
    (root / "a").symlink_to("b")
    (root / "b").symlink_to("a")
    with pytest.raises(OSError, match="Too many levels"):
        unpack(root, Layer().file("a/x"), follow=True)


def test_directory_swapped_for_a_link_again_and_again_never_leads_out(root: Path, tmp_path: Path) -> None:
    (root / "d").mkdir()
    (root / "l").symlink_to(tmp_path / "outside")
    layer = Layer().directory("d").file("d/secret", b"overwritten").file("d/new", b"")
    stop = threading.Event()

    def swap() -> None:
        while not stop.is_set():
            for one, two in (("d", "t"), ("l", "d"), ("d", "l"), ("t", "d")):
                try:
                    os.rename(root / one, root / two)
                except OSError:  # unpacked meanwhile under that name
                    continue

    swapper = threading.Thread(target=swap)
    swapper.start()
    try:
        for _ in range(300):
            try:
                unpack(root, layer)
            except (OSError, LayersError):
                continue
    finally:
        stop.set()
        swapper.join()
    assert (tmp_path / "outside/secret").read_bytes() == SECRET
    assert os.listdir(tmp_path / "outside") == ["secret"]


class TestFind:
    @pytest.fixture
    def places(self, root: Path) -> Iterator[Places]:
        (root / "d/e").mkdir(parents=True)
        (root / "d/f").write_bytes(b"")
        (root / "abs").symlink_to("/d/e")
        (root / "d/up").symlink_to("../../../d/f")
        (root / "dangling").symlink_to("d/new")
        (root / "loop").symlink_to("loop")
        fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
        places = Places(fd, follow=True)
        yield places
        places.close()
        os.close(fd)

    @pytest.mark.parametrize(
        ("path", "directory", "name"),
        [
            (b"/d/f", b"d", b"f"),
            (b"d//./f", b"d", b"f"),
            (b"/", b".", b""),
            (b"", b".", b""),
            (b"..", b".", b""),
            (b"/d/..", b".", b""),
            (b"/d/e/..", b".", b"d"),
            (b"/abs", b"d", b"e"),
            (b"/abs/../f", b"d", b"f"),
            (b"/d/up", b"d", b"f"),
            (b"/dangling", b"d", b"new"),
            (b"/new", b".", b"new"),
        ],
    )
    def test_path_is_followed_inside_the_root(
        self, places: Places, path: bytes, directory: bytes, name: bytes
    ) -> None:
        found = places.find(path)
        assert (found.directory.path(), found.name) == (directory, name)
        assert (found.info is None) == (name == b"new")

    def test_link_itself_can_be_found(self, places: Places) -> None:
        found = places.find(b"/abs", follow=False)
        assert found.info is not None
        assert stat.S_ISLNK(found.info.st_mode)

    @pytest.mark.parametrize("path", [b"/no/x", b"/d/f/x", b"/loop", b"/loop/x", b"/dangling/x"])
    def test_impossible_way_is_an_error(self, places: Places, path: bytes) -> None:
        with pytest.raises(OSError):
            places.find(path)
