"""Read what says which registries are asked: our config.toml and podman's registries.conf.

Ours go before podman's, the user's before the system's: of two tables for one prefix the first counts, alone.
Podman's short names count only with `podman-short-names = true` in one of ours: names mean what they mean
for Docker, also where another program's package has left a list of aliases.
"""

from __future__ import annotations

import os

from layers.errors import InvalidReference
from layers.reference import Reference
from rootless.errors import RegistryError, os_error_text
from rootless.registry.registries import ALL, DIGEST_ONLY, TAG_ONLY, WILDCARD, Mirror, Registries, Registry

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any, NoReturn

MAX_FILE_BYTES = 1 << 20
SYSTEM_DIRECTORY = "/etc"
CHOSEN = "CONTAINERS_REGISTRIES_CONF"
_SEARCH, _SWITCH, _BY_DIGEST = (
    "unqualified-search-registries",
    "podman-short-names",
    "mirror-by-digest-only",
)
_TOP = frozenset(("registry", "aliases", "short-name-mode", _SEARCH, _SWITCH))
_TABLE = frozenset(("prefix", "location", "insecure", "blocked", "mirror", _BY_DIGEST))
_MIRROR = frozenset(("location", "insecure", "pull-from-mirror"))


class RegistriesFile:
    """One file's content. Getters raise a RegistryError that names it."""

    def __init__(self, path: str, data: dict[str, Any], *, is_ours: bool) -> None:
        self.path = path
        self.data = data
        self.is_ours = is_ours
        self.warnings: list[str] = []

    def registries(self) -> list[Registry]:
        self._note_unknown(self.data, _TOP, "")
        return [self._registry(table) for table in self._tables(self.data, "registry")]

    def search(self) -> tuple[str, ...] | None:
        """Return the hosts for names without one, None where nothing is said."""
        hosts = self.data.get(_SEARCH)
        if hosts is None:
            return None
        if not isinstance(hosts, list):
            self.refuse(f"`{_SEARCH}` is not a list")
        return tuple(self._location(host, _SEARCH) for host in hosts)

    def aliases(self) -> dict[str, str]:
        aliases = self.data.get("aliases", {})
        if not isinstance(aliases, dict) or not all(isinstance(value, str) for value in aliases.values()):
            self.refuse("`aliases` is not a table of strings")
        return {name: value and self._repository(value, name) for name, value in aliases.items()}

    def flag(self, table: Mapping[str, Any], key: str) -> bool:
        value = table.get(key, False)
        if not isinstance(value, bool):
            self.refuse(f"`{key}` is neither true nor false")
        return value

    def refuse(self, problem: str) -> NoReturn:
        raise RegistryError(
            f"cannot read the registries file: {problem}",
            on=self.path,
            hint="man 5 containers-registries.conf tells its form",
            reference="bad-registries-file",
        )

    def _registry(self, table: Mapping[str, Any]) -> Registry:
        self._note_unknown(table, _TABLE, "registry.")
        location = self._location(table["location"], "location") if table.get("location") else ""
        prefix = table.get("prefix") or location
        if not isinstance(prefix, str) or not prefix:
            self.refuse("a [[registry]] has neither prefix nor location")
        if not prefix.startswith(WILDCARD) or any(c in prefix[2:] for c in "*/:@"):
            prefix = self._location(prefix, "prefix")
        only_digests = self.flag(table, _BY_DIGEST)
        return Registry(
            prefix,
            location=location,
            insecure=self.flag(table, "insecure"),
            blocked=self.flag(table, "blocked"),
            mirrors=tuple(
                self._mirror(each, DIGEST_ONLY if only_digests else ALL)
                for each in self._tables(table, "mirror")
            ),
            source=self.path,
        )

    def _mirror(self, table: Mapping[str, Any], default: str) -> Mirror:
        self._note_unknown(table, _MIRROR, "registry.mirror.")
        pull_from = table.get("pull-from-mirror") or default
        if pull_from not in (ALL, DIGEST_ONLY, TAG_ONLY):
            self.refuse(f"`pull-from-mirror` is none of {ALL}, {DIGEST_ONLY} and {TAG_ONLY}")
        return Mirror(
            self._location(table.get("location"), "location of a mirror"),
            insecure=self.flag(table, "insecure"),
            pull_from=pull_from,
        )

    def _location(self, value: object, what: str) -> str:
        """Return host[:port][/path…] when it is that: a name without a host would mean Docker Hub."""
        text = value.rstrip("/") if isinstance(value, str) else ""
        if text.partition("/")[0] == "index.docker.io":
            text = text.removeprefix("index.")
        try:
            domain = Reference.parse(text if "/" in text else f"{text}/x").domain
        except InvalidReference:
            domain = ""
        if not domain or text.partition("/")[0] != domain:
            self.refuse(f"{what} `{value}` is not HOST[:PORT][/PATH]")
        return text

    def _repository(self, value: str, alias: str) -> str:
        """Return an alias's meaning, when tag and digest can be appended to it."""
        text = self._location(value, f"aliases.{alias}")
        path = text.partition("/")[2]
        if not path or ":" in path or "@" in path:
            self.refuse(f"aliases.{alias} `{value}` is not HOST[:PORT]/PATH")
        return text

    def _tables(self, table: Mapping[str, Any], key: str) -> list[dict[str, Any]]:
        tables = table.get(key, [])
        if not isinstance(tables, list) or not all(isinstance(each, dict) for each in tables):
            self.refuse(f"`{key}` is not a list of tables: write [[{key}]]")
        return tables

    def _note_unknown(self, table: Mapping[str, Any], known: frozenset[str], where: str) -> None:
        if self.is_ours:
            self.warnings += [
                f"{self.path}: `{where}{key}` is unknown, and ignored" for key in table if key not in known
            ]


