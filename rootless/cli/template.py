"""Go's text/template as Docker users write it in --format: parse once, render many values.

Fields, variables, pipelines, `if/else if/else`, `range`, `with`, `break`, `continue`, trimming, comments and
the functions of `template_functions`. Not `define`, `template` and `block`. Works on JSON-like values (dict,
list, str, int, float, bool, None) and on callables for methods with arguments (`.Label "x"`).
Imported only when somebody asks for a template. Grammar: https://pkg.go.dev/text/template.
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
    Node = Callable[[Any, Scope, list[str]], None]
    """Appends its text for (dot, variables) to the list."""
    Expression = Callable[[Any, Scope], Any]
    Block = tuple[list[Node], str, str]
    """Nodes up to a closing action, its keyword, and the rest of that action."""

_MAX_DEPTH = 64
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
_ACTION_END = re.compile(
    r"""(?:"(?:[^"\\\n]|\\.)*"|`[^`]*`|'(?:[^'\\\n]|\\.)*'|[^"`'}]|\}(?!\}))*?(?=\}\})"""
)
_KEYWORDS = frozenset(("if", "range", "with", "else", "end", "break", "continue"))
_UNSUPPORTED = frozenset(("define", "template", "block"))


class Template:
    """A parsed template.

    Raises:
        UsageError: on creation, for text that is not a template.
    """

    __slots__ = ("_nodes",)

    def __init__(self, text: str) -> None:
        self._nodes = _parse(text)

    def render(self, data: Any) -> str:
        """Return the text for one value.

        Raises:
            TemplateError: a field does not exist, or a function does not fit its arguments.
        """
        out: list[str] = []
        try:
            _render(self._nodes, data, [("$", data)], out)
        except (_Break, _Continue):
            raise TemplateError("break or continue stands outside of a range") from None
        return "".join(out)


class _Break(Exception):
    pass


class _Continue(Exception):
    pass


def _parse(text: str) -> list[Node]:
    nodes, keyword, _ = _parse_block(_split(text), depth=0)
    if keyword:
        raise _syntax(f"unexpected {{{{{keyword}}}}}")
    return nodes


def _split(text: str) -> Iterator[tuple[bool, str]]:
    """Yield (is_action, text) with trim markers applied and comments left out."""
    position, trim = 0, False
    while True:
        start = text.find("{{", position)
        plain = text[position:] if start < 0 else text[position:start]
        plain = plain.lstrip() if trim else plain
        if start < 0:
            yield False, plain
            return
        body_start = start + 2
        if re.match(r"-\s", text[body_start : body_start + 2]):
            plain, body_start = plain.rstrip(), body_start + 1
        yield False, plain
        end = _end_of_action(text, body_start)
        body = text[body_start:end]
        trim = bool(re.search(r"\s-$", body))
        body = body[:-1].strip() if trim else body.strip()
        if not (body.startswith("/*") and body.endswith("*/")):
            yield True, body
        position = end + 2


def _end_of_action(text: str, start: int) -> int:
    if text[start:].lstrip().startswith("/*"):
        closed = text.find("*/", start)
        end = -1 if closed < 0 else text.find("}}", closed)
    else:
        match = _ACTION_END.match(text, start)
        end = match.end() if match else -1
    if end < 0:
        raise _syntax("unclosed action, `}}` is missing")
    return end


def _parse_block(parts: Iterator[tuple[bool, str]], *, depth: int) -> Block:
    if depth > _MAX_DEPTH:
        raise _syntax("blocks are nested too deeply")
    nodes: list[Node] = []
    for is_action, text in parts:
        if not is_action:
            if text:
                nodes.append(_text_node(text))
            continue
        keyword, rest = _keyword(text)
        if keyword in ("else", "end"):
            return nodes, keyword, rest
        nodes.append(_action(keyword, rest, parts, depth=depth))
    return nodes, "", ""


def _keyword(text: str) -> tuple[str, str]:
    match = re.match(r"\w+", text)
    word = match.group() if match else ""
    if word in _UNSUPPORTED:
        raise _syntax(f"{{{{{word}}}}} is not supported")
    return (word, text[len(word) :].strip()) if word in _KEYWORDS else ("", text)


def _action(keyword: str, rest: str, parts: Iterator[tuple[bool, str]], *, depth: int) -> Node:
    if keyword == "":
        return _pipeline_node(rest)
    if keyword in ("break", "continue"):
        return _jump_node(_Break if keyword == "break" else _Continue)
    names, expression = _clause(keyword, rest)
    body, otherwise = _branches(keyword, parts, depth=depth)
    if keyword == "range":
        return _range_node(names, expression, body, otherwise)
    return _conditional_node(names, expression, body, otherwise, moves_dot=keyword == "with")


def _clause(keyword: str, rest: str) -> tuple[list[str], Expression]:
    tokens = _Tokens(rest)
    names, _ = tokens.declaration(most=2 if keyword == "range" else 1)
    expression = tokens.pipeline()
    tokens.expect_end()
    return names, expression


def _branches(
    keyword: str, parts: Iterator[tuple[bool, str]], *, depth: int
) -> tuple[list[Node], list[Node]]:
    """Parse what follows `{{if …}}` up to its `{{end}}`, with the chain of `{{else if …}}`."""
    body, closing, rest = _parse_block(parts, depth=depth + 1)
    if closing == "":
        raise _syntax(f"{{{{{keyword}}}}} has no {{{{end}}}}")
    if closing == "end":
        return body, []
    if rest:
        inner, clause = _keyword(rest)
        if inner != keyword or inner == "range":
            raise _syntax(f"unexpected {{{{else {rest}}}}}")
        if depth > _MAX_DEPTH:
            raise _syntax("blocks are nested too deeply")
        return body, [_action(inner, clause, parts, depth=depth + 1)]
    otherwise, closing, _ = _parse_block(parts, depth=depth + 1)
    if closing != "end":
        raise _syntax(f"{{{{{keyword}}}}} has no {{{{end}}}}")
    return body, otherwise


def _render(nodes: list[Node], dot: Any, scope: Scope, out: list[str]) -> None:
    for node in nodes:
        node(dot, scope, out)


def _text_node(text: str) -> Node:
    return lambda dot, scope, out: out.append(text)


def _jump_node(jump: type[Exception]) -> Node:
    def run(dot: Any, scope: Scope, out: list[str]) -> None:
        raise jump

    return run


def _pipeline_node(text: str) -> Node:
    tokens = _Tokens(text)
    names, declares = tokens.declaration(most=1)
    expression = tokens.pipeline()
    tokens.expect_end()

    def run(dot: Any, scope: Scope, out: list[str]) -> None:
        value = expression(dot, scope)
        if not names:
            out.append(functions.text_of(value))
        elif declares:
            scope.append((names[0], value))
        else:
            _assign(scope, names[0], value)

    return run


def _assign(scope: Scope, name: str, value: Any) -> None:
    for index in range(len(scope) - 1, -1, -1):
        if scope[index][0] == name:
            scope[index] = (name, value)
            return
    raise TemplateError(f"undefined variable {name}")


def _conditional_node(
    names: list[str], expression: Expression, body: list[Node], otherwise: list[Node], *, moves_dot: bool
) -> Node:
    def run(dot: Any, scope: Scope, out: list[str]) -> None:
        mark = len(scope)
        value = expression(dot, scope)
        scope.extend((name, value) for name in names)
        if functions.truth(value):
            _render(body, value if moves_dot else dot, scope, out)
        else:
            _render(otherwise, dot, scope, out)
        del scope[mark:]

    return run


def _range_node(names: list[str], expression: Expression, body: list[Node], otherwise: list[Node]) -> Node:
    def run(dot: Any, scope: Scope, out: list[str]) -> None:
        mark = len(scope)
        empty = True
        for key, value in functions.items_of(expression(dot, scope)):
            empty = False
            scope.extend(zip(names, (key, value) if len(names) == 2 else (value,), strict=False))
            try:
                _render(body, value, scope, out)
            except _Continue:
                pass
            except _Break:
                break
            finally:
                del scope[mark:]
        if empty:
            _render(otherwise, dot, scope, out)

    return run


class _Tokens:
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
            raise _syntax(f"unexpected `{self.peek()[1]}` in `{self.text}`")

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
            raise _syntax(f"cannot assign to a field in `{self.text}`")
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
            raise _syntax(f"a value is missing in `{self.text}`")
        constant = functions.literal(kind, text)
        return lambda dot, scope: constant

    def parenthesis(self) -> Expression:
        self.depth += 1
        if self.depth > _MAX_DEPTH:
            raise _syntax("parentheses are nested too deeply")
        inner = self.pipeline()
        if self.take() != ("sign", ")"):
            raise _syntax(f"a closing parenthesis is missing in `{self.text}`")
        self.depth -= 1
        return _fields(inner, self.take()[1]) if self.peek()[0] == "field" else inner


def _tokenize(text: str) -> Iterator[tuple[str, str]]:
    position = 0
    end = len(text.rstrip())
    while position < end:
        match = _TOKEN.match(text, position)
        if match is None or match.lastgroup is None:
            raise _syntax(f"unexpected `{text[position:].strip()[:20]}` in `{text}`")
        yield match.lastgroup, match.group(match.lastgroup)
        position = match.end()


def _call(name: str, arguments: list[Expression], text: str) -> Expression:
    if name in ("and", "or"):
        return _short_circuit(arguments, stop_at=name == "or", name=name)
    function = functions.FUNCTIONS.get(name)
    if function is None:
        known = ", ".join(sorted({*functions.FUNCTIONS, "and", "or"}))
        raise _syntax(f"unknown function `{name}` in `{text}`", hint=f"there are: {known}")
    return lambda dot, scope: functions.call(name, function, [item(dot, scope) for item in arguments])


def _short_circuit(arguments: list[Expression], *, stop_at: bool, name: str) -> Expression:
    if not arguments:
        raise _syntax(f"{name} needs an argument")

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


def _syntax(why: str, *, hint: str | None = None) -> UsageError:
    return UsageError(f"cannot parse the template: {why}", hint=hint)
