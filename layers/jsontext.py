"""JSON, by the scanner and the encoder of the standard library without the package around them. Pure; ring 0.

`import json` brings re, enum, functools and collections along: 5 of the 40 ms in which a container starts.
Texts and errors are the same as json's, whose C half this is (CPython, Modules/_json.c).
"""

from __future__ import annotations

from _json import encode_basestring_ascii, make_encoder, make_scanner

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, NoReturn

    Pairs = list[tuple[str, Any]]

_SPACE = " \t\n\r"
_CONSTANTS = {"NaN": float("nan"), "Infinity": float("inf"), "-Infinity": float("-inf")}


class _Rules:
    """What `make_scanner` asks for."""

    strict = True
    object_hook = None
    parse_float = float
    parse_int = int

    def __init__(
        self,
        object_pairs_hook: Callable[[Pairs], Any] | None = None,
        parse_constant: Callable[[str], Any] = _CONSTANTS.__getitem__,
    ) -> None:
        self.object_pairs_hook = object_pairs_hook
        self.parse_constant = parse_constant


def loads(
    text: str | bytes,
    *,
    object_pairs_hook: Callable[[Pairs], Any] | None = None,
    parse_constant: Callable[[str], Any] = _CONSTANTS.__getitem__,
) -> Any:
    """Decode one JSON text; bytes are UTF-8. The hooks are those of `json.loads`.

    Raises:
        ValueError: it is none (JSONDecodeError, UnicodeDecodeError), or a hook says so.
    """
    if isinstance(text, bytes):
        text = text.decode()
    scan = make_scanner(_Rules(object_pairs_hook, parse_constant))  # type: ignore[arg-type]
    if text.startswith("\ufeff"):
        _fail("Unexpected UTF-8 BOM (decode using utf-8-sig)", text, 0)
    begin = len(text) - len(text.lstrip(_SPACE))
    try:
        value, end = scan(text, begin)
    except StopIteration as exc:
        _fail("Expecting value", text, exc.value)
    except SystemError:
        __import__("json.decoder")  # where _json.c finds the error to raise, if it is there (raise_errmsg)
        value, end = scan(text, begin)
    if rest := text[end:].lstrip(_SPACE):
        _fail("Extra data", text, len(text) - len(rest))
    return value


def dumps(value: Any, *, compact: bool = False, sort_keys: bool = False) -> str:
    """Encode a value as ASCII.

    Args:
        compact: without the spaces that json writes after commas and colons.

    Raises:
        TypeError: it holds something that JSON has not. ValueError: it holds itself.
    """
    comma, colon = (",", ":") if compact else (", ", ": ")
    encode = make_encoder({}, _refuse, encode_basestring_ascii, None, colon, comma, sort_keys, False, True)
    return "".join(encode(value, 0))


def _refuse(value: object) -> NoReturn:
    raise TypeError(f"Object of type {type(value).__name__} is not JSON serializable")


def _fail(problem: str, text: str, position: int) -> NoReturn:
    from json import JSONDecodeError  # only a mistake pays for it

    raise JSONDecodeError(problem, text, position)
