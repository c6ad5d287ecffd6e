"""The functions and value rules of Go's text/template that `cli.template` offers, with Docker's additions.

Docker's: json split join title lower upper pad truncate (cli/command/formatter in github.com/docker/cli,
templates/templates.go). Go's: printf print println index slice len not eq ne lt le gt ge.
"""

from __future__ import annotations

import json
import re

from rootless.errors import RootlessError, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

CONSTANTS = {"true": True, "false": False, "nil": None}
_ESCAPE = re.compile(r"\\(x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|[0-7]{3}|.)", re.DOTALL)
_PLAIN_ESCAPES = {
    "a": "\a",
    "b": "\b",
    "f": "\f",
    "n": "\n",
    "r": "\r",
    "t": "\t",
    "v": "\v",
    "\\": "\\",
    '"': '"',
    "'": "'",
}
_VERB = re.compile(r"%([-+ #0]*)(\d*)(?:\.(\d+))?([a-zA-Z%])")


class TemplateError(RootlessError):
    """A template does not fit the value that it is applied to."""

    reference = "template"

    def __init__(self, why: str, *, hint: str | None = None) -> None:
        super().__init__(f"cannot apply the template: {why}", hint=hint)


def literal(kind: str, text: str) -> Any:
    """Return the value of a constant token.

    Raises:
        UsageError: a bad escape or number.
    """
    if kind == "word":
        return CONSTANTS[text]
    if kind == "raw":
        return text[1:-1]
    if kind == "string":
        return _ESCAPE.sub(_unescape, text[1:-1])
    if kind == "char":
        return _rune(text)
    try:
        return int(text, 0)
    except ValueError:
        pass
    try:
        if len(text) < 40:  # a longer one is infinite, or no number that anybody means
            return float(text)
    except ValueError:
        pass
    raise UsageError(f"cannot parse the template: bad number `{text[:40]}`")


def _rune(text: str) -> int:
    inner = _ESCAPE.sub(_unescape, text[1:-1])
    if len(inner) != 1:
        raise UsageError(f"cannot parse the template: bad character constant {text[:40]}")
    return ord(inner)


def _unescape(match: re.Match[str]) -> str:
    code = match.group(1)
    if code in _PLAIN_ESCAPES:
        return _PLAIN_ESCAPES[code]
    try:
        if len(code) == 3 and code.isdigit():
            return chr(int(code, 8))
        if code[0] in "xuU" and len(code) > 1:
            return chr(int(code[1:], 16))
    except (ValueError, OverflowError):
        pass  # beyond Unicode
    raise UsageError(f"cannot parse the template: unknown escape `\\{code}`")


def truth(value: Any) -> bool:
    """Tell whether Go's `if` takes a value for true: not false, 0, nil or empty."""
    return callable(value) or bool(value)


def text_of(value: Any) -> str:
    """Return what fmt.Print shows for a value at the top of an action."""
    return "<no value>" if value is None else _go_text(value)


def _go_text(value: Any) -> str:
    if value is None:
        return "<nil>"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        inner = (f"{_go_text(k)}:{_go_text(value[k])}" for k in sorted(value, key=str))
        return "map[" + " ".join(inner) + "]"
    if isinstance(value, (list, tuple)):
        return "[" + " ".join(map(_go_text, value)) + "]"
    if isinstance(value, float):
        return repr(value).removesuffix(".0")
    if callable(value):
        raise TemplateError("a method lacks its argument")
    return str(value)


def kind_of(value: Any) -> str:
    names = {dict: "a map", list: "a list", tuple: "a list", str: "a string", bool: "a boolean"}
    return names.get(type(value), "a number" if isinstance(value, (int, float)) else "nothing")


def items_of(value: Any) -> Iterator[tuple[Any, Any]]:
    """Yield (key, item) as Go's range does: lists by index, maps by sorted key, numbers from 0."""
    if isinstance(value, dict):
        yield from sorted(value.items(), key=lambda item: str(item[0]))
    elif isinstance(value, (list, tuple)):
        yield from enumerate(value)
    elif isinstance(value, int) and not isinstance(value, bool):
        yield from ((i, i) for i in range(value))
    elif value is not None:
        raise TemplateError(f"cannot range over {kind_of(value)}")


def call(name: str, function: Callable[..., Any], arguments: list[Any]) -> Any:
    """Call a template function; what does not fit becomes a TemplateError."""
    try:
        return function(*arguments)
    except TemplateError:
        raise
    except (TypeError, ValueError, AttributeError, LookupError, OverflowError, MemoryError) as exc:
        shown = " ".join(kind_of(a) if a is not None else "nil" for a in arguments) or "no argument"
        raise TemplateError(f"{name} does not fit {shown}") from exc


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _join(items: Any, separator: str) -> str:
    if items is None:
        return ""
    if not isinstance(items, (list, tuple)):
        raise TypeError
    return separator.join(map(_go_text, items))


