"""The places of one image, and which of them is asked: mirrors first, then its own; of a short name, several.

A place that fails in whatever way is passed over, for as long as there is another one.
"""

from __future__ import annotations

from contextlib import AsyncExitStack

from rootless.errors import RegistryError
from rootless.registry.challenge import repository_scope
from rootless.registry.transport.endpoint import Endpoint

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Self

    from layers.errors import LayersError
    from layers.reference import Reference
    from rootless.registry.registries import Place
    from rootless.registry.settings import RegistrySettings


class Site:
    """A place and the connections to it."""

    __slots__ = ("endpoint", "place")

    def __init__(self, place: Place, settings: RegistrySettings, *, doing: str) -> None:
        self.place = place
        self.endpoint = Endpoint(
            settings.once() if place.is_mirror else settings,
            domain=place.domain,
            path=place.path,
            scopes=(repository_scope(place.path, "pull"),),
            on=place.on,
            doing=doing,
            insecure=place.insecure,
        )


class Sites:
    """The places that are left; an async context manager.

    Attributes:
        passed_over: what was wrong with the others, one line each.
    """

    def __init__(self, candidates: Sequence[Reference], settings: RegistrySettings, *, doing: str) -> None:
        """Find the places.

        Args:
            candidates: names that the image may have, in order; at least one.

        Raises:
            RegistryError: all of them are blocked.
        """
        self.passed_over: list[str] = []
        self._doing = doing
        self._is_search = len(candidates) > 1
        self._left: list[Site] = []
        for reference in candidates:
            try:
                places = settings.registries.places(reference, doing=doing)
            except RegistryError as exc:
                if not self._is_search:
                    raise
                self.passed_over.append(f"{reference.repository}: {exc.message}")
                continue
            self._left += [Site(place, settings, doing=doing) for place in places]
        if not self._left:
            raise self._nowhere(candidates[0].path)
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        for site in self._left:
            await self._stack.enter_async_context(site.endpoint)
        return self

    async def __aexit__(self, *_exc: object) -> None:
        await self._stack.aclose()

    @property
    def current(self) -> Site:
        """The place to ask now."""
        return self._left[0]

    def pass_over(self, site: Site, exc: RegistryError | LayersError) -> None:
        """Turn to the next place; raise the error where there is none."""
        if self.reject(site, exc):
            return
        if self._is_search:
            self._note(site, exc)
            raise self._nowhere(site.place.path) from exc
        if self.passed_over:
            exc.hint = "; ".join(filter(None, (exc.hint, "before it " + ", ".join(self.passed_over))))
        raise exc

    def reject(self, site: Site, exc: RegistryError | LayersError) -> bool:
        """Turn away from a place; False where it is the only one left."""
        if site in self._left:
            if len(self._left) == 1:
                return False
            self._left.remove(site)
            self._note(site, exc)
        return True

    def settle(self, site: Site) -> None:
        """Go on with the name under which the image was found."""
        self._left = [each for each in self._left if each.place.name == site.place.name]
        self._is_search = False

    def _note(self, site: Site, exc: RegistryError | LayersError) -> None:
        self.passed_over.append(f"{site.place.repository}: {exc.message}")

    def _nowhere(self, path: str) -> RegistryError:
        return RegistryError(
            f"cannot {self._doing}: no registry has it",
            on=path,
            hint="; ".join(self.passed_over),
            reference="no-such-image",
        )
