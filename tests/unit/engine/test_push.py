from __future__ import annotations

import pytest

from layers import media
from layers.digest import digest_bytes
from layers.index import ImageEntry
from layers.manifest import Descriptor
from layers.reference import Reference
from rootless.engine.push import choose_pushed
from rootless.engine.push_mounts import mount_sources
from rootless.engine.repack import with_layers
from rootless.errors import ImageError, NotFound, UsageError


def descriptor(content: bytes, media_type: str = media.OCI_LAYER_ZSTD) -> Descriptor:
    return Descriptor(media_type=media_type, digest=digest_bytes(content), size=len(content))


def entry(name: str) -> ImageEntry:
    return ImageEntry.named(Reference.parse(name).canonical, descriptor(name.encode(), media.OCI_MANIFEST))


STORE = [entry(name) for name in ("q.io/a/b:2", "q.io/a/b:1", "q.io/a:1", "debian", "r.io/a/b:1")]


def chosen(query: str, *, all_tags: bool = False) -> list[str | None]:
    return [item.name for item in choose_pushed(STORE, query, all_tags=all_tags)]


def test_name_means_its_one_tag() -> None:
    assert chosen("q.io/a/b:2") == ["q.io/a/b:2"]
    assert chosen("debian") == ["docker.io/library/debian:latest"]


def test_all_tags_are_those_of_one_repository_in_order() -> None:
    assert chosen("q.io/a/b", all_tags=True) == ["q.io/a/b:1", "q.io/a/b:2"]


@pytest.mark.parametrize("query", ["q.io/a/b", "q.io/a/b:3", "nothing"])
def test_name_that_is_not_here_is_not_found(query: str) -> None:
    with pytest.raises(NotFound):
        chosen(query)


def test_names_that_cannot_be_pushed_are_refused() -> None:
    with pytest.raises(UsageError, match="--all-tags"):
        chosen("q.io/a/b:1", all_tags=True)
    with pytest.raises(UsageError, match="digest"):
        chosen(f"q.io/a/b@{digest_bytes(b'')}")
    with pytest.raises(ImageError):
        chosen("Q/a b")


def test_blobs_are_mounted_from_the_same_registry_alone() -> None:
    one, two = descriptor(b"1"), descriptor(b"2")
    images = [
        (Reference.parse("q.io/a:1"), [one, two]),
        (Reference.parse("q.io/a:2"), [one]),
        (Reference.parse("q.io/b:1"), [one]),
        (Reference.parse("q.io/c:1"), [one]),  # two repositories are enough
        (Reference.parse("q.io/target:1"), [two]),
        (Reference.parse("r.io/d:1"), [two]),
    ]
    found = mount_sources(images, Reference.parse("q.io/target:9"))
    assert found == {one.digest: ["a", "b"], two.digest: ["a"]}


def test_docker_manifest_becomes_ocis_when_its_layers_change() -> None:
    config = {"mediaType": media.DOCKER_CONFIG, "digest": "sha256:x", "size": 1}
    fields = {
        "schemaVersion": 2,
        "mediaType": media.DOCKER_MANIFEST,
        "config": config,
        "layers": [],
        "annotations": {"a": "b"},
    }
    layers = [descriptor(b"1"), descriptor(b"2", media.DOCKER_LAYER_GZIP)]
    made = with_layers(fields, layers, media_type=media.DOCKER_MANIFEST)
    assert made["mediaType"] == media.OCI_MANIFEST
    assert made["config"] == {**config, "mediaType": media.OCI_CONFIG}
    assert [layer["mediaType"] for layer in made["layers"]] == [media.OCI_LAYER_ZSTD, media.OCI_LAYER_GZIP]
    assert made["annotations"] == {"a": "b"}
    assert fields["mediaType"] == media.DOCKER_MANIFEST
