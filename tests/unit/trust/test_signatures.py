"""Which signatures count: made by another program, tampered with, for something else."""

from __future__ import annotations

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from layers.digest import Digest, digest_bytes
from layers.manifest import Descriptor, parse_manifest
from layers.reference import Reference
from rootless.trust import identity
from rootless.trust.errors import SignatureRefused
from rootless.trust.identity import Identity
from rootless.trust.keys import PrivateKey, PublicKey
from rootless.trust.payload import Payload, payload_bytes
from rootless.trust.signatures import ANNOTATION, PAYLOAD_TYPE, Signature, manifest_of, sign, signature_tag

PUBLIC = b"""\
-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEbEQgqz4pPpbzSogA6lUqZ6eGvA/e
TF3HbUiYVyIYAdW8XbJCVLb68L64AkbhdZCcSzq6IOej+l6ssfA7sOyVlg==
-----END PUBLIC KEY-----
"""
PAYLOAD = (
    b'{"critical":{"identity":{"docker-reference":"localhost:5000/sigtry/vector:1"},"image":'
    b'{"docker-manifest-digest":"sha256:8ac30f4a90445b11c743300077640654617cf4da839eea5880c2120a7c6876c7"},'
    b'"type":"cosign container image signature"},'
    b'"optional":{"creator":"containers/image 5.39.1","timestamp":1795544589}}'
)
SIGNATURE = "MEYCIQC88mnn7LrwP/V8B19BXe3DBQYNrOBrd8Xbt4wCN1jqhAIhAPyUnBDXD0hCyxgXNjj+7rJk+hGBOuyZ8pbYoK83qUBC"
"""Made by `skopeo copy --sign-by-sigstore-private-key`, 1.22."""
SIGNED = Digest("sha256:8ac30f4a90445b11c743300077640654617cf4da839eea5880c2120a7c6876c7")
OTHER = digest_bytes(b"other")
IMAGE = Reference.parse("localhost:5000/sigtry/vector:1")
KEY = PublicKey(PUBLIC, name="key")


def signature(payload: bytes = PAYLOAD, text: str = SIGNATURE) -> Signature:
    annotations = {ANNOTATION: text}
    layer = Descriptor(
        media_type=PAYLOAD_TYPE, digest=digest_bytes(payload), size=len(payload), annotations=annotations
    )
    return Signature(layer, payload)


def check(made: Signature, *, digest: Digest = SIGNED, image: Reference = IMAGE, key: PublicKey = KEY) -> str:
    """Return the reason for a refusal, "" for none."""
    try:
        made.check(digest, keys=[key], identity=Identity(), image=image)
    except SignatureRefused as exc:
        return exc.message
    return ""


def test_signature_of_skopeo_counts() -> None:
    assert check(signature()) == ""
    assert check(signature(), image=IMAGE.with_digest(SIGNED)) == ""


def test_one_of_several_keys_is_enough_and_is_named() -> None:
    others = [PrivateKey.generate().public for _ in range(2)]
    found = signature().check(SIGNED, keys=[others[0], KEY, others[1]], identity=Identity(), image=IMAGE)
    assert found is KEY


def test_signature_of_another_key_is_refused() -> None:
    assert "another key" in check(signature(), key=PrivateKey.generate().public)


def test_signature_for_another_digest_is_refused() -> None:
    assert "another digest, 8ac30f4a9044" in check(signature(), digest=OTHER)


def test_signature_for_another_name_is_refused() -> None:
    for name in ("localhost:5000/sigtry/vector:2", "localhost:5000/sigtry/vectors:1", "sigtry/vector:1"):
        assert "another name, localhost:5000/sigtry/vector:1" in check(
            signature(), image=Reference.parse(name)
        )


@given(position=st.integers(0, len(PAYLOAD) - 1), bit=st.integers(0, 7))
def test_payload_with_one_bit_changed_is_refused(position: int, bit: int) -> None:
    changed = bytearray(PAYLOAD)
    changed[position] ^= 1 << bit
    assert "for another payload" in check(signature(bytes(changed)))


@given(position=st.integers(0, 71), bit=st.integers(0, 7))
def test_signature_with_one_bit_changed_is_refused(position: int, bit: int) -> None:
    changed = bytearray(base64.b64decode(SIGNATURE))
    changed[position] ^= 1 << bit
    assert check(signature(text=base64.b64encode(changed).decode()))


@pytest.mark.parametrize("text", ["", "!", "AAAA", SIGNATURE[:-4], SIGNATURE + "AAAA"])
def test_annotation_that_is_no_signature_is_refused(text: str) -> None:
    assert "another key" in check(signature(text=text))


PRIVATE = PrivateKey.generate()


def signed_refusal(payload: bytes) -> str:
    """Return why a payload is refused that the right key has signed."""
    text = base64.b64encode(PRIVATE.sign(payload)).decode()
    return check(signature(payload, text), key=PRIVATE.public)


