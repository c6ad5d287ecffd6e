"""The worker that unpacks one layer: one process per layer, fed with bytes as they arrive.

It runs where ids are mapped already (inside the user namespace), or with no namespace at all as an ordinary user.
Whoever starts it owns the directory: fresh, empty, and removed by the owner when the worker fails or is killed.

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
        2. {"ok": true, "event": "finished", "whiteouts": "overlay"|"files", "notes": ["…", …]}    then exit code 0
        or, instead of either, {"ok": false, "kind": "InvalidLayer", "message": "…", "on": "…", "hint": "…"}, then
        exit code 1. kind is a class of layers.errors, or "OSError" with "errno": n besides (ENOSPC, EDQUOT, EMFILE…).
    stderr   nothing, unless this program has a bug.

"whiteouts" says how deletions are kept in the tree, the same for every reader (`layers.whiteout`): "overlay" is what
the kernel's overlayfs and fuse-overlayfs read (character device 0:0, xattr `user.overlay.opaque`), "files" is what a
file system without them gets (`.wh.NAME` and `.wh..wh..opq`, which fuse-overlayfs and the copy storage read).
"""

from __future__ import annotations
