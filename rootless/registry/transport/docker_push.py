"""`docker://` as a destination: images pushed to a registry."""

from __future__ import annotations

from rootless.errors import ImageError, RegistryError
from rootless.registry.challenge import repository_scope
from rootless.registry.client import Body
from rootless.registry.faults import ManifestRefused, NetworkFault
from rootless.registry.session import manifest_path
from rootless.registry.settings import MAX_ERROR_BODY_BYTES
from rootless.registry.transport.endpoint import Endpoint
from rootless.registry.transport.upload import Upload
from rootless.registry.transport.upload_note import UploadNote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Self

    from layers.digest import Digest
    from layers.manifest import Descriptor
    from layers.reference import Reference
    from rootless.registry.settings import RegistrySettings
    from rootless.registry.transport.base import Read


class RegistryDestination:
    """One image in a registry; see `transport.base.Destination`.

    Attributes:
        mounted: the blobs that the registry took from another repository of its own.
    """

    accepts: frozenset[str] | None = None

    def __init__(
        self,
        reference: Reference,
        settings: RegistrySettings,
        *,
        sources: Mapping[Digest, Sequence[str]] | None = None,
        notes: str = "",
    ) -> None:
        """Set up.

        Args:
            notes: directory that remembers uploads which do not get to their end, "" for none.
            sources: blob → paths of other repositories of this registry that have it, most likely ones first.
        """
        self.name = reference.canonical
        self.mounted: set[Digest] = set()
        self._reference = reference
        self._place = place = settings.registries.places(reference, doing="push")[-1]
        is_home = place.repository == reference.repository  # elsewhere, what others have is elsewhere too
        self._sources = dict(sources or {}) if is_home else {}
        self._refused: set[str] = set()
        others = sorted({path for paths in self._sources.values() for path in paths} - {place.path})
        self._endpoint = Endpoint(
            settings,
            domain=place.domain,
            path=place.path,
            scopes=(
                repository_scope(place.path, "pull", "push"),
                *(repository_scope(path, "pull") for path in others),
            ),
            on=place.on,
            doing="push",
            insecure=place.insecure,
        )
        self._uploads: dict[Digest, Upload] = {}
        self._notes = notes
        self._chunk = 0

    async def __aenter__(self) -> Self:
        await self._endpoint.__aenter__()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._endpoint.__aexit__(*exc)

    async def has_blob(self, descriptor: Descriptor) -> bool:
        upload = self._upload(descriptor)
        if await upload.is_there():
            upload.forget()
            return True
        for source in self._sources.get(descriptor.digest, ()):
            if source == self._place.path or source in self._refused:
                continue
            if await upload.mount(source):
                self.mounted.add(descriptor.digest)
                return True
            self._refused.add(source)  # each attempt may cost a token
        self._uploads[descriptor.digest] = upload
        return False

    async def put_blob(self, descriptor: Descriptor, read: Read) -> None:
        upload = self._uploads.pop(descriptor.digest, None) or self._upload(descriptor)
        upload.chunk = self._chunk
        await upload.send(read)
        self._chunk = upload.chunk  # what a proxy refused once it refuses again

    def _upload(self, descriptor: Descriptor) -> Upload:
        note = UploadNote(self._notes, f"{self._place.repository}@{descriptor.digest}")
        return Upload(self._endpoint, self._place.path, descriptor, note=note)

    async def put_manifest(self, data: bytes, descriptor: Descriptor, *, final: bool) -> None:
        name: str = descriptor.digest
        if final:
            name = self._place.tag_or_digest
            if self._reference.digest and name != descriptor.digest:
                raise ImageError(
                    "cannot push: the image has another digest than the name",
                    on=self.name,
                    reference="digest",
                )
        url = await self._endpoint.url(manifest_path(self._place.path, name))
        headers = {"Content-Type": descriptor.media_type}
        retry = self._endpoint.retry()
        while True:
            try:
                async with self._endpoint.send("PUT", url, headers=headers, body=Body.of(data)) as reply:
                    if reply.status in (400, 415):
                        error = await self._endpoint.error(reply, doing="push the manifest")
                        raise ManifestRefused(error.message, on=error.on, hint=error.hint)
                    if reply.status not in (200, 201):
                        raise await self._endpoint.error(reply, doing="push the manifest")
                    self._check(reply.headers.get("docker-content-digest", ""), descriptor)
                    await reply.read(MAX_ERROR_BODY_BYTES)
                    return
            except NetworkFault as fault:
                await retry.again(fault)

    def _check(self, kept: str, descriptor: Descriptor) -> None:
        if kept and kept != descriptor.digest:
            raise RegistryError(
                f"cannot push the manifest: the registry changed it, to digest {kept[:80]}",
                on=self.name,
                reference="unexpected-answer",
            )
