"""Going from one place of an image to the next: who is left, and what is told in the end."""

from __future__ import annotations

import pytest

from layers.reference import Reference
from rootless.errors import RegistryError
from rootless.registry.registries import Mirror, Registries, Registry
from rootless.registry.settings import RegistrySettings
from rootless.registry.transport.sites import Sites

MIRRORED = Registry("a.org", mirrors=(Mirror("m1.org"), Mirror("m2.org")))
DOWN = RegistryError("it is down", hint="wait")


def sites(*names: str, registries: tuple[Registry, ...] = (MIRRORED,)) -> Sites:
    settings = RegistrySettings(environment={}, registries=Registries(registries))
    return Sites([Reference.parse(name) for name in names], settings, doing="pull")


def test_places_are_asked_in_turn_and_the_last_error_tells_of_the_others() -> None:
    left = sites("a.org/x")
    asked = []
    for _ in range(2):
        asked.append(left.current.place.domain)
        left.pass_over(left.current, DOWN)
    assert [*asked, left.current.place.domain] == ["m1.org", "m2.org", "a.org"]
    with pytest.raises(RegistryError, match="it is down") as caught:
        left.pass_over(left.current, RegistryError("it is down", hint="wait"))
    assert caught.value.hint == "wait; before it m1.org/x: it is down, m2.org/x: it is down"


def test_place_that_two_tasks_give_up_is_passed_over_once() -> None:
    left = sites("a.org/x")
    first = left.current
    left.pass_over(first, DOWN)
    left.pass_over(first, DOWN)
    assert left.passed_over == ["m1.org/x: it is down"]
    assert left.current.place.domain == "m2.org"


def test_last_place_is_never_turned_away_from() -> None:
    left = sites("b.org/x")
    assert not left.reject(left.current, DOWN)
    assert left.current.place.domain == "b.org"


def test_search_settles_on_the_name_that_was_found() -> None:
    left = sites("b.org/x", "a.org/x", "c.org/x")
    left.pass_over(left.current, DOWN)
    left.settle(left.current)
    left.pass_over(left.current, DOWN)
    left.pass_over(left.current, DOWN)
    assert left.current.place.name == "a.org/x:latest"
    with pytest.raises(RegistryError, match="it is down"):
        left.pass_over(left.current, RegistryError("it is down"))


def test_search_passes_over_blocked_registries_and_tells_what_each_said() -> None:
    left = sites("bad.org/x", "b.org/x", registries=(Registry("bad.org", blocked=True, source="/f"),))
    with pytest.raises(RegistryError, match="no registry has it") as caught:
        left.pass_over(left.current, DOWN)
    assert caught.value.hint == "bad.org/x: cannot pull: `bad.org` is blocked; b.org/x: it is down"
