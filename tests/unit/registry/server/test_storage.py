"""What a registry keeps on disk, and what its collector takes away."""

import json
import os
import time

import pytest

from layers import media
from layers.digest import digest_bytes
from layers.errors import CorruptBlob
from rootless.errors import ImageError, StateConflict
from rootless.registry.server.collect import UPLOAD_AGE_S, collect
from rootless.registry.server.manifests import examine
from rootless.registry.server.refusal import Refusal
from rootless.registry.server.sessions import Sessions
from rootless.registry.server.storage import FRESH_S, Storage
from tests.helpers.blobs import describe


@pytest.fixture
def storage(tmp_path):
    made = Storage(str(tmp_path / "registry"))
    made.ensure()
    return made


def push_blob(storage, repository, data):
    sessions = Sessions(storage)
    session = sessions.start(repository)
    session.open()
    session.write([data])
    sessions.commit(session, digest_bytes(data))
    session.close()
    return digest_bytes(data)


def push_image(storage, repository, tag, layer=b"layer", **fields):
    push_blob(storage, repository, b"{}")
    push_blob(storage, repository, layer)
    value = {
        "schemaVersion": 2,
        "mediaType": media.OCI_MANIFEST,
        "config": describe(b"{}", media.OCI_EMPTY).to_json(),
        "layers": [describe(layer).to_json()],
        **fields,
    }
    data = json.dumps(value).encode()
    examined = examine(data, "")
    storage.put_manifest(repository, data, examined, tag=tag)
    return examined.digest


def age(storage, seconds):
    """Make everything that was kept look as old as that."""
    then = time.time() - seconds
    for directory, _, names in os.walk(storage.root):
        for name in names:
            os.utime(os.path.join(directory, name), (then, then))


def test_directory_of_something_else_is_refused(tmp_path):
    (tmp_path / "index.json").write_text("{}")
    with pytest.raises(StateConflict, match="other content"):
        Storage(str(tmp_path)).ensure()
    with pytest.raises(StateConflict, match="no registry"):
        Storage(str(tmp_path)).check()
    assert os.listdir(tmp_path) == ["index.json"]


def test_directory_that_is_a_whole_disk_or_was_begun_is_taken(tmp_path):
    (tmp_path / "lost+found").mkdir()
    (tmp_path / "blobs").mkdir()
    Storage(str(tmp_path)).ensure()
    Storage(str(tmp_path)).check()


def test_manifest_without_its_blobs_is_refused_and_leaves_nothing(storage):
    data = json.dumps(
        {"schemaVersion": 2, "config": describe(b"{}").to_json(), "layers": [describe(b"x").to_json()]}
    ).encode()
    with pytest.raises(Refusal, match=describe(b"x").digest):
        storage.put_manifest("a", data, examine(data, media.OCI_MANIFEST), tag="1")
    assert list(storage.all_repositories()) == []


def test_blob_of_one_repository_is_not_another_ones(storage):
    digest = push_blob(storage, "a", b"x")
    with pytest.raises(Refusal, match="no such blob"):
        storage.open_blob("b", digest)
    assert not storage.mount_blob("b", digest, source="c")
    assert storage.mount_blob("b", digest, source="a")
    os.close(storage.open_blob("b", digest))


def test_repositories_below_each_other_are_apart(storage):
    push_image(storage, "a", "1")
    push_image(storage, "a/b", "2")
    assert sorted(storage.repositories()) == ["a", "a/b"]
    assert storage.tags("a") == ["1"]
    assert storage.tags("a/b") == ["2"]


def test_deleted_manifest_takes_its_tags_and_its_place_among_referrers(storage):
    subject = push_image(storage, "a", "1")
    about = {"mediaType": media.OCI_MANIFEST, "digest": subject, "size": 1}
    digest = push_image(storage, "a", "2", b"signature", subject=about)
    assert [d.digest for d in storage.referrers("a", subject)] == [digest]
    storage.delete_manifest("a", digest)
    assert storage.referrers("a", subject) == []
    assert storage.tags("a") == ["1"]
    with pytest.raises(Refusal, match="no such manifest"):
        storage.delete_manifest("a", digest)


def test_manifest_that_the_disk_changed_is_not_handed_out(storage):
    digest = push_image(storage, "a", "1")
    path = storage.layout.blob_path(digest)
    os.chmod(path, 0o644)
    with open(path, "r+b") as file:
        file.write(b"[")
    with pytest.raises(CorruptBlob):
        storage.read_manifest("a", digest)
    with pytest.raises(ImageError, match="cannot be read"):
        collect(storage, age_s=0)
    assert storage.layout.has(describe(b"layer").digest)  # nobody knows whether it is needed


# The collector


