"""WWW-Authenticate, sans-io: what a registry asks for, and the request that fetches a token.

Grammar: RFC 9110 §11.6.1; tokens: distribution's docs/spec/auth/token.md and oauth.md. Everything in a
challenge is hostile: its realm is a URL that is about to get credentials.
"""

from __future__ import annotations

from urllib.parse import quote, urlencode, urlsplit

from rootless.errors import RegistryError
from rootless.registry.hosts import host_of, is_inward, is_loopback

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

MAX_HEADER_CHARACTERS = 8192
"""Common limit of one header line in servers; a challenge has some 200."""
_TCHAR = frozenset("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
_TOKEN68 = _TCHAR | frozenset("/")


class Challenge:
    """One way in which a registry lets itself be convinced.

    Attributes:
        scheme: lower case, "bearer" or "basic" or what nobody here speaks.
        parameters: by lower-case name; the first of two equal names counts.
    """

    __slots__ = ("parameters", "scheme")

    def __init__(self, scheme: str, parameters: dict[str, str] | None = None) -> None:
        self.scheme = scheme
        self.parameters = parameters or {}


def parse_challenges(headers: Iterable[str]) -> list[Challenge]:
    """Read all challenges of all WWW-Authenticate headers; what is malformed ends its own header only.

    Cost: linear in the length, which is bounded.
    """
    found: list[Challenge] = []
    for header in headers:
        found.extend(_Scanner(header[:MAX_HEADER_CHARACTERS]).challenges())
    return found


def choose_challenge(challenges: Iterable[Challenge]) -> Challenge | None:
    """Return the best challenge that can be answered; basic sends the password each time, so it is second."""
    by_scheme = {challenge.scheme: challenge for challenge in reversed(list(challenges))}
    bearer = by_scheme.get("bearer")
    if bearer is not None and bearer.parameters.get("realm"):
        return bearer
    return by_scheme.get("basic")


def repository_scope(path: str, *actions: str) -> str:
    """Return the scope for "pull" or "push"; asked for whatever scope the challenge names (attack: B10)."""
    return f"repository:{path}:{','.join(actions)}"


def check_realm(realm: str, *, registry: str, insecure: bool, plain_host: str = "") -> str:
    """Return the realm when it may be sent a registry's credentials, and its token may be believed.

    Args:
        realm: as in the challenge.
        registry: host[:port] that sent the challenge.
        insecure: the user said --tls-verify=false.
        plain_host: that may be asked without TLS all the same, "" for none.

    Raises:
        RegistryError: not a plain https URL; http to another machine; or a registry elsewhere that
            points at this machine.
    """
    try:
        parts = urlsplit(realm)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        parts, host = urlsplit(""), ""
    problem = ""
    if parts.scheme not in ("https", "http") or not host or not realm.isascii() or not realm.isprintable():
        problem = "it is not a URL of https"
    elif parts.username is not None or parts.password is not None or "@" in parts.netloc:
        problem = "it holds a user name"
    elif is_inward(host) and not is_loopback(host_of(registry)):
        problem = "it points at this machine or its link-local network"
    elif parts.scheme == "http" and not (insecure or host == plain_host) and not is_loopback(host):
        problem = "it is not https, and credentials would be readable on the way"
    if problem:
        raise RegistryError(
            f"cannot ask for a token at `{realm[:200]}`: {problem}",
            on=registry,
            reference="bad-token-realm",
        )
    return realm


def token_query(challenge: Challenge, *, scopes: Iterable[str], account: str = "") -> str:
    """Return the URL that answers a bearer challenge with a token (GET; token.md §Requesting a token).

    Args:
        scopes: none asks for a token that only says who we are.
    """
    realm = challenge.parameters["realm"]
    query = [("scope", scope) for scope in scopes]
    if service := challenge.parameters.get("service"):
        query.insert(0, ("service", service))
    if account:
        query.append(("account", account))
    joiner = "&" if urlsplit(realm).query else "?"
    return realm.partition("#")[0] + joiner + urlencode(query, quote_via=quote, safe=":/,")


def refresh_form(challenge: Challenge, *, scopes: Iterable[str], refresh_token: str) -> dict[str, str]:
    """Return the form that trades an identity token for an access token (POST; oauth.md)."""
    return {
        "grant_type": "refresh_token",
        "service": challenge.parameters.get("service", ""),
        "client_id": "rootless",
        "scope": " ".join(scopes),
        "refresh_token": refresh_token,
    }


def read_token(answer: object) -> str:
    """Return the token of a token server's JSON answer, "" when it has none that fits in a header."""
    if not isinstance(answer, dict):
        return ""
    for name in ("token", "access_token"):
        token = answer.get(name)
        if isinstance(token, str) and token and all("!" <= c <= "~" for c in token):
            return token
    return ""


class _Scanner:
    """A cursor over one header."""

    __slots__ = ("position", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        self.position = 0

    def challenges(self) -> Iterable[Challenge]:
        current: Challenge | None = None
        while True:
            self.skip(" \t,")
            word = self.word(_TCHAR)
            if not word:
                break
            self.skip(" \t")
            if current is not None and self.peek() == "=":
                self.position += 1
                self.skip(" \t")
                value = self.value()
                if value is None:
                    break
                current.parameters.setdefault(word.lower(), value)
                continue
            if current is not None:
                yield current
            current = Challenge(word.lower())
            self.take_token68()
        if current is not None:
            yield current

    def peek(self) -> str:
        return self.text[self.position : self.position + 1]

    def skip(self, characters: str) -> None:
        while self.peek() and self.peek() in characters:
            self.position += 1

    def word(self, allowed: frozenset[str]) -> str:
        start = self.position
        while self.peek() in allowed and self.peek():
            self.position += 1
        return self.text[start : self.position]

    def value(self) -> str | None:
        """Read token or quoted-string; None when it never ends or is not there."""
        if self.peek() != '"':
            return self.word(_TCHAR | frozenset("/:?=&")) or None
        self.position += 1
        read: list[str] = []
        while character := self.peek():
            self.position += 1
            if character == '"':
                return "".join(read)
            if character == "\\":
                character = self.peek()
                self.position += 1
            read.append(character)
        return None

    def take_token68(self) -> None:
        """Pass over "Negotiate oRQ=": a lone token68 after a scheme."""
        start = self.position
        if self.word(_TOKEN68):
            self.word(frozenset("="))
            self.skip(" \t")
            if self.peek() in ("", ","):
                return
        self.position = start
