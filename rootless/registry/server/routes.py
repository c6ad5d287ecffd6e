"""What a request is about: its method and path, checked and taken apart. Pure.

A name that gets through here is safe as a path of files: the grammar has no `..`, no capitals, no leading
`_` or `.`. Spec: distribution-spec v1.1 §Endpoints.
"""

from __future__ import annotations

from urllib.parse import parse_qsl, unquote, urlsplit

from layers.digest import Digest
from layers.errors import InvalidDigest, InvalidReference
from layers.reference import Reference
from rootless.model.value import Value
from rootless.registry.server.refusal import (
    BLOB_UPLOAD_UNKNOWN,
    DIGEST_INVALID,
    NAME_INVALID,
    NAME_UNKNOWN,
    TAG_INVALID,
    Refusal,
    not_allowed,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

_READ = {"GET": "get", "HEAD": "get"}
_METHODS = {
    "version": _READ,
    "catalog": _READ,
    "search": _READ,
    "tags": _READ,
    "referrers": _READ,
    "blob": {**_READ, "DELETE": "delete"},
    "manifest": {**_READ, "PUT": "put", "DELETE": "delete"},
    "uploads": {"POST": "start"},
    "upload": {"GET": "get", "HEAD": "get", "PATCH": "patch", "PUT": "put", "DELETE": "delete"},
}
"""resource → method → what it does there."""
_WHOLE = ("version", "catalog", "search")
"""Resources of the registry, of no repository."""
_UPLOAD_ID_LENGTH = 32
_HEX = frozenset("0123456789abcdef")


class Route(Value):
    """One thing that is asked for.

    Attributes:
        resource, action: a row of the table above.
        repository: its name, "" where there is none.
        tag, digest: one of them for a manifest; the digest for a blob and for referrers.
        upload: 32 hexadecimal digits.
        query: parameters, the first of each name.
    """

    __slots__ = ("action", "digest", "query", "repository", "resource", "tag", "upload")

    def __init__(
        self,
        resource: str,
        action: str,
        *,
        repository: str = "",
        tag: str = "",
        digest: Digest | None = None,
        upload: str = "",
        query: Mapping[str, str] | None = None,
    ) -> None:
        self.resource = resource
        self.action = action
        self.repository = repository
        self.tag = tag
        self.digest = digest
        self.upload = upload
        self.query = dict(query or {})

    @property
    def writes(self) -> bool:
        """It changes what the registry holds, or prepares to."""
        return self.action != "get" or self.resource == "upload"


def parse_route(method: str, target: str) -> Route:
    """Read the first line of a request.

    Raises:
        Refusal: there is no such place, it has no such method, or a name in it is none.
    """
    try:
        url = urlsplit(target)
        pairs = parse_qsl(url.query, keep_blank_values=True, max_num_fields=32)
    except ValueError:
        raise Refusal(400, NAME_INVALID, "the target of the request is malformed") from None
    query: dict[str, str] = {}
    for name, value in pairs:
        query.setdefault(name, value)
    resource, repository, last = _split(unquote(url.path, errors="surrogateescape"))
    actions = _METHODS[resource]
    if method not in actions:
        raise not_allowed(method, ", ".join(actions))
    if resource not in _WHOLE:
        check_repository(repository)
    digest, tag, upload = None, "", ""
    if resource in ("blob", "referrers") or (resource == "manifest" and ":" in last):
        digest = check_digest(last)
    elif resource == "manifest":
        tag = _check_tag(last)
    elif resource == "upload":
        upload = _check_upload(last)
    return Route(
        resource, actions[method], repository=repository, tag=tag, digest=digest, upload=upload, query=query
    )


def check_repository(name: str) -> str:
    """Return a repository's name if it is one.

    Raises:
        Refusal: it is none.
    """
    try:
        return Reference(domain="localhost", path=name).path
    except InvalidReference as exc:
        raise Refusal(400, NAME_INVALID, exc.message) from None


def check_digest(text: str) -> Digest:
    """Return a digest that came from outside.

    Raises:
        Refusal: it is none, or of an algorithm that is not supported.
    """
    try:
        return Digest.parse(text)
    except InvalidDigest as exc:
        raise Refusal(400, DIGEST_INVALID, exc.message) from None


def _split(path: str) -> tuple[str, str, str]:
    """Return (resource, repository, last part) of a path; names may hold every word that the paths do."""
    exact = {
        "/v2/": "version",
        "/v2": "version",
        "/v2/_catalog": "catalog",
        "/v1/search": "search",
    }
    if path in exact:
        return exact[path], "", ""
    root, *parts = path.split("/")[1:] or [""]
    if root == "v2" and len(parts) >= 3:
        *name, kind, last = parts
        if kind == "tags" and last == "list":
            return "tags", "/".join(name), last
        if kind == "blobs" and last == "uploads" and name:
            return "uploads", "/".join(name), ""  # without the slash at the end, as some clients write it
        if kind == "manifests":
            return "manifest", "/".join(name), last
        if kind == "referrers":
            return "referrers", "/".join(name), last
        if kind == "uploads" and len(name) >= 2 and name[-1] == "blobs":
            return ("upload" if last else "uploads"), "/".join(name[:-1]), last
        if kind == "blobs":
            return "blob", "/".join(name), last
    raise Refusal(404, NAME_UNKNOWN, "there is nothing of that name here")


def _check_tag(text: str) -> str:
    try:
        return Reference(domain="localhost", path="x", tag=text).tag or ""
    except InvalidReference as exc:
        raise Refusal(400, TAG_INVALID, exc.message) from None


def _check_upload(text: str) -> str:
    if len(text) != _UPLOAD_ID_LENGTH or not _HEX.issuperset(text):
        raise Refusal(404, BLOB_UPLOAD_UNKNOWN, "there is no such upload")
    return text
