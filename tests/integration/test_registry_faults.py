"""The registry client against a registry that is wrong in every way that we could think of.

Each test speaks to the source of an image, as the pull does; `test_pull` shows what is left on disk after.
"""

from __future__ import annotations

import base64
import gzip
import json
import os
import ssl
import time
from contextlib import aclosing
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
import trustme

from layers.errors import LayersError
from layers.manifest import Descriptor
from rootless.errors import RegistryError, RootlessError
from rootless.registry.settings import Deadlines, RegistrySettings
from rootless.registry.transport.base import open_source
from tests.helpers.hostile_registry import HostileRegistry, Reply, Request
from tests.helpers.images import MANIFEST, Layer, Layout

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from rootless.registry.transport.base import Source

PATIENT = Deadlines(attempts=3, backoff_s=0.01, backoff_limit_s=0.05, retry_after_limit_s=2, helper_s=2)
"""For tests in which no time runs out, however busy this machine is."""
QUICK = PATIENT.replace(connect_s=0.3, answer_s=0.3, idle_s=0.3, slow_window_s=0.3, slow_bytes_per_s=1000)
"""For tests in which it does."""
BASIC = "Basic " + base64.b64encode(b"jo:word").decode()


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    made = Layout(tmp_path / "layout")
    made.image("latest", [Layer().file("data", os.urandom(300_000))], compression="none")
    return made


@pytest.fixture
def server(layout: Layout) -> Iterator[HostileRegistry]:
    with HostileRegistry() as running:
        running.add_image("box", "latest", layout)
        yield running


def source(
    server: HostileRegistry, *, home: str = "/nonexistent", name: str = "", **options: object
) -> Source:
    environment = {"HOME": home, "PATH": f"{home}/bin:/usr/bin:/bin"}
    settings = RegistrySettings(environment=environment, **{"deadlines": PATIENT, **options})  # type: ignore[arg-type]
    return open_source(name or f"{server.address}/box:latest", settings)


async def manifest(server: HostileRegistry, **options: object) -> Descriptor:
    async with source(server, **options) as opened:  # type: ignore[arg-type]
        found, _ = await opened.fetch_manifest(None)
        return found


async def blob(server: HostileRegistry, layout: Layout, *, offset: int = 0, **options: object) -> bytes:
    """Return the bytes of the layer as the pull would get them."""
    data = b""
    async with (
        source(server, **options) as opened,
        aclosing(opened.open_blob(layer_of(layout), offset=offset)) as pieces,
    ):
        async for piece in pieces:
            data += piece
    return data


def layer_of(layout: Layout) -> Descriptor:
    path = max((layout.path / "blobs/sha256").iterdir(), key=lambda p: p.stat().st_size)
    from layers.digest import Digest

    return Descriptor(
        media_type="application/vnd.oci.image.layer.v1.tar",
        digest=Digest(f"sha256:{path.name}"),
        size=path.stat().st_size,
    )


def manifest_path(layout: Layout) -> Path:
    return next(p for p in (layout.path / "blobs/sha256").iterdir() if MANIFEST.encode() in p.read_bytes())


def layer_bytes(layout: Layout) -> bytes:
    return layout.blob_path(layer_of(layout).digest).read_bytes()


def write_auth(home: Path, registry: str, **entry: object) -> str:
    (home / ".docker").mkdir(parents=True)
    entry = entry or {"auth": base64.b64encode(b"jo:word").decode()}
    (home / ".docker/config.json").write_text(json.dumps({"auths": {registry: entry}}))
    return str(home)


async def refused(attempt: object, match: str | None = None) -> RootlessError | LayersError:
    with pytest.raises((RootlessError, LayersError), match=match) as caught:
        await attempt  # type: ignore[misc]
    error = caught.value
    text = error.render() if isinstance(error, RootlessError) else str(error)
    assert "word" not in text
    assert "secret" not in text.lower()
    return error


# Statuses and bodies


