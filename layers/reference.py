"""Image references: `[domain/]path[:tag][@digest]`, with Docker's rules for short names. Pure; ring 1.

Grammar: distribution/reference `regexp.go` and `normalize.go`. Written by hand on ASCII sets, so that
look-alike characters of other scripts fall through, and no regular expression is compiled on the run path.
"""

from __future__ import annotations

from layers.digest import ENCODED_LENGTH, Digest
from layers.errors import InvalidDigest, InvalidReference
from layers.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn, Self

DEFAULT_DOMAIN = "docker.io"
DEFAULT_TAG = "latest"
MAX_NAME_LENGTH = 255
MAX_TAG_LENGTH = 128
_LEGACY_DOMAIN = "index.docker.io"
_OFFICIAL = "library/"
_MAX_TEXT = 1024
_LOWER = frozenset("abcdefghijklmnopqrstuvwxyz0123456789")
_ALNUM = _LOWER | frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZ")
_HEX = frozenset("0123456789abcdef")
_PATH = _LOWER | frozenset("._-")
_NO_SEPARATOR = ("..", "._", "_.", "-.", ".-", "-_", "_-", "___")
"""What runs of separators must not contain: one `.`, `_`, `__` or any number of `-` is a separator."""


class Reference(Record):
    """A complete reference: the domain is always there, and a tag or a digest or both.

    Attributes:
        domain: "docker.io", "localhost:5000", "[::1]:5000".
        path: "library/debian".
        tag: None if only a digest was given.
        digest: None if only a tag was given.
    """

    __slots__ = ("digest", "domain", "path", "tag")
    domain: str
    path: str
    tag: str | None
    digest: Digest | None

    def __init__(
        self, *, domain: str, path: str, tag: str | None = None, digest: Digest | None = None
    ) -> None:
        text = f"{domain}/{path}"
        _check_domain(domain, text)
        _check_path(path, text)
        if tag is not None:
            _check_tag(tag, text)
        elif digest is None:
            tag = DEFAULT_TAG
        if domain == _LEGACY_DOMAIN:
            domain = DEFAULT_DOMAIN
        if domain == DEFAULT_DOMAIN and "/" not in path:
            path = _OFFICIAL + path
        self._fill(domain=domain, path=path, tag=tag, digest=digest)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read what a user or a file says.

        Raises:
            InvalidReference: the message says which part is wrong.
        """
        if not isinstance(text, str) or not text:
            _refuse("it is empty", text)
        if len(text) > _MAX_TEXT:
            _refuse(f"it is longer than {_MAX_TEXT} characters", text)
        if is_encoded_digest(text):
            _refuse("64 hexadecimal digits are an image id, not a name", text)
        scheme, is_url, address = text.partition("://")
        if is_url and scheme in ("http", "https"):
            plain = ", with --tls-verify=false if its registry has no TLS" if scheme == "http" else ""
            _refuse("names of images have no http:// or https://", text, hint=f"write `{address}`{plain}")
        rest, at, digest_text = text.partition("@")
        name, tag = _split_tag(rest)
        domain, path = _split_domain(name)
        if path != path.lower():
            _refuse("a repository name must be lower case", text)
        return cls(domain=domain, path=path, tag=tag, digest=_digest(digest_text, text) if at else None)

    @property
    def repository(self) -> str:
        """Domain and path: "docker.io/library/debian"."""
        return f"{self.domain}/{self.path}"

    @property
    def canonical(self) -> str:
        """The full form: "docker.io/library/debian:12"; parses to an equal reference."""
        return self.repository + self._suffix

    @property
    def familiar_repository(self) -> str:
        """The shortest name that means this repository: "debian"."""
        if self.domain != DEFAULT_DOMAIN:
            return self.repository
        for short in (self.path.removeprefix(_OFFICIAL), self.path):
            # docker.io/localhost/x must not become localhost/x, nor library/<64 hex> an image id.
            domain, path = _split_domain(short)
            official = path if "/" in path else _OFFICIAL + path
            if (domain, official) == (self.domain, self.path) and not is_encoded_digest(short):
                return short
        return self.repository

    @property
    def familiar(self) -> str:
        """The form that people write: "debian:12"; parses to an equal reference."""
        return self.familiar_repository + self._suffix

    def with_tag(self, tag: str) -> Reference:
        """Return the same repository with another tag and no digest."""
        return Reference(domain=self.domain, path=self.path, tag=tag)

    def with_digest(self, digest: Digest) -> Reference:
        """Return the same repository with a digest and no tag."""
        return Reference(domain=self.domain, path=self.path, digest=digest)

    def __str__(self) -> str:
        return self.canonical

    @property
    def _suffix(self) -> str:
        tag = f":{self.tag}" if self.tag is not None else ""
        return f"{tag}@{self.digest}" if self.digest else tag


def is_encoded_digest(text: str) -> bool:
    """Tell whether text is 64 hexadecimal digits, which commands take for an id."""
    return len(text) == ENCODED_LENGTH and _HEX.issuperset(text)


def _split_tag(text: str) -> tuple[str, str | None]:
    name, colon, tag = text.rpartition(":")
    if not colon or "/" in tag or (text.startswith("[") and "/" not in name):
        return text, None  # the colon belongs to a port or to an IPv6 address
    return name, tag


def _split_domain(name: str) -> tuple[str, str]:
    """Docker's rule: the first part is a host if it has a dot, a colon or a capital, or is localhost."""
    first, slash, rest = name.partition("/")
    if slash and (first == "localhost" or first != first.lower() or "." in first or ":" in first):
        return first, rest
    return DEFAULT_DOMAIN, name


