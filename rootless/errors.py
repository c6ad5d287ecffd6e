"""Every failure that a user can meet: what happened, on which object, what to do next.

A leaf: imports nothing. Low-level code raises OSError; the layer that knows the object translates it
once into one of the families below. Ring 0.
"""

from __future__ import annotations

EXIT_FAILURE = 1
"""A command other than run, create, start or exec failed (docker's own choice)."""
EXIT_ENGINE = 125
"""The engine failed before the container's command could start, or the command line is wrong."""
EXIT_NOT_EXECUTABLE = 126
"""The container's command exists but cannot be executed."""
EXIT_NOT_FOUND = 127
"""The container's command does not exist."""
EXIT_SIGNAL_BASE = 128
"""A command ended by signal n exits with 128 + n."""


class RootlessError(Exception):
    """A failure with its object and its remedy.

    Args:
        message: lower case, verb phrase first, cause last, no final period: "cannot extract layer: …".
        on: the object: a path, an image, a container, a layer; one line.
        hint: what the user can do next.
        reference: kebab-case name that documentation and scripts can rely on.
        exit_code: None leaves the choice to the command (125 for run, 1 for most others).
    """

    reference = "error"

    def __init__(
        self,
        message: str,
        *,
        on: str | None = None,
        hint: str | None = None,
        reference: str | None = None,
        exit_code: int | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.on = on
        self.hint = hint
        self.exit_code = exit_code
        if reference is not None:
            self.reference = reference

    def render(self) -> str:
        """Return the text for a terminal: one to four lines, no newline at the end."""
        lines = [f"error: {printable(self.message)}"]
        if self.on:
            lines.append(f"  on:   {printable(self.on)}")
        if self.hint:
            lines.extend(_hint_lines(self.hint.splitlines()))
        lines.append(f"  [{self.reference}]")
        return "\n".join(lines)


class UsageError(RootlessError):
    """The command line is wrong."""

    reference = "usage"

    def __init__(self, message: str, *, hint: str | None = None, on: str | None = None) -> None:
        super().__init__(message, hint=hint, on=on, exit_code=EXIT_ENGINE)


class HelpRequested(Exception):
    """The user asked for `--help`; `text` goes to stdout and the exit code is 0."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text


class NotFound(RootlessError):
    """No object of that name or id exists here."""

    reference = "not-found"


class StateConflict(RootlessError):
    """The object exists, but its state forbids the request."""

    reference = "state-conflict"


class ImageError(RootlessError):
    """An image's content is wrong: digest, size, format, or a hostile entry."""

    reference = "bad-image"


class RegistryError(RootlessError):
    """The registry, or the way to it, is at fault."""

    reference = "registry"


class RuntimeSetupError(RootlessError):
    """A step of making the container failed."""

    reference = "setup"


class HostUnsupported(RootlessError):
    """This host cannot do it; the hint says what would change that."""

    reference = "host"


class InternalError(RootlessError):
    """A bug of this program."""

    reference = "internal"


def os_error_text(exc: OSError) -> str:
    """Return "No such file or directory (ENOENT)" for an OSError."""
    import errno  # saves nothing at start, but keeps this module import-free

    name = errno.errorcode.get(exc.errno or 0, str(exc.errno))
    return f"{exc.strerror or exc} ({name})"


def printable(text: str) -> str:
    """Return text with control characters escaped, so that names cannot drive the terminal."""
    return "".join(c if c.isprintable() or c == " " else repr(c)[1:-1] for c in text)


def _hint_lines(lines: list[str]) -> list[str]:
    return [("        " if i else "  hint: ") + printable(line) for i, line in enumerate(lines)]