@pytest.mark.parametrize("status", [401, 403, 404, 429, 500, 502, 503, 418, 204, 101])
async def test_status_other_than_success_is_told(server: HostileRegistry, status: int) -> None:
    server.on("/v2/box/manifests/", lambda _: Reply(status, b""))
    error = await refused(manifest(server))
    assert isinstance(error, RegistryError)
    assert status == 101 or str(status) in error.message


async def test_error_code_of_the_registry_is_told(server: HostileRegistry) -> None:
    body = b'{"errors":[{"code":"NAME_UNKNOWN","message":"never heard of it"}]}'
    server.on("/v2/box/manifests/", lambda _: Reply(404, body))
    error = await refused(manifest(server), match="NAME_UNKNOWN: never heard of it")
    assert isinstance(error, RegistryError)
    assert error.reference == "no-such-image"


async def test_web_page_in_place_of_a_manifest_is_shown(server: HostileRegistry) -> None:
    page = Reply(200, b"<html><h1>Welcome to the hotel</h1>", headers={"Content-Type": "text/html"})
    server.on("/v2/box/manifests/", lambda _: page)
    await refused(manifest(server), match="text/html: .*Welcome to the hotel")


@pytest.mark.parametrize(
    "raw", [b"", b"\0" * 100, b"SSH-2.0-OpenSSH_9.2\r\n", b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 99_999]
)
async def test_answer_that_is_no_http_ends(server: HostileRegistry, raw: bytes) -> None:
    server.on("/", lambda _: Reply(raw=raw))
    await refused(manifest(server))


async def test_manifest_without_end_is_cut_off(server: HostileRegistry) -> None:
    def forever() -> Iterator[bytes]:
        yield b"{"
        while True:
            yield b" " * 65536

    server.on("/v2/box/manifests/", lambda _: Reply(200, forever(), length=-1))
    await refused(manifest(server), match="more than")


async def test_compressed_manifest_is_not_decompressed(server: HostileRegistry) -> None:
    bomb = gzip.compress(b" " * 50_000_000)
    server.on("/v2/box/manifests/", lambda _: Reply(200, bomb, headers={"Content-Encoding": "gzip"}))
    await refused(manifest(server), match="not JSON")
    assert server.requests[-1].headers["accept-encoding"] == "identity"


async def test_lie_in_the_digest_header_is_refused(server: HostileRegistry, layout: Layout) -> None:
    wrong = {"Docker-Content-Digest": "sha256:" + "0" * 64, "Content-Type": "application/json"}
    data = manifest_path(layout).read_bytes()
    server.on("/v2/box/manifests/", lambda _: Reply(200, data, headers=wrong))
    await refused(manifest(server), match="its digest is")


async def test_other_manifest_than_the_digest_asked_for_is_refused(server: HostileRegistry) -> None:
    server.on("/v2/box/manifests/", lambda _: Reply(200, b'{"schemaVersion":2}'))
    name = f"{server.address}/box@sha256:{'1' * 64}"
    await refused(manifest(server, name=name), match="its digest is")


# Time


async def test_registry_that_says_nothing_is_given_up(server: HostileRegistry) -> None:
    server.on("/v2/box/manifests/", lambda _: Reply(500, b"") if server.wait(30) else Reply(500))
    started = time.monotonic()
    error = await refused(manifest(server, deadlines=QUICK), match="in time")
    assert time.monotonic() - started < 15
    assert isinstance(error, RegistryError)


async def test_header_that_comes_letter_by_letter_is_given_up(server: HostileRegistry) -> None:
    def drip(_: Request) -> Reply:
        def body() -> Iterator[bytes]:
            while not server.wait(0.1):
                yield b"x"

        return Reply(200, body(), length=10_000)

    server.on("/v2/box/manifests/", drip)
    await refused(manifest(server, deadlines=QUICK), match="in time")


