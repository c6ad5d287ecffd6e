"""Sign images in a registry, and verify signatures there: what `rootless sign` and `rootless verify` do."""

from __future__ import annotations

from contextlib import suppress
from functools import partial

from layers import media
from layers.digest import digest_bytes
from layers.errors import NoMatchingPlatform
from layers.manifest import Descriptor, ImageSearch, Platform, parse_index, parse_manifest
from layers.reference import Reference
from rootless.engine import loop
from rootless.engine.admission import find_policy
from rootless.engine.explain import explained
from rootless.engine.verifying import Proof, prove
from rootless.errors import UsageError
from rootless.registry.transport.attachments import Attachments
from rootless.registry.transport.docker import RegistrySource
from rootless.registry.transport.docker_push import RegistryDestination
from rootless.trust.errors import SignatureRefused
from rootless.trust.payload import payload_bytes
from rootless.trust.policy import Signed
from rootless.trust.signatures import Signature, manifest_of, sign, signature_tag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from layers.digest import Digest
    from rootless.registry.settings import RegistrySettings
    from rootless.trust.identity import Identity
    from rootless.trust.keys import PrivateKey


class Signing:
    """One digest that is signed.

    Attributes:
        tag: where its signatures are. is_new: this signature was not among them before.
    """

    __slots__ = ("digest", "is_new", "tag")

    def __init__(self, digest: Digest, tag: str, *, is_new: bool) -> None:
        self.digest = digest
        self.tag = tag
        self.is_new = is_new


def sign_blocking(
    name: str, key: PrivateKey, *, identity: str, recursive: bool, settings: RegistrySettings
) -> list[Signing]:
    """Sign what a name means in its registry, in an event loop of its own.

    Args:
        name: a tag is resolved once; beside a digest it is only what the signature is for.
        identity: the name that the signature is for, "" for `name` itself.
        recursive: sign each manifest of an index too: podman verifies those.

    Raises:
        RegistryError: the registry, or the way to it, is at fault. LayersError: it has no such image.
    """
    image = Reference.parse(name)
    signed_name = _signed_name(identity) if identity else _name_of(image)

    async def body() -> list[Signing]:
        with explained(image.canonical, disk=""):
            place = settings.registries.places(image, doing="push")[-1]  # no mirror says what is signed
            async with Attachments(place, settings) as attachments:
                digests = await _digests(attachments, place.tag_or_digest, recursive=recursive)
                return [
                    await _sign_digest(attachments, image.with_digest(digest), signed_name, key, settings)
                    for digest in digests
                ]

    return loop.run(body)


def verify_blocking(
    name: str, keys: tuple[str, ...], *, identity: Identity | None, settings: RegistrySettings
) -> list[Proof]:
    """Verify what a name means in its registry, in an event loop of its own.

    Args:
        keys: files of public keys, one of which has to have signed; none: what the policy says.
        identity: None is the usual rule.

    Raises:
        SignatureRefused: it is not signed as it should be. UsageError: nothing says how.
    """
    image = Reference.parse(name)
    wanted = (Signed(*keys, identity=identity),) if keys else _wanted_by_policy(image, settings)

    async def body() -> list[Proof]:
        with explained(image.canonical, disk=""):
            digests = await _pulled_digests(image, settings)
            return await prove(_pulled(image), digests, wanted, settings=settings)

    try:
        return loop.run(body)
    except SignatureRefused as exc:
        exc.message = f"cannot verify: {exc.message}"
        raise


def _wanted_by_policy(image: Reference, settings: RegistrySettings) -> tuple[Signed, ...]:
    policy = find_policy(settings)
    if policy is None:
        raise UsageError("cannot verify: no key is given and there is no policy", hint="give --key FILE")
    verdict = policy.judge(_pulled(image))[1]
    if verdict.refusal:
        raise SignatureRefused(verdict.refusal, on=image.canonical, hint=f"{policy.path} decides")
    if not verdict.signed:
        raise UsageError(
            "cannot verify: no key is given and the policy wants no signature",
            on=image.canonical,
            hint=f"give --key FILE; {policy.path} decides otherwise",
        )
    return verdict.signed


def _pulled(image: Reference) -> Reference:
    """Return a reference as a pull has it: the tag beside a digest says nothing."""
    return image.with_digest(image.digest) if image.digest else image


def _name_of(image: Reference) -> str:
    """Return what an image is signed for: its tag, or its repository if it is named by digest alone."""
    return f"{image.repository}:{image.tag}" if image.tag else image.repository


def _signed_name(identity: str) -> str:
    """Return what a user wants a signature to be for: without a tag that is the repository, not `latest`."""
    wanted = Reference.parse(identity)
    is_tagged = ":" in identity.partition("@")[0].rpartition("/")[2]
    return _name_of(wanted) if is_tagged else wanted.repository


async def _pulled_digests(image: Reference, settings: RegistrySettings) -> list[Digest]:
    """Ask as a pull does, mirrors first: for the index, and for the image in it of this platform."""
    async with RegistrySource(image, settings) as source:
        root, data = await source.fetch_manifest(None)
        search = ImageSearch(root, Platform.host())
        with suppress(NoMatchingPlatform):  # what is there can be verified all the same
            search.feed(data)
            while search.wanted is not None:
                _, data = await source.fetch_manifest(search.wanted)
                search.feed(data)
        return list(dict.fromkeys((root.digest, search.chosen.digest if search.chosen else root.digest)))


async def _digests(attachments: Attachments, name: str, *, recursive: bool) -> list[Digest]:
    """Ask the registry what a tag or a digest means; with `recursive`, and what is in it."""
    root, data = await attachments.named(name)
    found = [root.digest]
    if recursive and media.is_index(root.media_type):
        found += [inner.digest for inner in parse_index(data, root.media_type).manifests]
    return list(dict.fromkeys(found))


async def _sign_digest(
    attachments: Attachments, image: Reference, name: str, key: PrivateKey, settings: RegistrySettings
) -> Signing:
    """Add a signature to those that a digest has, unless it is among them."""
    assert image.digest
    place = image.with_tag(signature_tag(image.digest))
    payload = payload_bytes(image.digest, name)
    found = await attachments.tagged(str(place.tag))
    layers = parse_manifest(found[1], found[0].media_type).layers if found else ()
    public = key.public
    for layer in layers:
        if layer.digest == digest_bytes(payload) and public.verifies(
            Signature(layer, payload).signature, payload
        ):
            return Signing(image.digest, str(place.tag), is_new=False)
    manifest, config = manifest_of([*layers, sign(payload, key)])
    async with RegistryDestination(place, settings) as destination:
        for blob in (payload, config):
            described = Descriptor(media_type=media.OCI_CONFIG, digest=digest_bytes(blob), size=len(blob))
            if not await destination.has_blob(described):
                await destination.put_blob(described, partial(_pieces, blob))
        described = Descriptor(
            media_type=media.OCI_MANIFEST, digest=digest_bytes(manifest), size=len(manifest)
        )
        await destination.put_manifest(manifest, described, final=True)
    return Signing(image.digest, str(place.tag), is_new=True)


async def _pieces(data: bytes) -> AsyncGenerator[bytes, None]:
    yield data
