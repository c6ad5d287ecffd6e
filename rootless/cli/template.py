"""Go's text/template as Docker users write it in --format: parse once, render many values.

Fields, variables, pipelines, `if/else if/else`, `range`, `with`, `break`, `continue`, trimming, comments and
the functions of `template_functions`; what stands in one action is the matter of `template_expressions`. Not
`define`, `template` and `block`. Works on JSON-like values (dict, list, str, int, float, bool, None) and on
callables for methods with arguments (`.Label "x"`). Imported only when somebody asks for a template.
Grammar: https://pkg.go.dev/text/template.
"""

from __future__ import annotations

import re

from rootless.cli import template_functions as functions
from rootless.cli.template_expressions import MAX_DEPTH, Tokens, syntax_error
from rootless.cli.template_functions import TemplateError
from rootless.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from rootless.cli.template_expressions import Expression, Scope

    Node = Callable[[Any, Scope, list[str]], None]
    """Appends its text for (dot, variables) to the list."""
    Block = tuple[list[Node], str, str]
    """Nodes up to a closing action, its keyword, and the rest of that action."""

_ACTION_END = re.compile(
    r"""(?:"(?:[^"\\\n]|\\.)*"|`[^`]*`|'(?:[^'\\\n]|\\.)*'|[^"`'}]|\}(?!\}))*?(?=\}\})"""
)
_KEYWORDS = frozenset(("if", "range", "with", "else", "end", "break", "continue"))
_UNSUPPORTED = frozenset(("define", "template", "block"))
_SHOWN = 40
"""Most characters of a template that an error shows."""


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
    parts = _Parts(text)
    try:
        nodes, keyword, _ = _parse_block(parts, depth=0)
        if keyword:
            raise syntax_error(f"unexpected {{{{{keyword}}}}}")
    except UsageError as error:
        error.on = f"character {parts.start + 1}: `{text[parts.start :][:_SHOWN]}`"
        raise
    return nodes


class _Parts:
    """Iterates over (is_action, text) with trim markers applied and comments left out.

    Attributes:
        start: index of the latest action, which an error is about.
    """

    __slots__ = ("_parts", "start")

    def __init__(self, text: str) -> None:
        self.start = 0
        self._parts = self._split(text)

    def __iter__(self) -> Iterator[tuple[bool, str]]:
        """Return the same iterator each time: blocks inside of blocks go on with it."""
        return self._parts

    def _split(self, text: str) -> Iterator[tuple[bool, str]]:
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
            self.start = start
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
        raise syntax_error("unclosed action, `}}` is missing")
    return end


def _parse_block(parts: _Parts, *, depth: int) -> Block:
    if depth > MAX_DEPTH:
        raise syntax_error("blocks are nested too deeply")
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
        raise syntax_error(f"{{{{{word}}}}} is not supported")
    return (word, text[len(word) :].strip()) if word in _KEYWORDS else ("", text)


def _action(keyword: str, rest: str, parts: _Parts, *, depth: int) -> Node:
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
    tokens = Tokens(rest)
    names, _ = tokens.declaration(most=2 if keyword == "range" else 1)
    expression = tokens.pipeline()
    tokens.expect_end()
    return names, expression


def _branches(keyword: str, parts: _Parts, *, depth: int) -> tuple[list[Node], list[Node]]:
    """Parse what follows `{{if …}}` up to its `{{end}}`, with the chain of `{{else if …}}`."""
    body, closing, rest = _parse_block(parts, depth=depth + 1)
    if closing == "":
        raise syntax_error(f"{{{{{keyword}}}}} has no {{{{end}}}}")
    if closing == "end":
        return body, []
    if rest:
        inner, clause = _keyword(rest)
        if inner != keyword or inner == "range":
            raise syntax_error(f"unexpected {{{{else {rest}}}}}")
        if depth > MAX_DEPTH:
            raise syntax_error("blocks are nested too deeply")
        return body, [_action(inner, clause, parts, depth=depth + 1)]
    otherwise, closing, _ = _parse_block(parts, depth=depth + 1)
    if closing != "end":
        raise syntax_error(f"{{{{{keyword}}}}} has no {{{{end}}}}")
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
    tokens = Tokens(text)
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
