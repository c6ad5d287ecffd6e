"""Which images may be pulled: what a policy says of a name. Pure.

The scope that fits an image most closely decides alone: its tag or digest, its repository, the paths above
it, its registry, `*.example.com`, and at last the default.
"""

from __future__ import annotations

from layers.record import Record
from rootless.trust.identity import Identity

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from layers.reference import Reference


class Signed(Record):
    """A signature is needed, by any one of some keys.

    Attributes:
        key_files: paths of public keys. key_texts: public keys themselves, PEM.
    """

    __slots__ = ("identity", "key_files", "key_texts")
    key_files: tuple[str, ...]
    key_texts: tuple[str, ...]
    identity: Identity

    def __init__(
        self, *key_files: str, key_texts: tuple[str, ...] = (), identity: Identity | None = None
    ) -> None:
        self._fill(key_files=key_files, key_texts=key_texts, identity=identity or Identity())


class Verdict(Record):
    """What a scope says: images are accepted (with each of the signatures in `signed`), or refused.

    Attributes:
        refusal: why everything is refused; "" when that depends on signatures.
    """

    __slots__ = ("refusal", "signed")
    signed: tuple[Signed, ...]
    refusal: str

    def __init__(self, *signed: Signed, refusal: str = "") -> None:
        self._fill(signed=signed, refusal=refusal)


ACCEPT = Verdict()
REJECT = Verdict(refusal="the policy rejects it")


class Policy:
    """A policy that was read.

    Attributes:
        path: of its file, for messages.
    """

    __slots__ = ("_default", "_scopes", "path")

    def __init__(self, path: str, *, default: Verdict, scopes: Mapping[str, Verdict]) -> None:
        self.path = path
        self._default = default
        self._scopes = dict(scopes)

    def judge(self, image: Reference) -> tuple[str, Verdict]:
        """Return (the scope that decides, what it says); the default's scope is ""."""
        for scope in scopes_of(image):
            if scope in self._scopes:
                return scope, self._scopes[scope]
        return "", self._default


def scopes_of(image: Reference) -> Iterator[str]:
    """Yield all scopes that an image is in, the closest first; hosts in lower case, as DNS takes them."""
    domain = image.domain.lower()
    scope = f"{domain}/{image.path}"
    if image.digest:
        yield f"{scope}@{image.digest}"
    elif image.tag:
        yield f"{scope}:{image.tag}"
    while scope:
        yield scope
        scope = scope.rpartition("/")[0]
    while "." in domain:
        domain = domain.partition(".")[2]
        yield f"*.{domain}"
