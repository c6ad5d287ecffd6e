"""The base of all values: slots, equality, and a JSON form that survives newer and older versions.

Dataclasses would cost the launch path 20 ms of imports; this is what they are used for here.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, Self


class Value:
    """An immutable record. Subclasses name their fields in `__slots__` and set all of them in `__init__`.

    `__init__` of a subclass takes every field as a keyword of the same name.
    """

    __slots__: tuple[str, ...] = ()
    nested: Mapping[str, type[Value]] = {}
    """Fields that hold a Value, or a tuple of them, by name."""

    def to_json(self) -> dict[str, Any]:
        return {name: _encode(getattr(self, name)) for name in self.__slots__}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Build from `to_json`'s form; unknown keys are ignored, missing ones take the default."""
        return cls(**{k: _decode(cls.nested.get(k), data[k]) for k in cls.__slots__ if k in data})

    def replace(self, **changes: Any) -> Self:
        """Return a copy with some fields changed."""
        fields = {name: getattr(self, name) for name in self.__slots__}
        return type(self)(**(fields | changes))

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and all(
            getattr(self, name) == getattr(other, name) for name in self.__slots__
        )

    def __hash__(self) -> int:
        return hash(tuple(repr(getattr(self, name)) for name in self.__slots__))

    def __repr__(self) -> str:
        inner = ", ".join(f"{name}={getattr(self, name)!r}" for name in self.__slots__)
        return f"{type(self).__name__}({inner})"


def _encode(value: Any) -> Any:
    if isinstance(value, Value):
        return value.to_json()
    if isinstance(value, (tuple, list)):
        return [_encode(item) for item in value]
    return value


def _decode(kind: type[Value] | None, value: Any) -> Any:
    if isinstance(value, list):
        return tuple(_decode(kind, item) for item in value)
    if kind is not None and value is not None:
        return kind.from_json(value)
    return value
