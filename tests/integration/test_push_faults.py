"""Uploads to a registry that cuts, refuses, loses and redirects: each arrives verified, or fails clearly."""

from __future__ import annotations

import base64
import json
import os
from typing import TYPE_CHECKING

import pytest

from layers.digest import Digest, digest_bytes
from layers.errors import LayersError
from layers.manifest import Descriptor
from layers.reference import Reference
from rootless.errors import RegistryError, RootlessError
from rootless.registry.settings import Deadlines, RegistrySettings
from rootless.registry.transport.docker_push import RegistryDestination
from tests.helpers.hostile_registry import HostileRegistry, Reply, Request
from tests.helpers.images import MANIFEST
from tests.helpers.uploads import UploadRegistry, error

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterator
    from pathlib import Path

PATIENT = Deadlines(attempts=3, backoff_s=0.01, backoff_limit_s=0.05, retry_after_limit_s=2)
BLOB = os.urandom(3_000_000)
BASIC = "Basic " + base64.b64encode(b"jo:word").decode()


@pytest.fixture
def server() -> Iterator[UploadRegistry]:
    with UploadRegistry() as running:
        yield running


def destination(
    server: UploadRegistry, *, home: str = "/nonexistent", **options: object
) -> RegistryDestination:
    settings = RegistrySettings(environment={"HOME": home}, deadlines=PATIENT)
    reference = Reference.parse(f"{server.address}/box:1")
    return RegistryDestination(reference, settings, **options)  # type: ignore[arg-type]


def descriptor(data: bytes, media_type: str = "application/octet-stream") -> Descriptor:
    return Descriptor(media_type=media_type, digest=digest_bytes(data), size=len(data))


async def pieces(data: bytes) -> AsyncGenerator[bytes, None]:
    for start in range(0, len(data), 1 << 20):
        yield data[start : start + (1 << 20)]


async def push_blob(server: UploadRegistry, data: bytes = BLOB, **options: object) -> None:
    """Send a blob as a copy does."""
    async with destination(server, **options) as opened:  # type: ignore[arg-type]
        if not await opened.has_blob(descriptor(data)):
            await opened.put_blob(descriptor(data), lambda: pieces(data))


async def refused(attempt: object, match: str | None = None) -> RootlessError:
    with pytest.raises((RootlessError, LayersError), match=match) as caught:
        await attempt  # type: ignore[misc]
    assert isinstance(caught.value, RootlessError)
    assert "word" not in caught.value.render()
    return caught.value


def once(*replies: Reply, method: str = "PUT", part: str = "/uploads/") -> Callable[[Request], Reply | None]:
    """Return a fault: these answers to the first requests of a kind."""
    left = list(replies)

    def fault(request: Request) -> Reply | None:
        return left.pop(0) if left and request.method == method and part in request.path else None

    return fault


def cut_after(server: UploadRegistry, *counts: int) -> None:
    """Cut the first uploads after so many bytes."""
    left = list(counts)
    server.body_limit = lambda method, path: left.pop(0) if left and "/uploads/" in path else 1 << 40


def log_in(home: Path, server: UploadRegistry) -> str:
    (home / ".docker").mkdir(parents=True)
    entry = {server.address: {"auth": base64.b64encode(b"jo:word").decode()}}
    (home / ".docker/config.json").write_text(json.dumps({"auths": entry}))
    return str(home)


def ask_for_tokens(server: UploadRegistry, valid: Callable[[str], bool]) -> None:
    def challenge(request: Request) -> Reply | None:
        if valid(request.headers.get("authorization", "")):
            return None
        realm = f'Bearer realm="http://{server.address}/token",service="box"'
        return Reply(401, headers={"WWW-Authenticate": realm})

    server.faults.append(challenge)


async def test_blob_goes_by_one_request_and_only_once(server: UploadRegistry) -> None:
    await push_blob(server)
    assert server.blobs == {descriptor(BLOB).digest: BLOB}
    await push_blob(server)
    assert server.received == len(BLOB)
    assert len(server.asked("POST", "/uploads/")) == len(server.asked("PUT", "/uploads/")) == 1


