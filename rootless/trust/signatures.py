"""How the signatures of an image lie in a registry, and which of them count. No I/O.

One manifest holds the signatures of one digest: each is a layer whose blob is the payload and whose
annotation is the signature (cosign specs/SIGNATURE_SPEC.md). It has the tag `sha256-HEX.sig`, or names the
digest as its subject (OCI distribution-spec §Listing Referrers).
"""

from __future__ import annotations

import base64
import binascii

from layers import jsontext, media
from layers.digest import digest_bytes
from layers.manifest import Descriptor
from rootless.trust.errors import SignatureRefused
from rootless.trust.payload import Payload

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from layers.digest import Digest
    from layers.manifest import Manifest
    from layers.reference import Reference
    from rootless.trust.identity import Identity
    from rootless.trust.keys import PrivateKey, PublicKey

PAYLOAD_TYPE = "application/vnd.dev.cosign.simplesigning.v1+json"
ARTIFACT_TYPE = "application/vnd.dev.cosign.artifact.sig.v1+json"
ANNOTATION = "dev.cosignproject.cosign/signature"
MAX_SIGNATURES = 100
"""Of one digest that are looked at: each costs a request."""
_CONFIG_TYPE = "application/vnd.oci.image.config.v1+json"


class Signature:
    """One signature as it came from a registry; nothing about it is known to be true.

    Attributes:
        payload: the bytes that are signed. signature: DER; b"" where the annotation is none.
    """

    __slots__ = ("payload", "signature")

    def __init__(self, layer: Descriptor, payload: bytes) -> None:
        self.payload = payload
        try:
            self.signature = base64.b64decode(layer.annotations.get(ANNOTATION, ""), validate=True)
        except binascii.Error:
            self.signature = b""

    def check(
        self, digest: Digest, *, keys: Iterable[PublicKey], identity: Identity, image: Reference
    ) -> PublicKey:
        """Return the key that has signed a digest under the name of an image.

        Raises:
            SignatureRefused: none has, or something else; the message is the reason.
        """
        key = next((key for key in keys if key.verifies(self.signature, self.payload)), None)
        if key is None:
            raise SignatureRefused("it was made with another key, or for another payload")
        says = Payload.parse(self.payload)  # only now: strangers' text is not worth reading
        if says.digest != digest:
            raise SignatureRefused(f"it is for another digest, {says.digest.short}")
        if not identity.accepts(says, image):
            if says.is_repository and says.repository == image.repository:
                raise SignatureRefused("it is for the whole repository, and one for a tag is wanted")
            raise SignatureRefused(f"it is for another name, {says.name[:160]}")
        return key


def signature_tag(digest: Digest) -> str:
    """Return the tag under which the signatures of a digest are kept."""
    return f"{digest.algorithm}-{digest.encoded}.sig"


def payload_layers(manifest: Manifest) -> list[Descriptor]:
    """Return the layers of a manifest that are signatures."""
    found = [layer for layer in manifest.layers if layer.media_type == PAYLOAD_TYPE]
    return found[-MAX_SIGNATURES:]


def holds_signatures(referrer: Descriptor) -> bool:
    """Tell by its descriptor whether a referrer is a manifest of signatures."""
    return referrer.media_type == media.OCI_MANIFEST and referrer.artifact_type == ARTIFACT_TYPE


def sign(payload: bytes, key: PrivateKey) -> Descriptor:
    """Return the layer of a new signature."""
    signature = base64.b64encode(key.sign(payload)).decode()
    return Descriptor(
        media_type=PAYLOAD_TYPE,
        digest=digest_bytes(payload),
        size=len(payload),
        annotations={ANNOTATION: signature},
    )


def manifest_of(layers: Sequence[Descriptor]) -> tuple[bytes, bytes]:
    """Return (manifest, config) that hold signatures; as with cosign the config is that of an image."""
    config = jsontext.dumps(
        {
            "architecture": "",
            "config": {},
            "created": "0001-01-01T00:00:00Z",
            "os": "",
            "rootfs": {"type": "layers", "diff_ids": [str(layer.digest) for layer in layers]},
        },
        compact=True,
    ).encode()
    described = Descriptor(media_type=_CONFIG_TYPE, digest=digest_bytes(config), size=len(config))
    manifest = {
        "schemaVersion": 2,
        "mediaType": media.OCI_MANIFEST,
        "config": described.to_json(),
        "layers": [layer.to_json() for layer in layers],
    }
    return jsontext.dumps(manifest, compact=True).encode(), config
