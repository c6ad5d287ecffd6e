"""`python -P -m rootless.runtime VERB …`: the door to the user namespace for processes that have threads.

    apply MAPPING RUN_DIR CONTROL   join, and unpack the layer that the descriptor CONTROL tells of: see
                                    `runtime.layer_worker`
    remove MAPPING RUN_DIR PATH…    join where needed, and remove trees

MAPPING is model.host.IdMapping as JSON. An internal interface of the engine, not for users.
"""

from __future__ import annotations

import json
import sys

from rootless.errors import EXIT_ENGINE, EXIT_FAILURE, RootlessError
from rootless.model.host import IdMapping
from rootless.runtime import layer_worker, userns


def main(argv: list[str]) -> int:
    """Run one verb and return the exit code."""
    if len(argv) < 4 or argv[0] not in ("apply", "remove"):
        print(__doc__, file=sys.stderr)
        return EXIT_ENGINE
    verb, mapping_text, run_dir, *rest = argv
    mapping = IdMapping.from_json(json.loads(mapping_text))
    if verb == "apply":
        return layer_worker.serve(mapping, run_dir, control=int(rest[0]))
    try:
        for path in rest:
            userns.remove_tree(path, mapping=mapping, run_dir=run_dir)
    except RootlessError as exc:
        print(exc.render(), file=sys.stderr)
        return EXIT_FAILURE
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
