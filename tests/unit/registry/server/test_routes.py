"""What the lines of requests mean, and which are refused."""

import pytest

from rootless.registry.server.refusal import Refusal
from rootless.registry.server.routes import parse_route

HEX = "a" * 64
DIGEST = f"sha256:{HEX}"


@pytest.mark.parametrize(
    ("line", "meant"),
    [
        ("GET /v2/", ("get", "version", "")),
        ("GET /v2", ("get", "version", "")),
        ("GET /v2/_catalog?n=1", ("get", "catalog", "")),
        ("GET /v1/search?q=x", ("get", "search", "")),
        ("GET /v2/a/tags/list", ("get", "tags", "a")),
        ("GET /v2/a/b/tags/list", ("get", "tags", "a/b")),
        ("HEAD /v2/a/manifests/latest", ("get", "manifest", "a")),
        (f"DELETE /v2/a/manifests/{DIGEST}", ("delete", "manifest", "a")),
        (f"GET /v2/a/blobs/{DIGEST}", ("get", "blob", "a")),
        (f"GET /v2/a/referrers/{DIGEST}", ("get", "referrers", "a")),
        ("POST /v2/a/blobs/uploads/", ("start", "uploads", "a")),
        ("POST /v2/a/blobs/uploads", ("start", "uploads", "a")),
        (f"PATCH /v2/a/blobs/uploads/{'0' * 32}", ("patch", "upload", "a")),
        # names may hold the words that the paths do
        ("GET /v2/tags/list/tags/list", ("get", "tags", "tags/list")),
        ("GET /v2/manifests/manifests/manifests", ("get", "manifest", "manifests")),
        ("POST /v2/x/blobs/uploads/blobs/uploads/", ("start", "uploads", "x/blobs/uploads")),
        ("GET http://host:5000/v2/a/tags/list", ("get", "tags", "a")),
    ],
)
def test_path_leads_to_what_it_names(line, meant):
    route = parse_route(*line.split())
    assert (route.action, route.resource, route.repository) == meant


def test_first_of_several_parameters_counts():
    assert parse_route("GET", "/v2/_catalog?n=1&n=2&last=a%2Fb").query == {"n": "1", "last": "a/b"}


@pytest.mark.parametrize(
    ("line", "status", "code"),
    [
        ("GET /", 404, "NAME_UNKNOWN"),
        ("GET /v3/", 404, "NAME_UNKNOWN"),
        ("GET /v2//tags/list", 400, "NAME_INVALID"),
        ("GET /v2/../tags/list", 400, "NAME_INVALID"),
        ("GET /v2/a/../../etc/tags/list", 400, "NAME_INVALID"),
        ("GET /v2/a%2F..%2Fb/tags/list", 400, "NAME_INVALID"),
        ("GET /v2/%00/tags/list", 400, "NAME_INVALID"),
        ("GET /v2/%FF/tags/list", 400, "NAME_INVALID"),
        ("GET /v2/Upper/tags/list", 400, "NAME_INVALID"),
        ("GET /v2/_tags/tags/list", 400, "NAME_INVALID"),
        ("GET /v2/a/_manifests/tags/list", 400, "NAME_INVALID"),
        ("GET /v2/a//b/tags/list", 400, "NAME_INVALID"),
        ("GET /v2/" + "a" * 300 + "/tags/list", 400, "NAME_INVALID"),
        ("GET /v2/a/manifests/-tag", 400, "TAG_INVALID"),
        ("GET /v2/a/manifests/..", 400, "TAG_INVALID"),
        ("GET /v2/a/manifests/" + "t" * 129, 400, "TAG_INVALID"),
        ("GET /v2/a/manifests/sha256:short", 400, "DIGEST_INVALID"),
        (f"GET /v2/a/blobs/sha256:{HEX.upper()}", 400, "DIGEST_INVALID"),
        (f"GET /v2/a/blobs/md5:{HEX}", 400, "DIGEST_INVALID"),
        ("GET /v2/a/blobs/sha512:" + "a" * 128, 400, "DIGEST_INVALID"),
        ("GET /v2/a/blobs/sha256:../../x", 404, "NAME_UNKNOWN"),
        ("GET /v2/a/referrers/latest", 400, "DIGEST_INVALID"),
        ("GET /v2/a/blobs/uploads/..", 404, "BLOB_UPLOAD_UNKNOWN"),
        ("GET /v2/a/blobs/uploads/x", 404, "BLOB_UPLOAD_UNKNOWN"),
        ("GET /v2/_catalog?" + "&".join("abcdefghijklmnopqrstuvwxyzabcdefghijklmn"), 400, "NAME_INVALID"),
        ("POST /v2/a/manifests/1", 405, "UNSUPPORTED"),
        ("PUT /v2/", 405, "UNSUPPORTED"),
        ("BREW /v2/", 405, "UNSUPPORTED"),
    ],
)
def test_what_is_no_name_is_refused(line, status, code):
    with pytest.raises(Refusal) as caught:
        parse_route(*line.split())
    assert (caught.value.status, caught.value.code) == (status, code)


def test_refused_method_names_those_that_there_are():
    with pytest.raises(Refusal) as caught:
        parse_route("PATCH", "/v2/a/manifests/1")
    assert caught.value.headers == {"Allow": "GET, HEAD, PUT, DELETE"}


@pytest.mark.parametrize(
    ("line", "writes"),
    [
        ("GET /v2/a/manifests/1", False),
        ("HEAD /v2/a/manifests/1", False),
        ("PUT /v2/a/manifests/1", True),
        ("POST /v2/a/blobs/uploads/", True),
        (f"GET /v2/a/blobs/uploads/{'0' * 32}", True),
        (f"DELETE /v2/a/blobs/{DIGEST}", True),
    ],
)
def test_what_changes_something_is_told_apart(line, writes):
    assert parse_route(*line.split()).writes is writes
