"""A registry on loopback that takes uploads, remembers every byte, and fails as a test tells it to."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

from tests.helpers.hostile_registry import HostileRegistry, Reply

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.helpers.hostile_registry import Request


class UploadRegistry(HostileRegistry):
    """Conforms to distribution-spec §Push, one repository for all.

    Attributes:
        blobs, manifests: what arrived whole, by digest; manifests by what their request named.
        uploads: what has come of the others.
        received: bytes of all bodies of uploads, sent again or not.
        base: what stands before the path of a Location, "http://host:port" or nothing.
        faults: asked first about each request; None lets it be answered well.
    """

    def __init__(self) -> None:
        super().__init__()
        self.blobs: dict[str, bytes] = {}
        self.manifests: dict[str, bytes] = {}
        self.uploads: dict[str, bytes] = {}
        self.received = 0
        self.base = ""
        self.faults: list[Callable[[Request], Reply | None]] = []
        self.on("/v2/", self._handle)

    def asked(self, method: str, part: str) -> list[Request]:
        """Return the requests of a method whose path has this part."""
        return [r for r in self.requests if r.method == method and part in r.path]

    def _handle(self, request: Request) -> Reply:
        for fault in self.faults:
            if (reply := fault(request)) is not None:
                return reply
        path = urlsplit(request.path).path
        if path == "/v2/":
            return Reply(200, b"{}")
        if "/blobs/uploads/" in path:
            return self._upload(request, path.rpartition("/")[2])
        kind, name = path.split("/")[-2:]
        if kind == "manifests" and request.method == "PUT":
            self.manifests[name] = request.body
            return Reply(201, headers={"Docker-Content-Digest": digest(request.body)})
        found = (self.blobs if kind == "blobs" else self.manifests).get(name)
        if found is None:
            return Reply(404)
        return Reply(200, b"" if request.method == "HEAD" else found, length=len(found))

    def _upload(self, request: Request, name: str) -> Reply:
        if request.method == "POST":
            name = f"u{len(self.uploads)}"
            self.uploads[name] = b""
            return Reply(202, headers=self._where(name))
        if name not in self.uploads:
            return error(404, "BLOB_UPLOAD_UNKNOWN")
        have = self.uploads[name]
        if request.method == "GET":
            return Reply(204, headers={**self._where(name), "Range": f"0-{max(0, len(have) - 1)}"})
        self.received += len(request.body)
        start = int(request.headers.get("content-range", "0-").partition("-")[0])
        if start != len(have):
            return error(416, "RANGE_INVALID")
        have = self.uploads[name] = have + request.body
        if request.method == "PATCH" or request.cut:
            return Reply(202, headers={**self._where(name), "Range": f"0-{len(have) - 1}"})
        wanted = parse_qs(urlsplit(request.path).query)["digest"][0]
        del self.uploads[name]
        if digest(have) != wanted:
            return error(400, "DIGEST_INVALID")
        self.blobs[wanted] = have
        return Reply(201)

    def _where(self, name: str) -> dict[str, str]:
        return {"Location": f"{self.base}/v2/box/blobs/uploads/{name}?state={len(self.uploads[name])}"}


def digest(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def error(status: int, code: str, **headers: str) -> Reply:
    """Return an answer with an error of the registry's."""
    body = json.dumps({"errors": [{"code": code, "message": code.lower().replace("_", " ")}]}).encode()
    return Reply(status, body, headers=headers)
