"""Dockerfile instructions that change an image's config: `--change` of `commit` and `import`. Pure.

Those that Docker takes there (moby builder/dockerfile, validCommitCommands), but HEALTHCHECK. Words are read
as in a Dockerfile: quotes and backslashes as in a shell, $NAME, ${NAME}, ${NAME:-word} and ${NAME:+word} from
the image's environment.
"""

from __future__ import annotations

import json
import posixpath

from rootless.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import Any, NoReturn

    Config = dict[str, Any]

DEFAULT_SHELL = ("/bin/sh", "-c")
_NAME = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_")


def apply_changes(config: Mapping[str, Any], changes: Iterable[str]) -> Config:
    """Return a config ("Env", "Cmd"…, as in an image) after some instructions, one in each text.

    Raises:
        UsageError: one makes no sense, and why.
    """
    changed = dict(config)
    told: set[str] = set()
    for text in changes:
        verb, _, rest = text.strip().partition(" ")
        verb, rest = verb.upper(), rest.strip()
        if verb not in _INSTRUCTIONS:
            _refuse(text, "it is none of " + ", ".join(_INSTRUCTIONS))
        if not rest:
            _refuse(text, f"{verb} needs an argument")
        if "\0" in rest or "\n" in rest:
            _refuse(text, "it holds a line break or a NUL character")
        _INSTRUCTIONS[verb](changed, rest)
        told.add(verb)
        if verb == "ENTRYPOINT" and "CMD" not in told:
            changed.pop("Cmd", None)  # it was meant for the entrypoint of before
    return changed


def _cmd(config: Config, rest: str) -> None:
    config["Cmd"] = _command(config, rest)


def _entrypoint(config: Config, rest: str) -> None:
    config["Entrypoint"] = _command(config, rest)


def _env(config: Config, rest: str) -> None:
    env = {name: value for name, _, value in (each.partition("=") for each in config.get("Env") or ())}
    env.update(_pairs(config, "ENV", rest))
    config["Env"] = [f"{name}={value}" for name, value in env.items()]


def _label(config: Config, rest: str) -> None:
    config["Labels"] = {**(config.get("Labels") or {}), **_pairs(config, "LABEL", rest)}


def _expose(config: Config, rest: str) -> None:
    ports = dict(config.get("ExposedPorts") or {})
    for word in split_words(rest, _environment(config)):
        number, _, protocol = word.partition("/")
        first, dash, last = number.partition("-")
        protocol = protocol.lower() or "tcp"
        low, high = _port(first, rest), _port(last, rest) if dash else _port(first, rest)
        if protocol not in ("tcp", "udp", "sctp") or high < low:
            _refuse(f"EXPOSE {rest}", f"`{word}` is no port")
        ports.update({f"{port}/{protocol}": {} for port in range(low, high + 1)})
    config["ExposedPorts"] = ports


def _onbuild(config: Config, rest: str) -> None:
    if rest.split()[0].upper() in ("ONBUILD", "FROM", "MAINTAINER"):
        _refuse(f"ONBUILD {rest}", f"{rest.split()[0].upper()} is not allowed there")
    config["OnBuild"] = [*(config.get("OnBuild") or ()), rest]


def _stopsignal(config: Config, rest: str) -> None:
    config["StopSignal"] = _single(config, "STOPSIGNAL", rest)


def _user(config: Config, rest: str) -> None:
    config["User"] = _single(config, "USER", rest)


def _volume(config: Config, rest: str) -> None:
    paths = _array(rest)
    if paths is None:
        paths = split_words(rest, _environment(config))
    if not all(path.strip() for path in paths):
        _refuse(f"VOLUME {rest}", "a path is empty")
    config["Volumes"] = {**(config.get("Volumes") or {}), **{path: {} for path in paths}}


def _workdir(config: Config, rest: str) -> None:
    path = "".join(split_words(rest, _environment(config), split=False))
    config["WorkingDir"] = posixpath.normpath(posixpath.join("/", config.get("WorkingDir") or "/", path))


_INSTRUCTIONS: dict[str, Callable[[Config, str], None]] = {
    "CMD": _cmd,
    "ENTRYPOINT": _entrypoint,
    "ENV": _env,
    "EXPOSE": _expose,
    "LABEL": _label,
    "ONBUILD": _onbuild,
    "STOPSIGNAL": _stopsignal,
    "USER": _user,
    "VOLUME": _volume,
    "WORKDIR": _workdir,
}


