"""Run a command on a host without user namespaces, as a default Docker container is one.

unshare and clone with CLONE_NEWUSER and every mount fail with EPERM, clone3 with ENOSYS. x86-64 and arm64.
Usage: python -I deny_userns.py COMMAND [ARG...]
"""

import ctypes
import os
import platform
import struct
import sys

NUMBERS = {
    "x86_64": {"clone3": 435, "mount": 165, "unshare": 272, "clone": 56},
    "aarch64": {"clone3": 435, "mount": 40, "unshare": 97, "clone": 220},
}
LOAD, EQUAL, ANY_BIT, RETURN = 0x20, 0x15, 0x45, 0x06
ALLOW, EPERM, ENOSYS = 0x7FFF0000, 0x00050001, 0x00050026
CLONE_NEWUSER = 0x10000000


def instruction(code: int, k: int, jt: int = 0, jf: int = 0) -> bytes:
    return struct.pack("HBBI", code, jt, jf, k)


def program() -> bytes:
    nr = NUMBERS[platform.machine()]
    return b"".join(
        [
            instruction(LOAD, 0),
            instruction(EQUAL, nr["clone3"], 0, 1),
            instruction(RETURN, ENOSYS),
            instruction(EQUAL, nr["mount"], 0, 1),
            instruction(RETURN, EPERM),
            instruction(EQUAL, nr["unshare"], 1, 0),
            instruction(EQUAL, nr["clone"], 0, 3),
            instruction(LOAD, 16),
            instruction(ANY_BIT, CLONE_NEWUSER, 0, 1),
            instruction(RETURN, EPERM),
            instruction(RETURN, ALLOW),
        ]
    )


def main() -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    text = program()
    code = ctypes.create_string_buffer(text, len(text))
    fprog = ctypes.create_string_buffer(struct.pack("HxxxxxxQ", len(text) // 8, ctypes.addressof(code)))
    libc.prctl(38, 1, 0, 0, 0)  # PR_SET_NO_NEW_PRIVS
    if libc.prctl(22, 2, fprog, 0, 0) < 0:  # PR_SET_SECCOMP, SECCOMP_MODE_FILTER
        raise OSError(ctypes.get_errno(), "cannot install the filter")
    os.execvp(sys.argv[1], sys.argv[1:])


main()
