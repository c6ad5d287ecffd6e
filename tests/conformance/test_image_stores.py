"""One suite for every image store: on disk and in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from layers import media
from layers.errors import (
    BlobNotFound,
    DigestMismatch,
    ImageNotFound,
    InvalidManifest,
    SizeMismatch,
    UnknownMediaType,
)
from layers.store.directory import ImageLayout
from layers.store.memory import MemoryStore
from tests.helpers.blobs import add_image, describe

if TYPE_CHECKING:
    from pathlib import Path

Store = ImageLayout | MemoryStore
NAME = "docker.io/library/x:1"
BLOB = bytes(range(256)) * 8


@pytest.fixture(params=["directory", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    if request.param == "memory":
        return MemoryStore()
    layout = ImageLayout(tmp_path / "store", locks=str(tmp_path / "locks"))
    layout.ensure()
    return layout


def receive(store: Store, data: bytes, *parts: bytes, keep_partial: bool = True) -> None:
    with store.begin(describe(data), keep_partial=keep_partial) as ingest:
        for part in parts:
            ingest.write(part)
        ingest.commit()


def test_blob_appears_whole_and_only_at_commit(store: Store) -> None:
    descriptor = describe(BLOB)
    with store.begin(descriptor) as ingest:
        assert not ingest.present
        ingest.write(BLOB)
        assert not store.has(descriptor.digest)
        assert ingest.commit() == descriptor.digest
        assert store.has(descriptor.digest, size=len(BLOB))
    assert store.read_blob(descriptor.digest) == BLOB
    assert list(store.blobs()) == [(descriptor.digest, len(BLOB))]
    assert not store.has(descriptor.digest, size=len(BLOB) + 1)


def test_blob_that_is_there_is_not_received_again(store: Store) -> None:
    receive(store, BLOB, BLOB)
    with store.begin(describe(BLOB)) as ingest:
        assert ingest.present
        assert ingest.commit() == describe(BLOB).digest


def test_empty_blob_is_a_blob(store: Store) -> None:
    receive(store, b"")
    assert store.read_blob(describe(b"").digest) == b""


def test_interrupted_blob_is_resumed(store: Store) -> None:
    with pytest.raises(SizeMismatch):
        receive(store, BLOB, BLOB[:700])
    with store.begin(describe(BLOB)) as ingest:
        assert ingest.offset == 700
        assert b"".join(ingest.replay()) == BLOB[:700]
        ingest.write(BLOB[700:])
        ingest.commit()
    assert store.read_blob(describe(BLOB).digest) == BLOB


def test_interrupted_blob_is_resumed_without_a_look_at_its_bytes(store: Store) -> None:
    with pytest.raises(SizeMismatch):
        receive(store, BLOB, BLOB[:700])
    receive(store, BLOB, BLOB[700:])
    assert store.read_blob(describe(BLOB).digest) == BLOB


def test_interrupted_blob_without_keeping_starts_again(store: Store) -> None:
    with pytest.raises(SizeMismatch):
        receive(store, BLOB, BLOB[:700], keep_partial=False)
    with store.begin(describe(BLOB)) as ingest:
        assert ingest.offset == 0


def test_abandoned_blob_starts_again(store: Store) -> None:
    with store.begin(describe(BLOB)) as ingest:
        ingest.write(BLOB[:700])
        ingest.abandon()
    with store.begin(describe(BLOB)) as ingest:
        assert ingest.offset == 0


def test_wrong_bytes_are_refused_and_not_resumed(store: Store) -> None:
    wrong = b"x" + BLOB[1:]
    with pytest.raises(DigestMismatch):
        receive(store, BLOB, wrong)
    assert not store.has(describe(BLOB).digest)
    with store.begin(describe(BLOB)) as ingest:
        assert ingest.offset == 0


def test_surplus_bytes_are_refused_at_once_and_not_resumed(store: Store) -> None:
    with pytest.raises(SizeMismatch):
        receive(store, BLOB, BLOB, b"!")
    assert not store.has(describe(BLOB).digest)
    with store.begin(describe(BLOB)) as ingest:
        assert ingest.offset == 0


def test_wrong_beginning_is_found_at_the_end_and_the_next_attempt_succeeds(store: Store) -> None:
    with pytest.raises(SizeMismatch):
        receive(store, BLOB, b"x" * 700)
    with pytest.raises(DigestMismatch):
        receive(store, BLOB, BLOB[700:])
    receive(store, BLOB, BLOB)


def test_missing_blob_is_an_error(store: Store) -> None:
    with pytest.raises(BlobNotFound):
        store.read_blob(describe(BLOB).digest)


def test_blob_above_the_limit_is_not_read(store: Store) -> None:
    digest = store.add_blob(BLOB)
    with pytest.raises(SizeMismatch):
        store.read_blob(digest, max_bytes=len(BLOB) - 1)


def test_add_blob_is_idempotent(store: Store) -> None:
    assert store.add_blob(BLOB) == store.add_blob(BLOB) == describe(BLOB).digest


def test_image_is_found_by_name_and_by_id(store: Store) -> None:
    descriptor = add_image(store, b"base", Env=["A=1"])
    store.tag(NAME, descriptor)
    entry = store.resolve("x:1")
    image = store.load_image(entry)
    assert image.config.env == ("A=1",)
    assert entry.digest == descriptor.digest
    assert store.image_id(entry) == image.id
    for query in (NAME, image.id, image.id.short, image.id.encoded, f"x@{descriptor.digest}"):
        assert store.resolve(query) == entry


def test_tag_keeps_annotations_of_the_entry(store: Store) -> None:
    descriptor = add_image(store, b"base")
    store.tag(NAME, descriptor, {"io.rootless.repo-digest": "sha256:" + "1" * 64})
    assert store.resolve("x:1").repo_digest == "sha256:" + "1" * 64


def test_tag_of_what_is_not_there_is_refused(store: Store) -> None:
    with pytest.raises(BlobNotFound):
        store.tag(NAME, describe(b"nothing", media.OCI_MANIFEST))
    with pytest.raises(BlobNotFound):
        store.tag(NAME, describe(b"nothing", media.OCI_INDEX))
    assert store.entries() == []


def test_index_gets_a_name_if_it_is_one(store: Store) -> None:
    document = b'{"schemaVersion":2,"manifests":[]}'
    store.add_blob(document)
    with pytest.raises(UnknownMediaType):
        store.tag(NAME, describe(document, "text/plain"))
    with pytest.raises(InvalidManifest):
        store.tag(NAME, describe(document, media.OCI_MANIFEST))
    entry = store.tag(NAME, describe(document, media.OCI_INDEX))
    assert store.resolve("x:1") == entry
    assert store.image_id(entry) is None


def test_life_of_two_images_that_share_a_layer(store: Store) -> None:
    first = add_image(store, b"base", b"one")
    store.tag(NAME, first)
    second = add_image(store, b"base", b"two")
    store.tag(NAME, second)
    assert [entry.name for entry in store.entries()] == [None, NAME]
    assert store.sweep().deleted == ()
    store.remove(first.digest)
    swept = store.sweep()
    assert describe(b"one").digest in swept.deleted
    assert len(swept.deleted) == 3
    assert swept.freed_bytes > 0
    assert store.load_image(store.resolve("x:1"))
    assert store.has(describe(b"base").digest)
    store.untag(NAME)
    with pytest.raises(ImageNotFound):
        store.resolve("x:1")
    assert store.sweep().deleted == ()
    store.remove(second.digest)
    store.sweep()
    assert list(store.blobs()) == []


def test_sweep_spares_images_of_containers(store: Store) -> None:
    descriptor = add_image(store, b"base")
    entry = store.tag(NAME, descriptor)
    image_id = store.image_id(entry)
    store.remove(descriptor.digest)
    assert store.sweep(in_use=(str(image_id),)).deleted == ()
    assert len(store.sweep().deleted) == 3
