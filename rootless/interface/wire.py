"""What the Python interface and its agent (`cli.agent`) say to each other.

A request is a packet on the control socket with two descriptors: a channel of its own, and a file that holds
the request as JSON. What is said on the channel are replies, JSON objects, a packet each:

    {"ok": {…}, "notices": […], "session": ["events", "stdin", …]}   with a descriptor for each word
    {"failed": {…}, "notices": […]}

A channel that closes before its reply tells that its process was killed.
"""

from __future__ import annotations

from rootless import errors
from rootless.errors import InternalError, RootlessError, UsageError
from rootless.runtime import handshake

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

SESSION = ("events", "stdin", "stdout", "stderr")
"""Descriptors of a session (`engine.session`), in the order in which they are sent."""


def failure_fields(error: RootlessError) -> dict[str, Any]:
    """Return an error as JSON, with the name of its class."""
    kind = next(each.__name__ for each in type(error).__mro__ if each.__module__ == errors.__name__)
    return {"kind": kind, **handshake.failure_fields(error)}


def failure_from(fields: dict[str, Any]) -> RootlessError:
    """Return the error that `failure_fields` described, of its class."""
    kind = getattr(errors, str(fields["kind"]), InternalError)
    known = {name: fields[name] for name in ("on", "hint", "reference", "exit_code")}
    if kind is UsageError:
        return UsageError(fields["message"], on=known["on"], hint=known["hint"])
    error: RootlessError = kind(fields["message"], **known)
    return error