async def test_blob_at_a_few_bytes_a_second_is_given_up(server: HostileRegistry, layout: Layout) -> None:
    def drip() -> Iterator[bytes]:
        while not server.wait(0.1):
            yield b"x"

    size = layer_of(layout).size
    server.on("/v2/box/blobs/", lambda r: Reply(200, drip(), length=size))
    await refused(blob(server, layout, deadlines=QUICK), match="too slow")


async def test_blob_that_stops_is_given_up(server: HostileRegistry, layout: Layout) -> None:
    def stop() -> Iterator[bytes]:
        yield b"x" * 1000
        server.wait(30)

    server.on("/v2/box/blobs/", lambda _: Reply(200, stop(), length=layer_of(layout).size))
    await refused(blob(server, layout, deadlines=QUICK), match="in time")


async def test_closed_port_is_told_at_once(server: HostileRegistry) -> None:
    started = time.monotonic()
    await refused(
        manifest(server, name="127.0.0.1:1/box:latest"),
        match=r"^cannot connect: Connection refused \(ECONNREFUSED\)$",
    )
    assert time.monotonic() - started < 1


# Trying again


async def test_busy_registry_is_asked_again(server: HostileRegistry) -> None:
    answers = iter([429, 503, 500])
    good = server._handlers[0][1]

    def handle(request: Request) -> Reply:
        status = next(answers, 200)
        return good(request) if status == 200 else Reply(status, headers={"Retry-After": "0"})

    server.on("/v2/box/manifests/latest", handle)
    with pytest.raises(RegistryError):
        await manifest(server)
    assert await manifest(server)


async def test_pause_that_the_registry_asks_for_is_kept(server: HostileRegistry) -> None:
    times: list[float] = []

    def handle(_: Request) -> Reply:
        times.append(time.monotonic())
        return Reply(429, headers={"Retry-After": "1"})

    server.on("/v2/box/manifests/", handle)
    await refused(manifest(server), match="429")
    assert len(times) == PATIENT.attempts
    assert all(later - earlier >= 1 for earlier, later in pairwise(times))


async def test_pause_beyond_reason_is_reported_at_once(server: HostileRegistry) -> None:
    server.on("/v2/box/manifests/", lambda _: Reply(429, headers={"Retry-After": "86400"}))
    error = await refused(manifest(server), match="429")
    assert isinstance(error, RegistryError)
    assert "again in 24 h" in (error.hint or "")
    assert server.paths().count("/v2/box/manifests/latest") == 1


async def test_download_is_resumed_where_it_was_cut(server: HostileRegistry, layout: Layout) -> None:
    data = layer_bytes(layout)
    good = server._handlers

    def cut(request: Request) -> Reply:
        start = request.offset
        span = {"Content-Range": f"bytes {start}-{len(data) - 1}/{len(data)}"} if start else {}
        stop = min(len(data), start + 150_000)
        return Reply(206 if start else 200, [data[start:stop]], headers=span, length=len(data) - start)

    server.on("/v2/box/blobs/", cut)
    assert good
    assert await blob(server, layout) == data
    assert [r.offset for r in server.requests if "blobs" in r.path] == [0, 150_000, 300_000]


async def test_server_without_ranges_sends_all_again(server: HostileRegistry, layout: Layout) -> None:
    data = layer_bytes(layout)
    server.on("/v2/box/blobs/", lambda _: Reply(200, data))
    assert await blob(server, layout, offset=1000) == data[1000:]


async def test_wrong_range_is_refused(server: HostileRegistry, layout: Layout) -> None:
    data = layer_bytes(layout)
    span = {"Content-Range": f"bytes 0-{len(data) - 1001}/{len(data)}"}
    server.on("/v2/box/blobs/", lambda _: Reply(206, data[:-1000], headers=span))
    await refused(blob(server, layout, offset=1000), match="cannot resume")


async def test_blob_of_another_length_is_refused_before_it_comes(
    server: HostileRegistry, layout: Layout
) -> None:
    server.on("/v2/box/blobs/", lambda _: Reply(200, [b"x"], length=10**15))
    await refused(blob(server, layout), match="not 3")


