"""Answers requests: what `routes` made of them, done with storage and mirror; `uploads` does its part.

Spec: distribution-spec v1.1; `/v1/search` is Docker's index of old.
"""

from __future__ import annotations

import json
import os
from contextlib import aclosing
from functools import partial

import trio  # noqa: TID253  a server lives in its loop

from layers import media
from layers.document import MAX_DOCUMENT_BYTES
from layers.errors import StoreError
from rootless.errors import printable
from rootless.registry.server import paging, ranges
from rootless.registry.server.http import PIECE_BYTES, ClientGone, Response
from rootless.registry.server.manifests import examine
from rootless.registry.server.refusal import (
    DIGEST_INVALID,
    MANIFEST_INVALID,
    MANIFEST_UNKNOWN,
    MEDIA_TYPE,
    SIZE_INVALID,
    UNKNOWN,
    UNSUPPORTED,
    Refusal,
)
from rootless.registry.server.routes import parse_route
from rootless.registry.server.uploads import WRITE_BYTES, Uploads

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Mapping

    from layers.digest import Digest
    from rootless.registry.server.auth import Passwords
    from rootless.registry.server.http import Body, Request
    from rootless.registry.server.mirror import Mirror
    from rootless.registry.server.routes import Route
    from rootless.registry.server.storage import Storage

_EVERY = {"Docker-Distribution-API-Version": "registry/2.0", "X-Content-Type-Options": "nosniff"}
_BLOB_TYPE = "application/octet-stream"
_SEARCH_RESULTS = "25"


