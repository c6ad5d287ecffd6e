"""Whether what is pulled goes by the name that was signed. Pure.

Without this check whoever serves the registry can hand out one signed image for another. The rules are those
of containers-policy.json(5), and one of our own, `USUAL`.
"""

from __future__ import annotations

from layers.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from layers.reference import Reference
    from rootless.trust.payload import Payload

USUAL = "usual"
"""A signature with a tag is good for that tag, and for a pull by digest; one of a repository, which is what
cosign writes, for all that is in it."""
EXACT_OR_DIGEST = "matchRepoDigestOrExact"
"""The same, but a signature of a repository is good for nothing: podman's default."""
EXACT = "matchExact"
REPOSITORY = "matchRepository"
OTHER_NAME = "exactReference"
OTHER_REPOSITORY = "exactRepository"
REMAPPED = "remapIdentity"


class Identity(Record):
    """A rule for the names in signatures.

    Attributes:
        rule: one of the constants of this module.
        value: the name that is wanted (exactReference, exactRepository), or what stands in the signature in
            place of `prefix` (remapIdentity).
    """

    __slots__ = ("prefix", "rule", "value")
    rule: str
    value: str
    prefix: str

    def __init__(self, rule: str = USUAL, *, value: str = "", prefix: str = "") -> None:
        self._fill(rule=rule, value=value, prefix=prefix)

    def accepts(self, signed: Payload, pulled: Reference) -> bool:
        """Tell whether a signature is one for the image that is pulled."""
        name = pulled.canonical if not pulled.digest else pulled.repository
        repository = pulled.repository
        if self.rule == OTHER_NAME:
            return not signed.is_repository and signed.name == self.value
        if self.rule == OTHER_REPOSITORY:
            return signed.repository == self.value
        if self.rule == REMAPPED and is_below(repository, self.prefix):
            repository = self.value + repository[len(self.prefix) :]
            name = self.value + name[len(self.prefix) :]
        if signed.repository != repository:
            return False
        if self.rule == REPOSITORY:
            return True
        if signed.is_repository:
            return self.rule == USUAL
        if pulled.digest:
            return self.rule != EXACT or signed.name == pulled.canonical
        return signed.name == name


def is_below(name: str, scope: str) -> bool:
    """Tell whether a repository is a scope or lies in it: "a.com/x" holds "a.com/x/y", not "a.com/xy"."""
    return name == scope or name.startswith(scope + "/")
