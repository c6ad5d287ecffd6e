"""Keys: a pair of files as cosign has them, and signing and verifying with them. The door to cryptography.

    NAME.key    PEM of the type ENCRYPTED SIGSTORE PRIVATE KEY. Its body is JSON that names a key derivation
                (scrypt), a cipher (NaCl's secretbox) and the ciphertext, which holds PKCS #8.
    NAME.pub    PEM of a SubjectPublicKeyInfo (RFC 5280 §4.1.2.7).

Signatures are ECDSA over SHA-256, in DER, as cosign's specs/SIGNATURE_SPEC.md has them. Blocking: a password
takes a tenth of a second and 64 MiB.
"""

from __future__ import annotations

import base64
import binascii
import os

from layers import document, jsontext
from layers.errors import LayersError, StoreError
from layers.store.files import create_file, remove_if_there
from rootless.errors import os_error_text
from rootless.trust.errors import BadKey

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from cryptography.hazmat.primitives.asymmetric import ec

MAX_BYTES = 64 << 10
_PEM_TYPE = "ENCRYPTED SIGSTORE PRIVATE KEY"
_PEM_TYPES = (_PEM_TYPE, "ENCRYPTED COSIGN PRIVATE KEY")
_SCRYPT = {"N": 1 << 16, "r": 8, "p": 1}
"""What cosign 2 writes; earlier versions had half of N."""
_MAX_N = 1 << 20
_KEY_BYTES = 32
_NONCE_BYTES = 24


class PublicKey:
    """A key that signatures are verified with.

    Attributes:
        name: what messages call it: its file.
    """

    __slots__ = ("_key", "name")

    def __init__(self, pem: bytes, *, name: str) -> None:
        """Read a PEM.

        Raises:
            BadKey: it holds something else than a public key for ECDSA.
        """
        from cryptography.exceptions import UnsupportedAlgorithm
        from cryptography.hazmat.primitives.asymmetric import ec
        from cryptography.hazmat.primitives.serialization import load_pem_public_key

        self.name = name
        try:
            key = load_pem_public_key(pem)
        except (ValueError, UnsupportedAlgorithm):
            hint = "this is the private key: name the file `.pub`" if b"PRIVATE KEY" in pem else None
            raise BadKey("cannot use the key: it is no public key in PEM", on=name, hint=hint) from None
        if not isinstance(key, ec.EllipticCurvePublicKey):
            raise BadKey("cannot use the key: it is none for ECDSA, the one kind that is supported", on=name)
        self._key = key

    @classmethod
    def load(cls, path: str) -> PublicKey:
        """Read a file.

        Raises:
            BadKey: it cannot be read, or is none.
        """
        return cls(_read(path), name=path)

    def verifies(self, signature: bytes, data: bytes) -> bool:
        """Tell whether a signature of data was made with the private key of this one."""
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric import ec
        from cryptography.hazmat.primitives.hashes import SHA256

        try:
            self._key.verify(signature, data, ec.ECDSA(SHA256()))
        except InvalidSignature:
            return False
        return True


class PrivateKey:
    """A key that signs."""

    __slots__ = ("_key", "_name")

    def __init__(self, key: ec.EllipticCurvePrivateKey, *, name: str) -> None:
        self._key = key
        self._name = name

    @classmethod
    def generate(cls) -> PrivateKey:
        from cryptography.hazmat.primitives.asymmetric import ec

        return cls(ec.generate_private_key(ec.SECP256R1()), name="")

    @classmethod
    def load(cls, path: str, ask: Callable[[], bytes]) -> PrivateKey:
        """Read a file.

        Args:
            ask: returns the password, once there is something that needs it.

        Raises:
            BadKey: it cannot be read, is none, or has another password.
        """
        pem = _read(path)
        _pem_body(pem, path)
        return cls.decrypt(pem, ask(), name=path)

    @classmethod
    def decrypt(cls, pem: bytes, password: bytes, *, name: str) -> PrivateKey:
        """Read a PEM; see `load`."""
        from cryptography.hazmat.primitives.asymmetric import ec
        from cryptography.hazmat.primitives.serialization import load_der_private_key

        try:
            key = load_der_private_key(_open_box(_pem_body(pem, name), password, name), password=None)
        except ValueError:
            raise _unusable(name, "what it holds is no private key") from None
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise _unusable(name, "it is none for ECDSA, the one kind that is supported")
        return cls(key, name=name)

    def encrypt(self, password: bytes) -> bytes:
        """Return the PEM of this key."""
        from cryptography.hazmat.primitives import serialization
        from nacl.bindings import crypto_secretbox

        plain = self._key.private_bytes(
            serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        salt, nonce = os.urandom(32), os.urandom(_NONCE_BYTES)
        box = crypto_secretbox(plain, nonce, _derive(password, salt, _SCRYPT))
        sealed = {
            "kdf": {"name": "scrypt", "params": _SCRYPT, "salt": _base64(salt)},
            "cipher": {"name": "nacl/secretbox", "nonce": _base64(nonce)},
            "ciphertext": _base64(box),
        }
        return _pem(_PEM_TYPE, jsontext.dumps(sealed, compact=True).encode())

    @property
    def public_pem(self) -> bytes:
        from cryptography.hazmat.primitives import serialization

        return self._key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )

    @property
    def public(self) -> PublicKey:
        return PublicKey(self.public_pem, name=self._name)

    def sign(self, data: bytes) -> bytes:
        """Return a signature, which is another one each time."""
        from cryptography.hazmat.primitives.asymmetric import ec
        from cryptography.hazmat.primitives.hashes import SHA256

        return self._key.sign(data, ec.ECDSA(SHA256()))


