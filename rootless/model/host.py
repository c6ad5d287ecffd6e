"""What this host can do, as found by `runtime.probe`, and the modes that `engine.modes` chose from it."""

from __future__ import annotations

from rootless.model.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class IdRange(Value):
    """One line of /etc/subuid or /etc/subgid (man 5 subuid)."""

    __slots__ = ("count", "start")

    def __init__(self, *, start: int, count: int) -> None:
        self.start = start
        self.count = count


class HostFacts(Value):
    """Capabilities of this host for this user; cached for the boot in the run directory.

    Attributes:
        user_namespaces: "" when they can be made, else why not (one line).
        newuidmap, newgidmap: absolute paths, "" when missing or not usable.
        subuids, subgids: ranges of this user.
        overlay: "" when a kernel overlay with userxattr can be mounted on the store, else why not.
        fuse_overlayfs: path of the program when /dev/fuse opens too, else "".
        reflink: the store's file system clones extents (man 2 ioctl_ficlone).
        pasta, slirp4netns: paths, "" when missing (both need /dev/net/tun).
        proc_mountable: a new procfs can be mounted in a new pid namespace (False in a container
            whose own /proc is masked).
        xattrs: the store takes user.* extended attributes.
        user: login name, or the uid's digits when it has none.
        restriction: what refuses user namespaces, a word of `runtime.restrictions`; "" when nothing does.
        reasons: name of a fact above → why it is missing, one line each.
    """

    __slots__ = (
        "fuse_overlayfs",
        "gid",
        "newgidmap",
        "newuidmap",
        "overlay",
        "pasta",
        "proc_mountable",
        "reasons",
        "reflink",
        "restriction",
        "slirp4netns",
        "subgids",
        "subuids",
        "uid",
        "user",
        "user_namespaces",
        "xattrs",
    )
    nested = {"subuids": IdRange, "subgids": IdRange}  # noqa: RUF012

    def __init__(
        self,
        *,
        uid: int,
        gid: int,
        user_namespaces: str = "",
        newuidmap: str = "",
        newgidmap: str = "",
        subuids: tuple[IdRange, ...] = (),
        subgids: tuple[IdRange, ...] = (),
        overlay: str = "",
        fuse_overlayfs: str = "",
        reflink: bool = False,
        pasta: str = "",
        slirp4netns: str = "",
        proc_mountable: bool = True,
        xattrs: bool = True,
        user: str = "",
        restriction: str = "",
        reasons: Mapping[str, str] | None = None,
    ) -> None:
        self.uid = uid
        self.gid = gid
        self.user_namespaces = user_namespaces
        self.newuidmap = newuidmap
        self.newgidmap = newgidmap
        self.subuids = subuids
        self.subgids = subgids
        self.overlay = overlay
        self.fuse_overlayfs = fuse_overlayfs
        self.reflink = reflink
        self.pasta = pasta
        self.slirp4netns = slirp4netns
        self.proc_mountable = proc_mountable
        self.xattrs = xattrs
        self.user = user or str(uid)
        self.restriction = restriction
        self.reasons = dict(reasons or {})


class IdMapping(Value):
    """How ids of the container meet ids of the host (man 7 user_namespaces).

    Attributes:
        mode: "ranges" (newuidmap), "single" (one id, no helper), or "none": no user namespace can be made,
            only the store works (`engine.modes.store_modes`).
        uids, gids: (container_id, host_id, size) triples, ascending.
        key: names the mapping in `snapshots/<key>/`: trees extracted under it carry its host ids.
    """

    __slots__ = ("gids", "key", "mode", "uids")

    def __init__(
        self,
        *,
        mode: str,
        uids: Sequence[Sequence[int]],
        gids: Sequence[Sequence[int]],
        key: str,
    ) -> None:
        self.mode = mode
        self.uids = tuple((a, b, n) for a, b, n in uids)
        self.gids = tuple((a, b, n) for a, b, n in gids)
        self.key = key


class Modes(Value):
    """The way in which this host runs containers.

    Attributes:
        identity: "ranges", "single", or "none" (`engine.modes.store_modes`).
        storage: "overlay", "fuse-overlayfs" or "copy".
        network: default driver.
        notices: what is lost compared with a fully equipped host, one line each.
    """

    __slots__ = ("identity", "mapping", "network", "notices", "storage")
    nested = {"mapping": IdMapping}  # noqa: RUF012

    def __init__(
        self,
        *,
        identity: str,
        mapping: IdMapping,
        storage: str,
        network: str,
        notices: tuple[str, ...] = (),
    ) -> None:
        self.identity = identity
        self.mapping = mapping
        self.storage = storage
        self.network = network
        self.notices = notices
