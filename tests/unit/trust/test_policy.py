"""Policies: which scope decides, what the files may say, and where a mistake is."""

from __future__ import annotations

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from layers.reference import Reference
from rootless.trust import identity
from rootless.trust.errors import BadPolicy
from rootless.trust.identity import Identity
from rootless.trust.policy import ACCEPT, REJECT, Policy, Signed, Verdict
from rootless.trust.policy_files import parse_json, parse_toml

PATH = "/etc/rootless/policy.toml"
DIGEST = "sha256:" + "a" * 64


def deciding(scopes: list[str], image: str) -> str:
    policy = Policy(PATH, default=REJECT, scopes=dict.fromkeys(scopes, ACCEPT))
    scope, verdict = policy.judge(Reference.parse(image))
    assert verdict == (ACCEPT if scope else REJECT)
    return scope


@pytest.mark.parametrize(
    ("scopes", "image", "scope"),
    [
        (["example.com/a"], "example.com/a", "example.com/a"),
        (["example.com/a"], "example.com/a/b:1", "example.com/a"),
        (["example.com/a"], "example.com/ab", ""),
        (["example.com/a"], "example.com/ab/c", ""),
        (["example.com"], "example.com/a", "example.com"),
        (["example.com"], "example.com:5000/a", ""),
        (["example.com"], "example.community/a", ""),
        (["example.com"], "sub.example.com/a", ""),
        (["example.com"], "EXAMPLE.com/a", "example.com"),
        (["*.example.com"], "sub.example.com/a", "*.example.com"),
        (["*.example.com"], "a.sub.example.com/a", "*.example.com"),
        (["*.example.com"], "example.com/a", ""),
        (["*.example.com"], "notexample.com/a", ""),
        (["*.example.com"], "sub.example.com:5000/a", ""),
        (["*.example.com", "*.sub.example.com"], "a.sub.example.com/a", "*.sub.example.com"),
        (["*.example.com", "sub.example.com"], "sub.example.com/a", "sub.example.com"),
        (["docker.io", "docker.io/library", "docker.io/library/a"], "a", "docker.io/library/a"),
        (["docker.io/library/a:12", "docker.io/library/a"], "a:12", "docker.io/library/a:12"),
        (["docker.io/library/debian:12"], "debian:1", ""),
        (["docker.io/library/debian:12"], f"debian@{DIGEST}", ""),
        ([f"docker.io/library/debian@{DIGEST}"], f"debian@{DIGEST}", f"docker.io/library/debian@{DIGEST}"),
        (["localhost:5000"], "localhost:5000/a/b/c", "localhost:5000"),
    ],
)
def test_closest_scope_decides_on_boundaries_of_names(scopes: list[str], image: str, scope: str) -> None:
    assert deciding(scopes, image) == scope


NAMES = st.lists(st.sampled_from(["a", "ab", "b", "a-b"]), min_size=1, max_size=4)


@given(image=NAMES, scopes=st.lists(NAMES, max_size=6))
def test_scope_that_decides_is_the_longest_beginning_of_the_names_parts(
    image: list[str], scopes: list[list[str]]
) -> None:
    fitting = [scope for scope in scopes if image[: len(scope)] == scope]
    expected = "/".join(["x.y", *max(fitting, key=len)]) if fitting else ""
    assert deciding(["x.y/" + "/".join(scope) for scope in scopes], "x.y/" + "/".join(image)) == expected


def verdict(text: str, image: str = "a.b/c") -> Verdict:
    return parse_toml(text, PATH).judge(Reference.parse(image))[1]


def test_toml_says_accept_reject_and_signed() -> None:
    text = """
        default = "reject"
        [images]
        "docker.io/library" = "accept"
        "a.b/c" = { signed = "c.pub" }
        "a.b/d" = { signed = ["/k/one.pub", "../two.pub"], match = "repository" }
        "a.b/e" = { signed = ["c.pub"], repository = "debian" }
        "a.b/f" = { signed = ["c.pub"], match = "tag" }
    """
    assert verdict(text, "x.y/z") == REJECT
    assert verdict(text, "debian") == ACCEPT
    assert verdict(text, "a.b/c") == Verdict(Signed("/etc/rootless/c.pub"))
    files = ("/k/one.pub", "/etc/two.pub")
    assert verdict(text, "a.b/d") == Verdict(Signed(*files, identity=Identity(identity.REPOSITORY)))
    mirrored = Identity(identity.OTHER_REPOSITORY, value="docker.io/library/debian")
    assert verdict(text, "a.b/e") == Verdict(Signed("/etc/rootless/c.pub", identity=mirrored))
    exact = Identity(identity.EXACT_OR_DIGEST)
    assert verdict(text, "a.b/f") == Verdict(Signed("/etc/rootless/c.pub", identity=exact))


