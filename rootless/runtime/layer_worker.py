"""The worker of layers: a process that enters the user namespace and is told then what to unpack there.

It must have one thread and no trio. What it is told, and answers, is the protocol of `layers.apply`, but for
the request, which is a line from the socket `control`; its end before that ends the worker, silently. After a
layer that went well there may be another: an empty line brings its stdin, then comes its request. A layer
that failed ends the worker. Ring 1.
"""

from __future__ import annotations

import gc
import json
import os

from rootless.errors import EXIT_FAILURE, RootlessError
from rootless.runtime import userns

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rootless.model.host import IdMapping


def serve(mapping: IdMapping, run_dir: str, *, control: int) -> int:
    """Be the worker of one layer after the other; returns the exit code."""
    try:
        userns.enter(mapping, run_dir)
    except RootlessError as exc:  # the reader of the protocol knows one form of failure
        answer = {
            "ok": False,
            "kind": "RootlessError",
            "message": exc.message,
            "on": exc.on or "",
            "hint": exc.hint or "",
        }
        print(json.dumps(answer), flush=True)
        return EXIT_FAILURE
    # After the namespace is joined: these imports take longer than that.
    from layers import apply, decompress

    decompress.decoder_of("gzip")  # what it imports is most likely needed, and nothing else to do
    gc.freeze()  # what is imported stays
    gc.enable()
    while request := _read_request(control):
        code = apply.main([json.dumps({**json.loads(request), "control": control})])
        if code or not _take_layer(control):
            return code
    return 0


def _read_request(control: int) -> bytes:
    """Return the line with a request, b"" where there will be none."""
    line = b""
    while not line.endswith(b"\n"):  # what follows the request comes after our first answer
        data = os.read(control, 1 << 16)
        if not data:
            return b""
        line += data
    return line


def _take_layer(control: int) -> bool:
    """Wait for the stdin of another layer; False when there is none."""
    import socket  # most images are a few layers, each with a worker of its own

    with socket.socket(fileno=os.dup(control)) as stream:
        data, descriptors, _, _ = socket.recv_fds(stream, 1, 1)
    for fd in descriptors:
        os.dup2(fd, 0)
        os.close(fd)
    return bool(data and descriptors)
