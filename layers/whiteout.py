"""Deletions: the `.wh.` names of layer tars, and the two forms in which a snapshot keeps them. Pure.

"overlay" form: a character device 0:0 hides a name, the xattr `user.overlay.opaque` = "y" hides all that lies
below a directory (kernel: Documentation/filesystems/overlayfs.rst, "whiteouts and opaque directories"; mount
option userxattr). "files" form, for file systems without device nodes or xattrs: an empty file `.wh.NAME`, an
empty file `.wh..wh..opq`. Readers accept both; fuse-overlayfs 1.10 does too. No member of a layer can forge
either: names with the prefix never become files, device members become empty files, the xattrs below are
dropped. Spec: image-spec v1.1 layer.md §Whiteouts. Ring 1.
"""

from __future__ import annotations

import stat

from layers.errors import InvalidLayer

TYPE_CHECKING = False
if TYPE_CHECKING:
    import os

PREFIX = b".wh."
OPAQUE_NAME = b".wh..wh..opq"
META_PREFIX = b".wh..wh."
OPAQUE_XATTR = b"user.overlay.opaque"
OPAQUE_VALUE = b"y"
OVERLAY, FILES = "overlay", "files"

OWNER_XATTR = b"user.rootlesscontainers"
_PROTECTED = (
    b"user.overlay.",
    b"user.containers.",
    b"user.fuseoverlayfs.",
    b"trusted.overlay.",
    b"user.rootless.",
)
_HOST_SPECIFIC = frozenset((b"security.selinux", b"system.nfs4_acl", OWNER_XATTR))


class Whiteout:
    """What a `.wh.` member says: hide `name` in its directory, or all of the directory if `name` is b""."""

    __slots__ = ("name",)

    def __init__(self, name: bytes) -> None:
        self.name = name


def parse_whiteout(name: bytes) -> Whiteout | None:
    """Read the last component of a member's name that starts with PREFIX.

    Returns:
        None for other names of the form `.wh..wh.X`: aufs kept its own files there, every engine skips them.
    Raises:
        InvalidLayer: it would hide the directory itself or its parent (`.wh.`, `.wh..`, `.wh...`).
    """
    if name == OPAQUE_NAME:
        return Whiteout(b"")
    if name.startswith(META_PREFIX):
        return None
    hidden = name[len(PREFIX) :]
    if hidden in (b"", b".", b".."):
        raise InvalidLayer("cannot extract whiteout: it names no entry of its directory", entry=name)
    return Whiteout(hidden)


def is_whiteout_device(info: os.stat_result) -> bool:
    """Tell whether an entry is the overlay form of a whiteout."""
    return stat.S_ISCHR(info.st_mode) and info.st_rdev == 0


def may_come_from_image(xattr: bytes) -> bool:
    """Tell whether an image may set this extended attribute.

    The others steer this engine, overlayfs or fuse-overlayfs (an image could forge owners, whiteouts and
    redirects), or mean nothing away from the host that wrote them.
    """
    return xattr not in _HOST_SPECIFIC and not xattr.startswith(_PROTECTED)
