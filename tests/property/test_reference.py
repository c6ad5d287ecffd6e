from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from layers.digest import Digest
from layers.errors import LayersError
from layers.reference import Reference

_component = st.from_regex(r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*", fullmatch=True)
_host = st.one_of(
    st.just("localhost"),
    st.just("docker.io"),
    st.just("index.docker.io"),
    st.from_regex(r"[a-zA-Z0-9]+(?:-+[a-zA-Z0-9]+)?\.[a-z]{2,5}", fullmatch=True),
    st.from_regex(r"\[[0-9a-f]{0,4}::[0-9a-f]{1,4}\]", fullmatch=True),
)
_domain = st.builds(
    lambda host, port: host + (f":{port}" if port else ""), _host, st.none() | st.integers(1, 65535)
)
_tag = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}", fullmatch=True)
_digest = st.from_regex(r"sha256:[0-9a-f]{64}", fullmatch=True).map(Digest)
_path = st.lists(_component, min_size=1, max_size=4).map("/".join).filter(lambda path: len(path) <= 240)
_references = st.builds(
    lambda domain, path, tag, digest: Reference(domain=domain, path=path, tag=tag, digest=digest),
    _domain.filter(lambda domain: len(domain) <= 255),
    _path,
    st.none() | _tag,
    st.none() | _digest,
)


@given(_references)
@example(Reference(domain="docker.io", path="localhost/x"))
@example(Reference(domain="docker.io", path="a.b/x"))
@example(Reference(domain="docker.io", path="library/" + "0" * 64))
@example(Reference(domain="docker.io", path="library/library"))
def test_both_forms_parse_to_the_reference_they_came_from(reference: Reference) -> None:
    assert Reference.parse(reference.canonical) == reference
    assert Reference.parse(reference.familiar) == reference
    assert len(reference.familiar) <= len(reference.canonical)


@given(st.text(max_size=300) | st.from_regex(r"[a-z0-9A-Z:/@._\[\]-]{1,80}", fullmatch=True))
def test_any_text_is_a_reference_or_an_error(text: str) -> None:
    try:
        reference = Reference.parse(text)
    except LayersError:
        return
    assert Reference.parse(reference.canonical) == reference
    assert reference.canonical.isascii()
    assert ".." not in reference.canonical.split("/")
