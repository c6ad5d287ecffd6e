"""`python -P -m rootless.runtime VERB …`: the door to the user namespace for processes that have threads.

    apply MAPPING RUN_DIR CONTROL   join, read the request, a line, from the descriptor CONTROL, then unpack a
                                    layer: the rest of the protocol is `layers.apply`'s; its end before the
                                    request ends the worker, silently
    remove MAPPING RUN_DIR PATH…    join where needed, and remove trees

MAPPING is model.host.IdMapping as JSON. An internal interface of the engine, not for users.
"""

from __future__ import annotations

import json
import os
import sys

from rootless.errors import EXIT_ENGINE, EXIT_FAILURE, RootlessError
from rootless.model.host import IdMapping
from rootless.runtime import userns


def main(argv: list[str]) -> int:
    """Run one verb and return the exit code."""
    if len(argv) < 4 or argv[0] not in ("apply", "remove"):
        print(__doc__, file=sys.stderr)
        return EXIT_ENGINE
    verb, mapping_text, run_dir, *rest = argv
    mapping = IdMapping.from_json(json.loads(mapping_text))
    try:
        if verb == "remove":
            for path in rest:
                userns.remove_tree(path, mapping=mapping, run_dir=run_dir)
            return 0
        userns.enter(mapping, run_dir)
    except RootlessError as exc:
        if verb == "apply":  # the reader of the protocol knows one form of failure
            answer = {
                "ok": False,
                "kind": "RootlessError",
                "message": exc.message,
                "on": exc.on or "",
                "hint": exc.hint or "",
            }
            print(json.dumps(answer), flush=True)
        else:
            print(exc.render(), file=sys.stderr)
        return EXIT_FAILURE
    return _apply(int(rest[0]))


def _apply(control: int) -> int:
    # After the namespace is joined: these imports take longer than that.
    from layers import apply, decompress

    decompress.decoder_of("gzip")  # what it imports is most likely needed, and nothing else to do
    line = b""
    while not line.endswith(b"\n"):  # what follows the request comes after our first answer
        data = os.read(control, 1 << 16)
        if not data:
            return 0
        line += data
    return apply.main([json.dumps({**json.loads(line), "control": control})])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
