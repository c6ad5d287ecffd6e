"""What is signed: a small JSON document that ties a digest to a name. Pure.

The form is "simple signing" (containers-signature(5)) with cosign's `critical.type`.
"""

from __future__ import annotations

from layers import document, jsontext
from layers.errors import LayersError
from layers.reference import Reference
from rootless.trust.errors import SignatureRefused

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Self

    from layers.digest import Digest

TYPE = "cosign container image signature"
MAX_BYTES = 1 << 20
"""Annotations of who signs may be in it; a hundredth of this is large."""


class Payload:
    """What a signature says.

    Attributes:
        digest: of the manifest or index that is signed.
        name: that it is signed for, "docker.io/library/debian", perhaps with a tag or a digest; canonical, as
            far as it can be parsed. repository: the same without tag and digest.
        is_repository: it names neither tag nor digest. Those of cosign do not.
    """

    __slots__ = ("digest", "is_repository", "name", "repository")

    def __init__(self, digest: Digest, name: str) -> None:
        self.digest = digest
        try:
            reference = Reference.parse(name)
        except LayersError:
            self.repository, self.name, self.is_repository = name, name, False
            return
        self.repository = reference.repository
        self.is_repository = reference.digest is None and ":" not in name.rpartition("/")[2]
        self.name = self.repository if self.is_repository else reference.canonical

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Read a payload whose signature was verified.

        Raises:
            SignatureRefused: it is something else than the signature of an image.
        """
        try:
            fields = document.decode(data, "payload", max_bytes=MAX_BYTES)
            critical = fields.child("critical")
            image = critical and critical.child("image")
            identity = critical and critical.child("identity")
            if critical is None or image is None or identity is None:
                raise SignatureRefused("its payload names no image")
            if critical.text("type") != TYPE:
                raise SignatureRefused(f"its payload is of the type `{critical.text('type')[:80]}`")
            if unknown := critical.data.keys() - {
                "type",
                "image",
                "identity",
            }:  # they would have to be obeyed
                raise SignatureRefused(f"its payload makes the condition `{min(unknown)[:80]}`")
            return cls(image.digest("docker-manifest-digest"), identity.text("docker-reference"))
        except LayersError as exc:
            raise SignatureRefused(f"its payload cannot be read: {exc.message}") from exc


def payload_bytes(digest: Digest, name: str) -> bytes:
    """Return what is to be signed.

    Args:
        name: with a tag, the signature is good for that tag alone; without, for the whole repository.
    """
    critical = {
        "identity": {"docker-reference": name},
        "image": {"docker-manifest-digest": str(digest)},
        "type": TYPE,
    }
    return jsontext.dumps({"critical": critical, "optional": None}, compact=True).encode()
