"""Names of whiteouts, their stored forms, and the xattrs that an image may not set; records of owners."""

from __future__ import annotations

import os

import pytest

from layers.errors import InvalidLayer
from layers.owners import decode_owner, encode_owner
from layers.whiteout import may_come_from_image, parse_whiteout


def hidden(name: bytes) -> bytes:
    whiteout = parse_whiteout(name)
    assert whiteout is not None
    return whiteout.name


def test_whiteout_hides_the_name_behind_the_prefix() -> None:
    assert hidden(b".wh.x") == b"x"
    assert hidden(b".wh....") == b"..."
    assert hidden(b".wh.wh.x") == b"wh.x"


def test_opaque_whiteout_hides_everything() -> None:
    assert hidden(b".wh..wh..opq") == b""


@pytest.mark.parametrize("name", [b".wh.", b".wh..", b".wh..."])
def test_whiteout_of_its_own_directory_or_the_parent_is_refused(name: bytes) -> None:
    with pytest.raises(InvalidLayer, match="names no entry of its directory"):
        parse_whiteout(name)


@pytest.mark.parametrize("name", [b".wh..wh.foo", b".wh..wh.aufs", b".wh..wh.plnk", b".wh..wh."])
def test_nested_whiteout_is_skipped(name: bytes) -> None:
    assert parse_whiteout(name) is None


@pytest.mark.parametrize(
    "name",
    [
        b"user.rootlesscontainers",
        b"user.overlay.opaque",
        b"user.overlay.redirect",
        b"user.fuseoverlayfs.override_stat",
        b"user.containers.override_stat",
        b"trusted.overlay.opaque",
        b"security.selinux",
    ],
)
def test_xattr_that_steers_an_engine_may_not_come_from_an_image(name: bytes) -> None:
    assert not may_come_from_image(name)


@pytest.mark.parametrize(
    "name", [b"user.x", b"security.capability", b"user.overlayish", b"system.posix_acl_access"]
)
def test_other_xattrs_may(name: bytes) -> None:
    assert may_come_from_image(name)


@pytest.mark.parametrize(
    ("uid", "gid", "value"),
    [
        (0, 0, ""),
        (1000, 100, "08e8071064"),
        (5, 0, "080510ffffffff0f"),
        (0, 42, "08ffffffff0f102a"),
        (2**32 - 2, 1, "08feffffff0f1001"),
    ],
)
def test_owner_is_recorded_as_umoci_does(uid: int, gid: int, value: str) -> None:
    assert encode_owner(uid, gid).hex() == value
    assert decode_owner(bytes.fromhex(value)) == (uid, gid)


@pytest.mark.parametrize("value", ["08", "0a0141", "1805", "08ffffffff1f", "ff" * 20])
def test_malformed_owner_record_is_refused(value: str) -> None:
    with pytest.raises(ValueError, match="malformed owner record"):
        decode_owner(bytes.fromhex(value))


def test_record_with_one_field_leaves_the_other_at_zero() -> None:
    assert decode_owner(b"\x10\x07") == (0, 7)
    assert os.fsencode("") == b""