def load_registries(environment: Mapping[str, str]) -> Registries:
    """Return what this user's files and the system's say together.

    Raises:
        RegistryError: one of them makes no sense; the message says where.
    """
    found: list[RegistriesFile] = []
    for path, is_ours in _paths(environment):
        data = _load(path)
        if data is not None:
            found.append(RegistriesFile(path, data, is_ours=is_ours))
        elif path == environment.get(CHOSEN):
            RegistriesFile(path, {}, is_ours=False).refuse(f"${CHOSEN} names it, and it is not there")
    return combine(found) if found else Registries()


def combine(files: list[RegistriesFile]) -> Registries:
    """Put files together, those that count first first."""
    by_prefix: dict[str, Registry] = {}
    for file in files:
        for registry in file.registries():
            by_prefix.setdefault(registry.prefix, registry)
    switched = any(file.flag(file.data, _SWITCH) for file in files if file.is_ours)
    aliases: dict[str, str] = {}
    search: tuple[str, ...] | None = None
    for file in files:
        if file.is_ours or switched:
            aliases = {**file.aliases(), **aliases}
            search = file.search() if search is None else search
    return Registries(
        tuple(by_prefix.values()),
        search=search or (),
        aliases={name: value for name, value in aliases.items() if value},
        files=tuple(file.path for file in files),
        warnings=tuple(text for file in files for text in file.warnings),
    )


def _paths(environment: Mapping[str, str]) -> Iterable[tuple[str, bool]]:
    """Yield (path, whether it is ours), those that count first first; most are not there.

    Of podman's main files one counts: $CONTAINERS_REGISTRIES_CONF, else the user's, else the system's. What
    lies in its directories goes before it, later names before earlier ones.
    """
    home = environment.get("HOME") or "/"
    config = environment.get("XDG_CONFIG_HOME") or os.path.join(home, ".config")
    yield os.path.join(config, "rootless", "config.toml"), True
    yield os.path.join(SYSTEM_DIRECTORY, "rootless", "config.toml"), True
    user = os.path.join(home, ".config", "containers", "registries.conf")
    system = os.path.join(SYSTEM_DIRECTORY, "containers", "registries.conf")
    for directory in (f"{user}.d", f"{system}.d"):
        try:
            names = sorted((name for name in os.listdir(directory) if name.endswith(".conf")), reverse=True)
        except OSError:
            continue  # most hosts have none
        for name in names:
            yield os.path.join(directory, name), False
    yield environment.get(CHOSEN) or (user if os.path.exists(user) else system), False


def _load(path: str) -> dict[str, Any] | None:
    """Return a file's content, None when there is none."""
    try:
        with open(path, "rb") as stream:
            data = stream.read(MAX_FILE_BYTES + 1)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as exc:
        return RegistriesFile(path, {}, is_ours=False).refuse(os_error_text(exc))
    import tomllib  # 2 ms, which a host without such files does not pay

    try:
        if len(data) > MAX_FILE_BYTES:
            raise ValueError(f"it has more than {MAX_FILE_BYTES} bytes")
        return tomllib.loads(data.decode())
    except (ValueError, RecursionError) as exc:  # TOMLDecodeError tells line and column
        problem = "it is nested too deeply" if isinstance(exc, RecursionError) else str(exc)[:200]
        return RegistriesFile(path, {}, is_ours=False).refuse(problem)
