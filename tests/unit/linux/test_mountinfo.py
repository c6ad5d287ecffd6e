from __future__ import annotations

import pytest

from rootless.linux import mountinfo

TEXT = b"""\
27 1 254:0 / / rw,relatime - ext4 /dev/vda rw,discard
36 35 98:0 /mnt1 /mnt/a\\040b rw,noatime master:1 shared:2 - ext3 /dev/root rw,errors=continue
37 27 0:40 / /mnt rw - tmpfs tmp\\134fs rw
"""


def test_optional_fields_are_skipped_and_escapes_undone() -> None:
    entry = list(mountinfo.parse(TEXT))[1]
    assert (entry.mount_id, entry.parent_id, entry.target) == (36, 35, b"/mnt/a b")
    assert (entry.fstype, entry.source) == (b"ext3", b"/dev/root")
    assert entry.super_options == (b"rw", b"errors=continue")


def test_backslash_is_undone() -> None:
    assert list(mountinfo.parse(TEXT))[2].source == b"tmp\\fs"


def test_line_without_separator_is_an_error() -> None:
    with pytest.raises(ValueError, match="no separator"):
        list(mountinfo.parse(b"27 1 254:0 / / rw,relatime ext4 /dev/vda rw\n"))


@pytest.mark.parametrize(
    ("path", "mount_id"),
    [(b"/", 27), (b"/mn", 27), (b"/mnt", 37), (b"/mnt/x", 37), (b"/mntx", 27), (b"/mnt/a b/c", 36)],
)
def test_mount_of_a_path_is_the_longest_by_whole_components(path: bytes, mount_id: int) -> None:
    found = mountinfo.find_mount(mountinfo.parse(TEXT), path)
    assert found is not None
    assert found.mount_id == mount_id


def test_own_mountinfo_parses() -> None:
    with open("/proc/self/mountinfo", "rb") as file:
        assert any(entry.target == b"/" for entry in mountinfo.parse(file.read()))