def changed(**critical: object) -> bytes:
    value = json.loads(PAYLOAD)
    value["critical"].update(critical)
    return json.dumps(value).encode()


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"", "cannot be read"),
        (b"[]", "cannot be read"),
        (b"{}", "names no image"),
        (b'{"critical": []}', "cannot be read"),
        (PAYLOAD[:-1] + b',"critical":{}}', "twice"),
        (changed(type="atomic container signature"), "of the type `atomic container signature`"),
        (changed(expires=1), "the condition `expires`"),
        (changed(image={"docker-manifest-digest": "sha256:8AC"}), "digest"),
        (changed(identity={}), "docker-reference"),
        (changed(identity={"docker-reference": "Not A Name"}), "another name"),
    ],
)
def test_payload_that_says_something_else_is_refused_whoever_has_signed(payload: bytes, reason: str) -> None:
    assert reason in signed_refusal(payload)
    assert signed_refusal(PAYLOAD) == ""


def test_our_payload_says_what_it_is_for() -> None:
    said = Payload.parse(payload_bytes(OTHER, "docker.io/library/debian:12"))
    assert (said.digest, said.name, said.is_repository) == (OTHER, "docker.io/library/debian:12", False)


def test_names_as_cosign_writes_them() -> None:
    said = Payload.parse(payload_bytes(OTHER, "index.docker.io/library/debian"))
    assert (said.name, said.is_repository) == ("docker.io/library/debian", True)
    assert Payload.parse(payload_bytes(OTHER, "localhost:5000/box")).is_repository


def test_manifest_of_signatures_is_one_that_cosign_reads() -> None:
    layers = [sign(payload_bytes(OTHER, name), PRIVATE) for name in ("a.b/one", "a.b/two")]
    data, config = manifest_of(layers)
    manifest = parse_manifest(data, "application/vnd.oci.image.manifest.v1+json")
    assert list(manifest.layers) == layers
    assert (manifest.config.digest, manifest.config.size) == (digest_bytes(config), len(config))
    assert json.loads(config)["rootfs"]["diff_ids"] == [layer.digest for layer in layers]


def test_place_of_signatures() -> None:
    assert signature_tag(OTHER) == f"sha256-{OTHER.encoded}.sig"


@pytest.mark.parametrize(
    ("rule", "signed", "pulled", "accepted"),
    [
        (Identity(), "a.b/c:1", "a.b/c:1", True),
        (Identity(), "a.b/c:1", "a.b/c:2", False),
        (Identity(), "a.b/c:1", f"a.b/c@{OTHER}", True),
        (Identity(), "a.b/c:1", f"a.b/d@{OTHER}", False),
        (Identity(), "a.b/c", "a.b/c:2", True),
        (Identity(), "a.b/c", "a.b/cc:2", False),
        (Identity(), "a.b/c", "a.b/c/d:2", False),
        (Identity(), f"a.b/c@{OTHER}", "a.b/c:1", False),
        (Identity(identity.EXACT_OR_DIGEST), "a.b/c:1", "a.b/c:1", True),
        (Identity(identity.EXACT_OR_DIGEST), "a.b/c", "a.b/c:1", False),
        (Identity(identity.EXACT_OR_DIGEST), "a.b/c", f"a.b/c@{OTHER}", False),
        (Identity(identity.EXACT_OR_DIGEST), "a.b/c:1", f"a.b/c@{OTHER}", True),
        (Identity(identity.EXACT), "a.b/c:1", "a.b/c:1", True),
        (Identity(identity.EXACT), "a.b/c:1", f"a.b/c@{OTHER}", False),
        (Identity(identity.REPOSITORY), "a.b/c:1", "a.b/c:2", True),
        (Identity(identity.REPOSITORY), "a.b/c", "a.b/d:2", False),
        (Identity(identity.OTHER_NAME, value="v.w/x:1"), "v.w/x:1", "a.b/c:7", True),
        (Identity(identity.OTHER_NAME, value="v.w/x:1"), "v.w/x:2", "a.b/c:2", False),
        (Identity(identity.OTHER_NAME, value="v.w/x:1"), "a.b/c:1", "a.b/c:1", False),
        (Identity(identity.OTHER_REPOSITORY, value="v.w/x"), "v.w/x:3", "a.b/c:7", True),
        (Identity(identity.OTHER_REPOSITORY, value="v.w/x"), "a.b/c:7", "a.b/c:7", False),
        (Identity(identity.REMAPPED, prefix="a.b/m", value="v.w"), "v.w/x:1", "a.b/m/x:1", True),
        (Identity(identity.REMAPPED, prefix="a.b/m", value="v.w"), "v.w/x:1", "a.b/m/x:2", False),
        (Identity(identity.REMAPPED, prefix="a.b/m", value="v.w"), "a.b/mm/x:1", "a.b/mm/x:1", True),
        (Identity(identity.REMAPPED, prefix="a.b/m", value="v.w"), "v.w/x:1", f"a.b/m/x@{OTHER}", True),
    ],
)
def test_names_in_signatures(rule: Identity, signed: str, pulled: str, accepted: bool) -> None:
    says = Payload.parse(payload_bytes(OTHER, signed))
    assert rule.accepts(says, Reference.parse(pulled)) is accepted
