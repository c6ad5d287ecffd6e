"""Pairs of keys: the files, their passwords, and what another program wrote."""

from __future__ import annotations

import base64
import json
import os
import subprocess
from pathlib import Path

import pytest

from rootless.trust.errors import BadKey
from rootless.trust.keys import PrivateKey, PublicKey, create_pair

SKOPEO_PRIVATE = b"""\
-----BEGIN ENCRYPTED COSIGN PRIVATE KEY-----
eyJrZGYiOnsibmFtZSI6InNjcnlwdCIsInBhcmFtcyI6eyJOIjo2NTUzNiwiciI6
OCwicCI6MX0sInNhbHQiOiJTMFhnWThSVG80enFLbW1zYkp6L0xXcnZtOExVZUIx
eHpSOHUrOHM0NjdVPSJ9LCJjaXBoZXIiOnsibmFtZSI6Im5hY2wvc2VjcmV0Ym94
Iiwibm9uY2UiOiJ0Vm16RExQcC81L1dJUmp3MEdXMlVpNjdtSFpPRlp3YiJ9LCJj
aXBoZXJ0ZXh0IjoibkF0VHpDRmtHa1QySkNYUjVwYVpqbyt4MHg1cXkyaGEwajI2
VDZKQzFNSGQ1aVk5L2MyZmd0RWtFWmNYNENRbHZ2c212cjNIeGUzWlhBKzdVMzRL
WWdxK3NHL0t5bGpvQTZrVHJ3SUVXM1NWbGM5c2YxOFNsTndWNVBFdER4NGo1MEtE
WmhZS1BaUEhyWlBPOHJ5M0s0eVVTb3R2alk0NXRzOVIzZDZLcUZlOE1SM0dMUG14
cmZyaHpSc2x0RzZ6MXR3N3JuOHh0a3RVbXc9PSJ9
-----END ENCRYPTED COSIGN PRIVATE KEY-----
"""
SKOPEO_PUBLIC = b"""\
-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEbEQgqz4pPpbzSogA6lUqZ6eGvA/e
TF3HbUiYVyIYAdW8XbJCVLb68L64AkbhdZCcSzq6IOej+l6ssfA7sOyVlg==
-----END PUBLIC KEY-----
"""
"""Made by `skopeo generate-sigstore-key`, 1.22, with the password "secret"."""


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    return create_pair(str(tmp_path_factory.mktemp("keys") / "mine"), b"word")


def test_what_a_key_signs_its_public_half_verifies_and_no_other(pair: tuple[str, str]) -> None:
    public = PublicKey.load(pair[1])
    signature = PrivateKey.load(pair[0], lambda: b"word").sign(b"text")
    assert public.verifies(signature, b"text")
    assert not public.verifies(signature, b"texT")
    assert not public.verifies(signature[:-1], b"text")
    assert not public.verifies(b"", b"text")
    assert not PublicKey(SKOPEO_PUBLIC, name="").verifies(signature, b"text")


def test_files_are_those_of_cosign(pair: tuple[str, str]) -> None:
    private, public = pair
    assert [path[-9:] for path in pair] == ["/mine.key", "/mine.pub"]
    assert os.stat(private).st_mode & 0o777 == 0o600
    lines = Path(private).read_text().splitlines()
    assert lines[0] == "-----BEGIN ENCRYPTED SIGSTORE PRIVATE KEY-----"
    assert lines[-1] == "-----END ENCRYPTED SIGSTORE PRIVATE KEY-----"
    sealed = json.loads(base64.b64decode("".join(lines[1:-1])))
    assert sealed["kdf"]["name"] == "scrypt"
    assert sealed["kdf"]["params"] == {"N": 65536, "r": 8, "p": 1}
    assert sealed["cipher"]["name"] == "nacl/secretbox"
    assert len(base64.b64decode(sealed["kdf"]["salt"])) == 32
    assert len(base64.b64decode(sealed["cipher"]["nonce"])) == 24
    assert Path(public).read_text().startswith("-----BEGIN PUBLIC KEY-----\n")


