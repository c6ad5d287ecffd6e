"""`python -P -m rootless.runtime.archive MAPPING CONTROL`: a container's files as archives, and back.

One process for one request, made by `engine.archive`, that works where the files' ids are known: the user
namespace, for `cp` that of the container. An internal interface of the engine, not for users.

Rules of the protocol
    CONTROL  descriptor of a stream socket. First comes the request, one line of JSON, then answers go back,
             one line each. A request has "verb", "run_dir", and
        pack     "view", "path", "follow"      one file or directory as an archive on stdout
        unpack   "view", "path", "archive", "compression" ("auto" or a word of layers.decompress),
                 "source": null for an archive of the user's own, else {"directory", "contents", "name"}
                                               an archive on stdin into the container
        export   "now"                         the whole root file system, on stdout
        changes  "now", "before"               "A/path\\0C/path\\0D/path\\0…" on stdout
        layer    "now", "before"               the same as the archive of an image's layer, on stdout
    view     {"pid", "started"} of a running container, {"stopped": view.Stopped} of another
    now, before   {"layers": directories, topmost first, "form": …}: "layered" if the topmost is a container's
             own in overlay form, "mixed" with whiteouts of either form, "copy" for a directory as it is
    answers  {"ok": true, "event": "found", "kind", "name", "contents"}    pack, before the archive
             {"ok": true, "event": "done", "notes": ["…", …], "bytes": n}
             {"ok": false, …} as of handshake.failure_fields; "broken_pipe": true when a reader went away
    MAPPING  model.host.IdMapping as JSON

Paths are str with surrogateescape. The process dies with its parent.
"""

from __future__ import annotations

import errno
import json
import os
import select
import signal
import stat
import sys
from contextlib import suppress
from threading import Thread

from layers.chain import Chain, ChainDirectory, ChainEntry, PlainTree
from layers.effects import DirectOwners, RecordedOwners
from layers.errors import InvalidLayer, LayersError
from layers.pack import Packer
from layers.places import Found, Places
from rootless.errors import EXIT_FAILURE, InternalError, RootlessError, StateConflict, os_error_text
from rootless.linux import calls, const
from rootless.model import copying
from rootless.model.host import IdMapping
from rootless.runtime import handshake, userns, view
from rootless.runtime.plan import MOUNT_POINTS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from layers.effects import Owners

    Json = dict[str, Any]

STDIN, STDOUT, STDERR = 0, 1, 2
_KINDS = {
    stat.S_IFDIR: "directory",
    stat.S_IFREG: "file",
    stat.S_IFLNK: "link",
    stat.S_IFIFO: "fifo",
    stat.S_IFCHR: "device",
    stat.S_IFBLK: "device",
    stat.S_IFSOCK: "socket",
}
_KERNELS_OWN = frozenset(
    (
        const.PROC_SUPER_MAGIC,
        const.SYSFS_MAGIC,
        const.CGROUP_SUPER_MAGIC,
        const.CGROUP2_SUPER_MAGIC,
        const.DEVPTS_SUPER_MAGIC,
    )
)
_SNIFF_BYTES = 512


def main(argv: list[str]) -> int:
    """Do what the request says; see the module's docstring."""
    mapping, control = IdMapping.from_json(json.loads(argv[0])), int(argv[1])
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    os.umask(0)
    for fd in map(int, os.listdir("/proc/self/fd")):  # the lock and CONTROL are not for fuse-overlayfs
        with suppress(OSError):  # the listing's own
            os.set_inheritable(fd, fd <= STDERR)
    worker = _Worker(control, mapping)
    try:
        request = worker.receive()
        worker.run(request)
    except BrokenPipeError:
        worker.answer({"ok": False, "broken_pipe": True})
    except RootlessError as exc:
        worker.fail(exc)
    except LayersError as exc:
        entry = os.fsdecode(exc.entry) if isinstance(exc, InvalidLayer) and exc.entry else ""
        worker.fail(RootlessError(exc.message, on=entry or exc.on, hint=exc.hint, reference=exc.reference))
    except OSError as exc:
        worker.fail(_refused(exc, worker.doing))
    except Exception as exc:
        worker.fail(InternalError(f"cannot work on the container's files: {type(exc).__name__}: {exc}"))
    else:
        return 0
    return EXIT_FAILURE


