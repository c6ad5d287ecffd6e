"""Asking before something is lost: the question of the `prune` commands. Ring 1."""

from __future__ import annotations

import sys

from rootless.cli import output


def agrees(warning: str) -> bool:
    """Print what will happen and ask; anything but "y", and the end of input, means no."""
    output.write(f"WARNING! {warning}\nAre you sure you want to continue? [y/N] ")
    if sys.stdout is not None:
        sys.stdout.flush()
    answer = sys.stdin.readline() if sys.stdin is not None else ""
    if not answer.endswith("\n"):
        output.write("\n")
    return answer.strip().lower() == "y"
