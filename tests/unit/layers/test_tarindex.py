"""Files of an archive are found by name, and nothing else in it counts."""

from __future__ import annotations

import os
import tarfile
from typing import TYPE_CHECKING

import pytest

from layers.errors import InvalidArchive
from layers.tarindex import MAX_NAME, TarIndex
from tests.helpers.images import Layer

if TYPE_CHECKING:
    from pathlib import Path


def index_of(path: Path, data: bytes) -> TarIndex:
    path.write_bytes(data)
    fd = os.open(path, os.O_RDONLY)
    try:
        return TarIndex(fd)
    finally:
        os.close(fd)


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_bytes_lie_where_the_index_says(tmp_path: Path, form: int) -> None:
    long = "d/" * 40 + "n" * 90
    contents = {"a": b"1", "b/c": b"", long: os.urandom(100_000), "z": b"z" * 512}
    layer = Layer(format=form).directory("b").directory("b")
    for name, data in contents.items():
        layer.file(name, data)
    whole = layer.bytes()
    index = index_of(tmp_path / "tar", whole)
    for name, data in contents.items():
        place = index.find(name)
        assert place is not None
        offset, size = place
        assert whole[offset : offset + size] == data
    assert index.find("b") is None
    assert "nothing" not in index


@pytest.mark.parametrize("spelling", ["a/b", "./a/b", "a//b", "a/./b", "a/b/"])
def test_spelling_of_a_name_does_not_matter(tmp_path: Path, spelling: str) -> None:
    index = index_of(tmp_path / "tar", Layer().file("./a/b", b"x").bytes())
    assert index.find(spelling) == index.find("a/b") != None  # noqa: E711


def test_links_lead_to_files_of_the_archive(tmp_path: Path) -> None:
    layer = Layer().file("d/file", b"x").symlink("e/up", "../d/file").hardlink("same", "d/file")
    index = index_of(tmp_path / "tar", layer.symlink("dangling", "none").bytes())
    assert index.find("e/up") == index.find("same") == index.find("d/file")
    assert index.find("dangling") is None


@pytest.mark.parametrize(
    ("layer", "problem"),
    [
        (Layer().file("../x"), "leads out of it"),
        (Layer().file("a/../../x"), "leads out of it"),
        (Layer().file("/x"), "leads out of it"),
        (Layer().symlink("a/x", "../../x"), "leads out of it"),
        (Layer().symlink("x", "/etc/passwd"), "leads out of it"),
        (Layer().hardlink("x", "../y"), "leads out of it"),
        (Layer().file("x").file("x"), "have the same name"),
        (Layer().file("x").symlink("./x", "y"), "have the same name"),
        (Layer().file("n" * (MAX_NAME + 1)), "longer than"),
    ],
)
def test_names_that_deceive_are_refused(tmp_path: Path, layer: Layer, problem: str) -> None:
    with pytest.raises(InvalidArchive, match=problem):
        index_of(tmp_path / "tar", layer.bytes())


def test_what_is_no_file_is_not_read(tmp_path: Path) -> None:
    index = index_of(tmp_path / "tar", Layer().fifo("f").device("d", 1, 3).bytes())
    for name in ("f", "d"):
        with pytest.raises(InvalidArchive, match="no plain file"):
            index.find(name)


@pytest.mark.parametrize("length", [100, 513, 700, 1000, 1511])
def test_archive_that_is_cut_off_is_refused(tmp_path: Path, length: int) -> None:
    whole = Layer().file("a", b"a" * 1000).bytes()
    with pytest.raises(InvalidArchive, match="cut off"):
        index_of(tmp_path / "tar", whole[:length])


@pytest.mark.parametrize("length", [1512, 1513, 1536, 2048])
def test_padding_of_the_last_entry_may_be_missing(tmp_path: Path, length: int) -> None:
    whole = Layer().file("a", b"a" * 1000).bytes()
    assert index_of(tmp_path / "tar", whole[:length]).find("a") == (512, 1000)
