"""The words of one action of a template, and the grammar over them: operands, calls, pipelines.

`cli.template` makes blocks of actions. Imported only when somebody asks for a template.
"""

from __future__ import annotations

import re

from rootless.cli import template_functions as functions
from rootless.cli.template_functions import TemplateError
from rootless.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from typing import Any

    Scope = list[tuple[str, Any]]
    """Names and values of variables, the innermost last."""
    Expression = Callable[[Any, Scope], Any]
    """Gives its value for (dot, variables)."""

MAX_DEPTH = 64
"""Of blocks and parentheses: more than a person writes, less than Python's recursion limit."""

_TOKEN = re.compile(
    r"""\s*(?:
        (?P<string>"(?:[^"\\\n]|\\.)*") | (?P<raw>`[^`]*`) | (?P<char>'(?:[^'\\\n]|\\[^\n])[^'\n]*')
      | (?P<number>[-+]?(?:0[xX][0-9a-fA-F_]+|0[oO][0-7_]+|0[bB][01_]+|\d[\d_]*(?:\.\d*)?(?:[eE][-+]?\d+)?))
      | (?P<variable>\$\w*(?:\.\w+)*) | (?P<field>(?:\.\w+)+) | (?P<dot>\.)
      | (?P<word>[^\W\d]\w*) | (?P<sign>:=|[=|(),])
    )""",
    re.VERBOSE,
)


class Tokens:
    """The words of one action and the grammar over them."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.items = list(_tokenize(text))
        self.position = 0
        self.depth = 0

    def peek(self, offset: int = 0) -> tuple[str, str]:
        index = self.position + offset
        return self.items[index] if index < len(self.items) else ("end", "")

    def take(self) -> tuple[str, str]:
        item = self.peek()
        self.position += 1
        return item

    def expect_end(self) -> None:
        if self.peek()[0] != "end":
            raise syntax_error(f"unexpected `{self.peek()[1]}` in `{self.text}`")

    def declaration(self, *, most: int) -> tuple[list[str], bool]:
        """Take `$x :=`, `$x =` or `$k, $v :=` if it stands here; return the names and whether it declares."""
        names: list[str] = []
        offset = 0
        while self.peek(offset)[0] == "variable" and len(names) < most:
            names.append(self.peek(offset)[1])
            offset += 1
            if self.peek(offset) != ("sign", ","):
                break
            offset += 1
        if not names or self.peek(offset)[1] not in (":=", "=") or self.peek(offset)[0] != "sign":
            return [], False
        if any("." in name for name in names):
            raise syntax_error(f"cannot assign to a field in `{self.text}`")
        self.position += offset
        return names, self.take()[1] == ":="

    def pipeline(self) -> Expression:
        expression = self.command(None)
        while self.peek() == ("sign", "|"):
            self.take()
            expression = self.command(expression)
        return expression

    def command(self, piped: Expression | None) -> Expression:
        if self.peek()[0] == "word" and self.peek()[1] not in functions.CONSTANTS:
            name = self.take()[1]
            return _call(name, self.arguments(piped), self.text)
        first = self.operand()
        arguments = self.arguments(piped)
        return _method(first, arguments) if arguments else first

    def arguments(self, piped: Expression | None) -> list[Expression]:
        found = []
        while self.peek()[0] != "end" and (self.peek()[0] != "sign" or self.peek()[1] == "("):
            found.append(self.operand())
        return [*found, piped] if piped is not None else found

    def operand(self) -> Expression:
        kind, text = self.take()
        if (kind, text) == ("sign", "("):
            return self.parenthesis()
        if kind == "dot":
            return lambda dot, scope: dot
        if kind == "field":
            return _fields(lambda dot, scope: dot, text)
        if kind == "variable":
            name, _, rest = text.partition(".")
            return _fields(lambda dot, scope: _lookup(scope, name), rest)
        if kind == "word" and text not in functions.CONSTANTS:
            return _call(text, [], self.text)
        if kind in ("end", "sign"):
            raise syntax_error(f"a value is missing in `{self.text}`")
        constant = functions.literal(kind, text)
        return lambda dot, scope: constant

    def parenthesis(self) -> Expression:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise syntax_error("parentheses are nested too deeply")
        inner = self.pipeline()
        if self.take() != ("sign", ")"):
            raise syntax_error(f"a closing parenthesis is missing in `{self.text}`")
        self.depth -= 1
        return _fields(inner, self.take()[1]) if self.peek()[0] == "field" else inner


def _tokenize(text: str) -> Iterator[tuple[str, str]]:
    position = 0
    end = len(text.rstrip())
    while position < end:
        match = _TOKEN.match(text, position)
        if match is None or match.lastgroup is None:
            raise syntax_error(f"unexpected `{text[position:].strip()[:20]}` in `{text}`")
        yield match.lastgroup, match.group(match.lastgroup)
        position = match.end()


def _call(name: str, arguments: list[Expression], text: str) -> Expression:
    if name in ("and", "or"):
        return _short_circuit(arguments, stop_at=name == "or", name=name)
    function = functions.FUNCTIONS.get(name)
    if function is None:
        known = ", ".join(sorted({*functions.FUNCTIONS, "and", "or"}))
        raise syntax_error(f"unknown function `{name}` in `{text}`", hint=f"there are: {known}")
    return lambda dot, scope: functions.call(name, function, [item(dot, scope) for item in arguments])


def _short_circuit(arguments: list[Expression], *, stop_at: bool, name: str) -> Expression:
    if not arguments:
        raise syntax_error(f"{name} needs an argument")

    def evaluate(dot: Any, scope: Scope) -> Any:
        value: Any = None
        for item in arguments:
            value = item(dot, scope)
            if functions.truth(value) is stop_at:
                break
        return value

    return evaluate


def _method(target: Expression, arguments: list[Expression]) -> Expression:
    def evaluate(dot: Any, scope: Scope) -> Any:
        method = target(dot, scope)
        if not callable(method):
            raise TemplateError("cannot give an argument to something that is no function")
        return functions.call("method", method, [item(dot, scope) for item in arguments])

    return evaluate


def _fields(base: Expression, path: str) -> Expression:
    names = [name for name in path.split(".") if name]
    if not names:
        return base

    def evaluate(dot: Any, scope: Scope) -> Any:
        value = base(dot, scope)
        for name in names:
            value = _field(value, name)
        return value

    return evaluate


def _field(value: Any, name: str) -> Any:
    """Return a field as Go would: an absent key of a map is no value, an absent field of a struct an error.

    JSON does not tell the two apart; Go's exported fields begin with a capital letter, map keys rarely
    all do.
    """
    if isinstance(value, dict):
        if name in value:
            return value[name]
        if not _looks_like_struct(value):
            return None
        raise TemplateError(f"there is no field .{name}", hint="fields: " + " ".join(map(str, value)))
    if value is None:
        raise TemplateError(f"cannot take .{name} of nothing")
    raise TemplateError(f"cannot take .{name} of {functions.kind_of(value)}")


def _looks_like_struct(value: Mapping[Any, Any]) -> bool:
    return bool(value) and all(isinstance(key, str) and key[:1].isupper() for key in value)


def _lookup(scope: Scope, name: str) -> Any:
    for known, value in reversed(scope):
        if known == name:
            return value
    raise TemplateError(f"undefined variable {name}")


def syntax_error(why: str, *, hint: str | None = None) -> UsageError:
    """Return the error for a text that is not a template."""
    return UsageError(f"cannot parse the template: {why}", hint=hint)
