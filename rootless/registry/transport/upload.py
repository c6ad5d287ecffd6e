"""One blob on its way into a registry: by one request if all goes well, by as many as it takes if not.

The whole blob goes with the request that ends the upload. After a cut the registry is asked how much has
arrived, and gets the rest; one that cannot tell, or has given the upload up, gets it anew. So does the next
push after one that failed. Where a proxy refuses so large a request the blob goes in chunks.
"""

from __future__ import annotations

from contextlib import aclosing
from functools import partial
from urllib.parse import urljoin

from rootless.errors import RegistryError
from rootless.registry.client import Body
from rootless.registry.faults import Answer, NetworkFault
from rootless.registry.session import blob_path
from rootless.registry.settings import MAX_ERROR_BODY_BYTES
from rootless.registry.uploads import (
    arrived,
    is_lost,
    least_chunk,
    part_headers,
    smaller_chunk,
    uploads_path,
    with_digest,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from layers.manifest import Descriptor
    from rootless.registry.client import Reply
    from rootless.registry.transport.base import Read
    from rootless.registry.transport.endpoint import Endpoint
    from rootless.registry.transport.upload_note import UploadNote


_PROGRESS_BYTES = 1 << 20
"""An upload that got this much further before it broke again gets all its attempts anew."""


class Upload:
    """The upload of one blob.

    Attributes:
        chunk: most bytes in one request, 0 for any number.
    """

    def __init__(self, endpoint: Endpoint, path: str, descriptor: Descriptor, *, note: UploadNote) -> None:
        """Set up.

        Args:
            path: of the repository.
            note: entered by `send`.
        """
        self.chunk = 0
        self._note = note
        self._endpoint = endpoint
        self._path = path
        self._descriptor = descriptor
        self._doing = f"upload blob {descriptor.digest.short}"
        self._location = ""
        self._offset = 0
        self._least = 0
        self._unsure = False

    async def is_there(self) -> bool:
        """Tell whether the registry has the blob in this repository."""
        path = blob_path(self._path, self._descriptor.digest)
        retry = self._endpoint.retry()
        while True:
            try:
                async with self._endpoint.get(path, headers={"Accept": "*/*"}, method="HEAD") as reply:
                    if reply.status >= 500 or reply.status == 429:
                        raise await self._endpoint.error(reply, doing=self._doing)
                    size = reply.headers.get("content-length", "")
                    return reply.status == 200 and size in ("", str(self._descriptor.size))
            except NetworkFault as fault:
                await retry.again(fault)

    def forget(self) -> None:
        """Remove the note on an upload that is of no more use."""
        self._note.drop()

    async def mount(self, source: str) -> bool:
        """Have the registry take the blob from its repository `source`; False when it does not.

        What it opens instead is an upload, which `send` goes on with.
        """
        url = await self._endpoint.url(uploads_path(self._path, mount=self._descriptor.digest, source=source))
        try:
            async with self._endpoint.send("POST", url, headers={}) as reply:
                if reply.status == 202:
                    await self._note_location(reply, url)
                return reply.status == 201
        except RegistryError:
            return False  # a way around sending it, no more

    async def send(self, read: Read) -> None:
        """Send the blob.

        Raises:
            RegistryError: the registry does not take it. What `read` raises comes through as it is.
        """
        retry, reached = self._endpoint.retry(), 0
        with self._note:
            await self._remember()
            async with aclosing(_Reader(read)) as reader:
                while True:
                    try:
                        if self._unsure and await self._look():
                            return
                        await self._send_rest(reader)
                        return
                    except NetworkFault as fault:
                        if reader.failure is not None:
                            raise reader.failure from fault
                        if self._offset >= reached + _PROGRESS_BYTES:
                            retry.attempts, reached = 0, self._offset
                        self._unsure = True
                        await retry.again(self._named(fault))

    def _named(self, fault: NetworkFault) -> NetworkFault:
        """Say of a connection's fault what it was in the way of, and that little is lost."""
        if self._doing not in fault.message:
            fault.message = f"cannot {self._doing}: {fault.message}"
        fault.hint = fault.hint or "push again when it is back: what has arrived is not sent again"
        return fault

    async def _remember(self) -> None:
        """Go on with what an earlier push left, unless this one has an upload already."""
        if self._location:
            self._note.write(self._location)
        elif left := self._note.read():
            try:
                self._location = await self._endpoint.follow(left, asked=await self._endpoint.url("/"))
                self._unsure = True
            except RegistryError:
                return  # no address that could be ours

    async def _look(self) -> bool:
        """Find out what has arrived before the connection broke; True when that is all."""
        if await self.is_there():
            return True
        known = 0
        if location := self._location:
            async with self._endpoint.send("GET", location, headers={}) as reply:
                if reply.status == 204:
                    known = arrived(reply.headers.get("range", ""), size=self._descriptor.size)
                    if known and "location" in reply.headers:
                        await self._note_location(reply, location)
        if not known:
            self._place("")
        self._offset, self._unsure = known, False
        return False

    async def _send_rest(self, reader: _Reader) -> None:
        if not self._location:
            await self._begin()
        size = self._descriptor.size
        while True:
            start = self._offset
            end = min(start + self.chunk, size) if self.chunk else size
            location = self._location
            url = with_digest(location, self._descriptor.digest) if end == size else location
            async with self._endpoint.send(
                "PUT" if end == size else "PATCH",
                url,
                headers=part_headers(start, end, whole=end - start == size),
                body=Body(end - start, partial(reader.pieces, start, end)),
            ) as reply:
                answer = await reply.read(MAX_ERROR_BODY_BYTES)
                if answer.status in (201, 202, 204):
                    if end == size:
                        return
                    self._offset = end
                    await self._note_location(reply, location)
                    continue
            self._refused(answer, end - start)

    async def _begin(self) -> None:
        url = await self._endpoint.url(uploads_path(self._path))
        async with self._endpoint.send("POST", url, headers={}) as reply:
            if reply.status != 202:
                raise await self._endpoint.error(reply, doing=self._doing)
            await self._note_location(reply, url)
            self._least = least_chunk(reply.headers.get("oci-chunk-min-length", ""))

    async def _note_location(self, reply: Reply, asked: str) -> None:
        location = reply.headers.get("location", "")
        root = await self._endpoint.url("/")
        target = urljoin(asked, location) if location else ""
        self._place(await self._endpoint.follow(target, asked=root))

    def _place(self, location: str) -> None:
        self._location = location
        self._note.write(location)

    def _refused(self, answer: Answer, count: int) -> None:
        """Raise the error for a refusal, or turn to smaller chunks and a further try."""
        if answer.status == 413 and (chunk := smaller_chunk(count, least=self._least)):
            self.chunk = chunk
            return
        error = self._endpoint.judge(answer, doing=self._doing)
        if is_lost(answer):
            self._place("")
            raise NetworkFault(error.message, on=error.on, hint=error.hint, reference="upload-lost")
        raise error


class _Reader:
    """The bytes of a blob in stretches; going back starts the iteration over all of them anew.

    Attributes:
        failure: why the source could not go on, None for no reason.
    """

    def __init__(self, read: Read) -> None:
        self.failure: BaseException | None = None
        self._read = read
        self._pieces: AsyncGenerator[bytes, None] | None = None
        self._position = 0
        self._rest = memoryview(b"")

    async def pieces(self, start: int, end: int) -> AsyncGenerator[bytes, None]:
        """Yield the bytes from `start` up to `end`; the end of the blob only if they are the right ones."""
        try:
            if self._pieces is None or start < self._position:
                await self.aclose()
                self._pieces, self._position = self._read(), 0
            while self._position < end:
                if not self._rest:
                    self._rest = memoryview(await anext(self._pieces))
                skipped = max(0, start - self._position)
                taken = self._rest[skipped : end - self._position]
                used = min(len(self._rest), end - self._position)
                self._rest, self._position = self._rest[used:], self._position + used
                if taken:
                    yield bytes(taken)
            if not self._rest:  # at the end of the blob its digest is looked at
                self._rest = memoryview(await anext(self._pieces, b""))
        except Exception as exc:
            self.failure = exc
            raise

    async def aclose(self) -> None:
        """Give the iteration up."""
        pieces, self._pieces, self._rest = self._pieces, None, memoryview(b"")
        if pieces is not None:
            await pieces.aclose()
