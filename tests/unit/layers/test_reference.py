from __future__ import annotations

import pytest

from layers.digest import Digest
from layers.errors import InvalidReference
from layers.reference import Reference

HEX = "0123456789abcdef" * 4
DIGEST = "sha256:" + HEX


@pytest.mark.parametrize(
    ("text", "canonical", "familiar"),
    [
        ("alpine", "docker.io/library/alpine:latest", "alpine:latest"),
        ("alpine:3.20", "docker.io/library/alpine:3.20", "alpine:3.20"),
        ("grafana/loki", "docker.io/grafana/loki:latest", "grafana/loki:latest"),
        ("docker.io/alpine", "docker.io/library/alpine:latest", "alpine:latest"),
        ("index.docker.io/alpine", "docker.io/library/alpine:latest", "alpine:latest"),
        ("docker.io/library/alpine", "docker.io/library/alpine:latest", "alpine:latest"),
        ("library/alpine", "docker.io/library/alpine:latest", "alpine:latest"),
        ("localhost/x", "localhost/x:latest", "localhost/x:latest"),
        ("localhost:5000/x:1", "localhost:5000/x:1", "localhost:5000/x:1"),
        ("host:5000/x", "host:5000/x:latest", "host:5000/x:latest"),
        ("[::1]:5000/x", "[::1]:5000/x:latest", "[::1]:5000/x:latest"),
        ("[2001:db8::1]/a/b:t", "[2001:db8::1]/a/b:t", "[2001:db8::1]/a/b:t"),
        ("quay.io/a/b/c:v1.2_x-y", "quay.io/a/b/c:v1.2_x-y", "quay.io/a/b/c:v1.2_x-y"),
        ("Host/x", "Host/x:latest", "Host/x:latest"),
        ("host:5000", "docker.io/library/host:5000", "host:5000"),
        ("a.b_c__d---e/f:_T", "a.b_c__d---e/f:_T", None),
        (f"alpine@{DIGEST}", f"docker.io/library/alpine@{DIGEST}", f"alpine@{DIGEST}"),
        (f"h:1/a:t@{DIGEST}", f"h:1/a:t@{DIGEST}", f"h:1/a:t@{DIGEST}"),
        # The short form would mean something else, so there is none.
        ("docker.io/localhost/x", "docker.io/localhost/x:latest", "docker.io/localhost/x:latest"),
        ("docker.io/a.b/x", "docker.io/a.b/x:latest", "docker.io/a.b/x:latest"),
        ("docker.io/library/a/b", "docker.io/library/a/b:latest", "library/a/b:latest"),
    ],
)
def test_parse_follows_docker(text: str, canonical: str, familiar: str | None) -> None:
    if familiar is None:  # a "domain" with characters that no domain has
        with pytest.raises(InvalidReference):
            Reference.parse(text)
        return
    reference = Reference.parse(text)
    assert reference.canonical == str(reference) == canonical
    assert reference.familiar == familiar
    assert Reference.parse(canonical) == Reference.parse(familiar) == reference


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "alpine ",
        "Alpine",
        "library/Alpine",
        "quay.io/A/b",
        HEX,
        "/alpine",
        "alpine/",
        "a//b",
        "..",
        "../x",
        "a/../b",
        "a/./b",
        "a..b",
        "a._b",
        "a___b",
        "-a",
        "a-",
        "_a",
        "a:",
        "a:-t",
        "a:.t",
        "a:t:u",
        "a:" + "t" * 129,
        "a@",
        "a@sha256:abc",
        "a@sha512:" + "a" * 128,
        f"a@{DIGEST}@{DIGEST}",
        f"@{DIGEST}",
        f"a@{DIGEST.upper()}",
        "аlpine",  # Cyrillic a
        "alpіne",
        "localhost:99999/x",
        "localhost:0/x",
        "localhost:/x",
        "localhost:5k/x",
        "localhost:٥/x",
        "[::1/x",
        "[]:5000/x",
        "[::1]x/x",
        "[::1]:5000",
        "[evil.example]/x",
        "-h.io/x",
        "h..io/x",
        "https://h.io/x",
        "h.io/x\n",
        "h.io/x\0",
        "user@h.io/x",
        "a" * 256,
        "h.io/" + "a" * 256,
        "a" * 250 + ".ioioio/x",
        "x" * 5000,
    ],
)
def test_parse_refuses(text: str) -> None:
    with pytest.raises(InvalidReference):
        Reference.parse(text)


def test_names_at_the_limits_are_allowed() -> None:
    Reference.parse("h.io/" + "a" * 255 + ":" + "t" * 128)


def test_parts_and_changes() -> None:
    reference = Reference.parse("localhost:5000/debian:12")
    assert (reference.domain, reference.path, reference.tag) == ("localhost:5000", "debian", "12")
    assert reference.repository == "localhost:5000/debian"
    assert reference.with_tag("13").canonical == "localhost:5000/debian:13"
    assert reference.with_digest(Digest(DIGEST)).canonical == f"localhost:5000/debian@{DIGEST}"


def test_familiar_repository_is_never_mistaken_for_an_image_id() -> None:
    reference = Reference.parse(f"docker.io/library/{HEX}:1")
    assert reference.familiar_repository == f"library/{HEX}"


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("https://quay.io/a/b:1", "write `quay.io/a/b:1`"),
        ("http://host:5000/x", "write `host:5000/x`, with --tls-verify=false if its registry has no TLS"),
    ],
)
def test_url_is_refused_with_the_name_that_was_meant(text: str, hint: str) -> None:
    with pytest.raises(InvalidReference, match="no http:// or https://") as caught:
        Reference.parse(text)
    assert caught.value.hint == hint


def test_a_domain_that_would_read_as_a_path_is_refused() -> None:
    with pytest.raises(InvalidReference):
        Reference(domain="myhost", path="x")


def test_references_are_immutable() -> None:
    with pytest.raises(AttributeError):
        Reference.parse("a").tag = "b"  # type: ignore[misc]


def test_message_names_the_part() -> None:
    with pytest.raises(InvalidReference) as caught:
        Reference.parse("Debian:12")
    assert caught.value.message == "invalid reference: a repository name must be lower case"
    assert caught.value.on == "Debian:12"
