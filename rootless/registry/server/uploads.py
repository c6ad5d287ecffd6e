"""The requests that bring blobs: how an upload begins, goes on and ends.

Spec: distribution-spec v1.1 §Pushing blobs.
"""

from __future__ import annotations

from contextlib import aclosing, contextmanager
from functools import partial

import trio  # noqa: TID253  a server lives in its loop

from rootless.registry.server import ranges
from rootless.registry.server.http import ClientGone, Response
from rootless.registry.server.refusal import BLOB_UPLOAD_INVALID, DIGEST_INVALID, SIZE_INVALID, Refusal
from rootless.registry.server.routes import check_digest, check_repository
from rootless.registry.server.sessions import Sessions

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from layers.digest import Digest
    from rootless.registry.server.http import Request
    from rootless.registry.server.routes import Route
    from rootless.registry.server.sessions import Session
    from rootless.registry.server.storage import Storage

WRITE_BYTES = 1 << 19
"""Bytes that go to the disk, or come from it, at once; about twice as many are in memory for each client."""


class Uploads:
    """Answers what is about uploads; one method for each action of `routes`."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._sessions = Sessions(storage)

    async def start(self, route: Route, request: Request) -> Response:
        name, query = route.repository, route.query
        if "mount" in query:
            digest = check_digest(query["mount"])
            source = check_repository(query["from"]) if query.get("from") else ""
            mount = partial(self._storage.mount_blob, name, digest, source=source)
            if await trio.to_thread.run_sync(mount):
                return created(name, digest)
        session = await trio.to_thread.run_sync(self._sessions.start, name)
        self._sessions.remember(session)
        if "digest" in query:
            return await self._finish(session, request, query)
        return _accepted(session, 202)

    async def get(self, route: Route, _request: Request) -> Response:
        return _accepted(self._sessions.find(route.repository, route.upload), 204)

    async def delete(self, route: Route, _request: Request) -> Response:
        session = self._sessions.find(route.repository, route.upload)
        with self._sending(session):
            await trio.to_thread.run_sync(self._sessions.cancel, session)
            self._sessions.forget(session)
        return Response(204)

    async def patch(self, route: Route, request: Request) -> Response:
        session = self._sessions.find(route.repository, route.upload)
        with self._sending(session):
            await self._receive(session, request)
        self._sessions.remember(session)
        return _accepted(session, 202)

    async def put(self, route: Route, request: Request) -> Response:
        return await self._finish(self._sessions.find(route.repository, route.upload), request, route.query)

    async def _finish(self, session: Session, request: Request, query: Mapping[str, str]) -> Response:
        if "digest" not in query:
            raise Refusal(400, DIGEST_INVALID, "the parameter digest is missing")
        digest = check_digest(query["digest"])
        with self._sending(session):
            await self._receive(session, request, then=partial(self._sessions.commit, session, digest))
            self._sessions.forget(session)
        return created(session.repository, digest)

    @contextmanager
    def _sending(self, session: Session) -> Iterator[None]:
        """Be the one request that changes an upload; another that still is, is of a connection that broke."""
        if session.request is not None:
            session.request.cancel()
        with trio.CancelScope() as scope:
            session.request = scope
            try:
                yield
            finally:
                if session.request is scope:
                    session.request = None
        if scope.cancelled_caught:
            raise ClientGone("another request goes on with this upload")

    async def _receive(
        self, session: Session, request: Request, then: Callable[[], None] = lambda: None
    ) -> None:
        """Write the body of a request to an upload, and do what follows while its file is open."""
        async with session.lock:
            await trio.to_thread.run_sync(session.open)
            try:
                _check_chunk(session, request)
                waiting: list[bytes] = []
                try:
                    async with aclosing(request.pieces()) as pieces:
                        async for piece in pieces:
                            waiting.append(piece)
                            if sum(map(len, waiting)) >= WRITE_BYTES:
                                await _write(session, waiting)
                finally:
                    await _write(session, waiting)  # also what came before the connection broke
                await trio.to_thread.run_sync(then)
            finally:
                session.close()


async def _write(session: Session, waiting: list[bytes]) -> None:
    """Write pieces that have come, whoever gives up meanwhile, and forget them."""
    pieces = waiting.copy()
    waiting.clear()
    with trio.CancelScope(shield=True):
        await trio.to_thread.run_sync(session.write, pieces)


def created(repository: str, digest: Digest) -> Response:
    location = f"/v2/{repository}/blobs/{digest}"
    return Response(201, {"Location": location, "Docker-Content-Digest": str(digest)})


def _accepted(session: Session, status: int) -> Response:
    return Response(status, _progress(session))


def _progress(session: Session) -> dict[str, str]:
    return {
        "Location": f"/v2/{session.repository}/blobs/uploads/{session.id}",
        "Range": ranges.progress(session.offset),
        "Docker-Upload-UUID": session.id,
    }


def _check_chunk(session: Session, request: Request) -> None:
    """Refuse a chunk that does not follow what has come."""
    try:
        part = ranges.sent(request.headers.get("content-range", ""))
    except ValueError:
        raise Refusal(400, BLOB_UPLOAD_INVALID, "the Content-Range is malformed") from None
    if part is None:
        return
    if part[0] != session.offset:
        message = f"the upload has {session.offset} bytes, the chunk begins at {part[0]}"
        raise Refusal(416, BLOB_UPLOAD_INVALID, message, headers=_progress(session))
    if request.length not in (None, part[1] - part[0]):
        raise Refusal(400, SIZE_INVALID, "Content-Length and Content-Range differ")