class _Worker:
    def __init__(self, control: int, mapping: IdMapping) -> None:
        self.doing = "work on the container's files"
        self._control = control
        self._mapping = mapping
        self._owners: Owners = DirectOwners() if mapping.mode == "ranges" else RecordedOwners()

    def receive(self) -> Json:
        line = b""
        while not line.endswith(b"\n"):
            data = os.read(self._control, 1 << 16)
            if not data:
                os._exit(EXIT_FAILURE)  # whoever made us is gone
            line += data
        request: Json = json.loads(line)
        return request

    def answer(self, fields: Json) -> None:
        try:
            os.write(self._control, json.dumps(fields).encode() + b"\n")
        except (BrokenPipeError, ConnectionResetError):
            os._exit(EXIT_FAILURE)

    def fail(self, error: RootlessError) -> None:
        self.answer({"ok": False, **handshake.failure_fields(error)})

    def run(self, request: Json) -> None:
        verb = request["verb"]
        if verb in ("pack", "unpack"):
            places = Places(self._open_view(request["view"], write=verb == "unpack"), follow=True)
            self._die_with_parent()
            if verb == "pack":
                self._pack(places, request["path"], follow=request["follow"])
            else:
                self._unpack(places, request)
            return
        userns.enter(self._mapping, request["run_dir"])
        self._die_with_parent()
        if verb == "export":
            self._export(request)
        else:
            self._compare(request)

    def _open_view(self, fields: Json, *, write: bool) -> int:
        """Return a descriptor of the container's root, open for listing."""
        if "pid" in fields:
            root, pidfd = view.open_running(fields["pid"], fields["started"])
            if write:
                Thread(target=self._end_with, args=(pidfd,), daemon=True).start()
        else:
            root = view.open_stopped(view.Stopped.from_json(fields["stopped"]), self._mapping)
        return os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=root)

    def _end_with(self, pidfd: int) -> None:
        """Fail when the container ends: what it is started with next is another mount of the same files."""
        select.select([pidfd], [], [])
        self.fail(StateConflict(f"cannot {self.doing}: it has ended meanwhile", hint="copy once more"))
        os._exit(EXIT_FAILURE)

    def _die_with_parent(self) -> None:
        """Set the death signal, which the kernel forgets when credentials change (man 2 PR_SET_PDEATHSIG)."""
        calls.prctl(const.PR_SET_PDEATHSIG, signal.SIGKILL)

    def _pack(self, places: Places, path: str, *, follow: bool) -> None:
        self.doing = f"copy {path} from the container"
        found = _find(places, path, follow=follow or copying.wants_directory(path))
        if found.info is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
        if copying.wants_directory(path) and not found.is_directory:
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
        kind = _KINDS[stat.S_IFMT(found.info.st_mode)]
        if kind == "socket":
            raise RootlessError(f"cannot {self.doing}: it is a socket", reference="not-copyable")
        name, contents = copying.own_name(path), copying.wants_contents(path)
        self.answer({"ok": True, "event": "found", "kind": kind, "name": name, "contents": contents})
        packer = Packer(STDOUT, owners=self._owners)
        if not _add(packer, places, found, b"." if contents else os.fsencode(name)):
            raise RootlessError(f"cannot {self.doing}: it changes meanwhile", reference="files")
        self._finish(packer)

    def _unpack(self, places: Places, request: Json) -> None:
        from layers.tarcodec import TarReader
        from layers.unpack import Unpacker, replace_top

        path, source = request["path"], request["source"]
        self.doing = f"copy to {path} in the container"
        found = _find(places, path, follow=True)
        how = copying.INTO
        if source is not None:
            how = copying.place(
                is_directory=source["directory"],
                contents=source["contents"],
                target=path,
                exists=found.info is not None,
                target_is_directory=found.is_directory,
            )
        elif not found.is_directory:
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
        if found.info is not None and stat.S_IFMT(found.info.st_mode) not in (stat.S_IFDIR, stat.S_IFREG):
            raise RootlessError(
                f"cannot {self.doing}: it is neither a file nor a directory", reference="copy-target"
            )
        top = found.directory if how == copying.AS else places.enter(found)
        rename = bytes if source is None else replace_top(_new_name(how, found, source))
        unpacker = Unpacker(places, top, owners=self._owners, archive=request["archive"], rename=rename)
        reader = TarReader(_plain_chunks(request["compression"]))
        unpacker.run(reader)
        reader.drain()
        self._done([*unpacker.notes, *self._owners.notes])

    def _export(self, request: Json) -> None:
        self.doing = "export the container's files"
        with _open_tree(request["now"]) as now:
            packer = Packer(STDOUT, owners=self._owners)
            if now.root is not None:
                packer.add_tree(now, now.root, b"")
            self._finish(packer)

    def _compare(self, request: Json) -> None:
        from layers.diff import find_changes, pack_changes

        self.doing = "compare the container's files with its image"
        with _open_tree(request["now"]) as now, _open_tree(request["before"]) as before:
            layered = request["now"]["form"] != "copy"
            changes = find_changes(now, before, layered=layered, scaffold=MOUNT_POINTS)
            if request["now"] == request["before"]:  # it has not been started yet
                changes = iter(())
            if request["verb"] == "layer":
                packer = Packer(STDOUT, owners=self._owners, sparse=False)
                pack_changes(changes, now, packer)
                self._finish(packer)
                return
            with open(STDOUT, "wb", buffering=1 << 16, closefd=False) as out:
                for change in changes:
                    out.write(change.kind.encode() + b"/" + change.path + b"\0")
            self._done([])

    def _finish(self, packer: Packer) -> None:
        packer.finish()
        self._done(packer.notes, written=packer.written)

    def _done(self, notes: list[str], *, written: int = 0) -> None:
        os.close(STDOUT)  # its reader sees the end before it reads our last word
        self.answer({"ok": True, "event": "done", "notes": notes, "bytes": written})


