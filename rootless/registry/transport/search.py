"""Ask registries what they have: by Docker's search where there is one, else in the catalog."""

from __future__ import annotations

from rootless.errors import RegistryError
from rootless.registry.challenge import repository_scope
from rootless.registry.faults import NetworkFault
from rootless.registry.hosts import DOCKER_HUB
from rootless.registry.searching import (
    MAX_ANSWER_BYTES,
    MAX_PAGES,
    catalog_path,
    next_start,
    read_catalog,
    read_search,
    read_tags,
    search_path,
    tags_path,
)
from rootless.registry.transport.endpoint import Endpoint

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar

    from layers.reference import Reference
    from rootless.registry.searching import Found
    from rootless.registry.settings import RegistrySettings

    Item = TypeVar("Item")

_DOING = "search"
_HUB_SEARCH = "index.docker.io"
"""Where Docker Hub's search is; its registry has neither search nor catalog."""


async def find_repositories(settings: RegistrySettings, domain: str, term: str, *, limit: int) -> list[Found]:
    """Return repositories of a registry, at most `limit` of its search, or all of its catalog that fit.

    Raises:
        RegistryError: it is blocked, does not answer, or has no way to search.
    """
    found = settings.registries.find(domain)
    insecure = settings.registries.is_insecure(domain, doing=_DOING)
    host = found.location.partition("/")[0] if found else ""
    host = host or domain
    endpoint = Endpoint(
        settings,
        domain=_HUB_SEARCH if host == DOCKER_HUB else host,
        scopes=("registry:catalog:*",),  # distribution's spec/auth/scope.md
        on=domain,
        doing=_DOING,
        insecure=insecure,
    )
    async with endpoint:
        by_search = await _search(endpoint, domain, term, limit=limit)
        if by_search is not None:
            return by_search
        by_catalog = await _pages(
            endpoint, catalog_path, lambda body: read_catalog(body, domain=domain, term=term)
        )
    if by_catalog is None:
        raise RegistryError(
            "cannot search: the registry has neither a search nor a catalog",
            on=domain,
            hint=f"`rootless search --list-tags {domain}/NAME` lists the tags of a repository",
            reference="no-search",
        )
    return by_catalog


async def list_tags(settings: RegistrySettings, reference: Reference) -> list[str]:
    """Return the tags of a repository, in the registry's order.

    Raises:
        RegistryError: it is blocked, does not answer, or has no such repository.
    """
    place = settings.registries.places(reference, doing=_DOING)[-1]
    endpoint = Endpoint(
        settings,
        domain=place.domain,
        path=place.path,
        scopes=(repository_scope(place.path, "pull"),),
        on=reference.familiar_repository,
        doing="list the tags",
        insecure=place.insecure,
    )
    async with endpoint:
        tags = await _pages(
            endpoint,
            lambda last: tags_path(place.path, last),
            lambda body: read_tags(body, repository=place.repository),
        )
    if tags is None:
        raise RegistryError(
            "cannot list the tags: the registry has no such repository, or keeps it to itself",
            on=reference.familiar_repository,
            reference="no-such-image",
        )
    return tags


async def _search(endpoint: Endpoint, domain: str, term: str, *, limit: int) -> list[Found] | None:
    """Ask by Docker's search; None where there is none. Docker Hub must have one."""
    if not term:
        return None
    try:
        answer = await endpoint.fetch(
            search_path(term, limit=limit), accept="application/json", doing=_DOING, limit=MAX_ANSWER_BYTES
        )
    except RegistryError as exc:
        if isinstance(exc, NetworkFault) or exc.reference == "registry-denied":
            raise
        return None
    return read_search(answer.body, domain=domain)


async def _pages(
    endpoint: Endpoint, path: Callable[[str], str], read: Callable[[bytes], list[Item] | None]
) -> list[Item] | None:
    """Put the pages of a list together; None where there is no such list.

    Args:
        path: of the page that starts after an entry, "" for the first.
    """
    items: list[Item] = []
    last = ""
    for _ in range(MAX_PAGES):
        try:
            answer = await endpoint.fetch(
                path(last), accept="application/json", doing=endpoint.doing, limit=MAX_ANSWER_BYTES
            )
        except RegistryError as exc:
            if isinstance(exc, NetworkFault) or exc.reference == "registry-denied":
                raise
            return None
        found = read(answer.body)
        if found is None:
            return None
        items += found
        before, last = last, next_start(answer.headers.get("link", ""))
        if last in ("", before):
            break
    return items
