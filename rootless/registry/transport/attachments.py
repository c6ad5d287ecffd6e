"""What hangs on the images of a repository: manifests beside them, found by tag or as referrers.

One place is asked, not a mirror in its stead: who wants another place asks there.

Spec: distribution-spec v1.1 §Listing Referrers, §Referrers Tag Schema.
"""

from __future__ import annotations

from urllib.parse import quote

from layers import media
from layers.digest import digest_bytes, is_digest
from layers.errors import DigestMismatch
from layers.manifest import Descriptor, parse_index
from rootless.errors import RegistryError
from rootless.registry.challenge import repository_scope
from rootless.registry.faults import NetworkFault
from rootless.registry.session import ACCEPT_MANIFEST, blob_path, manifest_path, read_manifest
from rootless.registry.settings import MAX_MANIFEST_BYTES
from rootless.registry.transport.endpoint import Endpoint

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Self

    from layers.digest import Digest
    from rootless.registry.registries import Place
    from rootless.registry.settings import RegistrySettings

_DOING = "read the signatures"


class Attachments:
    """The small documents of one repository; an async context manager."""

    def __init__(self, place: Place, settings: RegistrySettings) -> None:
        self._path = place.path
        self._on = place.on
        self._endpoint = Endpoint(
            settings.once() if place.is_mirror else settings,
            domain=place.domain,
            path=place.path,
            scopes=(repository_scope(place.path, "pull"),),
            on=self._on,
            doing=_DOING,
            insecure=place.insecure,
        )

    async def __aenter__(self) -> Self:
        await self._endpoint.__aenter__()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._endpoint.__aexit__(*exc)

    async def named(self, name: str) -> tuple[Descriptor, bytes]:
        """Return the manifest of a tag or a digest.

        Raises:
            RegistryError: it is not to be had. LayersError: what is there is no manifest, or another one.
        """
        return await self._manifest(name, wanted=None)

    async def tagged(self, tag: str) -> tuple[Descriptor, bytes] | None:
        """Return the manifest of a tag; None when the registry says that there is none.

        Raises:
            RegistryError: it does not say. LayersError: what it has is no manifest.
        """
        try:
            return await self.named(tag)
        except RegistryError as exc:
            if exc.reference == "no-such-image":
                return None
            raise

    async def manifest(self, wanted: Descriptor) -> bytes:
        """Return a manifest by its descriptor, verified."""
        return (await self._manifest(wanted.digest, wanted=wanted))[1]

    async def referrers(self, digest: Digest, *, artifact_type: str) -> tuple[Descriptor, ...]:
        """Return what names a digest as its subject; the registry may have listed other types as well.

        A registry that does not know the question has a tag instead, if anything.
        """
        path = f"/v2/{self._path}/referrers/{digest}?artifactType={quote(artifact_type, safe='')}"
        try:
            answer = await self._endpoint.fetch(
                path, accept=media.OCI_INDEX, doing=_DOING, limit=MAX_MANIFEST_BYTES
            )
            return parse_index(answer.body, media.OCI_INDEX).manifests
        except NetworkFault:
            raise
        except RegistryError:
            found = await self.tagged(f"{digest.algorithm}-{digest.encoded}")
        if found is None or not media.is_index(found[0].media_type):
            return ()
        return parse_index(found[1], found[0].media_type).manifests

    async def blob(self, descriptor: Descriptor) -> bytes:
        """Return a small blob, verified.

        Raises:
            DigestMismatch: it is another one.
        """
        answer = await self._endpoint.fetch(
            blob_path(self._path, descriptor.digest), accept="*/*", doing=_DOING, limit=descriptor.size
        )
        if (actual := digest_bytes(answer.body)) != descriptor.digest:
            raise DigestMismatch(expected=descriptor.digest, actual=actual, on=self._on)
        return answer.body

    async def _manifest(self, name: str, *, wanted: Descriptor | None) -> tuple[Descriptor, bytes]:
        answer = await self._endpoint.fetch(
            manifest_path(self._path, name), accept=ACCEPT_MANIFEST, doing=_DOING, limit=MAX_MANIFEST_BYTES
        )
        digest = name if is_digest(name) else ""
        return read_manifest(answer, wanted=wanted, digest=digest, on=self._on), answer.body