async def test_compressed_transfer_is_handed_on_as_it_came(server: HostileRegistry, layout: Layout) -> None:
    data = layer_bytes(layout)
    server.on("/v2/box/blobs/", lambda _: Reply(200, data, headers={"Content-Encoding": "gzip"}))
    assert await blob(server, layout) == data  # never decoded; the digest decides


# Redirects


async def test_redirect_to_another_server_carries_no_credentials(
    server: HostileRegistry, layout: Layout, tmp_path: Path
) -> None:
    home = write_auth(tmp_path / "home", server.address)
    with HostileRegistry() as storage:
        storage.on("/blob", lambda _: Reply(200, layer_bytes(layout)))
        challenge_basic(server)
        server.on(
            "/v2/box/blobs/", lambda _: Reply(307, headers={"Location": f"http://{storage.address}/blob"})
        )
        async with source(server, home=home) as opened:
            await opened.fetch_manifest(None)
            async with aclosing(opened.open_blob(layer_of(layout))) as pieces:
                data = b"".join([piece async for piece in pieces])
        assert data == layer_bytes(layout)
        assert server.requests[-1].headers["authorization"] == BASIC
        assert all("authorization" not in request.headers for request in storage.requests)
        assert all("cookie" not in request.headers for request in storage.requests)


async def test_challenge_after_a_redirect_gets_nothing(
    server: HostileRegistry, layout: Layout, tmp_path: Path
) -> None:
    """CVE-2020-15157: a foreign server answers 401 and names its own token server."""
    home = write_auth(tmp_path / "home", server.address)
    with HostileRegistry() as thief:
        realm = f'Bearer realm="http://{thief.address}/token"'
        thief.on("/", lambda _: Reply(401, headers={"WWW-Authenticate": realm}))
        server.on("/v2/box/blobs/", lambda _: Reply(302, headers={"Location": f"http://{thief.address}/x"}))
        async with source(server, home=home) as opened:
            with pytest.raises(RegistryError, match="401"):
                await anext(opened.open_blob(layer_of(layout)))
        assert thief.paths() == ["/x"]
        assert "authorization" not in thief.requests[0].headers


@pytest.mark.parametrize(
    "location",
    ["file:///etc/passwd", "http://93.184.216.34/x", "ftp://127.0.0.1/", "", "http://u:p@127.0.0.1/"],
)
async def test_redirect_to_where_no_registry_sends_is_refused(server: HostileRegistry, location: str) -> None:
    server.on("/v2/box/manifests/", lambda _: Reply(302, headers={"Location": location}))
    await refused(manifest(server), match="cannot follow the redirect")


async def test_redirect_loop_is_refused(server: HostileRegistry) -> None:
    server.on("/v2/box/manifests/", lambda r: Reply(302, headers={"Location": r.path}))
    await refused(manifest(server), match="loop")


async def test_endless_redirects_are_refused(server: HostileRegistry) -> None:
    server.on("/v2/box/manifests/", lambda r: Reply(302, headers={"Location": r.path + "x"}))
    await refused(manifest(server), match="more than")


# Credentials and tokens


def challenge_basic(server: HostileRegistry) -> None:
    """Let every path that is served ask for jo's password."""
    inner = list(server._handlers)

    def handle(request: Request) -> Reply:
        if request.headers.get("authorization") != BASIC:
            return Reply(401, headers={"WWW-Authenticate": 'Basic realm="box"'})
        return next(h for prefix, h in inner if request.path.startswith(prefix))(request)

    server.on("/v2/box", handle)


def challenge_bearer(server: HostileRegistry, *, realm: str, good: Callable[[str], bool]) -> None:
    inner = list(server._handlers)
    challenge = f'Bearer realm="{realm}",service="box",scope="repository:other/private:pull,push"'

    def handle(request: Request) -> Reply:
        if not good(request.headers.get("authorization", "")):
            return Reply(401, headers={"WWW-Authenticate": challenge})
        return next(h for prefix, h in inner if request.path.startswith(prefix))(request)

    server.on("/v2/box", handle)


