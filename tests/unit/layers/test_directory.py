from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING

import pytest

from layers import media
from layers.errors import CorruptBlob, DigestMismatch, LockTimeout, SizeMismatch, StoreError
from layers.locks import FileLock
from layers.store.directory import ImageLayout, is_layout
from tests.helpers.blobs import add_image, describe

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NAME = "docker.io/library/x:1"
BLOB = bytes(range(256)) * 8


@pytest.fixture
def layout(tmp_path: Path) -> ImageLayout:
    made = ImageLayout(tmp_path / "store", locks=str(tmp_path / "locks"))
    made.ensure()
    return made


def leftovers(layout: ImageLayout) -> list[str]:
    return sorted(set(os.listdir(os.path.join(layout.root, "ingest"))) - {"reserve"})


def test_reading_side_imports_nothing_heavy() -> None:
    heavy = {"hashlib", "_hashlib", "tempfile", "shutil", "subprocess", "dataclasses", "typing", "pathlib"}
    program = (
        "import sys; before = set(sys.modules); import layers; from layers import ImageLayout, Reference\n"
        "ImageLayout('/nonexistent').entries()\n"
        f"print(sorted((set(sys.modules) - before) & {heavy!r}))"
    )
    # -S: what site loads for editable installations is not ours
    found = subprocess.run(
        [sys.executable, "-S", "-c", program], capture_output=True, text=True, check=True, cwd="."
    )
    assert found.stdout == "[]\n"


def test_ensure_makes_a_valid_layout_and_is_idempotent(layout: ImageLayout) -> None:
    layout.ensure()
    assert is_layout(layout.root)
    with open(os.path.join(layout.root, "index.json"), "rb") as file:
        index = json.load(file)
    assert index == {"schemaVersion": 2, "mediaType": media.OCI_INDEX, "manifests": []}
    assert leftovers(layout) == []


def test_ensure_completes_a_half_made_layout_without_losing_its_index(layout: ImageLayout) -> None:
    layout.tag(NAME, add_image(layout, b"base"))
    os.unlink(os.path.join(layout.root, "oci-layout"))
    layout.ensure()
    assert layout.resolve("x:1")


@pytest.mark.parametrize(
    "content", [b"", b"[]", b'{"imageLayoutVersion":"2.0.0"}', b'{"imageLayoutVersion":1}']
)
def test_is_layout_refuses_other_versions(tmp_path: Path, content: bytes) -> None:
    assert not is_layout(str(tmp_path))
    (tmp_path / "oci-layout").write_bytes(content)
    assert not is_layout(str(tmp_path))


def test_store_that_does_not_exist_is_empty(tmp_path: Path) -> None:
    layout = ImageLayout(tmp_path / "nowhere")
    assert layout.entries() == []
    assert list(layout.blobs()) == []


def test_committed_blob_is_read_only_and_leaves_no_partial(layout: ImageLayout) -> None:
    add_image(layout, b"base")
    for digest, _ in layout.blobs():
        assert os.stat(layout.blob_path(digest)).st_mode & 0o777 == 0o444
    assert leftovers(layout) == []


@pytest.mark.parametrize("text", ["sha256:../../../etc/passwd", "sha256:" + "A" * 64, "x"])
def test_blob_path_of_a_hostile_digest_is_refused(layout: ImageLayout, text: str) -> None:
    from layers.errors import InvalidDigest

    for look in (layout.blob_path, layout.has, layout.open_blob, layout.read_blob):
        with pytest.raises(InvalidDigest):
            look(text)  # type: ignore[arg-type]


# Damage


def damage(layout: ImageLayout, data: bytes, *, to: bytes) -> None:
    path = layout.blob_path(describe(data).digest)
    os.chmod(path, 0o600)
    with open(path, "wb") as file:
        file.write(to)


def test_corrupt_blob_is_found_on_read_and_repaired_by_adding(layout: ImageLayout) -> None:
    digest = layout.add_blob(BLOB)
    damage(layout, BLOB, to=b"x" + BLOB[1:])
    with pytest.raises(CorruptBlob, match="have changed"):
        layout.read_blob(digest)
    with pytest.raises(CorruptBlob):
        layout.verify(digest)
    layout.add_blob(BLOB)
    assert layout.read_blob(digest) == BLOB
    assert layout.verify(digest) == len(BLOB)