async def test_empty_blob_arrives(server: UploadRegistry) -> None:
    await push_blob(server, b"")
    assert list(server.blobs.values()) == [b""]


async def test_cut_upload_goes_on_with_what_is_missing(server: UploadRegistry) -> None:
    cut_after(server, 2_000_000)
    await push_blob(server)
    assert list(server.blobs.values()) == [BLOB]
    assert server.received == len(BLOB)
    assert server.asked("PUT", "/uploads/")[-1].headers["content-range"] == f"2000000-{len(BLOB) - 1}"


async def test_upload_that_gets_further_each_time_has_all_its_attempts_anew(server: UploadRegistry) -> None:
    data = os.urandom(7 << 20)
    cut_after(server, *[(1 << 20) + 1] * 6)
    await push_blob(server, data)
    assert list(server.blobs.values()) == [data]
    assert server.received == len(data)


async def test_upload_that_gets_nowhere_ends(server: UploadRegistry) -> None:
    cut_after(server, *[10] * 99)
    found = await refused(push_blob(server))
    blob = descriptor(BLOB).digest.short
    assert found.message.startswith(f"cannot upload blob {blob}: connection broke: ")
    assert found.on == f"{server.address}/box:1 (http://{server.address})"
    assert "not sent again" in (found.hint or "")
    assert len(server.asked("PUT", "/uploads/")) == PATIENT.attempts
    assert server.blobs == {}


async def test_registry_that_forgot_the_upload_gets_it_anew(server: UploadRegistry) -> None:
    cut_after(server, 2_000_000)
    server.faults.append(once(error(404, "BLOB_UPLOAD_UNKNOWN"), method="GET"))
    await push_blob(server)
    assert list(server.blobs.values()) == [BLOB]
    assert len(server.asked("POST", "/uploads/")) == 2


async def test_next_push_goes_on_where_one_that_failed_was_cut(
    server: UploadRegistry, tmp_path: Path
) -> None:
    cut_after(server, 2_000_000)
    down = [False]
    server.faults.append(lambda _: Reply(503) if down[0] else None)
    server.faults.append(lambda r: down.__setitem__(0, True) if r.cut else None)
    notes = str(tmp_path / "notes")
    await refused(push_blob(server, notes=notes), match="503")
    (note,) = (tmp_path / "notes").iterdir()
    assert note.stat().st_mode & 0o777 == 0o600
    down[0] = False
    server.faults.pop()
    await push_blob(server, notes=notes)
    assert list(server.blobs.values()) == [BLOB]
    assert server.received == len(BLOB)
    assert list((tmp_path / "notes").iterdir()) == []


async def test_upload_that_is_gone_by_the_next_push_starts_anew(
    server: UploadRegistry, tmp_path: Path
) -> None:
    (tmp_path / "notes").mkdir()
    fault = once(*[error(403, "DENIED")] * 9)
    server.faults.append(fault)
    await refused(push_blob(server, notes=str(tmp_path / "notes")), match="403")
    server.faults.remove(fault)
    server.uploads.clear()
    await push_blob(server, notes=str(tmp_path / "notes"))
    assert list(server.blobs.values()) == [BLOB]


async def test_lost_answer_is_not_a_lost_upload(server: UploadRegistry) -> None:
    def lose(request: Request) -> Reply | None:
        if request.method == "PUT" and "/uploads/" in request.path and not server.blobs:
            server.received += len(request.body)
            server.blobs[descriptor(BLOB).digest] = request.body
            return Reply(raw=b"")
        return None

    server.faults.append(lose)
    await push_blob(server)
    assert server.received == len(BLOB)


async def test_bytes_that_changed_on_the_way_are_sent_again(server: UploadRegistry) -> None:
    server.faults.append(once(error(400, "DIGEST_INVALID")))
    await push_blob(server)
    assert list(server.blobs.values()) == [BLOB]


async def test_upload_that_is_never_right_is_refused_by_name(server: UploadRegistry) -> None:
    server.faults.append(once(*[error(400, "BLOB_UPLOAD_INVALID")] * 9))
    found = await refused(push_blob(server), match="BLOB_UPLOAD_INVALID: blob upload invalid")
    assert descriptor(BLOB).digest.short in found.message
    assert f"{server.address}/box:1" in (found.on or "")


