"""Look for the signature of an image that somebody wants, in its mirrors and its registry.

It makes no difference who hands a signature out: the key tells whose it is.
"""

from __future__ import annotations

from contextlib import aclosing, suppress

from layers.errors import LayersError
from layers.manifest import parse_manifest
from rootless.errors import RegistryError
from rootless.registry.transport.attachments import Attachments
from rootless.trust.errors import SignatureRefused
from rootless.trust.keys import PublicKey
from rootless.trust.payload import MAX_BYTES
from rootless.trust.signatures import (
    ARTIFACT_TYPE,
    Signature,
    holds_signatures,
    payload_layers,
    signature_tag,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    from layers.digest import Digest
    from layers.manifest import Descriptor
    from layers.reference import Reference
    from rootless.registry.registries import Place
    from rootless.registry.settings import RegistrySettings
    from rootless.trust.policy import Signed

_MOST_REASONS = 3


class Proof:
    """A signature that counts.

    Attributes:
        digest: that is signed. key: the name of the key.
    """

    __slots__ = ("digest", "key")

    def __init__(self, digest: Digest, key: str) -> None:
        self.digest = digest
        self.key = key


async def prove(
    image: Reference, digests: Sequence[Digest], wanted: Sequence[Signed], *, settings: RegistrySettings
) -> list[Proof]:
    """Find the signatures that are wanted, one for each of `wanted`, on any of some digests.

    Args:
        digests: the index and the manifest in it that is used; a signature of either will do.

    Raises:
        SignatureRefused: one is not to be had; the message is the reason. RegistryError: nobody knows.
        BadKey: a key cannot be used.
    """
    keys = [load_keys(each) for each in wanted]  # before anything is asked
    *mirrors, home = settings.registries.places(image)
    for place in mirrors:
        with suppress(SignatureRefused, RegistryError):
            return await _prove_all(place, image, digests, wanted, keys=keys, settings=settings)
    return await _prove_all(home, image, digests, wanted, keys=keys, settings=settings)


def load_keys(signed: Signed) -> list[PublicKey]:
    """Read the keys of a requirement; blocking, they are small files."""
    return [
        *(PublicKey.load(path) for path in signed.key_files),
        *(PublicKey(text.encode(), name="the policy's keyData") for text in signed.key_texts),
    ]


async def _prove_all(
    place: Place,
    image: Reference,
    digests: Sequence[Digest],
    wanted: Sequence[Signed],
    *,
    keys: Sequence[Sequence[PublicKey]],
    settings: RegistrySettings,
) -> list[Proof]:
    async with Attachments(place, settings) as attachments:
        return [
            await _prove(attachments, image, digests, each, keys=its)
            for each, its in zip(wanted, keys, strict=True)
        ]


async def _prove(
    attachments: Attachments,
    image: Reference,
    digests: Sequence[Digest],
    signed: Signed,
    *,
    keys: Sequence[PublicKey],
) -> Proof:
    reasons: dict[str, None] = {}
    for digest in digests:
        async with aclosing(_find(attachments, digest, reasons)) as found:
            async for signature in found:
                try:
                    key = signature.check(digest, keys=keys, identity=signed.identity, image=image)
                    return Proof(digest, key.name)
                except SignatureRefused as exc:
                    reasons[exc.message] = None
    if not reasons:
        raise SignatureRefused("it has no signature")
    shown = list(reasons)[:_MOST_REASONS]
    raise SignatureRefused("it has no signature that counts: " + "; ".join(shown))


async def _find(
    attachments: Attachments, digest: Digest, reasons: dict[str, None]
) -> AsyncGenerator[Signature, None]:
    """Yield the signatures of a digest: those of its tag first, and if none was enough, its referrers'.

    Args:
        reasons: is told what was there and could not be read.
    """
    try:
        found = await attachments.tagged(signature_tag(digest))
        for layer in _layers_of(found):
            yield await _fetch(attachments, layer)
    except LayersError as exc:
        reasons[f"its signatures cannot be read: {exc.message}"] = None
    try:
        for referrer in await attachments.referrers(digest, artifact_type=ARTIFACT_TYPE):
            if holds_signatures(referrer):
                for layer in _layers_of((referrer, await attachments.manifest(referrer))):
                    yield await _fetch(attachments, layer)
    except LayersError as exc:
        reasons[f"its referrers cannot be read: {exc.message}"] = None


def _layers_of(found: tuple[Descriptor, bytes] | None) -> list[Descriptor]:
    """Return the signatures in a manifest that was found, or not. Pure."""
    if found is None:
        return []
    descriptor, data = found
    return payload_layers(parse_manifest(data, descriptor.media_type))


async def _fetch(attachments: Attachments, layer: Descriptor) -> Signature:
    if layer.size > MAX_BYTES:
        return Signature(layer, b"")
    return Signature(layer, await attachments.blob(layer))
