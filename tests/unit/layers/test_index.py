from __future__ import annotations

import json

import pytest

from layers import media
from layers.errors import AmbiguousImage, ImageNotFound, InvalidManifest
from layers.index import REF_NAME, REPO_DIGEST, ImageEntry, ImageIndex
from layers.manifest import Descriptor
from tests.helpers.blobs import as_json, describe

A, B, C = (describe(name, media.OCI_MANIFEST) for name in (b"a", b"b", b"c"))
DEBIAN = "docker.io/library/debian:12"
LOCAL = "localhost:5000/debian:12"


def names(index: ImageIndex) -> list[tuple[str | None, str]]:
    label = {A.digest: "A", B.digest: "B", C.digest: "C"}
    return [(entry.name, label[entry.digest]) for entry in index.entries]


def nothing_read(entry: ImageEntry) -> str | None:
    raise AssertionError("a name was enough")


def test_tag_of_a_new_name_adds_an_entry() -> None:
    index = ImageIndex().with_tag(DEBIAN, A).with_tag(LOCAL, A).with_tag("x", B)
    assert names(index) == [(DEBIAN, "A"), (LOCAL, "A"), ("x", "B")]


def test_tag_that_moves_leaves_the_old_image_dangling() -> None:
    index = ImageIndex().with_tag(DEBIAN, A).with_tag(DEBIAN, B)
    assert names(index) == [(None, "A"), (DEBIAN, "B")]


def test_tag_that_moves_leaves_nothing_of_an_image_with_another_name() -> None:
    index = ImageIndex().with_tag(DEBIAN, A).with_tag(LOCAL, A).with_tag(DEBIAN, B)
    assert names(index) == [(LOCAL, "A"), (DEBIAN, "B")]


def test_tag_of_a_dangling_image_gives_it_its_name_back() -> None:
    index = ImageIndex().with_tag(DEBIAN, A).with_tag(DEBIAN, B).with_tag(DEBIAN, A)
    assert names(index) == [(None, "B"), (DEBIAN, "A")]


def test_tag_again_changes_nothing_but_annotations() -> None:
    again = Descriptor(
        media_type=A.media_type, digest=A.digest, size=A.size, annotations={REPO_DIGEST: B.digest}
    )
    index = ImageIndex().with_tag(DEBIAN, A).with_tag(DEBIAN, again)
    assert names(index) == [(DEBIAN, "A")]
    assert index.entries[0].repo_digest == B.digest


def test_untag_leaves_the_last_entry_dangling() -> None:
    index = ImageIndex().with_tag(DEBIAN, A).with_tag(LOCAL, A)
    assert names(index.without_name(DEBIAN)) == [(LOCAL, "A")]
    assert names(index.without_name(DEBIAN).without_name(LOCAL)) == [(None, "A")]
    assert names(index.without_name("other")) == names(index)


def test_dangling_entry_keeps_its_other_annotations() -> None:
    data = as_json(
        {
            "schemaVersion": 2,
            "manifests": [{**A.to_json(), "annotations": {REF_NAME: "x", "k": "v"}, "odd": [1]}],
        }
    )
    document = json.loads(ImageIndex.parse(data).without_name("x").to_bytes())
    assert document["manifests"] == [{**A.to_json(), "annotations": {"k": "v"}, "odd": [1]}]


def test_remove_drops_every_name() -> None:
    index = ImageIndex().with_tag(DEBIAN, A).with_tag(LOCAL, A).with_tag("x", B)
    assert names(index.without_manifest(A.digest)) == [("x", "B")]


def test_what_other_tools_wrote_is_kept() -> None:
    document = {
        "schemaVersion": 2,
        "annotations": {"a": "b"},
        "manifests": [{**A.to_json(), "annotations": {REF_NAME: "1"}, "data": "YQ==", "urls": ["u"]}],
    }
    index = ImageIndex.parse(as_json(document)).with_tag(DEBIAN, B)
    written = json.loads(index.to_bytes())
    assert written["annotations"] == {"a": "b"}
    assert written["manifests"][0] == document["manifests"][0]  # type: ignore[index]
    assert index.find_name("1")


