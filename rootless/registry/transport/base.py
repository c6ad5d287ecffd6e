"""What a place that images come from, or go to, offers, and how the right one is found.

A package can add one: an entry point of the group `rootless.transports`, its name the prefix of references
(`NAME:…`), its value a `Transport`.
"""

from __future__ import annotations

from rootless.errors import ImageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable
    from importlib.metadata import EntryPoint
    from typing import Protocol, Self

    from layers.errors import LayersError
    from layers.manifest import Descriptor
    from rootless.registry.settings import RegistrySettings

    class Source(Protocol):
        """One image at its place: an async context manager, used by several trio tasks at once.

        The name is final once the first manifest is there. Where an image may have several places or names, a
        source has `asked`, `passed_over`, `limits` and `reject` too: see `docker.RegistrySource`.

        Attributes:
            name: canonical name that the image gets here, "docker.io/library/debian:12".
            title: what Docker's first line of output says: "12: Pulling from library/debian".
        """

        name: str
        title: str

        async def __aenter__(self) -> Self: ...
        async def __aexit__(self, *exc: object) -> None: ...

        async def fetch_manifest(self, wanted: Descriptor | None) -> tuple[Descriptor, bytes]:
            """Return what the reference names (None), or a manifest out of its index, verified.

            The descriptor's media type is that of the bytes, its digest is computed from them.
            """
            ...

        def open_blob(self, descriptor: Descriptor, *, offset: int = 0) -> AsyncGenerator[bytes, None]:
            """Yield the bytes from `offset` on, as they come: not verified, at most the size promised.

            Raises:
                NetworkFault: it broke off, and trying again did not help; what came can be resumed later.
                RegistryError, LayersError: it will not be had.
            """
            ...

    Read = Callable[[], AsyncGenerator[bytes, None]]

    class Destination(Protocol):
        """Where one image goes: an async context manager, used by several trio tasks at once.

        The order is the caller's: the blobs of a manifest, then the manifest; the manifests of an index, then
        the index. The name is given to the `final` one, and nobody sees it there before. A block that ends by
        an exception leaves the name as it was.

        Attributes:
            name: how messages call the place.
            accepts: the media types of manifests that it takes; None is all.
        """

        name: str
        accepts: frozenset[str] | None

        async def __aenter__(self) -> Self: ...
        async def __aexit__(self, *exc: object) -> None: ...

        async def has_blob(self, descriptor: Descriptor) -> bool:
            """Tell whether the blob is there already, or can be had without its bytes."""
            ...

        async def put_blob(self, descriptor: Descriptor, read: Read) -> None:
            """Write a blob.

            Args:
                read: starts an iteration over all its bytes, verified: where they are not the descriptor's,
                    it raises instead of ending, and what has come of the blob must not become visible. The
                    source does not work before the first piece is asked for. A destination that is cut off
                    closes the iteration and starts another.
            """
            ...

        async def put_manifest(self, data: bytes, descriptor: Descriptor, *, final: bool) -> None:
            """Write a manifest or an index, bit for bit.

            Args:
                data: verified.
                final: it is the one that gets the name.
            """
            ...

    class Transport(Protocol):
        """A kind of place. One that is written to has `open_destination` too: see `WritableTransport`."""

        def open(self, rest: str, settings: RegistrySettings) -> Source:
            """Return the source for a reference without its `NAME:`; no I/O before it is entered.

            Raises:
                LayersError, RootlessError: the reference makes no sense here.
            """
            ...

    class WritableTransport(Transport, Protocol):
        """A kind of place that images can be written to."""

        def open_destination(self, rest: str, settings: RegistrySettings) -> Destination:
            """Return the destination for a reference without its `NAME:`; no I/O before it is entered.

            Raises:
                LayersError, RootlessError: the reference makes no sense here.
            """
            ...


def is_replaced(source: Source, descriptor: Descriptor, problem: LayersError) -> bool:
    """Tell a source that the bytes of a blob were wrong; True when the next ones will come from elsewhere.

    A source that has several places for its image has a method `reject` for it. Called in vain, it goes on
    as before.
    """
    reject = getattr(source, "reject", None)
    return reject is not None and bool(reject(descriptor, problem))


GROUP = "rootless.transports"
DEFAULT = "docker"


def split_reference(reference: str, known: frozenset[str]) -> tuple[str, str]:
    """Split "oci:/path:tag" into ("oci", "/path:tag"); a plain image name belongs to `docker`.

    "docker:24" is an image's name and "docker://docker:24" a reference with its transport: the prefix of
    `docker` needs the slashes.
    """
    prefix, colon, rest = reference.partition(":")
    if colon and prefix in known:
        if prefix != DEFAULT:
            return prefix, rest
        if rest.startswith("//"):
            return prefix, rest
    return DEFAULT, "//" + reference


def open_source(reference: str, settings: RegistrySettings) -> Source:
    """Return the source that a reference names: one of ours, else one of the entry points."""
    transport, rest = _find(reference)
    return transport.open(rest, settings)


def open_destination(reference: str, settings: RegistrySettings) -> Destination:
    """Return the destination that a reference names: one of ours, else one of the entry points.

    Raises:
        ImageError: its transport only reads.
    """
    transport, rest = _find(reference)
    opener = getattr(transport, "open_destination", None)
    if opener is None:
        raise ImageError("cannot write there: its transport only reads", on=reference, reference="transport")
    destination: Destination = opener(rest, settings)
    return destination


_BUILT_IN = {
    "dir": "rootless.registry.transport.directory:TRANSPORT",
    "docker": "rootless.registry.transport.docker:TRANSPORT",
    "docker-archive": "rootless.registry.transport.docker_archive:TRANSPORT",
    "oci": "rootless.registry.transport.oci:TRANSPORT",
    "oci-archive": "rootless.registry.transport.oci:ARCHIVE",
}
"""Ours, which need not be installed, and which no other package replaces."""


def is_in_registry(reference: str) -> bool:
    """Tell whether a reference is the name of an image in a registry, and no place of another kind."""
    return split_reference(reference, frozenset(_plugins()) | _BUILT_IN.keys())[0] == DEFAULT


def _plugins() -> dict[str, EntryPoint]:
    from importlib.metadata import entry_points

    return {entry.name: entry for entry in entry_points(group=GROUP)}


def _find(reference: str) -> tuple[Transport, str]:
    """Return a reference's transport, and the rest of the reference."""
    from importlib import import_module

    name, rest = split_reference(reference, frozenset(_BUILT_IN))
    if rest == "//" + reference and ":" in reference:  # of another package, perhaps: to look takes 15 ms
        found = _plugins()
        name, rest = split_reference(reference, frozenset(found) | _BUILT_IN.keys())
        if name not in _BUILT_IN:
            transport: Transport = found[name].load()
            return transport, rest
    module, _, attribute = _BUILT_IN[name].partition(":")
    transport = getattr(import_module(module), attribute)
    return transport, rest
