"""Ranges, pages, manifests, password files and addresses: the decisions of the registry that need no disk."""

import base64
import json

import pytest

from layers import media
from rootless.errors import UsageError
from rootless.registry.server import paging, ranges
from rootless.registry.server.address import choose_address
from rootless.registry.server.auth import parse_basic, parse_htpasswd
from rootless.registry.server.manifests import examine
from rootless.registry.server.mirror import Upstream
from rootless.registry.server.refusal import Refusal
from tests.helpers.blobs import describe

HASH = "$2y$05$abcdefghijklmnopqrstuuQDoL5Sa/TtfS/XN4AY/jgq.HBbO1BTu"


@pytest.mark.parametrize(
    ("header", "part"),
    [
        ("", None),
        ("bytes=0-0", (0, 1)),
        ("bytes=2-", (2, 10)),
        ("bytes=2-100", (2, 10)),
        ("bytes=-3", (7, 10)),
        ("bytes=-30", (0, 10)),
        ("bytes=5-4", None),
        ("bytes=0-1,3-4", None),
        ("lines=0-1", None),
        ("bytes=x", None),
    ],
)
def test_range_that_is_wanted(header, part):
    assert ranges.wanted(header, size=10) == part


@pytest.mark.parametrize("header", ["bytes=10-", "bytes=11-20", "bytes=-0"])
def test_range_after_the_end_cannot_be_had(header):
    with pytest.raises(ranges.Unsatisfiable):
        ranges.wanted(header, size=10)


def test_range_of_a_chunk():
    assert ranges.sent("0-9") == (0, 10)
    assert ranges.sent("bytes 5-9/*") == (5, 10)
    assert ranges.sent("") is None
    for wrong in ("9-0", "x", "-5", "1-"):
        with pytest.raises(ValueError, match=wrong):
            ranges.sent(wrong)


NAMES = ["b", "a/b", "a", "a-b", "Z"]


@pytest.mark.parametrize(
    ("query", "names", "link"),
    [
        ({}, ["Z", "a", "a-b", "a/b", "b"], ""),
        ({"n": "2"}, ["Z", "a"], '</v2/_catalog?n=2&last=a>; rel="next"'),
        ({"n": "2", "last": "a"}, ["a-b", "a/b"], '</v2/_catalog?n=2&last=a%2Fb>; rel="next"'),
        ({"n": "2", "last": "a/b"}, ["b"], ""),
        ({"last": "aa"}, ["b"], ""),
        ({"n": "5"}, ["Z", "a", "a-b", "a/b", "b"], ""),
        ({"n": "0"}, [], ""),
        ({"last": "zzz", "n": "3"}, [], ""),
    ],
)
def test_pages_follow_each_other(query, names, link):
    assert paging.page(NAMES, query, path="/v2/_catalog") == (names, link)


@pytest.mark.parametrize("count", ["-1", "x", "", "9999999999999", "١"])
def test_page_of_no_number_is_refused(count):
    with pytest.raises(Refusal, match="number"):
        paging.page(NAMES, {"n": count}, path="/")


def test_pages_by_size_lose_nothing():
    entries = [(name, 40) for name in "edcba"]
    last, seen, more = "", [], True
    while more:
        chosen, more = paging.page_of_bytes(entries, last, limit=100)
        seen += chosen
        last = chosen[-1]
    assert seen == list("abcde")
    assert paging.page_of_bytes([("a", 500)], "", limit=100) == (["a"], False)


CONFIG = describe(b"{}", media.OCI_EMPTY)
LAYER = describe(b"layer")


def manifest(**fields):
    value = {
        "schemaVersion": 2,
        "mediaType": media.OCI_MANIFEST,
        "config": CONFIG.to_json(),
        "layers": [LAYER.to_json()],
        **fields,
    }
    return json.dumps({name: value for name, value in value.items() if value is not None}).encode()


def test_manifest_tells_what_it_needs_and_whom_it_is_about():
    subject = describe(b"subject", media.OCI_MANIFEST)
    found = examine(manifest(subject=subject.to_json(), annotations={"a": "b"}), media.OCI_MANIFEST)
    assert found.blobs == (CONFIG.digest, LAYER.digest)
    assert found.subject == subject.digest
    assert found.referrer.to_json()["artifactType"] == media.OCI_EMPTY  # of the config, for want of its own
    assert found.referrer.annotations == {"a": "b"}
    assert examine(manifest(artifactType="a/b"), "").artifact_type == "a/b"