def test_index_survives_a_round_trip() -> None:
    index = ImageIndex().with_tag(DEBIAN, A).with_tag(DEBIAN, B)
    assert ImageIndex.parse(index.to_bytes()).entries == index.entries


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"{}", b'{"manifests": [{}]}', b'{"manifests": 1}'])
def test_damaged_index_is_an_error(data: bytes) -> None:
    with pytest.raises(InvalidManifest, match=r"index\.json"):
        ImageIndex.parse(data)


# Look-ups


@pytest.mark.parametrize("query", ["debian:12", "docker.io/debian:12", DEBIAN, "library/debian:12"])
def test_resolve_by_any_form_of_the_name_reads_no_manifest(query: str) -> None:
    index = ImageIndex().with_tag(LOCAL, B).with_tag(DEBIAN, A)
    assert index.resolve(query, nothing_read).digest == A.digest


def test_resolve_name_as_another_tool_wrote_it() -> None:
    index = ImageIndex().with_tag("Some Name", A)
    assert index.resolve("Some Name", nothing_read).digest == A.digest


def test_resolve_does_not_confuse_repositories_or_tags() -> None:
    index = ImageIndex().with_tag(LOCAL, A)
    for query in ("debian:12", "localhost:5000/debian", "localhost:5000/debian:1", "debian"):
        with pytest.raises(ImageNotFound):
            index.resolve(query, lambda e: None)


def test_resolve_by_digest_reference() -> None:
    pulled = Descriptor(
        media_type=A.media_type, digest=A.digest, size=A.size, annotations={REPO_DIGEST: C.digest}
    )
    index = ImageIndex().with_tag(LOCAL, pulled).with_tag(f"quay.io/x@{B.digest}", B)
    for query, found in (
        (f"localhost:5000/debian@{A.digest}", A),
        (f"localhost:5000/debian@{C.digest}", A),
        (f"localhost:5000/debian:9@{C.digest}", A),
        (f"quay.io/x@{B.digest}", B),
    ):
        assert index.resolve(query, nothing_read).digest == found.digest
    with pytest.raises(ImageNotFound):
        index.resolve(f"localhost:5000/other@{A.digest}", lambda e: None)


def ids(entry: ImageEntry) -> str | None:
    table = {A.digest: "sha256:ab" + "0" * 62, B.digest: "sha256:ac" + "0" * 62, C.digest: None}
    return table[entry.digest]


def test_resolve_by_image_id_and_prefix() -> None:
    index = ImageIndex().with_tag("x", A).with_tag("y", B).with_tag("z", C)
    for query in ("ab", "sha256:ab", "ab" + "0" * 62, "sha256:ab" + "0" * 62):
        assert index.resolve(query, ids).digest == A.digest
    for query in ("ad", "sha256:", "AB", "abx", "ab" + "0" * 63):
        with pytest.raises(ImageNotFound):
            index.resolve(query, ids)


def test_resolve_by_manifest_digest_even_if_it_cannot_be_read() -> None:
    index = ImageIndex().with_tag("x", A).with_tag("z", C)
    assert index.resolve(A.digest, ids).digest == A.digest
    assert index.resolve(C.digest, ids).digest == C.digest


def test_resolve_ambiguous_prefix_is_an_error() -> None:
    index = ImageIndex().with_tag("x", A).with_tag("y", B)
    with pytest.raises(AmbiguousImage, match="2 ids start with `a`"):
        index.resolve("a", ids)


def test_resolve_prefix_of_one_image_with_two_names_is_not_ambiguous() -> None:
    index = ImageIndex().with_tag("x", A).with_tag("y", A).with_tag("z", C)
    assert index.resolve("ab", ids).name == "x"


def test_resolve_prefers_a_name_to_an_id() -> None:
    index = ImageIndex().with_tag("docker.io/library/ab:latest", B).with_tag("x", A)
    assert index.resolve("ab", ids).digest == B.digest
