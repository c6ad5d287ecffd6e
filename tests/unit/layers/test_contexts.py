"""What `with` does with the launch path's own context managers: as contextlib's."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import pytest

from layers import contexts

if TYPE_CHECKING:
    from types import ModuleType

BOTH = pytest.mark.parametrize("module", [contexts, contextlib])


@BOTH
def test_suppress_takes_its_kinds_and_their_children_only(module: ModuleType) -> None:
    with module.suppress(OSError, KeyError):
        raise FileNotFoundError
    with pytest.raises(ValueError, match="other"), module.suppress(OSError):
        raise ValueError("other")
    with module.suppress():
        pass


@BOTH
def test_generator_runs_before_and_after(module: ModuleType) -> None:
    steps = []

    @module.contextmanager
    def manager(name: str, *, suffix: str) -> object:
        """Documented."""
        steps.append("before")
        try:
            yield name + suffix
        finally:
            steps.append("after")

    with manager("a", suffix="b") as value:
        steps.append(value)
    with pytest.raises(KeyError) as caught, manager("a", suffix="b"):
        raise KeyError("inside")
    assert steps == ["before", "ab", "after", "before", "after"]
    assert manager.__doc__ == "Documented."
    assert "contexts.py" not in {entry.path.name for entry in caught.traceback}


@BOTH
def test_generator_may_take_or_replace_an_exception(module: ModuleType) -> None:
    @module.contextmanager
    def manager() -> object:
        try:
            yield
        except KeyError:
            return
        except OSError as exc:
            raise ValueError("better") from exc

    with manager():
        raise KeyError
    with pytest.raises(ValueError, match="better"), manager():
        raise OSError
    with pytest.raises(StopIteration), manager():
        raise StopIteration


@BOTH
def test_generator_that_goes_on_is_a_bug(module: ModuleType) -> None:
    @module.contextmanager
    def manager() -> object:
        yield
        yield

    with pytest.raises(RuntimeError), manager():
        pass
