"""Container ids and names: their shape, their making, their lookup."""

from __future__ import annotations

import os

from rootless.errors import NotFound, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

ID_LENGTH = 64
SHORT_ID_LENGTH = 12
_HEX = frozenset("0123456789abcdef")
_NAME_FIRST = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789")
_NAME_REST = _NAME_FIRST | frozenset("_.-")

_MOODS = (  # noqa: SIM905  words read better than a hundred quoted strings
    "agile amber brave brisk calm candid civil clever deft eager early fair fleet fond frank gentle "
    "glad happy humble jolly keen kind lively lucid mellow merry mild neat nimble noble patient placid "
    "polite prompt proud quick quiet ready serene sharp sober spry steady sunny swift tidy vivid warm "
    "wise witty"
).split()
_PIONEERS = (  # noqa: SIM905  words read better than a hundred quoted strings
    "allen babbage backus bartik boole borg cerf church codd conway cray curry dijkstra floyd forsythe "
    "goldberg hamilton hamming hoare holberton hopper iverson kay kernighan keller kilburn knuth "
    "lamport liskov lovelace mauchly mccarthy metcalfe milner moore naur neumann perlis pike postel "
    "ritchie shannon sutherland tarjan thompson turing wilkes wilkinson wirth zuse"
).split()


def new_id() -> str:
    """Return 64 random hexadecimal digits."""
    return os.urandom(ID_LENGTH // 2).hex()


def new_name(taken: Iterable[str]) -> str:
    """Return a generated "mood_pioneer" name that is not in `taken`."""
    used = set(taken)
    for attempt in range(1000):
        mood, pioneer, suffix = os.urandom(3)
        name = f"{_MOODS[mood % len(_MOODS)]}_{_PIONEERS[pioneer % len(_PIONEERS)]}"
        if attempt > 20:
            name += str(suffix)
        if name not in used:
            return name
    return "container_" + new_id()[:SHORT_ID_LENGTH]


def check_name(name: str) -> str:
    """Return a container or volume name that has a legal shape: [a-zA-Z0-9][a-zA-Z0-9_.-]*, 2 to 255.

    Raises:
        UsageError: it has not.
    """
    if 2 <= len(name) <= 255 and name[0] in _NAME_FIRST and not (set(name) - _NAME_REST):
        return name
    raise UsageError(
        f"cannot use the name `{name}`: only [a-zA-Z0-9][a-zA-Z0-9_.-] is allowed, 2 to 255 long"
    )


def find_container_id(query: str, names: Mapping[str, str], ids: Iterable[str]) -> str:
    """Return the full id that a name, a full id or a unique prefix of an id means.

    Args:
        query: what the user wrote; a leading "/" (as inspect prints names) is dropped.
        names: name → id.
        ids: all full ids.

    Raises:
        NotFound: nothing matches, or a prefix matches more than one.
    """
    query = query.removeprefix("/")
    if query in names:
        return names[query]
    matches = [i for i in ids if i.startswith(query)] if query and not set(query) - _HEX else []
    if len(matches) == 1:
        return matches[0]
    if matches:
        raise NotFound(
            f"cannot tell which container is meant: {len(matches)} ids start with `{query}`",
            hint="give more characters of the id",
            reference="ambiguous-id",
        )
    raise NotFound(
        f"no such container: {query}",
        hint="`rootless ps -a` lists them",
        reference="no-such-container",
    )