def test_blob_of_another_size_is_received_again(layout: ImageLayout) -> None:
    layout.add_blob(BLOB)
    damage(layout, BLOB, to=b"short")
    with layout.begin(describe(BLOB)) as ingest:
        assert not ingest.present
        ingest.write(BLOB)
        ingest.commit()
    assert layout.verify(describe(BLOB).digest)


def test_drop_corrupt_deletes_only_what_is_corrupt(layout: ImageLayout) -> None:
    digest = layout.add_blob(BLOB)
    assert not layout.drop_corrupt(digest)
    damage(layout, BLOB, to=b"x" + BLOB[1:])
    assert layout.drop_corrupt(digest)
    assert not layout.has(digest)
    assert not layout.drop_corrupt(digest)


@pytest.mark.parametrize("kind", ["symlink", "directory", "fifo"])
def test_blob_that_is_no_file_is_corrupt(layout: ImageLayout, tmp_path: Path, kind: str) -> None:
    """A layout from elsewhere may hold links to files of the host."""
    secret = tmp_path / "secret"
    secret.write_bytes(BLOB)
    path = layout.blob_path(describe(BLOB).digest)
    make = {"symlink": lambda p: os.symlink(secret, p), "directory": os.mkdir, "fifo": os.mkfifo}
    make[kind](path)
    with pytest.raises(CorruptBlob):
        layout.read_blob(describe(BLOB).digest)
    assert not layout.has(describe(BLOB).digest)
    assert list(layout.blobs()) == []


def test_damaged_index_is_a_clear_error(layout: ImageLayout) -> None:
    with open(os.path.join(layout.root, "index.json"), "w") as file:
        file.write("{")
    with pytest.raises(StoreError, match=r"cannot read the list of images: invalid index\.json") as caught:
        layout.entries()
    assert "pulled again" in caught.value.hint


# Resuming


def partial(layout: ImageLayout, data: bytes, content: bytes) -> str:
    path = os.path.join(layout.root, "ingest", describe(data).digest.encoded + ".partial")
    with open(path, "wb") as file:
        file.write(content)
    return path


def test_partial_file_that_is_too_long_is_emptied(layout: ImageLayout) -> None:
    partial(layout, BLOB, BLOB + b"!")
    with layout.begin(describe(BLOB)) as ingest:
        assert ingest.offset == 0
        ingest.write(BLOB)
        ingest.commit()


def test_partial_file_that_is_complete_needs_no_byte_more(layout: ImageLayout) -> None:
    partial(layout, BLOB, BLOB)
    with layout.begin(describe(BLOB)) as ingest:
        assert ingest.offset == len(BLOB)
        ingest.commit()
    assert layout.read_blob(describe(BLOB).digest) == BLOB


def test_partial_file_full_of_zeros_after_a_power_cut_is_not_trusted(layout: ImageLayout) -> None:
    path = partial(layout, BLOB, bytes(len(BLOB)))
    with layout.begin(describe(BLOB)) as ingest, pytest.raises(DigestMismatch):
        ingest.commit()
    assert not os.path.exists(path)
    assert not layout.has(describe(BLOB).digest)