def split_words(text: str, env: Mapping[str, str], *, split: bool = True) -> list[str]:
    """Return the words of a text, without their quotes, variables replaced.

    Args:
        split: at spaces; else there is one word, which may hold them.
    Raises:
        UsageError: a quote or a brace is not closed.
    """
    return _Lexer(text, env, split=split).run()


class _Lexer:
    """One pass over a text."""

    def __init__(self, text: str, env: Mapping[str, str], *, split: bool) -> None:
        self.text = text
        self.env = env
        self.split = split
        self.at = 0

    def run(self) -> list[str]:
        words: list[str] = []
        word: str | None = None
        while self.at < len(self.text):
            char = self.text[self.at]
            if char in " \t" and self.split:
                words += [] if word is None else [word]
                word, self.at = None, self.at + 1
            else:
                word = (word or "") + self._piece(char)
        return words if word is None else [*words, word]

    def _piece(self, char: str) -> str:
        self.at += 1
        if char == "\\" and self.at < len(self.text):
            self.at += 1
            return self.text[self.at - 1]
        if char == "'":
            return self._until("'", "a quote")
        if char == '"':
            return self._double_quoted()
        return self._variable() if char == "$" else char

    def _double_quoted(self) -> str:
        inside = ""
        while (char := self._next("a quote")) != '"':
            if char == "\\" and self.text[self.at : self.at + 1] in ('"', "\\", "$"):
                char = self._next("a quote")
            elif char == "$":
                char = self._variable()
            inside += char
        return inside

    def _variable(self) -> str:
        if self.text[self.at : self.at + 1] != "{":
            start = self.at
            while self.text[self.at : self.at + 1] in _NAME and self.at < len(self.text):
                self.at += 1
            return self.env.get(self.text[start : self.at], "") if self.at > start else "$"
        self.at += 1
        name, colon, word = self._until("}", "a brace").partition(":")
        if not name or not _NAME.issuperset(name) or (colon and word[:1] not in ("-", "+")):
            _refuse(self.text, "a variable is not one of $NAME, ${NAME}, ${NAME:-word} and ${NAME:+word}")
        value = self.env.get(name, "")
        if word[:1] == "-":
            return value or word[1:]
        return (word[1:] if value else "") if word[:1] == "+" else value

    def _until(self, end: str, what: str) -> str:
        start = self.at
        while self._next(what) != end:
            pass
        return self.text[start : self.at - 1]

    def _next(self, what: str) -> str:
        if self.at >= len(self.text):
            _refuse(self.text, f"{what} is not closed")
        self.at += 1
        return self.text[self.at - 1]


def _environment(config: Config) -> dict[str, str]:
    return {name: value for name, _, value in (each.partition("=") for each in config.get("Env") or ())}


def _command(config: Config, rest: str) -> list[str]:
    """Return a command line: of an array as it is, else the image's shell with the text."""
    words = _array(rest)
    return [*(config.get("Shell") or DEFAULT_SHELL), rest] if words is None else words


def _array(rest: str) -> list[str] | None:
    """Return what a JSON array of strings holds; None for other texts, as Docker takes them."""
    try:
        value = json.loads(rest) if rest.startswith("[") else None
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, list) and all(isinstance(word, str) for word in value) else None


def _pairs(config: Config, verb: str, rest: str) -> dict[str, str]:
    """Return NAME=value words; or, where the first word has no "=", one name with the rest as its value."""
    env = _environment(config)
    name, _, value = rest.partition(" ")
    if "=" not in name:
        if not value.strip():
            _refuse(f"{verb} {rest}", "it needs a value: NAME=value")
        return {name: "".join(split_words(value.strip(), env, split=False))}
    found = {}
    for word in split_words(rest, env):
        name, equals, value = word.partition("=")
        if not (name and equals):
            _refuse(f"{verb} {rest}", f"`{word}` is not NAME=value")
        found[name] = value
    return found


def _single(config: Config, verb: str, rest: str) -> str:
    words = split_words(rest, _environment(config))
    if len(words) != 1 or not words[0]:
        _refuse(f"{verb} {rest}", "it needs one word")
    return words[0]


def _port(text: str, rest: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 6 and 0 < int(text) < 65536):
        _refuse(f"EXPOSE {rest}", f"`{text}` is no port")
    return int(text)


def _refuse(text: str, why: str) -> NoReturn:
    raise UsageError(f"cannot apply the change: {why}", on=text)
