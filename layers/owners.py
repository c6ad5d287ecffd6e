"""Owners that could not be set for real, kept in the xattr `user.rootlesscontainers`. Pure.

The value is protobuf, `message Resource { uint32 uid = 1; uint32 gid = 2; }`, byte for byte as umoci and
PRoot write it: an id that is 0 is given as 2^32-1, "no change", and 0:0 is not recorded at all. Spec:
rootless-containers/proto. Ring 1.
"""

from __future__ import annotations

NO_CHANGE = 0xFFFFFFFF
"""In the record: the file's real owner stands. As a plain id, chown(2) means the same: no file can have
it."""


def encode_owner(uid: int, gid: int) -> bytes:
    """Return the value to record, b"" for 0:0, which needs no record.

    Args:
        uid, gid: 0 <= id < 2^32-1.
    """
    if uid == 0 and gid == 0:
        return b""
    return b"\x08" + _varint(uid or NO_CHANGE) + b"\x10" + _varint(gid or NO_CHANGE)


def decode_owner(value: bytes) -> tuple[int, int]:
    """Return (uid, gid) of a recorded value; "no change" and absent fields are 0.

    Raises:
        ValueError: not such a message.
    """
    fields = {1: 0, 2: 0}
    position = 0
    while position < len(value):
        key, position = _read_varint(value, position)
        number, position = _read_varint(value, position)
        if key & 7 or key >> 3 not in fields or number > NO_CHANGE:
            raise ValueError("malformed owner record")
        fields[key >> 3] = 0 if number == NO_CHANGE else number
    return fields[1], fields[2]


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def _read_varint(data: bytes, position: int) -> tuple[int, int]:
    number = shift = 0
    while True:
        if position >= len(data) or shift > 63:
            raise ValueError("malformed owner record")
        byte = data[position]
        number |= (byte & 0x7F) << shift
        position += 1
        shift += 7
        if byte < 0x80:
            return number, position