async def test_blob_that_a_proxy_finds_too_large_goes_in_chunks(server: UploadRegistry) -> None:
    data = os.urandom(13 << 20)
    server.faults.append(lambda r: Reply(413, b"<html>") if len(r.body) > 6 << 20 else None)
    await push_blob(server, data)
    assert list(server.blobs.values()) == [data]
    sizes = [len(r.body) for r in server.requests if "/uploads/" in r.path and r.body]
    assert sizes[0] == len(data)
    assert max(sizes[-2:]) <= 6 << 20


async def test_blob_that_is_too_large_in_any_size_is_told(server: UploadRegistry) -> None:
    server.faults.append(lambda r: Reply(413) if len(r.body) > 1000 else None)
    found = await refused(push_blob(server), match="413 Content Too Large")
    assert "of this size" in (found.hint or "")


@pytest.mark.parametrize("status", [500, 502, 503, 429, 408])
async def test_passing_trouble_passes(server: UploadRegistry, status: int) -> None:
    server.faults.append(once(Reply(status), method="HEAD", part="/blobs/"))
    server.faults.append(once(Reply(status), method="POST"))
    server.faults.append(once(Reply(status)))
    server.faults.append(once(Reply(status), part="/manifests/"))
    await push_blob(server)
    async with destination(server) as opened:
        await opened.put_manifest(b"{}", descriptor(b"{}", MANIFEST), final=True)
    assert list(server.blobs.values()) == [BLOB]
    assert server.manifests == {"1": b"{}"}


async def test_too_many_requests_says_until_when(server: UploadRegistry) -> None:
    server.faults.append(once(*[error(429, "TOOMANYREQUESTS", **{"Retry-After": "3600"})] * 9, method="POST"))
    found = await refused(push_blob(server), match="429")
    assert "again in 60 min" in (found.hint or "")
    assert len(server.asked("POST", "/uploads/")) == 1


async def test_server_that_is_gone_is_told() -> None:
    with UploadRegistry() as server:
        pass
    found = await refused(push_blob(server), match="cannot connect")
    assert str(server.port) in (found.on or "")


async def test_who_is_not_logged_in_is_told_how_to(server: UploadRegistry) -> None:
    server.faults.append(lambda _: Reply(401, headers={"WWW-Authenticate": 'Basic realm="box"'}))
    found = await refused(push_blob(server), match="401")
    assert f"rootless login {server.address}" in (found.hint or "")


async def test_who_may_not_push_is_told_by_whom(server: UploadRegistry) -> None:
    server.faults.append(once(*[error(403, "DENIED")] * 9, method="POST"))
    found = await refused(push_blob(server), match="403 Forbidden: DENIED: denied")
    assert found.reference == "registry-denied"
    assert len(server.asked("POST", "/uploads/")) == 1


async def test_token_is_for_pushing_here_and_pulling_from_where_blobs_are(
    server: UploadRegistry, tmp_path: Path
) -> None:
    server.on("/token", lambda _: Reply(200, b'{"token":"good"}'))
    ask_for_tokens(server, "Bearer good".__eq__)
    sources = {descriptor(BLOB).digest: ["other"]}
    await push_blob(server, home=log_in(tmp_path / "home", server), sources=sources)
    (asked,) = server.asked("GET", "/token")
    assert "scope=repository:box:pull,push&scope=repository:other:pull" in asked.path
    assert asked.headers["authorization"] == BASIC


async def test_token_that_ends_in_mid_push_is_renewed(server: UploadRegistry) -> None:
    valid = ["Bearer t0"]
    server.on("/token", lambda _: Reply(200, json.dumps({"token": valid[0].split()[1]}).encode()))
    ask_for_tokens(server, lambda given: given == valid[0])

    def expire(request: Request) -> Reply | None:
        if request.method == "PUT" and "/uploads/" in request.path and valid[0] == "Bearer t0":
            valid[0] = "Bearer t1"
        return None

    server.faults.insert(0, expire)
    await push_blob(server)
    assert list(server.blobs.values()) == [BLOB]
    assert len(server.asked("GET", "/token")) == 2


