"""What registries answer to a search, in values: Docker Hub's search, a catalog, a list of tags. Pure.

Docker's "GET /v1/search?q=&n=" has no specification; its fields are those of moby's registry/types. Catalog:
distribution's spec/api.md §Listing Repositories. Tags: distribution-spec §Listing Tags. All of it is hostile.
"""

from __future__ import annotations

import json
from urllib.parse import parse_qs, urlencode, urlsplit

from layers.errors import InvalidReference
from layers.reference import DEFAULT_DOMAIN, Reference
from rootless.errors import UsageError
from rootless.model.value import Value
from rootless.registry.authfile import registry_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

MAX_ANSWER_BYTES = 8 << 20
PAGE_ENTRIES = 1000
MAX_PAGES = 20
"""A catalog has no search: this is how much of it is looked through."""


class Found(Value):
    """One repository.

    Attributes:
        name: that `pull` takes.
    """

    __slots__ = ("description", "is_automated", "is_official", "name", "stars")

    def __init__(
        self,
        name: str,
        *,
        description: str = "",
        stars: int = 0,
        is_official: bool = False,
        is_automated: bool = False,
    ) -> None:
        self.name = name
        self.description = description
        self.stars = stars
        self.is_official = is_official
        self.is_automated = is_automated


class SearchFilter(Value):
    """What repositories must be, to be shown; None does not matter."""

    __slots__ = ("is_automated", "is_official", "stars")

    def __init__(
        self, *, stars: int = 0, is_official: bool | None = None, is_automated: bool | None = None
    ) -> None:
        self.stars = stars
        self.is_official = is_official
        self.is_automated = is_automated

    def keeps(self, found: Found) -> bool:
        return (
            found.stars >= self.stars
            and self.is_official in (None, found.is_official)
            and self.is_automated in (None, found.is_automated)
        )


def split_term(text: str) -> tuple[str, str]:
    """Split "box:5000/web" into ("box:5000", "web"); without a host it is ("", text).

    Raises:
        UsageError: that is no host, or nothing to look for.
    """
    host, slash, term = text.partition("/")
    if slash and (host == "localhost" or "." in host or ":" in host):
        domain = registry_of(host)
        return domain, term.removeprefix("library/") if domain == DEFAULT_DOMAIN else term
    if not text.strip("/"):
        raise UsageError("there is nothing to search for")
    return "", text.removeprefix("library/")


def search_path(term: str, *, limit: int) -> str:
    return "/v1/search?" + urlencode({"q": term, "n": limit})


def read_search(body: bytes, *, domain: str) -> list[Found] | None:
    """Return the repositories of a search's answer, None when it is none: a page for people, for instance."""
    results = _entries(body, "results")
    if results is None:
        return None
    found = []
    for each in results:
        if isinstance(each, dict) and (name := _name(domain, each.get("name"))):
            stars = each.get("star_count")
            found.append(
                Found(
                    name,
                    description=_plain(each.get("description")),
                    stars=stars if isinstance(stars, int) and stars > 0 else 0,
                    is_official=each.get("is_official") is True,
                    is_automated=each.get("is_automated") is True,
                )
            )
    return found


def catalog_path(last: str) -> str:
    query = {"n": PAGE_ENTRIES, **({"last": last} if last else {})}
    return "/v2/_catalog?" + urlencode(query)


def read_catalog(body: bytes, *, domain: str, term: str) -> list[Found] | None:
    """Return the repositories of one page of a catalog whose path has a term in it, None for no catalog."""
    names = _entries(body, "repositories")
    if names is None:
        return None
    fitting = (name for name in names if isinstance(name, str) and term.lower() in name)
    return [Found(name) for name in (_name(domain, each) for each in fitting) if name]


def tags_path(path: str, last: str) -> str:
    query = {"n": PAGE_ENTRIES, **({"last": last} if last else {})}
    return f"/v2/{path}/tags/list?" + urlencode(query)


def read_tags(body: bytes, *, repository: str) -> list[str] | None:
    """Return the tags of one page, None for no list of tags."""
    tags = _entries(body, "tags")
    if tags is None:
        return None
    return [tag for tag in tags if isinstance(tag, str) and _is_reference(f"{repository}:{tag}")]


def next_start(link: str) -> str:
    """Return where the next page starts, as a Link header says (RFC 8288); "" where there is none.

    Only this is believed of the link: the next request goes where the first one went.
    """
    target, _, parameters = link.partition(">")
    if 'rel="next"' not in parameters and "rel=next" not in parameters:
        return ""
    try:
        values = parse_qs(urlsplit(target.strip().removeprefix("<")).query).get("last", [""])
    except ValueError:
        return ""
    return values[0][:1024]


def arranged(found: Iterable[Found], wanted: SearchFilter, *, limit: int) -> list[Found]:
    """Return what is to be shown, most stars first as Docker has it."""
    kept = [each for each in found if wanted.keeps(each)]
    return sorted(kept, key=lambda each: -each.stars)[:limit]


def _entries(body: bytes, key: str) -> list[object] | None:
    """Return a list out of a JSON object; null, which some registries send, is an empty one."""
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        return None
    if not isinstance(answer, dict) or key not in answer or len(body) > MAX_ANSWER_BYTES:
        return None
    value = answer[key]
    return value if isinstance(value, list) else [] if value is None else None


def _name(domain: str, path: object) -> str:
    """Return a name for `pull`, "" for what can be none."""
    if not isinstance(path, str):
        return ""
    try:
        reference = Reference.parse(f"{domain}/{path}")
    except InvalidReference:
        return ""
    return reference.familiar_repository if reference.domain == domain else ""


def _is_reference(text: str) -> bool:
    try:
        Reference.parse(text)
    except InvalidReference:
        return False
    return True


def _plain(text: object) -> str:
    """Return text in one line, without what could move a terminal's cursor."""
    if not isinstance(text, str):
        return ""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())
