"""The worker that unpacks a layer, fed with bytes as they arrive; `main` may be called for one after another.

It runs where ids are mapped already (inside the user namespace), or with no namespace at all as an ordinary
user. Whoever starts it owns the directory: fresh, empty, and removed by the owner when the worker fails or is
killed.

Rules of the protocol
    argv[0]  one JSON object, the request:
        root         path of the empty directory that becomes the layer's tree
        compression  "gzip", "zstd" or "none"
        diff_id      "sha256:…" of the plain tar; the bytes are refused if it differs
        owners       "direct": chown for real; "recorded": the xattr `user.rootlesscontainers` holds the owner
        max_bytes    optional: most plain bytes that the layer may have
        sync         optional, default true: write everything to disk before the last answer
        control      optional, default 3: the descriptor below
    stdin    the compressed bytes; end of file ends the layer. A killed sender looks like a truncated layer:
             the digest cannot match, nothing is committed.
    control  a descriptor for reading. After the first answer one line of JSON:
             {"parents": ["/…/snapshot of the layer below", …, "/…/snapshot of the lowest layer"]}
             End of file instead cancels (exit code 1, no answer). It may be written at any time before, too.
    stdout   answers, one line of JSON each, ASCII only:
        1. {"ok": true, "event": "extracted", "diff_id": "sha256:…", "plain_bytes": n, "entries": n,
            "needs_parents": bool}    needs_parents false: {"parents": []} may be sent without waiting
        2. {"ok": true, "event": "finished", "whiteouts": "overlay"|"files", "notes": ["…", …]}
           then exit code 0. Or, instead of either,
           {"ok": false, "kind": "InvalidLayer", "message": "…", "on": "…", "hint": "…"}
           then exit code 1. kind is a class of layers.errors, or "OSError", which has "errno": n besides
           (ENOSPC, EDQUOT, EMFILE…) and no hint.
    stderr   nothing, unless this program has a bug.

"whiteouts" says how deletions are kept in the tree, the same for every reader (`layers.whiteout`): "overlay"
is what the kernel's overlayfs and fuse-overlayfs read (character device 0:0, xattr `user.overlay.opaque`),
"files" is what a file system without them gets (`.wh.NAME` and `.wh..wh..opq`, which fuse-overlayfs and the
copy storage read).
"""

from __future__ import annotations

import json
import os
import sys

from layers.chain import Chain
from layers.decompress import PlainStream
from layers.digest import Digest
from layers.effects import DirectOwners, RecordedOwners
from layers.errors import InvalidLayer, LayersError
from layers.extract import Extractor
from layers.finalize import Finalizer, needs_parents
from layers.syscalls import syncfs
from layers.tarcodec import TarReader

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any, Self

    from layers.effects import Owners

EXIT_OK, EXIT_FAILED = 0, 1
_MAX_CONTROL_BYTES = 1 << 20


class Request:
    """What the worker is asked to do; see the module's docstring."""

    __slots__ = ("compression", "control", "diff_id", "max_bytes", "owners", "root", "sync")

    def __init__(
        self,
        root: str,
        *,
        compression: str,
        diff_id: str,
        owners: str,
        max_bytes: int | None = None,
        sync: bool = True,
        control: int = 3,
    ) -> None:
        if owners not in _OWNERS:
            raise ValueError(f"owners must be one of {', '.join(_OWNERS)}, not {owners!r}")
        self.root = root
        self.compression = compression
        self.diff_id = Digest.parse(diff_id)
        self.owners = owners
        self.max_bytes = max_bytes
        self.sync = sync
        self.control = control

    @classmethod
    def from_json(cls, text: str) -> Request:
        """Parse argv[0].

        Raises:
            ValueError: not such a request.
        """
        fields = json.loads(text)
        try:
            return cls(fields.pop("root"), **fields)
        except (KeyError, TypeError, AttributeError) as exc:
            raise ValueError(f"malformed request: {exc}") from exc

    def to_json(self) -> str:
        """Return argv[0] for a worker."""
        return json.dumps({name: getattr(self, name) for name in self.__slots__})


