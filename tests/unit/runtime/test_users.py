"""Users and groups are looked up in files that an image wrote."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rootless.errors import RuntimeSetupError
from rootless.runtime.users import MAX_ID, find_identity, parse_id

PASSWD = b"""\
root:x:0:0:root:/root:/bin/sh
daemon:x:1:1:daemon:/usr/sbin:/usr/sbin/nologin
bob:x:1000:100::/home/bob:/bin/sh
1234:x:55:56:a name of digits:/digits:/bin/sh
"""
GROUP = b"""\
root:x:0:
users:x:100:
audio:x:29:bob,alice
staff:x:50:alice,bob
77:x:78:
"""


def find(user: str, *groups: str, passwd: bytes = PASSWD, group: bytes = GROUP) -> tuple:
    identity = find_identity(user, groups, passwd=passwd, group=group)
    return identity.uid, identity.gid, identity.groups, identity.home


@pytest.mark.parametrize(
    ("user", "expected"),
    [
        ("", (0, 0, (0,), "/root")),
        ("root", (0, 0, (0,), "/root")),
        ("bob", (1000, 100, (29, 50, 100), "/home/bob")),
        ("1000", (1000, 100, (29, 50, 100), "/home/bob")),
        ("bob:staff", (1000, 50, (50,), "/home/bob")),
        ("bob:0", (1000, 0, (0,), "/home/bob")),
        ("1000:1000", (1000, 1000, (1000,), "/home/bob")),
        ("4711", (4711, 0, (0,), "")),
        ("4711:4712", (4711, 4712, (4712,), "")),
        (":staff", (0, 50, (50,), "/root")),
        ("1234", (55, 56, (56,), "/digits")),  # a name of digits wins over the number, as in Docker
        ("bob:77", (1000, 78, (78,), "/home/bob")),
    ],
)
def test_user_forms_are_looked_up_as_docker_does(user: str, expected: tuple) -> None:
    assert find(user) == expected


def test_additional_groups_are_added_by_name_and_number() -> None:
    assert find("bob:users", "audio", "4000")[2] == (29, 100, 4000)


def test_primary_group_is_among_the_supplementary_ones() -> None:
    assert 50 in find("bob:50")[2]


WRONG_USERS = ["nobody-here", "bob:nogroup", "-1", "0:-1", "+0", "0x0", "١", "1e3", str(MAX_ID + 1)]
WRONG_USERS += ["4294967295", "4294967296", "18446744073709551616", "0:4294967295", "bob:root:root"]


@pytest.mark.parametrize("user", WRONG_USERS)
def test_unknown_or_overflowing_user_is_refused(user: str) -> None:
    with pytest.raises(RuntimeSetupError):
        find(user)


def test_overflowing_additional_group_is_refused() -> None:
    with pytest.raises(RuntimeSetupError, match="cannot run as group `4294967295`: ids go from 0 to"):
        find("bob", "4294967295")


def test_unknown_user_error_names_the_user_and_the_way_out() -> None:
    with pytest.raises(RuntimeSetupError) as caught:
        find("carol")
    assert caught.value.message == "cannot run as user `carol`: no such user in the container"
    assert caught.value.hint == "a number works without an entry in the image's /etc/passwd"


@pytest.mark.parametrize("field", [b"4294967296", b"-1", b"", b"x", b"0x0", b" 0", b"99999999999999999999"])
def test_passwd_line_with_a_bad_number_never_becomes_root(field: bytes) -> None:
    with pytest.raises(RuntimeSetupError):
        find("eve", passwd=b"eve:x:" + field + b":1::/:/bin/sh\n")
    with pytest.raises(RuntimeSetupError):
        find("eve", passwd=b"eve:x:1:" + field + b"::/:/bin/sh\n")


@pytest.mark.parametrize(
    "passwd", [b"", b"\n\n", b":::::\n", b"root\n", b"\xff\xfe:x:0:0\n", b"a:b:c:d:e:f:g:h\n"]
)
def test_broken_passwd_file_still_gives_root(passwd: bytes) -> None:
    assert find("", passwd=passwd)[:3] == (0, 0, (0,))


@given(st.binary(max_size=200), st.binary(max_size=200), st.text(max_size=12))
def test_any_files_and_any_user_give_ids_in_range_or_an_error(passwd: bytes, group: bytes, user: str) -> None:
    try:
        uid, gid, groups, _ = find(user, passwd=passwd, group=group)
    except (RuntimeSetupError, UnicodeEncodeError):
        return
    assert all(0 <= number <= MAX_ID for number in (uid, gid, *groups))


@given(st.integers(0, MAX_ID))
def test_parse_id_is_the_inverse_of_str(number: int) -> None:
    assert parse_id(str(number)) == number