async def test_basic_credentials_are_sent_only_when_asked_for(
    server: HostileRegistry, tmp_path: Path
) -> None:
    home = write_auth(tmp_path / "home", server.address)
    await manifest(server, home=home)
    assert all("authorization" not in request.headers for request in server.requests)
    challenge_basic(server)
    assert await manifest(server, home=home)
    assert server.requests[-1].headers["authorization"] == BASIC


async def test_refusal_without_credentials_says_where_to_put_them(server: HostileRegistry) -> None:
    challenge_basic(server)
    error = await refused(manifest(server), match="401")
    assert isinstance(error, RegistryError)
    assert f"rootless login {server.address}" in (error.hint or "")


async def test_wrong_credentials_are_tried_once(server: HostileRegistry, tmp_path: Path) -> None:
    home = write_auth(tmp_path / "home", server.address, auth=base64.b64encode(b"jo:other").decode())
    challenge_basic(server)
    error = await refused(manifest(server, home=home), match="401")
    assert isinstance(error, RegistryError)
    assert "config.json were used" in (error.hint or "")
    assert server.paths().count("/v2/box/manifests/latest") == 2


async def test_credentials_of_another_registry_are_not_used(server: HostileRegistry, tmp_path: Path) -> None:
    home = write_auth(tmp_path / "home", "registry.example.com")
    challenge_basic(server)
    await refused(manifest(server, home=home), match="401")
    assert all("authorization" not in request.headers for request in server.requests)


async def test_token_is_asked_for_this_repository_alone(server: HostileRegistry, tmp_path: Path) -> None:
    home = write_auth(tmp_path / "home", server.address)
    challenge_bearer(server, realm=f"http://{server.address}/token", good="Bearer good".__eq__)
    server.on("/token", lambda _: Reply(200, b'{"token":"good"}'))
    assert await manifest(server, home=home)
    asked = next(request for request in server.requests if request.path.startswith("/token"))
    assert "scope=repository:box:pull" in asked.path
    assert "private" not in asked.path
    assert asked.headers["authorization"] == BASIC
    assert server.requests[-1].headers["authorization"] == "Bearer good"


async def test_expired_token_is_renewed_once(server: HostileRegistry) -> None:
    tokens = iter(["one", "two", "three"])
    valid = ["Bearer one"]
    challenge_bearer(server, realm=f"http://{server.address}/token", good=lambda a: a == valid[0])
    server.on("/token", lambda _: Reply(200, json.dumps({"access_token": next(tokens)}).encode()))
    async with source(server) as opened:
        await opened.fetch_manifest(None)
        valid[0] = "Bearer two"
        await opened.fetch_manifest(None)
        valid[0] = "Bearer none"
        with pytest.raises(RegistryError, match="401"):
            await opened.fetch_manifest(None)


async def test_token_of_one_repository_is_not_shown_to_another(server: HostileRegistry) -> None:
    challenge_bearer(server, realm=f"http://{server.address}/token", good="Bearer good".__eq__)
    server.on("/token", lambda _: Reply(200, b'{"token":"good"}'))
    await manifest(server)
    with pytest.raises(RegistryError):
        await manifest(server, name=f"{server.address}/boxer:latest")
    first = next(r for r in server.requests if r.path == "/v2/boxer/manifests/latest")
    assert "authorization" not in first.headers


@pytest.mark.parametrize(
    "realm", ["http://registry.example.com/token", "file:///x", "http://u:secret@127.0.0.1/"]
)
async def test_realm_that_must_not_get_credentials_gets_none(
    server: HostileRegistry, tmp_path: Path, realm: str
) -> None:
    home = write_auth(tmp_path / "home", server.address)
    challenge_bearer(server, realm=realm, good=lambda _: False)
    with pytest.raises(RegistryError, match="cannot ask for a token"):
        await manifest(server, home=home)


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"<html>", b'{"token":"a\\r\\nX-Evil: 1"}', b'{"token":"secret' + b"x" * (2 << 20) + b'"}'],
)
async def test_answer_without_a_usable_token_is_told(server: HostileRegistry, body: bytes) -> None:
    challenge_bearer(server, realm=f"http://{server.address}/token", good=lambda _: False)
    server.on("/token", lambda _: Reply(200, body))
    await refused(manifest(server), match="cannot get a token")