def _pad(text: str, before: int, after: int) -> str:
    # padding nothing gives nothing, as in Docker
    return " " * before + text + " " * after if text else text


def _truncate(text: str, length: int) -> str:
    return text[:length] if isinstance(text, str) and length >= 0 else text


def _index(value: Any, *keys: Any) -> Any:
    for key in keys:
        if isinstance(value, dict):
            value = value.get(key)
        elif isinstance(value, (list, tuple, str)):
            if isinstance(key, bool) or not isinstance(key, int) or not 0 <= key < len(value):
                raise TemplateError(f"index out of range: {_go_text(key)}")
            value = value[key]
        else:
            raise TemplateError(f"cannot index {kind_of(value)}")
    return value


def _slice(value: Any, *bounds: int) -> Any:
    if len(bounds) > 2 or any(not 0 <= b <= len(value) for b in bounds):
        raise IndexError
    start, end = (*bounds, len(value))[:2] if bounds else (0, len(value))
    return value[start:end]


def _comparable(a: Any, b: Any) -> None:
    if a is None or b is None:
        return
    if kind_of(a) != kind_of(b):
        raise TemplateError(f"cannot compare {kind_of(a)} with {kind_of(b)}")


def _equal(first: Any, *others: Any) -> bool:
    if not others:
        raise TypeError
    for other in others:
        _comparable(first, other)
    return any(first == other for other in others)


def _not_equal(a: Any, b: Any) -> bool:
    return not _equal(a, b)


def _less(a: Any, b: Any) -> bool:
    _comparable(a, b)
    return bool(a < b)


def _less_or_equal(a: Any, b: Any) -> bool:
    return _less(a, b) or a == b


def _greater(a: Any, b: Any) -> bool:
    return not _less_or_equal(a, b)


def _greater_or_equal(a: Any, b: Any) -> bool:
    return not _less(a, b)


def _print(*values: Any) -> str:
    """fmt.Sprint: a space between two operands when neither is a string."""
    text = ""
    for index, value in enumerate(values):
        if index and not isinstance(value, str) and not isinstance(values[index - 1], str):
            text += " "
        text += _go_text(value)
    return text


def _println(*values: Any) -> str:
    return " ".join(map(_go_text, values)) + "\n"


def _printf(form: str, *values: Any) -> str:
    left = list(values)

    def expand(match: re.Match[str]) -> str:
        flags, width, precision, verb = match.groups()
        if verb == "%":
            return "%"
        if not left:
            return f"%!{verb}(MISSING)"
        return _padded(_verb(verb, left.pop(0), flags, precision), flags, int(width or 0))

    text = _VERB.sub(expand, form)
    return text + "".join(f"%!(EXTRA {kind_of(v)}={_go_text(v)})" for v in left)


def _verb(verb: str, value: Any, flags: str, precision: str | None) -> str:
    if verb in "svt":
        text = _go_text(value)
        return text if precision is None else text[: int(precision)]
    if verb == "q":
        return _json(_go_text(value))
    if verb in "xX" and isinstance(value, str):
        text = value.encode("utf-8", "surrogateescape").hex()
        return text.upper() if verb == "X" else text
    if verb == "c" and isinstance(value, int):
        return chr(value)
    if verb in "dxXob" and isinstance(value, int) and not isinstance(value, bool):
        return format(
            value, ("+" if "+" in flags else "") + ("#" if "#" in flags and verb != "d" else "") + verb
        )
    if verb in "feEgG" and isinstance(value, (int, float)) and not isinstance(value, bool):
        return format(float(value), f".{precision or 6}{verb}")
    return f"%!{verb}({kind_of(value)}={_go_text(value)})"


def _padded(text: str, flags: str, width: int) -> str:
    if "-" in flags:
        return text.ljust(width)
    return text.zfill(width) if "0" in flags else text.rjust(width)


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "eq": _equal,
    "ge": _greater_or_equal,
    "gt": _greater,
    "index": _index,
    "join": _join,
    "json": _json,
    "le": _less_or_equal,
    "len": len,
    "lower": lambda text: text.lower(),
    "lt": _less,
    "ne": _not_equal,
    "not": lambda value: not truth(value),
    "pad": _pad,
    "print": _print,
    "printf": _printf,
    "println": _println,
    "slice": _slice,
    "split": lambda text, separator: text.split(separator) if separator else list(text),
    "title": lambda text: re.sub(r"\b[^\W\d_]", lambda m: m.group().upper(), text),
    "truncate": _truncate,
    "upper": lambda text: text.upper(),
}
