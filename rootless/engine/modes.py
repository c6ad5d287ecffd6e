"""Choose how this host runs containers: identity, storage, network. The only place that chooses. Ring 1.

`choose` is pure; `load_modes` reads the facts of this boot first. Nothing here tries anything on the host:
that is `runtime.probe`.
"""

from __future__ import annotations

import os
import sys

from rootless.errors import HostUnsupported, UsageError
from rootless.model.host import HostFacts, IdMapping, IdRange, Modes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from rootless.paths import Paths

IDENTITIES = ("auto", "ranges", "single")
STORAGES = ("overlay", "fuse-overlayfs", "copy")
"""Best first."""
_EXPECTED_IDS = 65536
"""Images use ids from 0 to 65535; "nobody" is 65534."""


def load_modes(
    paths: Paths, *, userns: str = "auto", storage: str = "", network: str = ""
) -> tuple[HostFacts, Modes]:
    """Return the facts of this host and the modes chosen from them; see `load_facts` and `choose`.

    Raises:
        HostUnsupported: no container can run here, or not in the way asked for.
    """
    facts = load_facts(paths)
    return facts, choose(facts, userns=userns, storage=storage, network=network)


def load_facts(paths: Paths) -> HostFacts:
    """Return what this host can do, from the cache of this boot (0.4 ms) or by trying (25 ms).

    Must run in a process with one thread, after `paths.ensure()`: what is tried is tried in forks.
    """
    from rootless.runtime import probe

    return probe.load_facts(paths)


def choose(facts: HostFacts, *, userns: str = "auto", storage: str = "", network: str = "") -> Modes:
    """Choose the best modes that a host allows; pure.

    Args:
        userns: "auto", or "ranges" or "single" to insist.
        storage: "" for the best, else "overlay", "fuse-overlayfs" or "copy" to insist.
        network: "" for the best, else a driver's name, which the driver itself checks.
    Raises:
        HostUnsupported: there are no user namespaces, or what is insisted on is not there.
        UsageError: a name is unknown.
    """
    if userns not in IDENTITIES:
        raise UsageError(f"unknown user namespace mode: {userns}", hint="one of: " + ", ".join(IDENTITIES))
    if storage and storage not in STORAGES:
        raise UsageError(f"unknown storage: {storage}", hint="one of: " + ", ".join(STORAGES))
    if facts.user_namespaces:
        raise _no_user_namespaces(facts)
    notices: list[str] = []
    mapping = _choose_mapping(facts, userns, notices)
    chosen_storage = _choose_storage(facts, storage, notices)
    chosen_network = network or _choose_network(facts, notices)
    if not facts.proc_mountable:
        notices.append(
            "containers see the processes of the host in /proc: a new /proc cannot be mounted here"
        )
    return Modes(
        identity=mapping.mode,
        mapping=mapping,
        storage=chosen_storage,
        network=chosen_network,
        notices=tuple(notices),
    )


def load_store_modes(paths: Paths) -> tuple[HostFacts, Modes]:
    """Return facts and modes for commands that only use the store: pull, rmi, rm; works on every host."""
    facts = load_facts(paths)
    return facts, store_modes(facts)


def store_modes(facts: HostFacts) -> Modes:
    """Choose as `choose` does; where user namespaces are refused, the modes in which the store still works.

    Their mapping has mode "none": files are written as this user, without entering a namespace. Its key is
    that of "single", since the files are the same.
    """
    if not facts.user_namespaces:
        return choose(facts)
    mapping = single_mapping(facts.uid, facts.gid).replace(mode="none")
    notice = f"containers cannot run on this host: {facts.user_namespaces}"
    return Modes(identity="none", mapping=mapping, storage="copy", network="none", notices=(notice,))


def single_mapping(uid: int, gid: int) -> IdMapping:
    """Return the mapping that needs no helper: container root is this user, and no other id exists."""
    return IdMapping(mode="single", uids=((0, uid, 1),), gids=((0, gid, 1),), key="single")


