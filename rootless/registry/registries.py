"""Which registries are asked for an image: mirrors, other locations, blocked ones, short names. Pure.

The words are those of man 5 containers-registries.conf. `registry_files` reads the files.
"""

from __future__ import annotations

from layers.errors import InvalidReference
from layers.reference import DEFAULT_DOMAIN, Reference
from rootless.errors import ImageError, RegistryError
from rootless.model.value import Value
from rootless.registry.hosts import HUB_NAMES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

ALL, DIGEST_ONLY, TAG_ONLY = "all", "digest-only", "tag-only"
WILDCARD = "*."


class Mirror(Value):
    """A further place of what lies below a prefix.

    Attributes:
        location: host[:port][/path], in place of the prefix.
        insecure: HTTP, and certificates of unknown issuers, are good enough there.
        pull_from: ALL, or what kind of reference it serves.
    """

    __slots__ = ("insecure", "location", "pull_from")

    def __init__(self, location: str, *, insecure: bool = False, pull_from: str = ALL) -> None:
        self.location = location
        self.insecure = insecure
        self.pull_from = pull_from

    def serves(self, reference: Reference) -> bool:
        return self.pull_from in (ALL, DIGEST_ONLY if reference.digest else TAG_ONLY)


class Registry(Value):
    """What holds for all names below a prefix.

    Attributes:
        prefix: host[:port][/path][:tag|@digest], or *.domain.
        location: takes the place of the prefix; "" where names are places.
        mirrors: asked before it, for pulls.
        source: the file that says so.
    """

    __slots__ = ("blocked", "insecure", "location", "mirrors", "prefix", "source")

    def __init__(
        self,
        prefix: str,
        *,
        location: str = "",
        insecure: bool = False,
        blocked: bool = False,
        mirrors: tuple[Mirror, ...] = (),
        source: str = "",
    ) -> None:
        self.prefix = prefix
        self.location = location
        self.insecure = insecure
        self.blocked = blocked
        self.mirrors = mirrors
        self.source = source

    def matched(self, name: str) -> int:
        """Return how many characters of a canonical name this is about, 0 for another's name."""
        if self.prefix.startswith(WILDCARD):
            host = name.partition("/")[0]
            return len(host) if host.partition(":")[0].endswith(self.prefix[1:]) else 0
        separators = "/:@" if "/" in self.prefix else "/"  # after a host, a colon begins another host's port
        if name.startswith(self.prefix) and name[len(self.prefix) :][:1] in ("", *separators):
            return len(self.prefix)
        return 0


class Place(Value):
    """Where a registry is asked for an image.

    Attributes:
        name: canonical name that the image gets, wherever it comes from.
        domain, path: of the repository there. tag_or_digest: of the image there.
        insecure: as of Mirror.
        is_mirror: of the place that the name means.
    """

    __slots__ = ("domain", "insecure", "is_mirror", "name", "path", "tag_or_digest")

    def __init__(self, name: str, at: Reference, *, insecure: bool = False, is_mirror: bool = False) -> None:
        self.name = name
        self.domain = at.domain
        self.path = at.path
        self.tag_or_digest = str(at.digest or at.tag or "latest")
        self.insecure = insecure
        self.is_mirror = is_mirror

    @property
    def repository(self) -> str:
        return f"{self.domain}/{self.path}"

    @property
    def on(self) -> str:
        """What messages call it: the image, and where it was looked for if the name does not say so."""
        return self.name if self.name.startswith(self.repository) else f"{self.name} at {self.repository}"


class Registries(Value):
    """All that a user and an administrator say about registries.

    Attributes:
        registries: no two of the same prefix.
        search: hosts that are asked in turn for a name without one; none is Docker Hub alone.
        aliases: name without a host, tag and digest → repository.
        files: that were read. warnings: what makes no sense in them, one line each.
    """

    __slots__ = ("aliases", "files", "registries", "search", "warnings")

    def __init__(
        self,
        registries: tuple[Registry, ...] = (),
        *,
        search: tuple[str, ...] = (),
        aliases: Mapping[str, str] | None = None,
        files: tuple[str, ...] = (),
        warnings: tuple[str, ...] = (),
    ) -> None:
        self.registries = registries
        self.search = search
        self.aliases = dict(aliases or {})
        self.files = files
        self.warnings = warnings

    def find(self, name: str) -> Registry | None:
        """Return the table with the longest prefix of a canonical name, or of a host."""
        fitting = [(len(each.prefix), each) for each in self.registries if each.matched(name)]
        exact = [item for item in fitting if not item[1].prefix.startswith(WILDCARD)]
        return max(exact or fitting, key=lambda item: item[0])[1] if fitting else None

    def expand(self, text: str) -> tuple[Reference, ...]:
        """Return the images that a user may mean, in the order in which to look for them; at least one.

        Raises:
            InvalidReference: it is no name.
        """
        reference = Reference.parse(text)
        if not self.aliases and not self.search:
            return (reference,)
        if reference.domain != DEFAULT_DOMAIN or text.partition("/")[0] in HUB_NAMES:
            return (reference,)  # its host was said
        short = text.partition("@")[0]
        if ":" in short:
            short = short.rpartition(":")[0]
        if alias := self.aliases.get(short):
            return (Reference.parse(alias + text[len(short) :]),)
        return tuple(Reference.parse(f"{host}/{text}") for host in self.search) or (reference,)

    def places(self, reference: Reference, *, doing: str = "pull") -> tuple[Place, ...]:
        """Return where to ask for an image, in order: its mirrors, for a pull, and last its own place.

        Raises:
            RegistryError: it is blocked. ImageError: what a file makes of its name is none.
        """
        name = reference.canonical
        found = self.find(name)
        if found is None:
            return (Place(name, reference),)
        self.check(found, on=name, doing=doing)
        matched = found.matched(name)
        places = [
            Place(
                name,
                _moved(reference, matched, mirror.location, found),
                insecure=mirror.insecure,
                is_mirror=True,
            )
            for mirror in (found.mirrors if doing == "pull" else ())
            if mirror.serves(reference)
        ]
        home = _moved(reference, matched, found.location, found) if found.location else reference
        return (*places, Place(name, home, insecure=found.insecure))

    def is_insecure(self, host: str, *, doing: str) -> bool:
        """Tell whether HTTP will do for a registry as a whole.

        Raises:
            RegistryError: it is blocked.
        """
        found = self.find(host)
        if found is None:
            return False
        self.check(found, on=host, doing=doing)
        return found.insecure

    @staticmethod
    def check(found: Registry, *, on: str, doing: str) -> None:
        if found.blocked:
            raise RegistryError(
                f"cannot {doing}: `{found.prefix}` is blocked",
                on=on,
                hint=f"{found.source} blocks it",
                reference="registry-blocked",
            )


def _moved(reference: Reference, matched: int, location: str, found: Registry) -> Reference:
    """Return a reference with a location in place of its first `matched` characters."""
    text = location + reference.canonical[matched:]
    try:
        return Reference.parse(text)
    except InvalidReference as exc:
        raise ImageError(
            f"cannot use the location of `{found.prefix}`: `{text}` is no name of an image",
            on=reference.canonical,
            hint=f"correct `{location}` in {found.source}",
            reference="bad-registries-file",
        ) from exc