def _digest(text: str, whole: str) -> Digest:
    try:
        return Digest.parse(text)
    except InvalidDigest as exc:
        raise InvalidReference(f"invalid reference: {exc.message}", on=whole[:160]) from exc


def _check_domain(domain: str, whole: str) -> None:
    host, colon, port = domain, "", ""
    if domain.startswith("["):
        host, bracket, tail = domain[1:].partition("]")
        colon, port = tail[:1], tail[1:]
        good = bracket and ":" in host and set(host.lower()) <= _HEX | {":"} and colon in ("", ":")
    else:
        host, colon, port = domain.partition(":")
        good = all(_is_domain_component(part) for part in host.split("."))
    if not good or len(domain) > MAX_NAME_LENGTH or _split_domain(domain + "/")[0] != domain:
        _refuse(f"`{domain[:80]}` is not a host name", whole)
    if colon and not (port.isascii() and port.isdecimal() and len(port) <= 5 and 0 < int(port) < 65536):
        _refuse(f"`{port[:80]}` is not a port", whole)


def _is_domain_component(part: str) -> bool:
    return (
        bool(part) and part[0] in _ALNUM and part[-1] in _ALNUM and _ALNUM.issuperset(part.replace("-", ""))
    )


def _check_path(path: str, whole: str) -> None:
    if len(path) > MAX_NAME_LENGTH:
        _refuse(f"its repository name is longer than {MAX_NAME_LENGTH} characters", whole)
    if not path or not all(map(_is_path_component, path.split("/"))):
        _refuse(f"`{path[:80]}` is not a repository name: [a-z0-9] joined by one of . _ __ - /", whole)


def _is_path_component(part: str) -> bool:
    return (
        bool(part)
        and part[0] in _LOWER
        and part[-1] in _LOWER
        and _PATH.issuperset(part)
        and not any(run in part for run in _NO_SEPARATOR)
    )


def _check_tag(tag: str, whole: str) -> None:
    allowed = tag and tag[0] not in ".-" and _ALNUM.issuperset(tag.translate(_TAG_EXTRA))
    if not allowed or len(tag) > MAX_TAG_LENGTH:
        _refuse(f"`{tag[:80]}` is not a tag: [A-Za-z0-9_] and then [A-Za-z0-9_.-], at most 128", whole)


_TAG_EXTRA = str.maketrans("", "", "_.-")


def _refuse(problem: str, text: object, *, hint: str = "") -> NoReturn:
    raise InvalidReference(f"invalid reference: {problem}", on=str(text)[:160], hint=hint)