def ranges_mapping(uid: int, gid: int, subuids: Sequence[IdRange], subgids: Sequence[IdRange]) -> IdMapping:
    """Return the mapping with subordinate ids: 0 is this user, the ranges follow from 1 without holes.

    The key names the mapping by content: trees unpacked under other ranges have other owners on disk.
    """
    import zlib  # built in or small, and in use already for the run directory

    uids, gids = _extents(uid, subuids), _extents(gid, subgids)
    crc = zlib.crc32(repr((uids, gids)).encode())
    return IdMapping(mode="ranges", uids=uids, gids=gids, key=f"ranges-{crc:08x}")


def ranges_problem(facts: HostFacts) -> str:
    """Say why subordinate ids cannot be used, one line; "" when they can."""
    if not facts.subuids or not facts.subgids:
        return facts.reasons.get("subuids", f"user {facts.user} has no subordinate ids")
    for name, path in (("newuidmap", facts.newuidmap), ("newgidmap", facts.newgidmap)):
        if not path:
            return f"{name} cannot be used: {facts.reasons.get(name, 'not installed')}"
    return ""


def storage_problem(facts: HostFacts, storage: str) -> str:
    """Say why a storage cannot be used, one line; "" when it can."""
    if storage == "overlay":
        return facts.overlay
    if storage == "fuse-overlayfs":
        if not facts.fuse_overlayfs:
            return facts.reasons.get("fuse_overlayfs", "not installed")
        return "" if facts.xattrs else "the store's file system has no user.* extended attributes"
    return ""


def _choose_mapping(facts: HostFacts, userns: str, notices: list[str]) -> IdMapping:
    problem = "" if userns == "single" else ranges_problem(facts)
    if userns == "ranges" and problem:
        raise HostUnsupported(
            f"cannot use subordinate ids: {problem}",
            hint="`rootless doctor` has the command for an administrator; without --userns one id is used",
            reference="no-subordinate-ids",
        )
    if problem:
        notices.append(f"containers have a single user id: {problem}")
    if problem or userns == "single":
        return single_mapping(facts.uid, facts.gid)
    mapping = ranges_mapping(facts.uid, facts.gid, facts.subuids, facts.subgids)
    count = min(sum(n for _, _, n in extents) for extents in (mapping.uids, mapping.gids))
    if count < _EXPECTED_IDS:
        notices.append(f"containers have the ids 0 to {count - 1} only: images may need up to 65535")
    return mapping


def _choose_storage(facts: HostFacts, wanted: str, notices: list[str]) -> str:
    problems = {storage: storage_problem(facts, storage) for storage in STORAGES}
    if wanted and problems[wanted]:
        raise HostUnsupported(
            f"cannot use the storage {wanted}: {problems[wanted]}",
            hint="without --storage the best that works here is used; `rootless doctor` says more",
            reference="storage-unsupported",
        )
    if wanted:
        return wanted
    best = next(storage for storage in STORAGES if not problems[storage])
    if best != "overlay":
        notices.append(f"storage is {best}, which is slower than overlay: {facts.overlay}")
    return best


def _choose_network(facts: HostFacts, notices: list[str]) -> str:
    if facts.pasta:
        return "pasta"
    if facts.slirp4netns:
        return "slirp4netns"
    reason = facts.reasons.get("pasta", "pasta is not installed")
    notices.append(f"containers share the host's network: {reason}")
    return "host"


def _extents(own: int, ranges: Sequence[IdRange]) -> tuple[tuple[int, int, int], ...]:
    extents = [(0, own, 1)]
    first = 1
    for item in ranges:
        if not item.start <= own < item.start + item.count:  # a host id can be mapped once
            extents.append((first, item.start, item.count))
            first += item.count
    return tuple(extents)


def _no_user_namespaces(facts: HostFacts) -> HostUnsupported:
    from rootless.engine import remedies  # only who fails pays for the texts

    command = remedies.user_namespaces(facts.restriction, executable=os.path.realpath(sys.executable))
    return HostUnsupported(
        f"cannot run containers on this host: {facts.user_namespaces}",
        hint=f"what would lift this:\n{command}",
        reference="no-user-namespaces",
    )