def test_what_a_manifest_needs_stays_and_the_rest_goes(storage):
    push_image(storage, "a", "1")
    kept = {digest for digest, _ in storage.layout.blobs()}
    loose = push_blob(storage, "a", b"loose")
    collected = collect(storage, age_s=0)
    assert (collected.blobs, collected.freed_bytes) == ((loose,), 5)
    assert {digest for digest, _ in storage.layout.blobs()} == kept
    assert not storage.has_blob("a", loose)


def test_deleted_image_goes_and_what_it_shares_stays(storage):
    push_image(storage, "a", "1", b"own")
    push_image(storage, "b", "1", b"other")
    storage.delete_manifest("a", storage.find_tag("a", "1")[0])
    collect(storage, age_s=0)
    left = {digest for digest, _ in storage.layout.blobs()}
    assert digest_bytes(b"own") not in left
    assert {digest_bytes(b"other"), digest_bytes(b"{}")} < left
    assert not storage.has_blob("a", digest_bytes(b"{}"))  # which it no longer needs
    assert storage.has_blob("b", digest_bytes(b"{}"))


def test_deleted_tag_leaves_its_manifest(storage):
    digest = push_image(storage, "a", "1")
    storage.delete_tag("a", "1")
    assert collect(storage, age_s=0).blobs == ()
    assert storage.read_manifest("a", digest)


def test_blob_of_a_push_under_way_stays(storage):
    digest = push_blob(storage, "a", b"new")
    assert collect(storage).blobs == ()
    age(storage, FRESH_S + 1)
    assert storage.promise_blob("a", digest) == 3  # a client asked and will not send it
    assert collect(storage).blobs == ()
    age(storage, FRESH_S + 1)
    assert collect(storage).blobs == (digest,)


def test_blob_that_no_repository_got_goes_when_it_is_old(storage):
    digest = push_blob(storage, "a", b"new")
    storage.delete_blob("a", digest)
    assert collect(storage).blobs == ()
    age(storage, FRESH_S + 1)
    assert collect(storage).blobs == (digest,)


def test_upload_that_nobody_went_on_with_goes_after_a_day(storage):
    session = Sessions(storage).start("a")
    collect(storage, age_s=0)
    assert os.path.exists(session.path)
    age(storage, UPLOAD_AGE_S + 1)
    collect(storage, dry_run=True)
    assert os.path.exists(session.path)
    collect(storage)
    assert not os.path.exists(session.path)


def test_dry_run_deletes_nothing(storage):
    digest = push_blob(storage, "a", b"loose")
    assert collect(storage, age_s=0, dry_run=True).blobs == (digest,)
    assert storage.has_blob("a", digest)


# Uploads


def test_upload_goes_on_with_another_server(storage):
    session = Sessions(storage).start("a")
    session.open()
    session.write([b"ab", b"c"])
    session.close()
    sessions = Sessions(storage)
    again = sessions.find("a", session.id)
    assert again.offset == 3
    again.open()
    again.write([b"d"])
    sessions.commit(again, digest_bytes(b"abcd"))
    again.close()
    assert storage.blob_size("a", digest_bytes(b"abcd")) == 4
    with pytest.raises(Refusal, match="no such upload"):
        sessions.find("a", session.id)


def test_two_servers_take_turns_with_an_upload(storage):
    one, other = Sessions(storage), Sessions(storage)
    upload = one.start("a").id

    def send(sessions, data):
        session = sessions.find("a", upload)
        session.open()
        session.write([data])
        session.close()

    for sessions, data in ((one, b"ab"), (other, b"c"), (one, b"d"), (other, b"e")):
        send(sessions, data)
    os.truncate(one.find("a", upload).path, 1)  # as a disk may after a power cut
    send(one, b"z")
    session = one.find("a", upload)
    session.open()
    one.commit(session, digest_bytes(b"az"))
    session.close()


def test_upload_of_other_bytes_is_dropped(storage):
    sessions = Sessions(storage)
    session = sessions.start("a")
    session.open()
    session.write([b"abc"])
    with pytest.raises(Refusal) as caught:
        sessions.commit(session, digest_bytes(b"abd"))
    session.close()
    assert caught.value.code == "DIGEST_INVALID"
    assert not os.path.exists(session.path)
    assert list(storage.layout.blobs()) == []


def test_upload_of_one_repository_is_not_another_ones(storage):
    session = Sessions(storage).start("a")
    with pytest.raises(Refusal):
        Sessions(storage).find("b", session.id)


def test_same_blob_twice_is_kept_once(storage):
    first = push_blob(storage, "a", b"x")
    assert push_blob(storage, "b", b"x") == first
    assert len(list(storage.layout.blobs())) == 1