class _ContainerTree(PlainTree):
    """A directory of a container: /proc and its like look empty, unless one of them was asked for."""

    def entries(self, directory: ChainDirectory) -> dict[bytes, ChainDirectory | ChainEntry]:
        (part,), (top,) = directory.parts, (self.root or directory).parts
        if _is_kernels_own(self.fd(part)) and not _is_kernels_own(top.fd):
            return {}
        return super().entries(directory)


def _is_kernels_own(fd: int) -> bool:
    return calls.fstatfs_type(fd) in _KERNELS_OWN


def _find(places: Places, path: str, *, follow: bool) -> Found:
    try:
        return places.find(os.fsencode(path), follow=follow)
    except OSError as exc:
        exc.filename = None  # of a component: what is being done names the path
        raise


def _add(packer: Packer, places: Places, found: Found, name: bytes) -> bool:
    """Write what was found in a container, a directory with all below it; False if it has vanished."""
    assert found.info is not None
    if not found.is_directory:
        return packer.add_entry(places, ChainEntry(found.directory, found.name, found.info), name)
    with _ContainerTree(f"/proc/self/fd/{places.fd(places.enter(found))}") as tree:
        assert tree.root is not None
        return packer.add_tree(tree, tree.root, name)


def _new_name(how: str, found: Found, source: Json) -> bytes:
    if how == copying.CONTENTS:
        return b""
    return found.name if how == copying.AS else os.fsencode(source["name"])


def _open_tree(fields: Json) -> Chain:
    layers, form = fields["layers"], fields["form"]
    return PlainTree(layers[0]) if form == "copy" else Chain(layers, plain_names=form == "layered")


def _plain_chunks(compression: str) -> Iterator[bytes]:
    """Yield the bytes of stdin, decompressed."""
    from layers.decompress import decoder_of, detect

    start = b""
    if compression == "auto":
        while len(start) < _SNIFF_BYTES and (data := os.read(STDIN, _SNIFF_BYTES - len(start))):
            start += data
        compression = detect(start)
    pending = [start] if start else []

    def read(size: int) -> bytes:
        return pending.pop() if pending else os.read(STDIN, size)

    yield from decoder_of(compression)(read)


def _refused(exc: OSError, doing: str) -> RootlessError:
    name = exc.filename
    shown = os.fsdecode(name) if isinstance(name, (str, bytes)) else None
    hint = None
    if exc.errno in (errno.ENOSPC, errno.EDQUOT):
        hint = "free space on the file system of the store"
    return RootlessError(f"cannot {doing}: {os_error_text(exc)}", on=shown, hint=hint, reference="files")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