def create_pair(prefix: str, password: bytes) -> tuple[str, str]:
    """Make a new pair of files, PREFIX.key for its user alone and PREFIX.pub; return their paths.

    Raises:
        BadKey: one of them is there already, which is never replaced, or they cannot be written.
    """
    prefix = os.path.abspath(prefix)
    paths = f"{prefix}.key", f"{prefix}.pub"
    key = PrivateKey.generate()
    made = []
    try:
        for path, data, mode in zip(
            paths, (key.encrypt(password), key.public_pem), (0o600, 0o644), strict=True
        ):
            if not create_file(path, data, scratch=os.path.dirname(path), mode=mode):
                raise BadKey("cannot make the keys: the file exists", on=path, hint="choose another prefix")
            made.append(path)
    except BaseException as exc:
        for path in made:
            remove_if_there(path)
        if isinstance(exc, OSError):
            raise BadKey(f"cannot make the keys: {os_error_text(exc)}", on=paths[len(made)]) from exc
        if isinstance(exc, StoreError):
            raise BadKey(f"cannot make the keys: {exc.message}", on=paths[len(made)]) from exc
        raise
    return paths


def _open_box(sealed: bytes, password: bytes, name: str) -> bytes:
    """Return the plaintext of what the file holds."""
    from nacl.bindings import crypto_secretbox_open
    from nacl.exceptions import CryptoError

    try:
        fields = document.decode(sealed, "key", max_bytes=MAX_BYTES)
        kdf, cipher = fields.child("kdf"), fields.child("cipher")
        params = kdf and kdf.child("params")
        if kdf is None or cipher is None or params is None:
            raise _unusable(name, "it names no key derivation or no cipher")
        methods = kdf.text("name"), cipher.text("name")
        cost = {field: params.integer(field) for field in _SCRYPT}
        salt, nonce, box = (
            base64.b64decode(text, validate=True)
            for text in (kdf.text("salt"), cipher.text("nonce"), fields.text("ciphertext"))
        )
    except (LayersError, binascii.Error) as exc:
        raise _unusable(name, getattr(exc, "message", "it is no base64")) from exc
    if methods != ("scrypt", "nacl/secretbox"):
        raise _unusable(name, "it is encrypted in a way that is not supported: " + ", ".join(methods)[:80])
    if not 1 < cost["N"] <= _MAX_N or cost["N"] & (cost["N"] - 1) or (cost["r"], cost["p"]) != (8, 1):
        raise _unusable(name, f"its key derivation has the cost {cost}")
    if len(nonce) != _NONCE_BYTES:
        raise _unusable(name, "its nonce has the wrong length")
    try:
        return crypto_secretbox_open(box, nonce, _derive(password, salt, cost))
    except CryptoError:
        raise BadKey("cannot open the private key: the password is wrong", on=name) from None


def _derive(password: bytes, salt: bytes, cost: dict[str, Any]) -> bytes:
    import hashlib

    memory = 128 * cost["r"] * (cost["N"] + cost["p"] + 2)
    return hashlib.scrypt(
        password, salt=salt, n=cost["N"], r=cost["r"], p=cost["p"], maxmem=2 * memory, dklen=_KEY_BYTES
    )


def _pem(kind: str, body: bytes) -> bytes:
    text = base64.encodebytes(body).replace(b"\n", b"")
    lines = [text[i : i + 64] for i in range(0, len(text), 64)]
    return b"\n".join([f"-----BEGIN {kind}-----".encode(), *lines, f"-----END {kind}-----".encode(), b""])


def _pem_body(pem: bytes, name: str) -> bytes:
    for kind in _PEM_TYPES:
        begin, end = f"-----BEGIN {kind}-----".encode(), f"-----END {kind}-----".encode()
        _, found, rest = pem.partition(begin)
        body, closed, _ = rest.partition(end)
        if found and closed:
            try:
                return base64.b64decode(b"".join(body.split()), validate=True)
            except binascii.Error:
                raise _unusable(name, "its PEM is no base64") from None
    raise _unusable(name, "it is no private key as cosign and `rootless trust generate-key` write them")


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read(MAX_BYTES)
    except OSError as exc:
        raise BadKey(f"cannot read the key: {os_error_text(exc)}", on=path) from exc


def _unusable(name: str, problem: str) -> BadKey:
    return BadKey(f"cannot use the private key: {problem}", on=name)
