"""How a pull tells what it is doing; the base class tells nobody. `cli.progress` draws bars."""

from __future__ import annotations

WAITING = "Waiting"
DOWNLOADING = "Downloading"
DOWNLOADED = "Download complete"
EXTRACTING = "Extracting"
EXISTS = "Already exists"
COMPLETE = "Pull complete"
COPYING = "Copying"
COPIED = "Copy complete"
PUSHING = "Pushing"
PUSHED = "Pushed"
LAYER_EXISTS = "Layer already exists"
MOUNTED = "Mounted from another repository"


class Progress:
    """Receives the events of one pull, from one thread. A layer is known by its short digest."""

    def begin(self, title: str) -> None:
        """Start: "12: Pulling from library/debian"."""

    def add_layer(self, layer: str, size_bytes: int) -> None:
        """Announce a layer, in the order of the image, lowest first."""

    def set_status(self, layer: str, status: str) -> None:
        """Say what a layer is at: one of the constants of this module."""

    def advance(self, layer: str, count: int) -> None:
        """Count bytes of a layer that have arrived."""

    def close(self) -> None:
        """End, however it ended; the terminal is as before. Idempotent."""