def test_partial_file_that_is_a_symlink_is_not_written_through(layout: ImageLayout, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    os.symlink(victim, os.path.join(layout.root, "ingest", describe(BLOB).digest.encoded + ".partial"))
    with pytest.raises(OSError, match="symbolic links"), layout.begin(describe(BLOB)):
        pass
    assert victim.read_bytes() == b"precious"
    os.unlink(os.path.join(layout.root, "ingest", describe(BLOB).digest.encoded + ".partial"))
    with layout.begin(describe(BLOB)):
        pass  # the failed attempt gave its lock back


def test_partial_file_cut_during_replay_is_an_error(layout: ImageLayout) -> None:
    path = partial(layout, BLOB, BLOB[:700])
    with layout.begin(describe(BLOB)) as ingest:
        os.truncate(path, 10)
        with pytest.raises(SizeMismatch):
            list(ingest.replay())
    assert not os.path.exists(path)


def test_ingest_out_of_order_is_a_bug(layout: ImageLayout) -> None:
    with layout.begin(describe(BLOB)) as ingest:
        ingest.write(BLOB)
        ingest.commit()
        with pytest.raises(RuntimeError):
            ingest.write(b"x")


def test_reader_of_an_ingest_sees_bytes_as_they_come_and_after_commit(layout: ImageLayout) -> None:
    with layout.begin(describe(BLOB)) as ingest:
        fd = ingest.open_reader()
        ingest.write(BLOB[:700])
        assert os.read(fd, 10_000) == BLOB[:700]
        ingest.write(BLOB[700:])
        ingest.commit()
    assert os.read(fd, 10_000) == BLOB[700:]
    os.close(fd)


# Full disk


class FullDisk:
    """os.pwrite that takes `room` bytes and then fails."""

    def __init__(self, room: int, number: int) -> None:
        self.room = room
        self.number = number
        self.real = os.pwrite

    def __call__(self, fd: int, data: memoryview, offset: int) -> int:
        taken = min(len(data), self.room)
        if not taken:
            raise OSError(self.number, os.strerror(self.number))
        self.room -= taken
        return self.real(fd, data[:taken], offset)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_full_disk_is_a_clear_error_that_frees_the_space(
    layout: ImageLayout, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    monkeypatch.setattr(os, "pwrite", FullDisk(700, number))
    with layout.begin(describe(BLOB)) as ingest, pytest.raises(StoreError, match="cannot write") as caught:
        ingest.write(BLOB)
    assert caught.value.on == describe(BLOB).digest
    assert leftovers(layout) == []
    monkeypatch.undo()
    with layout.begin(describe(BLOB)) as ingest:
        assert ingest.offset == 0
        ingest.write(BLOB)
        ingest.commit()


def test_other_write_errors_keep_their_errno_and_the_partial_file(
    layout: ImageLayout, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "pwrite", FullDisk(700, errno.EIO))
    with pytest.raises(OSError, match="Input/output error"), layout.begin(describe(BLOB)) as ingest:
        ingest.write(BLOB)
    assert len(leftovers(layout)) == 1


def test_full_disk_at_commit_is_a_clear_error(layout: ImageLayout, monkeypatch: pytest.MonkeyPatch) -> None:
    def fsync(fd: int) -> None:
        raise OSError(errno.ENOSPC, "full")

    with layout.begin(describe(BLOB)) as ingest:
        ingest.write(BLOB)
        monkeypatch.setattr(os, "fsync", fsync)
        with pytest.raises(StoreError):
            ingest.commit()
    assert leftovers(layout) == []
    assert not layout.has(describe(BLOB).digest)


def test_full_disk_leaves_the_index_as_it_was(layout: ImageLayout, monkeypatch: pytest.MonkeyPatch) -> None:
    descriptor = add_image(layout, b"base")
    layout.tag(NAME, descriptor)
    monkeypatch.setattr(os, "pwrite", FullDisk(10, errno.ENOSPC))
    with pytest.raises(StoreError) as caught:
        layout.tag("docker.io/library/y:1", descriptor)
    assert caught.value.on.endswith("index.json")
    assert [entry.name for entry in layout.entries()] == [NAME]
    assert leftovers(layout) == []


# Several processes


def test_second_receiver_of_a_blob_waits_and_finds_it_present(layout: ImageLayout) -> None:
    order = []

    def second() -> None:
        with layout.begin(describe(BLOB), wait_s=10) as ingest:
            order.append(("second", ingest.present))

    with layout.begin(describe(BLOB)) as ingest:
        with pytest.raises(LockTimeout), layout.begin(describe(BLOB)):
            pass
        thread = threading.Thread(target=second)
        thread.start()
        ingest.write(BLOB)
        ingest.commit()
        order.append(("first", ingest.present))
    thread.join()
    assert order == [("first", True), ("second", True)]
    assert os.listdir(layout.locks) == []


def test_sweep_keeps_away_from_a_pull_in_progress(layout: ImageLayout) -> None:
    with layout.pulling():
        descriptor = add_image(layout, b"base")
        swept = layout.sweep()
        assert swept.deferred
        layout.tag(NAME, descriptor)
    assert layout.sweep().deleted == ()
    assert layout.load_image(layout.resolve("x:1"))


def test_tag_waits_for_a_sweep_in_progress(layout: ImageLayout) -> None:
    descriptor = add_image(layout, b"base")
    with FileLock(layout.locks, "gc.lock"):
        thread = threading.Thread(target=layout.tag, args=(NAME, descriptor))
        thread.start()
        thread.join(0.02)
        assert layout.entries() == []
    thread.join()
    assert layout.resolve("x:1")


def test_sweep_spares_young_blobs_if_asked(layout: ImageLayout) -> None:
    layout.add_blob(BLOB)
    assert layout.sweep(blob_age_s=60).deleted == ()
    assert layout.sweep().deleted == (describe(BLOB).digest,)


def test_sweep_removes_what_dead_processes_left(layout: ImageLayout) -> None:
    old = time.time() - 100_000
    for name in ("a.tmp", describe(b"old").digest.encoded + ".partial", "mine.txt"):
        path = os.path.join(layout.root, "ingest", name)
        with open(path, "wb") as file:
            file.write(b"12345")
        os.utime(path, (old, old))
    kept = partial(layout, BLOB, b"young")
    assert layout.sweep().freed_bytes == 10
    assert leftovers(layout) == sorted([os.path.basename(kept), "mine.txt"])
    layout.sweep(partial_age_s=0)
    assert leftovers(layout) == ["mine.txt"]


def test_sweep_leaves_a_partial_file_that_is_being_written(layout: ImageLayout) -> None:
    with layout.begin(describe(BLOB)) as ingest:
        ingest.write(BLOB[:100])
        layout.sweep(partial_age_s=0)
        ingest.write(BLOB[100:])
        ingest.commit()
    assert layout.has(describe(BLOB).digest)


def test_sweep_leaves_files_that_are_no_blobs(layout: ImageLayout) -> None:
    path = os.path.join(layout.root, "blobs", "sha256", "README")
    open(path, "w").close()
    layout.sweep()
    assert os.path.exists(path)


def test_index_changed_by_another_host_meanwhile_is_not_overwritten(layout: ImageLayout) -> None:
    mine, other = add_image(layout, b"mine"), add_image(layout, b"other")
    elsewhere = ImageLayout(layout.root, locks=layout.locks + "-of-another-host")
    rounds: Iterator[int] = iter(range(10))

    def change(index):  # type: ignore[no-untyped-def]
        if next(rounds) == 0:
            elsewhere.tag("other", other)
        return index.with_tag("mine", mine)

    layout.update_index(change)
    assert [entry.name for entry in layout.entries()] == ["other", "mine"]


def test_many_processes_tag_at_once_and_no_name_is_lost(layout: ImageLayout) -> None:
    descriptor = add_image(layout, b"base")
    program = (
        "import sys; from layers import ImageLayout\n"
        f"layout = ImageLayout({layout.root!r}, locks={layout.locks!r})\n"
        f"entry = layout.resolve({str(descriptor.digest)!r})\n"
        "for i in range(10): layout.tag(f'host:1/{sys.argv[1]}:{i}', entry.descriptor)\n"
    )
    layout.tag(NAME, descriptor)
    children = [subprocess.Popen([sys.executable, "-c", program, f"p{n}"]) for n in range(4)]
    assert [child.wait() for child in children] == [0] * 4
    assert len({entry.name for entry in layout.entries()}) == 41
    assert leftovers(layout) == []


def test_kill_while_a_small_blob_is_synced_leaves_nothing(layout: ImageLayout) -> None:
    """Hazard: the power of SIGKILL during the slowest step; such leftovers are swept only by their age."""
    pid = os.fork()
    if pid == 0:
        os.fsync = lambda _fd: os._exit(9)
        layout.add_blob(b"manifest")
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 9
    assert leftovers(layout) == []
    digest = layout.add_blob(b"manifest")
    assert layout.read_blob(digest, 100) == b"manifest"
    assert leftovers(layout) == []


def test_small_blob_is_written_where_files_need_a_name(
    layout: ImageLayout, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain_open = os.open

    def without_unnamed(path: str, flags: int, *rest: int, **more: int) -> int:
        if flags & os.O_TMPFILE == os.O_TMPFILE:
            raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP), path)
        return plain_open(path, flags, *rest, **more)

    monkeypatch.setattr(os, "open", without_unnamed)
    digest = layout.add_blob(b"manifest")
    assert layout.read_blob(digest, 100) == b"manifest"
    assert leftovers(layout) == []