async def test_blob_of_another_repository_is_mounted(server: UploadRegistry) -> None:
    server.faults.append(lambda r: Reply(201) if "mount=" in r.path else None)
    async with destination(server, sources={descriptor(BLOB).digest: ["team/other"]}) as opened:
        assert await opened.has_blob(descriptor(BLOB))
        assert opened.mounted == {descriptor(BLOB).digest}
    (asked,) = server.asked("POST", "/uploads/")
    assert asked.path.endswith(f"?mount={descriptor(BLOB).digest}&from=team/other")


@pytest.mark.parametrize("status", [202, 401, 403, 404, 405, 500])
async def test_refused_mount_is_an_upload_like_any_other(server: UploadRegistry, status: int) -> None:
    server.faults.append(lambda r: Reply(status) if "mount=" in r.path and status != 202 else None)
    await push_blob(server, sources={descriptor(BLOB).digest: ["team/other"]})
    assert list(server.blobs.values()) == [BLOB]
    assert len(server.asked("POST", "/uploads/")) == (1 if status == 202 else 2)


async def test_upload_elsewhere_gets_no_credentials(server: UploadRegistry, tmp_path: Path) -> None:
    """Attack B11: the Location of an upload leads to another host."""
    server.faults.append(
        lambda r: (
            None
            if r.headers.get("authorization") == BASIC
            else Reply(401, headers={"WWW-Authenticate": 'Basic realm="box"'})
        )
    )
    with UploadRegistry() as thief:
        thief.uploads["u0"] = b""
        server.base = f"http://{thief.address}"
        await push_blob(server, home=log_in(tmp_path / "home", server))
        assert list(thief.blobs.values()) == [BLOB]
        assert all("authorization" not in request.headers for request in thief.requests)


async def test_upload_elsewhere_that_asks_who_we_are_gets_nothing(
    server: UploadRegistry, tmp_path: Path
) -> None:
    with UploadRegistry() as thief:
        realm = f'Bearer realm="http://{thief.address}/token",service="box"'
        thief.faults.append(lambda _: Reply(401, headers={"WWW-Authenticate": realm}))
        thief.on("/token", lambda _: Reply(200, b'{"token":"good"}'))
        server.base = f"http://{thief.address}"
        await refused(push_blob(server, home=log_in(tmp_path / "home", server)), match="401")
        assert thief.requests
        assert all("authorization" not in request.headers for request in thief.requests)


@pytest.mark.parametrize(
    "location", ["file:///etc/passwd", "http://registry.example.com/x", "http://a@b/", ""]
)
async def test_upload_to_where_no_registry_sends_anybody_is_refused(
    server: UploadRegistry, location: str
) -> None:
    server.faults.append(once(Reply(202, headers={"Location": location}), method="POST"))
    await refused(push_blob(server), match="cannot follow the redirect")
    assert server.received == 0


async def test_redirected_upload_is_refused(server: UploadRegistry) -> None:
    with HostileRegistry() as other:
        server.faults.append(once(*[Reply(307, headers={"Location": f"http://{other.address}/x"})] * 9))
        await refused(push_blob(server), match="307")
        assert other.requests == []


async def test_damaged_source_is_no_fault_of_the_registry(server: UploadRegistry) -> None:
    async def damaged() -> AsyncGenerator[bytes, None]:
        yield BLOB[:1000]
        raise OSError(5, "Input/output error")

    async with destination(server) as opened:
        with pytest.raises(OSError, match="Input/output"):
            await opened.put_blob(descriptor(BLOB), damaged)
    assert server.blobs == {}
    assert len(server.asked("PUT", "/uploads/")) <= 1


async def test_manifest_that_the_registry_changed_is_told(server: UploadRegistry) -> None:
    other = Digest("sha256:" + "0" * 64)
    changed = Reply(201, headers={"Docker-Content-Digest": other})
    server.faults.append(once(changed, part="/manifests/"))
    async with destination(server) as opened:
        with pytest.raises(RegistryError, match="the registry changed it"):
            await opened.put_manifest(b"{}", descriptor(b"{}", MANIFEST), final=True)