class Service:
    """A registry that answers one request at a time to each client.

    Args:
        passwords: None lets everybody in. mirror: None for none.
        complain: is told of failures that are no client's fault, one line each.
    """

    def __init__(
        self,
        storage: Storage,
        *,
        passwords: Passwords | None = None,
        read_only: bool = False,
        mirror: Mirror | None = None,
        complain: Callable[[str], None],
    ) -> None:
        self._storage = storage
        self._uploads = Uploads(storage)
        self._passwords = passwords
        self._read_only = read_only
        self._mirror = mirror
        self._complain = complain
        self._proving = trio.CapacityLimiter(2)  # bcrypt is slow on purpose: it must not take every thread

    async def respond(self, request: Request) -> Response:
        """Return the answer to a request, whatever it is.

        Raises:
            ClientGone: nobody waits for one.
        """
        try:
            response = await self._respond(request)
        except Refusal as refusal:
            headers = {"Content-Type": MEDIA_TYPE, **refusal.headers}
            response = Response(refusal.status, headers, refusal.to_json())
        except ClientGone:
            raise
        except Exception as exc:  # even a bug costs one answer, not everybody's server
            self._complain(f"{request.method} {printable(request.target)}: {type(exc).__name__}: {exc}")
            failure = Refusal(500, UNKNOWN, "the registry failed")
            if isinstance(exc, StoreError):
                failure = Refusal(507, UNKNOWN, exc.message)
            response = Response(failure.status, {"Content-Type": MEDIA_TYPE}, failure.to_json())
        response.headers = {**_EVERY, **response.headers}
        if not isinstance(response.body, bytes):
            response.body = partial(self._watch, request, response.body)
        return response

    async def _watch(self, request: Request, body: Body) -> AsyncGenerator[bytes, None]:
        """Yield the pieces of an answer that has begun: only its early end can show that it fails."""
        try:
            async with aclosing(body()) as pieces:
                async for piece in pieces:
                    yield piece
        except Refusal as refusal:
            raise ClientGone(refusal.message) from refusal
        except ClientGone:
            raise
        except Exception as exc:
            self._complain(f"{request.method} {printable(request.target)}: {type(exc).__name__}: {exc}")
            raise ClientGone(str(exc)) from exc

    async def _respond(self, request: Request) -> Response:
        if self._passwords is not None:
            check = self._passwords.check
            await trio.to_thread.run_sync(check, request.headers, limiter=self._proving)
        route = parse_route(request.method, request.target)
        if route.writes and self._read_only:
            raise Refusal(405, UNSUPPORTED, "this registry is read-only", headers={"Allow": "GET, HEAD"})
        if route.resource in ("upload", "uploads"):
            handler = getattr(self._uploads, route.action)
        else:
            handler = getattr(self, f"_{route.action}_{route.resource}")
        response: Response = await handler(route, request)
        return response

    # What there is

    async def _get_version(self, _route: Route, _request: Request) -> Response:
        return _json({})

    async def _get_catalog(self, route: Route, _request: Request) -> Response:
        names = await trio.to_thread.run_sync(lambda: list(self._storage.repositories()))
        chosen, link = paging.page(names, route.query, path="/v2/_catalog")
        return _json({"repositories": chosen}, {"Link": link} if link else {})

    async def _get_search(self, route: Route, _request: Request) -> Response:
        query = route.query.get("q", "")
        names = await trio.to_thread.run_sync(lambda: list(self._storage.repositories()))
        chosen, _ = paging.page(
            (n for n in names if query in n), {"n": route.query.get("n") or _SEARCH_RESULTS}, path=""
        )
        results = [
            {"name": name, "description": "", "star_count": 0, "is_official": False, "is_automated": False}
            for name in chosen
        ]
        return _json({"num_results": len(results), "query": query, "results": results})

    async def _get_tags(self, route: Route, _request: Request) -> Response:
        tags = await trio.to_thread.run_sync(self._storage.tags, route.repository)
        chosen, link = paging.page(tags, route.query, path=f"/v2/{route.repository}/tags/list")
        return _json({"name": route.repository, "tags": chosen}, {"Link": link} if link else {})

    async def _get_referrers(self, route: Route, _request: Request) -> Response:
        assert route.digest is not None
        found = await trio.to_thread.run_sync(self._storage.referrers, route.repository, route.digest)
        wanted = route.query.get("artifactType", "")
        headers = {"Content-Type": media.OCI_INDEX}
        if wanted:
            headers["OCI-Filters-Applied"] = "artifactType"
        listed = {d.digest: d.to_json() for d in found if wanted in ("", d.artifact_type)}
        sizes = [(digest, len(json.dumps(entry))) for digest, entry in listed.items()]
        chosen, more = paging.page_of_bytes(sizes, route.query.get("last", ""))
        if more:
            path = f"/v2/{route.repository}/referrers/{route.digest}"
            kept = {"artifactType": wanted} if wanted else {}
            headers["Link"] = paging.link(path, **kept, last=chosen[-1])
        manifests = [entry for digest, entry in listed.items() if digest in set(chosen)]
        index = {"schemaVersion": 2, "mediaType": media.OCI_INDEX, "manifests": manifests}
        return _json(index, headers)

    # Blobs

    async def _get_blob(self, route: Route, request: Request) -> Response:
        assert route.digest is not None
        name, digest = route.repository, route.digest
        try:
            size = await trio.to_thread.run_sync(self._storage.promise_blob, name, digest)
        except Refusal:
            if self._mirror is None:
                raise
            return await self._mirrored_blob(self._mirror, route, request)
        status, start, end, headers = _part(request.headers, size=size, digest=digest)

        async def pieces() -> AsyncGenerator[bytes, None]:
            fd = await trio.to_thread.run_sync(self._storage.open_blob, name, digest)
            try:
                at = start
                while at < end:
                    count = min(WRITE_BYTES, end - at)
                    data = await trio.to_thread.run_sync(os.pread, fd, count, at)
                    if not data:
                        raise ClientGone("the blob on disk is cut")  # the client sees it by the length
                    at += len(data)
                    for begin in range(0, len(data), PIECE_BYTES):
                        yield data[begin : begin + PIECE_BYTES]
            finally:
                os.close(fd)

        return Response(status, headers, pieces)

    async def _mirrored_blob(self, mirror: Mirror, route: Route, request: Request) -> Response:
        assert route.digest is not None
        digest = route.digest
        size = await mirror.blob_size(route.repository, digest)
        status, start, end, headers = _part(request.headers, size=size, digest=digest)
        if request.method == "HEAD":
            return Response(status, headers)
        fetch = mirror.fetch_blob(route.repository, digest, size=size)
        await fetch.wait_begun()
        whole = partial(self._storage.layout.open_blob, digest)
        return Response(status, headers, partial(fetch.pieces, start, end, whole=whole))

    async def _delete_blob(self, route: Route, _request: Request) -> Response:
        assert route.digest is not None
        await trio.to_thread.run_sync(self._storage.delete_blob, route.repository, route.digest)
        return Response(202)

    # Manifests

    async def _get_manifest(self, route: Route, _request: Request) -> Response:
        name, digest = route.repository, route.digest
        if digest is None:
            digest = await self._resolve(name, route.tag)
        elif self._mirror is not None:  # noqa: SIM102  one line would not fit
            if not await trio.to_thread.run_sync(self._storage.has_manifest, name, digest):
                await self._mirror.bring_manifest(name, digest=digest)
        media_type, data = await trio.to_thread.run_sync(self._storage.read_manifest, name, digest)
        headers = {"Content-Type": media_type, "Docker-Content-Digest": digest, "ETag": f'"{digest}"'}
        return Response(200, headers, data)

    async def _resolve(self, repository: str, tag: str) -> Digest:
        """Return the digest that a tag means, here or at the mirrored registry."""
        find = partial(trio.to_thread.run_sync, self._storage.find_tag, repository, tag)
        digest, mirrored = await find()
        if self._mirror is not None and (digest is None or mirrored):
            try:
                await self._mirror.bring_manifest(repository, tag=tag)
            except Refusal:
                if digest is None:
                    raise
            digest, _ = await find()
        if digest is None:
            raise Refusal(404, MANIFEST_UNKNOWN, f"the repository {repository} has no tag {tag}")
        return digest

    async def _put_manifest(self, route: Route, request: Request) -> Response:
        data = await _read_small(request)
        examined = examine(data, request.headers.get("content-type", ""))
        if route.digest is not None and route.digest != examined.digest:
            raise Refusal(400, DIGEST_INVALID, f"the bytes that came are {examined.digest}")
        put = partial(self._storage.put_manifest, route.repository, data, examined, tag=route.tag)
        await trio.to_thread.run_sync(put)
        headers = {
            "Location": f"/v2/{route.repository}/manifests/{examined.digest}",
            "Docker-Content-Digest": str(examined.digest),
        }
        if examined.subject is not None:
            headers["OCI-Subject"] = examined.subject
        return Response(201, headers)

    async def _delete_manifest(self, route: Route, _request: Request) -> Response:
        storage = self._storage
        if route.digest is None:
            await trio.to_thread.run_sync(storage.delete_tag, route.repository, route.tag)
        else:
            await trio.to_thread.run_sync(storage.delete_manifest, route.repository, route.digest)
        return Response(202)


