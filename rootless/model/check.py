"""One capability of a host, as `rootless doctor` shows it."""

from __future__ import annotations

from rootless.model.value import Value

OK, LIMITED, MISSING = "ok", "limited", "missing"


class Check(Value):
    """One capability.

    Attributes:
        name: kebab-case, stable.
        status: OK, LIMITED (containers run, something is lost) or MISSING.
        detail: what was found, one line.
        meaning: what it is for.
        remedy: what an administrator would run, lines; "" when nothing is wrong or nothing helps.
        meanwhile: what rootless does now; "" when nothing is lost.
    """

    __slots__ = ("detail", "meaning", "meanwhile", "name", "remedy", "status")

    def __init__(
        self,
        *,
        name: str,
        status: str,
        detail: str,
        meaning: str,
        remedy: str = "",
        meanwhile: str = "",
    ) -> None:
        self.name = name
        self.status = status
        self.detail = detail
        self.meaning = meaning
        self.remedy = remedy
        self.meanwhile = meanwhile
