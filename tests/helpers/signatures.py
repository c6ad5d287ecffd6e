"""Sign images in a registry as cosign's specification says, with no code of the product.

    signer = Signer(directory)
    signer.sign(registry, "box", digest, name=f"{registry.address}/box:1")
    signer.public     # path of the public key

What is wrong on purpose is said by arguments.
"""

from __future__ import annotations

import base64
import hashlib
import json
import urllib.error
import urllib.request
from typing import TYPE_CHECKING, Any

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.helpers.images import CONFIG, INDEX, MANIFEST, digest

if TYPE_CHECKING:
    from pathlib import Path

PAYLOAD = "application/vnd.dev.cosign.simplesigning.v1+json"
ARTIFACT = "application/vnd.dev.cosign.artifact.sig.v1+json"
ANNOTATION = "dev.cosignproject.cosign/signature"


class Signer:
    """A key of its own, and what can be done with it."""

    def __init__(self, directory: Path, name: str = "signer") -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self.public = directory / f"{name}.pub"
        self.public.write_bytes(
            self._key.public_key().public_bytes(
                serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
            )
        )

    def annotation(self, payload: bytes) -> str:
        return base64.b64encode(self._key.sign(payload, ec.ECDSA(hashes.SHA256()))).decode()

    def sign(
        self,
        address: str,
        repository: str,
        signed: str,
        *,
        name: str,
        at: str = "",
        sent: bytes | None = None,
        config_type: str = CONFIG,
        tag: str = "",
    ) -> bytes:
        """Put the signature of a digest where cosign puts it; return the manifest that holds it.

        Args:
            at: the digest whose signature it is said to be.
            sent: the payload that is uploaded in place of the one that is signed.
            tag: in place of cosign's.
        """
        payload = payload_of(signed, name)
        layer = upload(address, repository, payload if sent is None else sent, PAYLOAD)
        layer["annotations"] = {ANNOTATION: self.annotation(payload)}
        config = upload(address, repository, b'{"rootfs": {"type": "layers", "diff_ids": []}}', config_type)
        manifest = {"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": [layer]}
        data = json.dumps(manifest).encode()
        put_manifest(address, repository, tag or signature_tag(at or signed), data)
        return data

    def refer(self, address: str, repository: str, signed: str, *, name: str) -> None:
        """Put the signature of a digest among its referrers, by the tag schema of distribution-spec v1.1."""
        data = self.sign(address, repository, signed, name=name, config_type=ARTIFACT, tag="some-other-tag")
        entry = {"mediaType": MANIFEST, "digest": digest(data), "size": len(data), "artifactType": ARTIFACT}
        index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": [entry]}
        put_manifest(address, repository, signed.replace(":", "-"), json.dumps(index).encode(), INDEX)


def payload_of(signed: str, name: str) -> bytes:
    critical = {
        "identity": {"docker-reference": name},
        "image": {"docker-manifest-digest": signed},
        "type": "cosign container image signature",
    }
    return json.dumps({"critical": critical, "optional": None}).encode()


def signature_tag(signed: str) -> str:
    return signed.replace(":", "-") + ".sig"


def upload(address: str, repository: str, data: bytes, media_type: str) -> dict[str, Any]:
    """Upload a blob in one piece; return its descriptor."""
    name = "sha256:" + hashlib.sha256(data).hexdigest()
    begun = request("POST", f"http://{address}/v2/{repository}/blobs/uploads/")
    place = begun["Location"]
    mark = "&" if "?" in place else "?"
    request("PUT", f"{place}{mark}digest={name}", data, "application/octet-stream")
    return {"mediaType": media_type, "digest": name, "size": len(data)}


def put_manifest(address: str, repository: str, tag: str, data: bytes, media_type: str = MANIFEST) -> None:
    request("PUT", f"http://{address}/v2/{repository}/manifests/{tag}", data, media_type)


def get_manifest(address: str, repository: str, tag: str) -> dict[str, Any]:
    """Return a manifest, {} when there is none."""
    asked = urllib.request.Request(
        f"http://{address}/v2/{repository}/manifests/{tag}", headers={"Accept": f"{MANIFEST}, {INDEX}"}
    )
    try:
        with urllib.request.urlopen(asked, timeout=10) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as exc:
        exc.close()
        return {}


def delete_manifest(address: str, repository: str, name: str) -> None:
    request("DELETE", f"http://{address}/v2/{repository}/manifests/{name}")


def request(method: str, url: str, data: bytes = b"", media_type: str = "") -> Any:
    headers = {"Content-Type": media_type} if media_type else {}
    asked = urllib.request.Request(url, data=data or None, method=method, headers=headers)
    with urllib.request.urlopen(asked, timeout=10) as answer:
        return answer.headers