async def test_identity_token_is_posted_and_never_in_an_address(
    server: HostileRegistry, tmp_path: Path
) -> None:
    home = write_auth(tmp_path / "home", server.address, identitytoken="SECRET-refresh")
    challenge_bearer(server, realm=f"http://{server.address}/token", good="Bearer good".__eq__)
    server.on("/token", lambda r: Reply(200 if r.method == "POST" else 405, b'{"access_token":"good"}'))
    assert await manifest(server, home=home)
    asked = next(request for request in server.requests if request.path.startswith("/token"))
    assert b"grant_type=refresh_token" in asked.body
    assert b"SECRET-refresh" in asked.body
    assert all("SECRET" not in request.path for request in server.requests)


def write_helper(home: Path, server: HostileRegistry, script: str, *, name: str = "test") -> str:
    (home / ".docker").mkdir(parents=True)
    (home / "bin").mkdir()
    (home / ".docker/config.json").write_text(json.dumps({"credHelpers": {server.address: name}}))
    helper = home / "bin/docker-credential-test"
    helper.write_text(f"#!/bin/sh\n{script}\n")
    helper.chmod(0o755)
    return str(home)


async def test_credential_helper_is_asked_on_its_stdin(server: HostileRegistry, tmp_path: Path) -> None:
    answer = '{"Username":"jo","Secret":"word"}'
    script = f"read host; [ \"$1\" = get ] || exit 9; echo '{answer}'; echo $host >$HOME/asked"
    home = write_helper(tmp_path / "home", server, script)
    challenge_basic(server)
    assert await manifest(server, home=home)
    assert (tmp_path / "home/asked").read_text().strip() == server.address


@pytest.mark.parametrize(
    ("script", "match"),
    [
        ("exit 3", "exit code 3"),
        ("echo secret; exit 1", "exit code 1"),
        ("echo secret", "did not answer with JSON"),
        ("exec sleep 60", "did not answer within"),
    ],
)
async def test_broken_credential_helper_is_told(
    server: HostileRegistry, tmp_path: Path, script: str, match: str
) -> None:
    home = write_helper(tmp_path / "home", server, script)
    challenge_basic(server)
    await refused(manifest(server, home=home), match=match)


async def test_helper_without_credentials_leaves_it_anonymous(
    server: HostileRegistry, tmp_path: Path
) -> None:
    home = write_helper(tmp_path / "home", server, "echo 'credentials not found in native keychain'; exit 1")
    challenge_basic(server)
    await refused(manifest(server, home=home), match="401")


@pytest.mark.parametrize("name", ["../../bin/evil", "a b", "x;id"])
async def test_helper_whose_name_is_a_path_is_not_run(
    server: HostileRegistry, tmp_path: Path, name: str
) -> None:
    home = write_helper(tmp_path / "home", server, "touch $HOME/ran", name=name)
    challenge_basic(server)
    await refused(manifest(server, home=home), match="cannot use the credential helper")
    assert not (tmp_path / "home/ran").exists()


@pytest.mark.parametrize("text", ["{", "[]", "\xff", "[" * 100_000])
async def test_damaged_credentials_file_is_told(server: HostileRegistry, tmp_path: Path, text: str) -> None:
    (tmp_path / "home/.docker").mkdir(parents=True)
    (tmp_path / "home/.docker/config.json").write_text(text)
    challenge_basic(server)
    await refused(manifest(server, home=str(tmp_path / "home")), match="credentials file")


# TLS


@pytest.fixture
def authority() -> trustme.CA:
    return trustme.CA()