def test_index_tells_its_manifests_and_its_subject():
    child = describe(b"child", media.OCI_MANIFEST)
    value = {"schemaVersion": 2, "manifests": [child.to_json()], "subject": child.to_json()}
    found = examine(json.dumps(value).encode(), media.OCI_INDEX)
    assert (found.blobs, found.manifests, found.subject) == ((), (child.digest,), child.digest)


def test_layer_from_elsewhere_need_not_be_there():
    foreign = describe(b"far", media.DOCKER_FOREIGN_GZIP)
    found = examine(manifest(layers=[foreign.to_json(), LAYER.to_json()]), "")
    assert found.blobs == (CONFIG.digest, LAYER.digest)


@pytest.mark.parametrize(
    ("data", "media_type"),
    [
        (b"", media.OCI_MANIFEST),
        (b"[]", media.OCI_MANIFEST),
        (b'{"schemaVersion": 1, "fsLayers": []}', ""),
        (manifest(), media.OCI_INDEX),
        (manifest(mediaType=media.DOCKER_MANIFEST), media.OCI_MANIFEST),
        (manifest(config=None), media.OCI_MANIFEST),
        (manifest(layers=[{"digest": "sha512:" + "a" * 128, "size": 1, "mediaType": "x/y"}]), ""),
        (manifest(manifests=[]), media.OCI_MANIFEST),
        (manifest(mediaType="text/html"), "text/html"),
    ],
)
def test_what_is_no_manifest_is_refused(data, media_type):
    with pytest.raises(Refusal) as caught:
        examine(data, media_type)
    assert (caught.value.status, caught.value.code) == (400, "MANIFEST_INVALID")


def test_password_file_is_read():
    text = f"# users\n\njo:{HASH}\nan na:{HASH}\n"
    assert parse_htpasswd(text, on="f") == {"jo": HASH.encode(), "an na": HASH.encode()}


@pytest.mark.parametrize(
    "line", ["jo", f":{HASH}", "jo:word", "jo:$apr1$x$y", "jo:{SHA}abc", f"jo:{HASH}x", f"jo:{HASH[:-1]}"]
)
def test_password_file_without_bcrypt_is_refused_without_showing_it(line):
    with pytest.raises(UsageError, match="line 2") as caught:
        parse_htpasswd(f"an:{HASH}\n{line}\n", on="f")
    assert line not in caught.value.render()


def test_basic_authentication_is_read():
    def encoded(text):
        return "basic " + base64.b64encode(text).decode()

    assert parse_basic(encoded(b"jo:wo:rd")) == ("jo", b"wo:rd")
    for wrong in ("", "Bearer x", "Basic ?", "Basic", encoded(b"jo"), encoded(b"\xff:x")):
        assert parse_basic(wrong) is None


@pytest.mark.parametrize(
    ("options", "address"),
    [
        ({}, "127.0.0.1:5000"),
        ({"publish": "0"}, "127.0.0.1:0"),
        ({"publish": "127.0.0.2:81"}, "127.0.0.2:81"),
        ({"publish": "[::1]:81"}, "[::1]:81"),
        ({"publish": "0.0.0.0:81", "tls": True}, "0.0.0.0:81"),
        ({"listen": "0.0.0.0"}, "0.0.0.0:5000"),
        ({"listen": "0.0.0.0:82"}, "0.0.0.0:82"),
        ({"listen": "::"}, "[::]:5000"),
        ({"listen": "[::]:82"}, "[::]:82"),
        ({"listen": "192.0.2.1", "publish": "83"}, "192.0.2.1:83"),
    ],
)
def test_address_is_chosen(options, address):
    assert str(choose_address(**{"publish": "", "listen": "", "tls": False, **options})) == address


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"publish": "0.0.0.0:5000"}, "without TLS"),
        ({"publish": "registry.example:5000"}, "without TLS"),
        ({"publish": "x"}, "invalid port"),
        ({"publish": "65536"}, "invalid port"),
        ({"listen": "[::"}, "invalid address"),
    ],
)
def test_address_is_refused(options, message):
    with pytest.raises(UsageError, match=message):
        choose_address(**{"publish": "", "listen": "", "tls": False, **options})


def test_mirror_is_read():
    assert Upstream.parse("https://registry-1.docker.io").reference("debian", tag="12").canonical == (
        "docker.io/library/debian:12"
    )
    assert Upstream.parse("https://h:1/a/").reference("b", tag="1").canonical == "h:1/a/b:1"
    for wrong in ("ftp://h.example", "https://", "h.example", "https://u:p@h.example", "https://h.example/A"):
        with pytest.raises(UsageError, match="invalid mirror"):
            Upstream.parse(wrong)
    with pytest.raises(UsageError, match="loopback only"):
        Upstream.parse("http://h.example")