IMAGES = 'default = "accept"\n[images]\n'


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("", "`default` is missing"),
        ("default = accept", "line 1, column 11"),
        ('default = "accept"\n[images\n', "line 2, column"),
        ('default = "acccept"', "`default` is 'acccept'"),
        ('default = "accept"\nimage = {}', "`image`"),
        ('default = "accept"\nimages = 1', "`images` is not a table"),
        ('default = "accept"\ndefault = "reject"\n', "line 2"),
        (IMAGES + '"a.b" = true', '`images."a.b"`'),
        (IMAGES + '"a.b" = {}', "no `signed`"),
        (IMAGES + '"a.b" = { signed = [] }', '`images."a.b".signed`'),
        (IMAGES + '"a.b" = { signed = [1] }', '`images."a.b".signed`'),
        (IMAGES + '"a.b" = { signed = "k", keys = 1 }', '`images."a.b".keys`'),
        (IMAGES + '"a.b" = { signed = "k", match = "any" }', '`images."a.b".match`'),
        (IMAGES + '"a.b" = { signed = "k", match = "tag", repository = "x" }', "both"),
        (IMAGES + '"a.b" = { signed = "k", repository = "Not Me" }', "invalid reference"),
        (IMAGES + 'debian = "reject"', "no image is in the scope `debian`"),
        (IMAGES + '"library/debian" = "reject"', "no image is in the scope"),
        (IMAGES + '"a.b/" = "reject"', "no image is in the scope"),
        (IMAGES + '"a.b/C" = "reject"', "no image is in the scope"),
        (IMAGES + '"*.a.b/c" = "reject"', "no image is in the scope"),
        (IMAGES + '"*" = "reject"', "no image is in the scope"),
        (IMAGES + '"" = "reject"', "no image is in the scope"),
        (IMAGES + '"https://a.b" = "reject"', "no image is in the scope"),
    ],
)
def test_mistake_in_toml_is_told_with_its_place(text: str, place: str) -> None:
    with pytest.raises(BadPolicy) as caught:
        parse_toml(text, PATH)
    assert place in caught.value.message
    assert caught.value.on == PATH


def json_verdict(*requirements: object, image: str = "a.b/c") -> Verdict:
    value = {"default": [{"type": "reject"}], "transports": {"docker": {"a.b": list(requirements)}}}
    return parse_json(json.dumps(value).encode(), PATH).judge(Reference.parse(image))[1]


ANYTHING = {"type": "insecureAcceptAnything"}
SIGSTORE = {"type": "sigstoreSigned", "keyPath": "/k.pub"}


def test_policy_json_of_podman_is_read() -> None:
    strict = Identity(identity.EXACT_OR_DIGEST)
    assert json_verdict(ANYTHING) == ACCEPT
    assert json_verdict(ANYTHING, image="b.c/d") == REJECT
    assert json_verdict(ANYTHING, {"type": "reject"}) == REJECT
    assert json_verdict(SIGSTORE, ANYTHING) == Verdict(Signed("/k.pub", identity=strict))
    several = {"type": "sigstoreSigned", "keyPaths": ["/1", "/2"]}
    assert json_verdict(SIGSTORE, several) == Verdict(
        Signed("/k.pub", identity=strict), Signed("/1", "/2", identity=strict)
    )
    inline = {"type": "sigstoreSigned", "keyData": base64.b64encode(b"PEM").decode()}
    assert json_verdict(inline) == Verdict(Signed(key_texts=("PEM",), identity=strict))
    remapped = {"type": "remapIdentity", "prefix": "a.b", "signedPrefix": "v.w"}
    assert json_verdict({**SIGSTORE, "signedIdentity": remapped}) == Verdict(
        Signed("/k.pub", identity=Identity(identity.REMAPPED, prefix="a.b", value="v.w"))
    )


def test_default_of_a_transport_goes_before_the_default_of_all() -> None:
    value = {"default": [{"type": "reject"}], "transports": {"docker": {"": [ANYTHING]}}}
    assert parse_json(json.dumps(value).encode(), PATH).judge(Reference.parse("x"))[1] == ACCEPT


@pytest.mark.parametrize(
    "requirement",
    [
        {"type": "signedBy", "keyType": "GPGKeys", "keyPath": "/k.gpg"},
        {"type": "sigstoreSigned", "fulcio": {}, "rekorPublicKeyPath": "/r.pub"},
        {**SIGSTORE, "rekorPublicKeyPath": "/r.pub"},
        {"type": "something new"},
        {},
    ],
)
def test_what_cannot_be_verified_here_refuses_its_scope_alone(requirement: dict[str, object]) -> None:
    assert "cannot be verified here" in json_verdict(ANYTHING, requirement).refusal
    assert json_verdict(requirement, image="b.c/d") == REJECT


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("{", "policy"),
        ("[]", "not a JSON object"),
        ("{}", "`default` is missing"),
        ('{"default": [], "default": []}', "twice"),
        ('{"default": []}', "`default` is not a list of requirements"),
        ('{"default": [1]}', "`default`"),
        ('{"default": [{"type": "sigstoreSigned"}]}', "`default[0]` needs exactly one of"),
        ('{"default": [{"type": "sigstoreSigned", "keyPath": "a", "keyPaths": ["b"]}]}', "exactly one"),
        ('{"default": [{"type": "sigstoreSigned", "keyPaths": "ab"}]}', "exactly one"),
        ('{"default": [{"type": "sigstoreSigned", "keyPath": 1}]}', "exactly one"),
        ('{"default": [{"type": "sigstoreSigned", "keyData": "%"}]}', "base64"),
        (
            '{"default": [{"type": "sigstoreSigned", "keyPath": "a", "signedIdentity": {"type": "any"}}]}',
            "`default[0].signedIdentity`",
        ),
        (
            '{"default": [{"type": "reject"}], "transports": {"docker": {"debian": [{"type": "reject"}]}}}',
            "the scope `debian`",
        ),
        (
            '{"default": [{"type": "reject"}], "transports": {"docker": {"a.b": "reject"}}}',
            '`transports.docker."a.b"`',
        ),
    ],
)
def test_mistake_in_policy_json_is_told_with_its_place(text: str, place: str) -> None:
    with pytest.raises(BadPolicy) as caught:
        parse_json(text.encode(), PATH)
    assert place in caught.value.message
