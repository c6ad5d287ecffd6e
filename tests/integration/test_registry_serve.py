"""`registry serve`: the distribution specification as clients see it, and what outlives the server."""

from __future__ import annotations

import base64
import http.client
import json
import os
import re
import signal
import socket
import ssl
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import trustme

from tests.helpers.own_registry import INDEX, MANIFEST, Server, describe, digest, manifest, serving
from tests.helpers.product import make_product

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.helpers.images import Layout
    from tests.helpers.product import Product

USERS = "jo:$2y$05$abcdefghijklmnopqrstuuQDoL5Sa/TtfS/XN4AY/jgq.HBbO1BTu\n"
"""htpasswd -nbB -C 5 jo word."""
NO_BLOB = "sha256:" + "0" * 64


@pytest.fixture(scope="module")
def owner(tmp_path_factory: pytest.TempPathFactory) -> Product:
    """The user who serves; needs no store."""
    return make_product(tmp_path_factory.mktemp("owner"))


@pytest.fixture(scope="module")
def server(owner: Product, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A registry for the whole module: name your repositories after your test."""
    with serving(owner, tmp_path_factory.mktemp("registry")) as running:
        yield running


def begin(server: Server, repository: str) -> str:
    answer = server.ask("POST", f"/v2/{repository}/blobs/uploads/")
    assert answer.status == 202
    assert answer.headers["Range"] == "0-0"
    location = answer.headers["Location"]
    assert location.endswith(answer.headers["Docker-Upload-UUID"])
    return location


def files(directory: Path) -> list[Path]:
    return [path for path in directory.rglob("*") if path.is_file()]


def hashes_are_right(directory: Path) -> bool:
    blobs = (directory / "blobs/sha256").iterdir()
    return all(digest(path.read_bytes()) == f"sha256:{path.name}" for path in blobs)


def dial(server: Server) -> socket.socket:
    host, _, port = server.address.partition(":")
    return socket.create_connection((host, int(port)), 10)


def listens(server: Server) -> bool:
    try:
        dial(server).close()
    except ConnectionError:
        return False
    return True


# Clients


def test_image_goes_in_and_comes_out(
    fresh_product: Product, server: Server, busybox_layout: Layout, tmp_path: Path
) -> None:
    name = f"{server.address}/own/busybox:1"
    fresh_product.run("copy", f"oci:{busybox_layout.path}:latest", f"docker://{name}")
    fresh_product.run("pull", "-q", name)
    pushed = fresh_product.run("push", name)
    assert "Layer already exists" in pushed.out
    index = json.loads((busybox_layout.path / "index.json").read_text())
    assert index["manifests"][0]["digest"] in pushed.out  # bit for bit
    fresh_product.run("copy", f"docker://{name}", f"oci:{tmp_path}/back:1")
    root = json.loads(busybox_layout.blob_path(index["manifests"][0]["digest"]).read_bytes())
    parts = [index["manifests"][0], root["config"], *root["layers"]]
    copied = {"sha256:" + path.name for path in (tmp_path / "back/blobs/sha256").iterdir()}
    assert copied == {part["digest"] for part in parts}


@pytest.mark.needs("skopeo")
def test_skopeo_copies_to_and_from_it(server: Server, busybox_layout: Layout, tmp_path: Path) -> None:
    name = f"docker://{server.address}/skopeo/busybox:1"
    base = ["skopeo", "--insecure-policy", "copy", "-q", "--src-tls-verify=false", "--dest-tls-verify=false"]
    subprocess.run([*base, f"oci:{busybox_layout.path}:latest", name], check=True, timeout=60)
    subprocess.run([*base, name, name.replace("skopeo/", "skopeo/other-")], check=True, timeout=60)  # mounts
    subprocess.run([*base, name.replace("skopeo/", "skopeo/other-"), f"oci:{tmp_path}:1"], check=True)
    for command in (["list-tags"], ["inspect"], ["delete"]):
        tls = ["--tls-verify=false"]
        target = name.removesuffix(":1") if command == ["list-tags"] else name
        out = subprocess.run(["skopeo", *command, *tls, target], check=True, capture_output=True, timeout=60)
        assert command == ["delete"] or b"skopeo/busybox" in out.stdout
    assert server.ask("GET", "/v2/skopeo/busybox/manifests/1").code == "MANIFEST_UNKNOWN"


# The specification: pull


def test_version_is_told(server: Server) -> None:
    answer = server.ask("GET", "/v2/")
    assert (answer.status, answer.json) == (200, {})
    assert answer.headers["Docker-Distribution-API-Version"] == "registry/2.0"


def test_blob_is_had_in_whole_in_part_and_not_at_all(server: Server) -> None:
    name = server.push_blob("pull", b"0123456789")
    target = f"/v2/pull/blobs/{name}"
    whole = server.ask("GET", target)
    assert (whole.status, whole.body) == (200, b"0123456789")
    assert whole.headers["Docker-Content-Digest"] == name
    head = server.ask("HEAD", target)
    assert (head.status, head.headers["Content-Length"], head.body) == (200, "10", b"")
    part = server.ask("GET", target, Range="bytes=2-4")
    assert (part.status, part.body, part.headers["Content-Range"]) == (206, b"234", "bytes 2-4/10")
    assert server.ask("GET", target, Range="bytes=-2").body == b"89"
    after = server.ask("GET", target, Range="bytes=10-")
    assert (after.status, after.headers["Content-Range"]) == (416, "bytes */10")
    missing = server.ask("GET", f"/v2/pull/blobs/{NO_BLOB}")
    assert (missing.status, missing.code) == (404, "BLOB_UNKNOWN")
    assert server.ask("HEAD", f"/v2/other/blobs/{name}").status == 404


def test_manifest_is_had_by_tag_and_digest(server: Server) -> None:
    name = server.push_image("manifests", "1", b"layer")
    for reference in ("1", name):
        for method in ("GET", "HEAD"):
            answer = server.ask(method, f"/v2/manifests/manifests/{reference}")
            assert answer.status == 200
            assert answer.headers["Docker-Content-Digest"] == name
            assert answer.headers["Content-Type"] == MANIFEST
            assert digest(answer.body) == name or method == "HEAD"
    assert server.ask("GET", "/v2/manifests/manifests/2").code == "MANIFEST_UNKNOWN"
    assert server.ask("GET", f"/v2/manifests/manifests/{NO_BLOB}").code == "MANIFEST_UNKNOWN"
    assert server.ask("GET", "/v2/nobody/tags/list").code == "NAME_UNKNOWN"


# The specification: push


def test_blob_is_pushed_in_one_request(server: Server) -> None:
    data = b"monolithic"
    answer = server.ask("POST", f"/v2/push/blobs/uploads/?digest={digest(data)}", data)
    assert answer.status == 201
    assert server.ask("GET", answer.headers["Location"]).body == data


def test_blob_is_pushed_in_two_requests(server: Server) -> None:
    data = b"post, then put"
    answer = server.ask("PUT", f"{begin(server, 'push')}?digest={digest(data)}", data)
    assert answer.status == 201
    assert answer.headers["Docker-Content-Digest"] == digest(data)
    assert server.ask("GET", answer.headers["Location"]).body == data


def test_blob_is_pushed_in_chunks_that_follow_each_other(server: Server) -> None:
    location = begin(server, "chunks")
    first = server.ask("PATCH", location, b"abc", Content_Range="0-2")
    assert (first.status, first.headers["Range"]) == (202, "0-2")
    for wrong in ("4-5", "0-2", "2-3"):
        refused = server.ask("PATCH", location, b"xy", Content_Range=wrong)
        assert (refused.status, refused.headers["Range"]) == (416, "0-2")
    assert server.ask("PATCH", location, b"xy", Content_Range="3-9").code == "SIZE_INVALID"
    assert server.ask("PATCH", location, b"xy", Content_Range="banana").code == "BLOB_UPLOAD_INVALID"
    assert server.ask("PATCH", location, b"de", Content_Range="3-4").headers["Range"] == "0-4"
    status = server.ask("GET", location)
    assert (status.status, status.headers["Range"], status.headers["Location"]) == (204, "0-4", location)
    done = server.ask("PUT", f"{location}?digest={digest(b'abcdef')}", b"f", Content_Range="5-5")
    assert done.status == 201
    assert server.ask("GET", done.headers["Location"]).body == b"abcdef"
    assert server.ask("GET", location).code == "BLOB_UPLOAD_UNKNOWN"


def test_blob_is_pushed_as_a_stream(server: Server) -> None:
    location = begin(server, "stream")
    assert server.ask("PATCH", location, iter([b"a" * 70000, b"b"])).headers["Range"] == "0-70000"
    name = digest(b"a" * 70000 + b"b")
    assert server.ask("PUT", f"{location}?digest={name}").status == 201


def test_empty_blob_is_one(server: Server) -> None:
    server.push_blob("empty", b"")
    answer = server.ask("GET", f"/v2/empty/blobs/{digest(b'')}")
    assert (answer.status, answer.body) == (200, b"")


def test_upload_of_other_bytes_or_of_no_digest_is_refused(server: Server) -> None:
    location = begin(server, "wrong")
    assert server.ask("PUT", location, b"x").code == "DIGEST_INVALID"
    assert server.ask("PUT", f"{location}?digest=md5:{'0' * 32}", b"x").code == "DIGEST_INVALID"
    wrong = server.ask("PUT", f"{location}?digest={digest(b'y')}", b"x")
    assert (wrong.status, wrong.code) == (400, "DIGEST_INVALID")
    assert server.ask("HEAD", f"/v2/wrong/blobs/{digest(b'y')}").status == 404
    assert server.ask("HEAD", f"/v2/wrong/blobs/{digest(b'x')}").status == 404


def test_upload_is_cancelled(server: Server) -> None:
    location = begin(server, "cancel")
    assert server.ask("DELETE", location).status == 204
    for method in ("GET", "PATCH", "PUT", "DELETE"):
        assert server.ask(method, f"{location}?digest={NO_BLOB}").status == 404


def test_blob_is_mounted_from_another_repository(server: Server) -> None:
    name = server.push_blob("mount/from", b"mounted")
    there = server.ask("POST", f"/v2/mount/to/blobs/uploads/?mount={name}&from=mount/from")
    assert (there.status, there.headers["Location"]) == (201, f"/v2/mount/to/blobs/{name}")
    assert server.ask("GET", f"/v2/mount/to/blobs/{name}").body == b"mounted"
    for query in (f"mount={name}&from=mount/nobody", f"mount={NO_BLOB}&from=mount/from"):
        assert server.ask("POST", f"/v2/mount/else/blobs/uploads/?{query}").status == 202
    hostile = server.ask("POST", f"/v2/mount/else/blobs/uploads/?mount={name}&from=../mount/from")
    assert (hostile.status, hostile.code) == (400, "NAME_INVALID")


def test_manifest_is_refused_that_is_none_or_lacks_its_parts(server: Server) -> None:
    def put(data: bytes, media_type: str = MANIFEST, tag: str = "1") -> tuple[int, str]:
        answer = server.ask("PUT", f"/v2/refused/manifests/{tag}", data, Content_Type=media_type)
        return answer.status, answer.code

    good = json.dumps(manifest(b"missing")).encode()
    assert put(good) == (400, "MANIFEST_BLOB_UNKNOWN")
    child = describe(good, MANIFEST)
    index = json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": [child]}).encode()
    assert put(index, INDEX) == (400, "MANIFEST_BLOB_UNKNOWN")
    assert put(b"{") == (400, "MANIFEST_INVALID")
    assert put(good, INDEX) == (400, "MANIFEST_INVALID")
    assert put(good, "text/html") in ((400, "MANIFEST_INVALID"), (400, "MANIFEST_BLOB_UNKNOWN"))
    assert put(good, tag=NO_BLOB) == (400, "DIGEST_INVALID")
    assert put(b" " * (4 << 20) + b"{}") == (413, "MANIFEST_INVALID")
    assert server.ask("GET", "/v2/refused/tags/list").status == 404


# The specification: content discovery


def test_tags_and_repositories_come_in_pages(server: Server) -> None:
    for tag in ("b", "a", "c", "B"):
        server.push_image("pages/one", tag, b"layer")
    server.push_image("pages/two", "1", b"layer")
    assert server.ask("GET", "/v2/pages/one/tags/list").json == {
        "name": "pages/one",
        "tags": ["B", "a", "b", "c"],
    }
    target, seen = "/v2/pages/one/tags/list?n=3", []
    while target:
        answer = server.ask("GET", target)
        seen.append(answer.json["tags"])
        link = re.fullmatch(r'<(.*)>; rel="next"', answer.headers.get("Link", ""))
        target = link[1] if link else ""
    assert seen == [["B", "a", "b"], ["c"]]
    assert server.ask("GET", "/v2/pages/one/tags/list?n=x").code == "PAGINATION_NUMBER_INVALID"
    page = server.ask("GET", "/v2/_catalog?n=1&last=pages/a")
    assert page.json == {"repositories": ["pages/one"]}
    assert page.headers["Link"] == '</v2/_catalog?n=1&last=pages%2Fone>; rel="next"'


def test_search_of_old_finds_repositories(server: Server) -> None:
    server.push_image("search/needle", "1", b"layer")
    found = server.ask("GET", "/v1/search?q=needle").json
    assert found == {
        "num_results": 1,
        "query": "needle",
        "results": [
            {
                "name": "search/needle",
                "description": "",
                "star_count": 0,
                "is_official": False,
                "is_automated": False,
            }
        ],
    }
    assert server.ask("GET", "/v1/search?q=nothing-of-that").json["results"] == []
    assert server.ask("GET", "/v1/search").json["num_results"] >= 1


def test_referrers_are_listed_and_filtered(server: Server) -> None:
    subject = json.dumps(manifest(b"subject")).encode()
    target = f"/v2/referrers/referrers/{digest(subject)}"
    nobody = server.ask("GET", target)
    assert (nobody.status, nobody.json["manifests"]) == (200, [])
    assert nobody.headers["Content-Type"] == INDEX
    about = describe(subject, MANIFEST)  # need not be there
    server.push_blob("referrers", b"{}")
    server.push_blob("referrers", b"signature")
    value = manifest(b"signature", subject=about, artifactType="text/signature", annotations={"by": "jo"})
    data = json.dumps(value).encode()
    put = server.ask("PUT", f"/v2/referrers/manifests/{digest(data)}", data, Content_Type=MANIFEST)
    assert (put.status, put.headers["OCI-Subject"]) == (201, digest(subject))
    server.push_image("referrers", "sbom", b"sbom", subject=about, artifactType="text/sbom")
    assert len(server.ask("GET", target).json["manifests"]) == 2
    filtered = server.ask("GET", f"{target}?artifactType=text/signature")
    assert filtered.headers["OCI-Filters-Applied"] == "artifactType"
    assert filtered.json["manifests"] == [
        {**describe(data, MANIFEST), "artifactType": "text/signature", "annotations": {"by": "jo"}}
    ]
    assert server.ask("DELETE", f"/v2/referrers/manifests/{digest(data)}").status == 202
    assert server.ask("GET", f"{target}?artifactType=text/signature").json["manifests"] == []


# The specification: content management


def test_tags_manifests_and_blobs_are_deleted(server: Server) -> None:
    name = server.push_image("delete", "1", b"layer")
    server.push_manifest("delete", "2", manifest(b"layer"))
    assert server.ask("DELETE", "/v2/delete/manifests/1").status == 202
    assert server.ask("GET", "/v2/delete/manifests/1").status == 404
    assert server.ask("GET", f"/v2/delete/manifests/{name}").status == 200
    assert server.ask("DELETE", f"/v2/delete/manifests/{name}").status == 202
    assert server.ask("GET", "/v2/delete/manifests/2").status == 404
    blob = f"/v2/delete/blobs/{digest(b'layer')}"
    assert server.ask("DELETE", blob).status == 202
    assert server.ask("GET", blob).code == "BLOB_UNKNOWN"
    for target in (blob, f"/v2/delete/manifests/{name}", "/v2/delete/manifests/1"):
        assert server.ask("DELETE", target).status == 404


@pytest.mark.parametrize(
    "name",
    ["..", "../../etc", "a/../b", "Upper", "_tags", "a/_blobs", "a%2F..%2Fb", "%2e%2e", "a//b", "a%00"],
)
def test_hostile_name_is_refused(server: Server, name: str) -> None:
    answer = server.ask("POST", f"/v2/{name}/blobs/uploads/")
    assert (answer.status, answer.code) == (400, "NAME_INVALID")


@pytest.mark.parametrize("name", ["sha512:" + "0" * 128, "md5:00", "sha256:" + "A" * 64])
def test_hostile_digest_is_refused(server: Server, name: str) -> None:
    answer = server.ask("GET", f"/v2/a/blobs/{name}")
    assert (answer.status, answer.code) == (400, "DIGEST_INVALID")


# What outlives the server


def test_upload_goes_on_after_the_server_was_killed(owner: Product, tmp_path: Path) -> None:
    data = os.urandom(3 << 20)
    half = len(data) // 2
    with serving(owner, tmp_path / "r") as server:
        location = begin(server, "resumed")
        answer = server.ask("PATCH", location, data[:half], Content_Range=f"0-{half - 1}")
        assert answer.status == 202
        sender = server.connect()
        sender.putrequest("PATCH", location)
        sender.putheader("Content-Length", str(len(data) - half))
        sender.endheaders()
        sender.send(data[half : half + 100_000])  # and no more: it is under way when the server dies
        server.kill()
        sender.close()
    with serving(owner, tmp_path / "r") as server:
        assert server.ask("HEAD", f"/v2/resumed/blobs/{digest(data)}").status == 404
        came = int(server.ask("GET", location).headers["Range"].partition("-")[2]) + 1
        assert half <= came <= half + 100_000
        assert server.ask("PATCH", location, b"x", Content_Range="7-7").status == 416
        rest = data[came:]
        sent = server.ask("PATCH", location, rest, Content_Range=f"{came}-{len(data) - 1}")
        assert sent.status == 202
        assert server.ask("PUT", f"{location}?digest={digest(data)}").status == 201
        assert server.ask("GET", f"/v2/resumed/blobs/{digest(data)}").body == data


def test_what_came_before_the_connection_broke_is_kept(server: Server) -> None:
    location = begin(server, "broken")
    sender = server.connect()
    sender.putrequest("PATCH", location)
    sender.putheader("Content-Length", "100")
    sender.endheaders()
    sender.send(b"x" * 60)
    sender.close()
    deadline = time.monotonic() + 10
    while server.ask("GET", location).headers["Range"] != "0-59":
        assert time.monotonic() < deadline
    assert server.ask("PATCH", location, b"x" * 40, Content_Range="60-99").status == 202
    assert server.ask("PUT", f"{location}?digest={digest(b'x' * 100)}").status == 201


def test_new_connection_takes_an_upload_over_from_one_that_hangs(server: Server) -> None:
    location = begin(server, "taken")
    sender = server.connect()
    sender.putrequest("PATCH", location)
    sender.putheader("Content-Length", "100")
    sender.endheaders()
    sender.send(b"x" * 60)  # and then it neither goes on nor ends
    answer = server.ask("PATCH", location, b"y")
    assert answer.status == 202
    count = int(answer.headers["Range"].partition("-")[2])
    assert server.ask("PUT", f"{location}?digest={digest(b'x' * count + b'y')}").status == 201
    sender.close()


@pytest.mark.parametrize("seed", [1, 3])
def test_kill_loses_nothing_that_was_answered(owner: Product, tmp_path: Path, seed: int) -> None:
    acknowledged: dict[str, str] = {}

    def push(number: int) -> None:
        count = 0
        while True:
            count += 1
            layer = f"{number} {count} ".encode() * 3000
            try:
                acknowledged[f"{number}.{count}"] = server.push_image("killed", f"{number}.{count}", layer)
            except (OSError, http.client.HTTPException):
                return

    with serving(owner, tmp_path / "r") as server, ThreadPoolExecutor(6) as pool:
        for number in range(6):
            pool.submit(push, number)
        deadline = time.monotonic() + 20
        while len(acknowledged) < 8 * seed:
            assert time.monotonic() < deadline
            time.sleep(0.001)  # the moment is what the test varies
        server.kill()
    assert hashes_are_right(tmp_path / "r")
    with serving(owner, tmp_path / "r") as server:
        for tag, name in acknowledged.items():
            assert server.ask("HEAD", f"/v2/killed/manifests/{tag}").headers["Docker-Content-Digest"] == name
        for tag in server.ask("GET", "/v2/killed/tags/list").json["tags"]:  # whole, or not there
            image = server.ask("GET", f"/v2/killed/manifests/{tag}").json
            for part in (image["config"], *image["layers"]):
                body = server.ask("GET", f"/v2/killed/blobs/{part['digest']}").body
                assert digest(body) == part["digest"]


def test_collector_works_beside_the_server(owner: Product, tmp_path: Path) -> None:
    with serving(owner, tmp_path / "r") as server:
        server.push_image("gc", "1", b"kept")
        server.push_image("gc", "2", b"deleted")
        loose = server.push_blob("gc", b"loose")
        name = server.ask("HEAD", "/v2/gc/manifests/2").headers["Docker-Content-Digest"]
        server.ask("DELETE", f"/v2/gc/manifests/{name}")
        words = ("registry", "gc", "-v", str(tmp_path / "r"))
        assert owner.run(*words).lines == ["Total reclaimed space: 0B"]  # all of it is new
        gone = sorted([name, loose, digest(b"deleted")])
        assert owner.run(*words, "--age=0s", "--dry-run").lines[:-1] == gone
        assert owner.run(*words, "--age=0s").lines[:-1] == gone
        assert server.ask("GET", f"/v2/gc/blobs/{loose}").status == 404
        assert server.ask("GET", f"/v2/gc/blobs/{digest(b'kept')}").body == b"kept"
        server.push_image("gc", "2", b"deleted")  # is taken anew
        assert server.ask("GET", f"/v2/gc/blobs/{digest(b'deleted')}").body == b"deleted"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_ends_it_after_the_request_that_is_under_way(
    owner: Product, tmp_path: Path, number: signal.Signals
) -> None:
    with serving(owner, tmp_path / "r") as server:
        location = begin(server, "ended")
        idle = server.connect()
        idle.request("GET", "/v2/")
        idle.getresponse().read()
        with dial(server) as sender:
            head = f"PUT {location}?digest={digest(b'ab')} HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n"
            sender.sendall(f"{head}Expect: 100-continue\r\n\r\n".encode())
            assert sender.recv(1000).startswith(b"HTTP/1.1 100 ")  # it is under way
            server.process.send_signal(number)
            while listens(server):
                pass
            sender.sendall(b"ab")
            assert sender.recv(1000).startswith(b"HTTP/1.1 201 ")
        assert server.process.wait(10) == 0
        idle.close()


# Who may


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def test_passwords_and_tls(
    owner: Product, fresh_product: Product, authority: trustme.CA, busybox_layout: Layout, tmp_path: Path
) -> None:
    passwords = tmp_path / "htpasswd"
    passwords.write_text(USERS)
    certificate = authority.issue_cert("127.0.0.1")
    certificate.private_key_pem.write_to_path(str(tmp_path / "key"))
    for blob in certificate.cert_chain_pems:
        blob.write_to_path(str(tmp_path / "cert"), append=True)
    authority.cert_pem.write_to_path(str(tmp_path / "ca"))
    options = ["--htpasswd", str(passwords), "--tls-cert", f"{tmp_path}/cert", "--tls-key", f"{tmp_path}/key"]
    trusted = ssl.create_default_context(cafile=str(tmp_path / "ca"))
    fresh_product.env["SSL_CERT_FILE"] = str(tmp_path / "ca")
    with serving(owner, tmp_path / "r", *options) as server:
        assert server.scheme == "https"
        for target in ("/v2/", "/v2/_catalog", "/v1/search", "/v2/a/tags/list", "/nothing"):
            refused = server.ask("GET", target, context=trusted)
            assert (refused.status, refused.code) == (401, "UNAUTHORIZED")
            assert refused.headers["WWW-Authenticate"].startswith("Basic realm=")
        for wrong in (b"jo:wrong", b"nobody:word", b"jo:word\0", b"jo:"):
            basic = "Basic " + base64.b64encode(wrong).decode()
            assert server.ask("GET", "/v2/", context=trusted, Authorization=basic).status == 401
        image = f"{server.address}/secret:1"
        source = f"oci:{busybox_layout.path}:latest"
        assert "401" in fresh_product.fail(1, "copy", source, f"docker://{image}").err
        log_in = ("login", "-u", "jo", "--password-stdin", server.address)
        fresh_product.fail(1, *log_in, input="wrong")
        fresh_product.run(*log_in, input="word")
        fresh_product.run("copy", source, f"docker://{image}")
        passwords.write_text("")  # nobody any more, from now on
        assert "401" in fresh_product.fail(1, "pull", image).err
        with dial(server) as plain:
            plain.sendall(b"GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n")
            assert b"200" not in plain.recv(1000)


def test_read_only_registry_changes_nothing(owner: Product, tmp_path: Path) -> None:
    with serving(owner, tmp_path / "r") as server:
        name = server.push_image("kept", "1", b"layer")
        location = begin(server, "kept")
    before = sorted(files(tmp_path / "r"))
    with serving(owner, tmp_path / "r", "--read-only") as server:
        assert server.ask("GET", "/v2/kept/manifests/1").status == 200
        assert server.ask("GET", f"/v2/kept/blobs/{digest(b'layer')}").body == b"layer"
        for method, target in (
            ("POST", "/v2/kept/blobs/uploads/"),
            ("POST", f"/v2/kept/blobs/uploads/?digest={digest(b'x')}"),
            ("PATCH", location),
            ("PUT", location),
            ("PUT", "/v2/kept/manifests/2"),
            ("DELETE", "/v2/kept/manifests/1"),
            ("DELETE", f"/v2/kept/manifests/{name}"),
            ("DELETE", f"/v2/kept/blobs/{digest(b'layer')}"),
        ):
            refused = server.ask(method, target, b"x")
            assert (refused.status, refused.code) == (405, "UNSUPPORTED"), target
    assert sorted(files(tmp_path / "r")) == before


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("-p", "0.0.0.0:0"), "without TLS"),
        (("-p", "banana"), "invalid port"),
        (("--tls-cert", "/nowhere"), "belong together"),
        (("--tls-cert", "/nowhere", "--tls-key", "/nowhere"), "No such file"),
        (("--htpasswd", "/nowhere"), "No such file"),
        (("--mirror", "http://registry.example"), "loopback only"),
        (("-v", "/proc/self"), "other content"),
        (("-v", "/nowhere", "--read-only"), "there is no registry"),
    ],
)
def test_what_cannot_be_served_is_told(owner: Product, words: tuple[str, ...], text: str) -> None:
    result = owner.attempt("registry", "serve", *words)
    assert result.code != 0
    assert text in result.err


def test_port_that_is_taken_is_told(owner: Product, server: Server, tmp_path: Path) -> None:
    error = owner.fail(1, "registry", "serve", "-p", server.address, "-v", str(tmp_path / "r")).err
    assert "Address already in use" in error
    assert "-p chooses another port" in error


# A registry behind it


def test_mirror_fetches_keeps_and_serves_alone(
    owner: Product, fresh_product: Product, busybox_layout: Layout, tmp_path: Path
) -> None:
    source = f"oci:{busybox_layout.path}:latest"
    with serving(owner, tmp_path / "upstream") as upstream:
        fresh_product.run("copy", source, f"docker://{upstream.address}/team/box:1")
        mirrored = serving(owner, tmp_path / "mirror", "--mirror", f"http://{upstream.address}")
        with mirrored as mirror:
            image = f"{mirror.address}/team/box:1"
            layer = json.loads(mirror.ask("GET", "/v2/team/box/manifests/1").body)["layers"][0]
            assert not (tmp_path / "mirror/blobs/sha256" / layer["digest"][7:]).exists()
            head = mirror.ask("HEAD", f"/v2/team/box/blobs/{layer['digest']}")
            assert (head.status, head.headers["Content-Length"]) == (200, str(layer["size"]))
            assert not (tmp_path / "mirror/blobs/sha256" / layer["digest"][7:]).exists()
            fresh_product.run("pull", "-q", image)
            assert mirror.ask("GET", "/v2/team/box/manifests/2").status == 404
            assert mirror.ask("GET", f"/v2/team/box/blobs/{NO_BLOB}").status == 404
            # a tag that moves there moves here; one of our own does not
            moved = upstream.push_image("team/box", "1", b"new")
            own = mirror.push_image("team/box", "own", b"own")
            upstream.push_image("team/box", "own", b"theirs")
            for tag, name in (("1", moved), ("own", own)):
                answer = mirror.ask("HEAD", f"/v2/team/box/manifests/{tag}")
                assert answer.headers["Docker-Content-Digest"] == name
            assert mirror.ask("GET", f"/v2/team/box/blobs/{digest(b'new')}").body == b"new"
            upstream.kill()
            assert digest(mirror.ask("GET", "/v2/team/box/manifests/1").body) == moved
            assert mirror.ask("GET", f"/v2/team/box/blobs/{digest(b'new')}").body == b"new"
            assert mirror.ask("GET", "/v2/team/box/manifests/2").status == 502
    assert hashes_are_right(tmp_path / "mirror")


def test_mirror_asks_the_registry_that_was_named(
    owner: Product, fresh_product: Product, tmp_path: Path
) -> None:
    with serving(owner, tmp_path / "upstream") as upstream:
        upstream.push_image("named", "1", b"layer")
        config = fresh_product.home / ".config/rootless/config.toml"
        config.parent.mkdir(parents=True)
        config.write_text(f'[[registry]]\nlocation = "{upstream.address}"\nblocked = true\n')
        address = f"http://{upstream.address}"
        with serving(fresh_product, tmp_path / "mirror", "--mirror", address) as mirror:
            assert mirror.ask("GET", "/v2/named/manifests/1").status == 200


def test_mirror_hands_out_no_wrong_bytes(owner: Product, tmp_path: Path) -> None:
    layer = b"layer" * 100_000
    with serving(owner, tmp_path / "upstream") as upstream:
        upstream.push_image("bad", "1", layer)
        blob = tmp_path / "upstream/blobs/sha256" / digest(layer)[7:]
        blob.chmod(0o644)
        blob.write_bytes(layer[:-1] + b"x")
        address = f"http://{upstream.address}"
        with serving(owner, tmp_path / "mirror", "--mirror", address) as mirror:
            assert mirror.ask("GET", "/v2/bad/manifests/1").status == 200
            target = f"/v2/bad/blobs/{digest(layer)}"
            with suppress(http.client.IncompleteRead):  # it noticed after it had begun to answer
                assert mirror.ask("GET", target).status == 502
            assert mirror.ask("GET", f"/v2/bad/blobs/{digest(b'{}')}").body == b"{}"
    assert hashes_are_right(tmp_path / "mirror")


def test_blob_that_is_cut_on_disk_costs_one_answer(owner: Product, tmp_path: Path) -> None:
    layer = bytes(48 << 20)  # more than the sockets between us hold
    with serving(owner, tmp_path / "registry") as server:
        server.push_image("cut", "1", layer)
        path = tmp_path / "registry/blobs/sha256" / digest(layer)[7:]
        with closing(server.connect()) as connection:
            connection.request("GET", f"/v2/cut/blobs/{digest(layer)}")
            reply = connection.getresponse()
            path.chmod(0o644)
            os.truncate(path, 0)
            with pytest.raises((http.client.IncompleteRead, ConnectionResetError)):
                reply.read()
        assert server.ask("GET", "/v2/cut/tags/list").status == 200


# Many, and much


def crowd(server: Server, clients: int, *, images: int, layer_bytes: int) -> None:
    """Push and pull with many clients at once, some of the same content."""

    def work(number: int) -> None:
        for count in range(images):
            shared = b"shared %d " % count * (layer_bytes // 10)
            own = b"%d %d " % (number, count) * (layer_bytes // 5)
            name = server.push_image(f"crowd/{number % 5}", f"{number}.{count}", shared, own)
            answer = server.ask("GET", f"/v2/crowd/{number % 5}/manifests/{number}.{count}")
            assert digest(answer.body) == name
            for layer in (shared, own):
                assert server.ask("GET", f"/v2/crowd/{number % 5}/blobs/{digest(layer)}").body == layer

    with ThreadPoolExecutor(clients) as pool:
        list(pool.map(work, range(clients)))
    assert len(server.ask("GET", "/v2/crowd/0/tags/list").json["tags"]) == images * len(range(0, clients, 5))


def test_32_clients_push_and_pull_at_once(server: Server) -> None:
    crowd(server, 32, images=1, layer_bytes=20_000)


@pytest.mark.slow(sampled=False)
def test_32_clients_push_and_pull_much_at_once(owner: Product, tmp_path: Path) -> None:
    with serving(owner, tmp_path / "r") as server:
        crowd(server, 32, images=8, layer_bytes=1_000_000)
    assert hashes_are_right(tmp_path / "r")


def peak_bytes(server: Server) -> int:
    text = Path(f"/proc/{server.process.pid}/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+)", text)[1]) * 1024  # type: ignore[index]


def test_large_blob_takes_little_memory(owner: Product, tmp_path: Path) -> None:
    size, piece = 64 << 20, bytes(1 << 20)
    with serving(owner, tmp_path / "r") as server:
        before = peak_bytes(server)
        location = begin(server, "large")
        count = size // len(piece)
        sent = server.ask("PATCH", location, (piece for _ in range(count)))
        assert sent.headers["Range"] == f"0-{size - 1}"
        name = (
            subprocess.run(["sha256sum"], input=piece * count, capture_output=True, check=True)
            .stdout.split()[0]
            .decode()
        )
        assert server.ask("PUT", f"{location}?digest=sha256:{name}").status == 201
        connection = server.connect()
        connection.request("GET", f"/v2/large/blobs/sha256:{name}")
        reply, got = connection.getresponse(), 0
        while data := reply.read(1 << 20):
            got += len(data)
        connection.close()
        assert got == size
        assert peak_bytes(server) - before < 32 << 20
