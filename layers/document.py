"""Reading JSON that strangers wrote: every wrong shape becomes InvalidManifest that names the field.

Refuses what two parsers may read differently (duplicate keys, NaN, other encodings than UTF-8, lone
surrogates) and what makes later code fail (deep nesting, huge numbers). Ring 1.
"""

from __future__ import annotations

from layers import jsontext
from layers.digest import Digest
from layers.errors import InvalidDigest, InvalidManifest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

MAX_DOCUMENT_BYTES = 4 << 20
"""Registries and engines agree on 4 MiB (distribution-spec "Pushing Manifests"; containerd, moby)."""
MAX_DEPTH = 64
"""Real documents nest 8 deep; json and repr recurse, and fail somewhere below 1000."""
MAX_INTEGER = (1 << 63) - 1


class Fields:
    """One JSON object and the way to it, read field by field; null counts as absent.

    Args:
        data: the decoded object.
        where: what it is, for messages: "manifest", "manifest.layers[2]".
    """

    __slots__ = ("data", "where")

    def __init__(self, data: dict[str, Any], where: str) -> None:
        self.data = data
        self.where = where

    def text(self, name: str, *, default: str | None = None) -> str:
        """Return a string; without a default the field is required."""
        value = self._get(name, str, "a string", required=default is None)
        return str(default if value is None else value)

    def integer(self, name: str) -> int:
        """Return a required integer from 0 to 2^63 - 1."""
        value = self._get(name, int, "an integer", required=True)
        if not 0 <= value <= MAX_INTEGER:
            self.fail(name, "is out of range")
        return int(value)

    def flag(self, name: str) -> bool:
        """Return an optional boolean, False if absent."""
        value = self.data.get(name)
        if value is not None and not isinstance(value, bool):
            self.fail(name, "is not a boolean")
        return bool(value)

    def digest(self, name: str) -> Digest:
        """Return a required digest."""
        return self._digest(self.text(name), name)

    def digests(self, name: str) -> tuple[Digest, ...]:
        """Return a required array of digests."""
        items = enumerate(self.array(name, required=True))
        return tuple(self._digest(item, f"{name}[{i}]") for i, item in items)

    def array(self, name: str, *, required: bool = False) -> list[Any]:
        value = self._get(name, list, "an array", required=required)
        return [] if value is None else value

    def child(self, name: str) -> Fields | None:
        """Return an optional object."""
        value = self._get(name, dict, "an object", required=False)
        return None if value is None else Fields(value, f"{self.where}.{name}")

    def children(self, name: str, *, required: bool = False) -> list[Fields]:
        """Return an array of objects."""
        found = []
        for i, item in enumerate(self.array(name, required=required)):
            if not isinstance(item, dict):
                self.fail(f"{name}[{i}]", "is not an object")
            found.append(Fields(item, f"{self.where}.{name}[{i}]"))
        return found

    def texts(self, name: str) -> tuple[str, ...]:
        """Return an optional array of strings."""
        items = self.array(name)
        for i, item in enumerate(items):
            if not isinstance(item, str):
                self.fail(f"{name}[{i}]", "is not a string")
        return tuple(items)

    def text_map(self, name: str) -> dict[str, str]:
        """Return an optional object whose values are strings; null values are dropped."""
        fields = self.child(name)
        if fields is None:
            return {}
        return {key: fields.text(key) for key, value in fields.data.items() if value is not None}

    def fail(self, name: str, problem: str) -> NoReturn:
        """Raise InvalidManifest about one field."""
        raise InvalidManifest(f"invalid {self.where}: `{name[:80]}` {problem}")

    def _get(self, name: str, kind: type, article: str, *, required: bool) -> Any:
        value = self.data.get(name)
        if value is None:
            if required:
                self.fail(name, "is missing")
            return None
        if not isinstance(value, kind) or isinstance(value, bool):
            self.fail(name, f"is not {article}")
        return value

    def _digest(self, value: object, name: str) -> Digest:
        try:
            return Digest.parse(value)
        except InvalidDigest as exc:
            raise InvalidManifest(f"invalid {self.where}: `{name}`: {exc.message}", on=exc.on) from exc


def decode(data: bytes, what: str, *, max_bytes: int = MAX_DOCUMENT_BYTES) -> Fields:
    """Decode a JSON document that has to be an object.

    Args:
        what: its name in messages, "manifest", "index", "config".

    Raises:
        InvalidManifest: too big, not JSON, not an object, or one that parsers disagree about.
    """
    if len(data) > max_bytes:
        raise InvalidManifest(f"invalid {what}: it has {len(data)} bytes, more than {max_bytes}")
    try:
        value = jsontext.loads(
            data.decode("utf-8"), object_pairs_hook=_unique_object, parse_constant=_refuse_constant
        )
        _check_tree(value)
    except RecursionError:
        raise InvalidManifest(f"invalid {what}: it is nested too deeply") from None
    except ValueError as exc:  # includes JSONDecodeError, UnicodeDecodeError, int's digit limit
        raise InvalidManifest(f"invalid {what}: {_first_line(exc)}") from exc
    if not isinstance(value, dict):
        raise InvalidManifest(f"invalid {what}: it is not a JSON object")
    return Fields(value, what)


def _unique_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise ValueError(f"the key {twice[:80]!r} occurs twice")
    return result


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _check_tree(root: Any) -> None:
    """Bound the nesting and refuse strings that UTF-8 cannot hold, which would fail when they are used."""
    level = [root]
    for _ in range(MAX_DEPTH):
        below: list[Any] = []
        for item in level:
            if isinstance(item, str):
                if not item.isascii():
                    item.encode("utf-8")  # a lone surrogate raises UnicodeEncodeError, a ValueError
            elif isinstance(item, dict):
                below.extend(item)
                below.extend(item.values())
            elif isinstance(item, list):
                below.extend(item)
        if not below:
            return
        level = below
    raise ValueError(f"it is nested more than {MAX_DEPTH} deep")


def _first_line(exc: ValueError) -> str:
    if isinstance(exc, UnicodeError):
        return "it is not UTF-8 text"
    return str(exc).partition("\n")[0][:160]
