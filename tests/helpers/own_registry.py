"""Run `rootless registry serve`, and speak to it as clients do that are not ours.

with serving(product, directory) as server:
    assert server.ask("GET", "/v2/").status == 200
"""

from __future__ import annotations

import hashlib
import http.client
import json
import signal
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import ssl
    import subprocess
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from tests.helpers.product import Product

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
EMPTY = b"{}"


class Answer:
    """What the server said; header names in any case."""

    def __init__(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.body = body

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str:
        """The specification's name of an error."""
        return str(self.json["errors"][0]["code"])


class Server:
    """A server that is up.

    Attributes:
        address: "127.0.0.1:PORT". process: that serves.
    """

    def __init__(self, process: subprocess.Popen[bytes], url: str) -> None:
        self.process = process
        self.scheme, _, self.address = url.partition("://")

    def connect(self, context: ssl.SSLContext | None = None) -> http.client.HTTPConnection:
        if context is not None:
            return http.client.HTTPSConnection(self.address, timeout=20, context=context)
        return http.client.HTTPConnection(self.address, timeout=20)

    def ask(
        self,
        method: str,
        target: str,
        body: Any = None,
        *,
        context: ssl.SSLContext | None = None,
        **headers: str,
    ) -> Answer:
        """Send one request over a connection of its own; `_` in names of headers means `-`."""
        connection = self.connect(context)
        try:
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method, target, body=body, headers=named)
            reply = connection.getresponse()
            return Answer(reply.status, reply.headers, reply.read())  # type: ignore[arg-type]
        finally:
            connection.close()

    def push_blob(self, repository: str, data: bytes) -> str:
        """Push a blob with one request and return its digest."""
        name = digest(data)
        answer = self.ask("POST", f"/v2/{repository}/blobs/uploads/?digest={name}", data)
        assert answer.status == 201, answer.body
        return name

    def push_manifest(self, repository: str, reference: str, value: dict[str, Any]) -> str:
        """Push a manifest and return its digest."""
        data = json.dumps(value).encode()
        target = f"/v2/{repository}/manifests/{reference or digest(data)}"
        answer = self.ask("PUT", target, data, Content_Type=value["mediaType"])
        assert answer.status == 201, answer.body
        return digest(data)

    def push_image(self, repository: str, tag: str, *layers: bytes, **fields: Any) -> str:
        """Push an image, or an artifact, and return its digest."""
        for data in (EMPTY, *layers):
            self.push_blob(repository, data)
        return self.push_manifest(repository, tag, manifest(*layers, **fields))

    def kill(self) -> None:
        """End it as a power cut would, but for the disk's cache."""
        self.process.kill()
        self.process.wait(10)


def digest(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def describe(data: bytes, media_type: str = "application/vnd.oci.image.layer.v1.tar") -> dict[str, Any]:
    return {"mediaType": media_type, "digest": digest(data), "size": len(data)}


def manifest(*layers: bytes, **fields: Any) -> dict[str, Any]:
    """Return a manifest whose config is the empty one."""
    config = describe(EMPTY, "application/vnd.oci.empty.v1+json")
    parts = [describe(layer) for layer in layers]
    return {"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": parts, **fields}


@contextmanager
def serving(product: Product, directory: Path, *words: str, port: str = "0") -> Iterator[Server]:
    """Serve a directory on loopback until the block ends, by SIGTERM unless it has ended before."""
    process = product.start("registry", "serve", "-p", port, "-v", str(directory), *words)
    try:
        assert process.stdout is not None
        line = process.stdout.readline().decode()
        if not line.startswith("registry listens on "):
            _, err = process.communicate(timeout=10)
            raise AssertionError(f"the registry did not start: {line} {err.decode()}")
        yield Server(process, line.split()[-1])
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=15)
        sys.stderr.write(err.decode())  # shown with the test's failure
    assert err == b"" or process.returncode == -signal.SIGKILL, err.decode()
    assert process.returncode in (0, -signal.SIGKILL)