def _json(value: object, headers: Mapping[str, str] | None = None) -> Response:
    return Response(200, {"Content-Type": MEDIA_TYPE, **(headers or {})}, json.dumps(value).encode() + b"\n")


def _part(headers: Mapping[str, str], *, size: int, digest: Digest) -> tuple[int, int, int, dict[str, str]]:
    """Return (status, first byte, byte after the last, headers) of the answer that has a blob."""
    answer = {
        "Content-Type": _BLOB_TYPE,
        "Docker-Content-Digest": str(digest),
        "ETag": f'"{digest}"',
        "Accept-Ranges": "bytes",
        "Cache-Control": "max-age=31536000",
    }
    try:
        part = ranges.wanted(headers.get("range", ""), size=size)
    except ranges.Unsatisfiable:
        where = {"Content-Range": f"bytes */{size}"}
        raise Refusal(416, SIZE_INVALID, f"the blob has {size} bytes", headers=where) from None
    if part is None:
        return 200, 0, size, {**answer, "Content-Length": str(size)}
    start, end = part
    answer["Content-Range"] = f"bytes {start}-{end - 1}/{size}"
    return 206, start, end, {**answer, "Content-Length": str(end - start)}


async def _read_small(request: Request) -> bytes:
    """Return the body of a request that has a manifest."""
    refusal = Refusal(413, MANIFEST_INVALID, f"a manifest has at most {MAX_DOCUMENT_BYTES} bytes")
    if (request.length or 0) > MAX_DOCUMENT_BYTES:
        raise refusal
    body = bytearray()
    async with aclosing(request.pieces()) as pieces:
        async for piece in pieces:
            body += piece
            if len(body) > MAX_DOCUMENT_BYTES:
                raise refusal
    return bytes(body)