def tls_server(authority: trustme.CA, *names: str) -> HostileRegistry:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*names).configure_cert(context)
    return HostileRegistry(tls=context)


async def test_unknown_authority_is_refused_and_certs_d_accepts_it(
    authority: trustme.CA, layout: Layout, tmp_path: Path
) -> None:
    with tls_server(authority, "127.0.0.1") as server:
        server.add_image("box", "latest", layout)
        error = await refused(
            manifest(server, home=str(tmp_path)), match="cannot verify the registry's certificate"
        )
        assert isinstance(error, RegistryError)
        assert "certs.d" in (error.hint or "")
        directory = tmp_path / ".config/containers/certs.d" / server.address
        directory.mkdir(parents=True)
        authority.cert_pem.write_to_path(str(directory / "ca.crt"))
        assert await manifest(server, home=str(tmp_path))


async def test_tls_verify_false_accepts_any_certificate(authority: trustme.CA, layout: Layout) -> None:
    with tls_server(authority, "other.example") as server:
        server.add_image("box", "latest", layout)
        assert await manifest(server, tls_verify=False)


async def test_certificate_of_another_host_is_refused(
    authority: trustme.CA, layout: Layout, tmp_path: Path
) -> None:
    with tls_server(authority, "other.example") as server:
        server.add_image("box", "latest", layout)
        directory = tmp_path / ".docker/certs.d" / server.address
        directory.mkdir(parents=True)
        authority.cert_pem.write_to_path(str(directory / "ca.crt"))
        await refused(manifest(server, home=str(tmp_path)), match="cannot verify")


async def test_authority_in_ssl_cert_file_is_accepted(
    authority: trustme.CA, layout: Layout, tmp_path: Path
) -> None:
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    with tls_server(authority, "127.0.0.1") as server:
        server.add_image("box", "latest", layout)
        environment = {"HOME": str(tmp_path), "SSL_CERT_FILE": str(tmp_path / "ca.pem")}
        settings = RegistrySettings(environment=environment, deadlines=PATIENT)
        async with open_source(f"{server.address}/box:latest", settings) as opened:
            assert await opened.fetch_manifest(None)


async def test_unreadable_certificate_is_told(authority: trustme.CA, tmp_path: Path) -> None:
    with tls_server(authority, "127.0.0.1") as server:
        directory = tmp_path / ".docker/certs.d" / server.address
        directory.mkdir(parents=True)
        (directory / "ca.crt").write_text("nonsense")
        await refused(manifest(server, home=str(tmp_path)), match="cannot use the certificate")


# Layouts in a directory


async def test_link_in_a_layout_is_not_followed(layout: Layout, tmp_path: Path) -> None:
    target = tmp_path / "shadow"
    path = layout.blob_path(layer_of(layout).digest)
    descriptor = layer_of(layout)
    path.rename(target)
    path.symlink_to(target)
    settings = RegistrySettings(environment={})
    async with open_source(f"oci:{layout.path}:latest", settings) as opened:
        with pytest.raises(LayersError, match="cannot open blob"):
            async for _ in opened.open_blob(descriptor):
                pass


@pytest.mark.parametrize("name", ["index.json", "blobs"])
async def test_layout_whose_parts_are_links_is_refused(layout: Layout, tmp_path: Path, name: str) -> None:
    (layout.path / name).rename(tmp_path / "elsewhere")
    (layout.path / name).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(LayersError, match=f"cannot open {name}"):
        async with open_source(f"oci:{layout.path}:latest", RegistrySettings(environment={})) as opened:
            await opened.fetch_manifest(None)


async def test_fifo_in_a_layout_does_not_hang(layout: Layout) -> None:
    path = manifest_path(layout)
    path.unlink()
    os.mkfifo(path)
    async with open_source(f"oci:{layout.path}:latest", RegistrySettings(environment={})) as opened:
        with pytest.raises(LayersError, match="no plain file"):
            await opened.fetch_manifest(None)
