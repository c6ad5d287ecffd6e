"""Commands that take several objects: do what can be done, complain about the rest, exit with 1. Ring 1."""

from __future__ import annotations

import sys

from rootless.errors import EXIT_FAILURE, RootlessError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


def for_each(words: Iterable[str], action: Callable[[str], None]) -> int:
    """Apply an action to every word; a failure is printed and does not keep the others from their turn.

    Returns:
        0, or 1 if any failed.
    """
    code = 0
    for word in words:
        try:
            action(word)
        except RootlessError as exc:
            report(exc)
            code = EXIT_FAILURE
    return code


def report(exc: RootlessError) -> None:
    """Print an error below what is already on stdout."""
    if sys.stdout is not None:
        sys.stdout.flush()
    print(exc.render(), file=sys.stderr, flush=True)
