"""A token server on loopback (distribution's auth/token.md, oauth.md), and a registry that believes it.

with running_token_registry(directory) as registry:
    registry.tokens.users["jo"] = "word"
    registry.tokens.identities["long-lived-secret"] = "jo"
    …
    assert registry.tokens.requests[-1].form["grant_type"] == "refresh_token"

Nobody but a known user gets a token with access to anything. Its tokens are JWTs, signed with ES256 by a key
whose certificate is the registry's `rootcertbundle`.
"""

from __future__ import annotations

import base64
import json
import threading
import time
import uuid
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, utils
from cryptography.x509.oid import NameOID

from tests.helpers.registry import Registry, running_registry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

SERVICE = "box of images"
ISSUER = "token service"
_NUMBER_BYTES = 32
"""Each of the two numbers of an ES256 signature: RFC 7518 §3.4."""


class TokenRequest:
    """What was asked for.

    Attributes:
        headers: by lower-case name. query, form: the first value of each name; scopes: all of "scope".
        user: who proved to be one, "" for nobody.
    """

    def __init__(self, method: str, target: str, headers: Mapping[str, str], body: str) -> None:
        self.method = method
        self.headers = {name.lower(): value for name, value in headers.items()}
        query, form = parse_qs(urlsplit(target).query), parse_qs(body)
        self.query = {name: values[0] for name, values in query.items()}
        self.form = {name: values[0] for name, values in form.items()}
        self.scopes = " ".join([*query.get("scope", ()), *form.get("scope", ())]).split()
        self.user = ""


class TokenService:
    """The server; a context manager.

    Attributes:
        realm: its URL.
        users: name → password. identities: identity token → name of its user.
        requests: all that came, in order.
        lifetime_s: of the tokens. A negative one makes tokens that have expired.
        answer: replaces what is answered: (status, JSON) from a request.
    """

    def __init__(self) -> None:
        self.users: dict[str, str] = {}
        self.identities: dict[str, str] = {}
        self.requests: list[TokenRequest] = []
        self.lifetime_s = 300
        self.answer: Callable[[TokenRequest], tuple[int, object]] = self.honest_answer
        self._key = ec.generate_private_key(ec.SECP256R1())
        self.certificate = _certify(self._key)
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self.realm = f"http://127.0.0.1:{self._server.server_port}/token"

    def __enter__(self) -> TokenService:
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)

    def honest_answer(self, request: TokenRequest) -> tuple[int, object]:
        """Give a known user what they ask for, and a request without any proof a token worth nothing."""
        request.user, proof = self._identify(request)
        if proof and not request.user:
            return 401, {"errors": [{"code": "UNAUTHORIZED", "message": "incorrect username or password"}]}
        token = self.token(request.user, request.scopes if request.user else ())
        name = "access_token" if request.method == "POST" else "token"
        return 200, {name: token, "expires_in": self.lifetime_s}

    def token(self, user: str, scopes: list[str] | tuple[str, ...]) -> str:
        """Return a token for "repository:NAME:pull,push" and the like."""
        now = int(time.time())
        access = [
            {"type": kind, "name": name, "actions": actions.split(",")}
            for kind, name, actions in (_split_scope(scope) for scope in scopes)
        ]
        claims = {
            "iss": ISSUER, "sub": user, "aud": SERVICE, "jti": uuid.uuid4().hex,
            "iat": now - 300, "nbf": now - 300, "exp": now + self.lifetime_s, "access": access,
        }  # fmt: skip
        der = base64.b64encode(self.certificate.public_bytes(serialization.Encoding.DER)).decode()
        header = {"typ": "JWT", "alg": "ES256", "x5c": [der]}
        signed = ".".join(_encode(json.dumps(part).encode()) for part in (header, claims))
        numbers = utils.decode_dss_signature(self._key.sign(signed.encode(), ec.ECDSA(hashes.SHA256())))
        signature = b"".join(number.to_bytes(_NUMBER_BYTES, "big") for number in numbers)
        return f"{signed}.{_encode(signature)}"

    def _identify(self, request: TokenRequest) -> tuple[str, bool]:
        """Return (user, whether anything was shown to prove it)."""
        if request.form.get("grant_type") == "refresh_token":
            return self.identities.get(request.form.get("refresh_token", ""), ""), True
        scheme, _, encoded = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "basic":
            return "", bool(scheme)
        name, _, password = base64.b64decode(encoded).decode().partition(":")
        return (name if self.users.get(name) == password else ""), True


class TokenRegistry(Registry):
    """A registry that is up and sends its clients to a token service.

    Attributes:
        tokens: the service.
    """

    tokens: TokenService


@contextmanager
def running_token_registry(directory: Path) -> Iterator[TokenRegistry]:
    """Serve a registry whose clients need tokens of a service of its own; jo's password is "word"."""
    directory.mkdir(parents=True, exist_ok=True)
    with TokenService() as tokens:
        tokens.users["jo"] = "word"
        bundle = directory / "token-service.pem"
        bundle.write_bytes(tokens.certificate.public_bytes(serialization.Encoding.PEM))
        auth = {"realm": tokens.realm, "service": SERVICE, "issuer": ISSUER, "rootcertbundle": str(bundle)}
        extra = f"auth: {json.dumps({'token': auth})}\n"
        with running_registry(directory, extra=extra) as running:
            registry = TokenRegistry(running.address, storage=running.storage, log=running.log)
            registry.tokens = tokens
            yield registry


def _handler(service: TokenService) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            length = int(self.headers.get("content-length", 0))
            body = self.rfile.read(length).decode()
            request = TokenRequest(self.command, self.path, self.headers, body)
            service.requests.append(request)
            status, value = service.answer(request)
            data = json.dumps(value).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_POST = do_GET

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing: the tests look at `requests`."""

    return Handler


def _split_scope(scope: str) -> tuple[str, str, str]:
    """Split "repository:box:5000/x:pull", whose name may have colons (token.md, "Resource Scope")."""
    kind, _, rest = scope.partition(":")
    name, _, actions = rest.rpartition(":")
    return kind, name, actions


def _certify(key: ec.EllipticCurvePrivateKey) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, ISSUER)])
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )


def _encode(data: bytes) -> str:
    """Encode as JWTs do: RFC 7515 §2, base64url without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
