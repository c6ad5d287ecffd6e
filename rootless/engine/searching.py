"""Look for images in registries, in an event loop of its own."""

from __future__ import annotations

from functools import partial

from layers.errors import InvalidReference
from layers.reference import DEFAULT_DOMAIN
from rootless.engine import loop
from rootless.errors import RegistryError, UsageError
from rootless.registry.searching import Found, SearchFilter, arranged, split_term
from rootless.registry.transport.search import find_repositories, list_tags

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rootless.registry.settings import RegistrySettings


class Search:
    """What came of one search.

    Attributes:
        found: in the order in which to show it. failures: of registries, where others have answered.
    """

    __slots__ = ("failures", "found")

    def __init__(self, found: list[Found], failures: list[RegistryError]) -> None:
        self.found = found
        self.failures = failures


def search_blocking(settings: RegistrySettings, text: str, wanted: SearchFilter, *, limit: int) -> Search:
    """Search the registry that a term names, or those that a name without a host is looked for in.

    Raises:
        UsageError: the term makes no sense. RegistryError: no registry has answered.
    """
    domain, term = split_term(text)
    domains = (domain,) if domain else settings.registries.search or (DEFAULT_DOMAIN,)
    found: list[Found] = []
    failures: list[RegistryError] = []
    for each in domains:
        try:
            found += loop.run(partial(find_repositories, settings, each, term, limit=limit))
        except RegistryError as exc:
            failures.append(exc)
    if len(failures) == len(domains):
        raise failures[0]
    return Search(arranged(found, wanted, limit=limit), failures)


def tags_blocking(settings: RegistrySettings, text: str, *, limit: int) -> tuple[str, list[str]]:
    """Return (canonical name of a repository, its first tags).

    Raises:
        UsageError: that is no name. RegistryError: its registry does not tell.
    """
    try:
        reference = settings.registries.expand(text)[0]
    except InvalidReference as exc:
        raise UsageError(exc.message, on=text[:160], hint=exc.hint or None) from exc
    tags = loop.run(partial(list_tags, settings, reference))
    return reference.repository, tags[:limit]