@pytest.mark.needs("openssl")
def test_openssl_verifies_our_signatures_and_we_verify_its_own(pair: tuple[str, str], tmp_path: Path) -> None:
    private, public = pair
    (tmp_path / "text").write_bytes(b"some text")
    (tmp_path / "ours").write_bytes(PrivateKey.load(private, lambda: b"word").sign(b"some text"))

    def openssl(*words: str) -> bytes:
        return subprocess.run(["openssl", *words], cwd=tmp_path, check=True, capture_output=True).stdout

    assert b"OK" in openssl("dgst", "-sha256", "-verify", public, "-signature", "ours", "text")
    openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", "key")
    theirs = PublicKey(openssl("ec", "-in", "key", "-pubout"), name="theirs")
    assert theirs.verifies(openssl("dgst", "-sha256", "-sign", "key", "text"), b"some text")


def test_key_of_skopeo_is_read() -> None:
    key = PrivateKey.decrypt(SKOPEO_PRIVATE, b"secret", name="")
    assert key.public_pem == SKOPEO_PUBLIC


def test_wrong_password_is_told_as_such() -> None:
    with pytest.raises(BadKey, match="the password is wrong"):
        PrivateKey.decrypt(SKOPEO_PRIVATE, b"secreT", name="")


def sealed(**changes: object) -> bytes:
    body = json.loads(base64.b64decode(b"".join(SKOPEO_PRIVATE.splitlines()[1:-1])))
    data = base64.b64encode(json.dumps({**body, **changes}).encode())
    kind = b"ENCRYPTED SIGSTORE PRIVATE KEY"
    return b"-----BEGIN " + kind + b"-----\n" + data + b"\n-----END " + kind + b"-----\n"


SALT = base64.b64encode(b"1" * 32).decode()


@pytest.mark.parametrize(
    ("pem", "problem"),
    [
        (b"", "it is no private key"),
        (b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "it is no private key"),
        (sealed().replace(b"\neyJ", b"\n!!!"), "no base64"),
        (sealed(kdf=None), "names no key derivation"),
        (sealed(kdf={"name": "pbkdf2", "params": {"N": 2, "r": 8, "p": 1}, "salt": SALT}), "pbkdf2"),
        (sealed(kdf={"name": "scrypt", "params": {"N": 1 << 40, "r": 8, "p": 1}, "salt": SALT}), "cost"),
        (sealed(kdf={"name": "scrypt", "params": {"N": 65535, "r": 8, "p": 1}, "salt": SALT}), "cost"),
        (sealed(cipher={"name": "nacl/secretbox", "nonce": "AAAA"}), "nonce"),
        (sealed(ciphertext="AAAA"), "password is wrong"),
    ],
)
def test_files_that_are_no_private_key_are_refused(pem: bytes, problem: str) -> None:
    with pytest.raises(BadKey, match=problem):
        PrivateKey.decrypt(pem, b"secret", name="file")


def test_nobody_is_asked_for_the_password_of_a_file_that_is_no_key(tmp_path: Path) -> None:
    (tmp_path / "key").write_bytes(SKOPEO_PUBLIC)

    def ask() -> bytes:
        raise AssertionError

    with pytest.raises(BadKey, match="no private key"):
        PrivateKey.load(str(tmp_path / "key"), ask)


@pytest.mark.parametrize("pem", [b"", b"text", SKOPEO_PRIVATE, SKOPEO_PUBLIC[:-60]])
def test_files_that_are_no_public_key_are_refused(pem: bytes) -> None:
    with pytest.raises(BadKey, match="no public key"):
        PublicKey(pem, name="file")


def test_public_keys_of_other_kinds_are_refused() -> None:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    key = Ed25519PrivateKey.generate().public_key()
    with pytest.raises(BadKey, match="none for ECDSA"):
        PublicKey(key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo), name="file")


@pytest.mark.parametrize("there", [".key", ".pub"])
def test_no_file_is_replaced_and_none_is_left_alone(tmp_path: Path, there: str) -> None:
    (tmp_path / f"mine{there}").write_text("precious")
    with pytest.raises(BadKey, match="the file exists"):
        create_pair(str(tmp_path / "mine"), b"")
    assert [path.name for path in tmp_path.iterdir()] == [f"mine{there}"]
    assert (tmp_path / f"mine{there}").read_text() == "precious"


def test_place_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(BadKey, match="ENOENT"):
        create_pair(str(tmp_path / "none" / "mine"), b"")