class LayerApplier:
    """Applies one layer: `extract`, then `finish`. Must run with umask 0 where the layer's ids are mapped.

    A context manager that closes the descriptors it opened.

    Args:
        root_fd: a fresh empty directory; stays the caller's.
        owners: "direct" or "recorded".

    Attributes:
        plain_bytes, entries: what the layer held, once extracted.
    """

    def __init__(self, root_fd: int, *, owners: str) -> None:
        self._owners: Owners = _OWNERS[owners]()
        self._root_fd = root_fd
        self._extractor = Extractor(root_fd, owners=self._owners)
        self.plain_bytes = 0
        self.entries = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._extractor.tree.close()

    @property
    def needs_parents(self) -> bool:
        """Tell whether `finish` needs to know the layers below."""
        return needs_parents(self._extractor)

    def extract(
        self, source_fd: int, *, compression: str, diff_id: Digest, max_bytes: int | None = None
    ) -> None:
        """Unpack the compressed bytes from a descriptor, to its end.

        Raises:
            DigestMismatch: the plain bytes are not the layer's.
            InvalidLayer: they are no archive, or a hostile one; what was made so far is inside the root.
            OSError: the disk is full, the source cannot be read.
        """
        stream = PlainStream(source_fd, compression, max_bytes=max_bytes)
        try:
            reader = TarReader(iter(stream))
            self._extractor.run(reader)
            reader.drain()
        finally:
            stream.close()
        stream.finish(diff_id)
        self.plain_bytes = stream.plain_bytes
        self.entries = reader.entries

    def finish(self, parents: Sequence[str | bytes]) -> tuple[str, list[str]]:
        """Finish the tree onto the layers below.

        Args:
            parents: directories of the finished layers below, topmost first.
        Returns:
            the form of whiteouts ("overlay" or "files"), and notes for the user on what could not be kept.
        Raises:
            InvalidLayer: the layer does not fit onto those below.
            OSError: the disk's fault.
        """
        with Chain(parents) as chain:
            finalizer = Finalizer(self._extractor, chain)
            finalizer.run()
        return finalizer.form, list(self._owners.notes)


_OWNERS: dict[str, Callable[[], Owners]] = {"direct": DirectOwners, "recorded": RecordedOwners}


def main(argv: Sequence[str]) -> int:
    """Be the worker; see the module's docstring.

    Args:
        argv: the request, without the program's name.
    """
    os.umask(0)
    try:
        request = Request.from_json(argv[0])
        return _work(request)
    except LayersError as exc:
        _answer(
            {
                "ok": False,
                "kind": type(exc).__name__,
                "message": exc.message,
                "on": _shown(exc.entry) if isinstance(exc, InvalidLayer) and exc.entry else exc.on,
                "hint": exc.hint,
            }
        )
    except OSError as exc:
        name = exc.filename if exc.filename is not None else ""
        shown = _shown(name) if isinstance(name, bytes) else str(name)
        _answer(
            {"ok": False, "kind": "OSError", "errno": exc.errno, "message": str(exc.strerror), "on": shown}
        )
    return EXIT_FAILED


def _work(request: Request) -> int:
    root_fd = os.open(request.root, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    with LayerApplier(root_fd, owners=request.owners) as applier:
        applier.extract(
            0, compression=request.compression, diff_id=request.diff_id, max_bytes=request.max_bytes
        )
        _answer(
            {
                "ok": True,
                "event": "extracted",
                "diff_id": request.diff_id,
                "plain_bytes": applier.plain_bytes,
                "entries": applier.entries,
                "needs_parents": applier.needs_parents,
            }
        )
        parents = _read_parents(request.control)
        if parents is None:
            return EXIT_FAILED
        form, notes = applier.finish(parents)
    if request.sync:
        syncfs(root_fd)
    os.close(root_fd)
    _answer({"ok": True, "event": "finished", "whiteouts": form, "notes": notes})
    return EXIT_OK


def _read_parents(control_fd: int) -> list[str] | None:
    """Read the line that names the layers below; None if the owner gave up."""
    line = b""
    while not line.endswith(b"\n"):
        data = os.read(control_fd, 1 << 16)
        if not data:
            return None
        line += data
        if len(line) > _MAX_CONTROL_BYTES:
            raise ValueError("the line of parents is too long")
    parents = json.loads(line)["parents"]
    return [str(path) for path in parents]


def _answer(fields: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(fields) + "\n")
    sys.stdout.flush()


def _shown(name: bytes) -> str:
    """Return a member's name for a message: not longer than a line, not valid UTF-8 perhaps."""
    text = name.decode("utf-8", "backslashreplace")
    return text if len(text) <= 200 else text[:197] + "..."


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
