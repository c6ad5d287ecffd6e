"""What a pull looks like: bars on a terminal, one line per event elsewhere. The only importer of tqdm."""

from __future__ import annotations

import sys

from rootless.engine.progress import (
    COMPLETE,
    COPIED,
    DOWNLOADED,
    EXISTS,
    LAYER_EXISTS,
    MOUNTED,
    PUSHED,
    Progress,
)
from rootless.errors import printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_DONE = frozenset((EXISTS, COMPLETE, COPIED, LAYER_EXISTS, MOUNTED, PUSHED))
_LINES = _DONE | {DOWNLOADED}
"""What is worth a line where lines cannot be replaced."""


def make_progress(*, quiet: bool) -> Progress:
    """Return what fits stdout and stderr: nothing with -q, bars on a terminal, lines elsewhere."""
    if quiet:
        return Progress()
    if sys.stderr is not None and sys.stderr.isatty():
        return Bars()
    return Lines()


_WIDTH = len(DOWNLOADED)
"""Of the longest status: bars stay in line."""


class Lines(Progress):
    """Docker's lines for a pipe, on stdout."""

    def begin(self, title: str) -> None:
        self._print(title)

    def set_status(self, layer: str, status: str) -> None:
        if status in _LINES:
            self._print(f"{layer}: {status}")

    def _print(self, line: str) -> None:
        print(printable(line), flush=True)


class Bars(Progress):
    """One tqdm bar per layer on stderr, which stay when all is done."""

    def __init__(self) -> None:
        self._bars: dict[str, Any] = {}

    def begin(self, title: str) -> None:
        print(printable(title), flush=True)

    def add_layer(self, layer: str, size_bytes: int) -> None:
        from tqdm import tqdm  # 100 ms that a pull into a pipe does not need

        if layer in self._bars:
            return  # the same layer twice in one image
        self._bars[layer] = tqdm(
            total=size_bytes,
            desc=layer,
            unit="B",
            unit_scale=True,
            position=len(self._bars),
            leave=True,
            file=sys.stderr,
            dynamic_ncols=True,
            bar_format="{desc} {bar:24} {n_fmt}/{total_fmt}",
        )

    def set_status(self, layer: str, status: str) -> None:
        bar = self._bars[layer]
        if status in _DONE:
            bar.update(bar.total - bar.n)
        bar.set_description_str(f"{layer}: {status:<{_WIDTH}}")

    def advance(self, layer: str, count: int) -> None:
        self._bars[layer].update(count)

    def close(self) -> None:
        for bar in self._bars.values():
            bar.close()
        self._bars.clear()
