"""Reading a log of several files while it is written and rotated."""

import os
import select
import tempfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rootless.engine.logfile import LogWriter
from rootless.engine.logformat import FORMATS
from rootless.engine.logreader import LogReader, find_tail
from rootless.engine.watch import Watch
from rootless.linux import inotify

FORM = FORMATS["k8s-file"]


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "log")


def make_writer(path, *, max_files=3, max_size_bytes=400):
    return LogWriter(path, form=FORM, max_size_bytes=max_size_bytes, max_files=max_files)


def take(reader):
    return [entry[2].decode() for lines in reader.read() for entry in FORM.parse(lines)]


def write(writer, *words):
    writer.write("stdout", "".join(f"{word}\n" for word in words).encode())


@pytest.mark.parametrize("max_files", [1, 2, 5])
@pytest.mark.parametrize("pace", [1, 3, 7])
def test_a_reader_that_keeps_up_sees_every_line_once(path, max_files, pace):
    writer = make_writer(path, max_files=max_files)
    seen = []
    with LogReader(path, max_files=max_files) as reader:
        for n in range(0, 210, pace):
            write(writer, *range(n, n + pace))
            seen += take(reader)
    assert seen == [f"{n}\n" for n in range(len(seen))]
    assert len(seen) >= 210
    writer.close()


@given(
    steps=st.lists(st.sampled_from(("read", "restart", "kill", 1, 2, 30)), max_size=40),
    max_size_bytes=st.sampled_from((0, 1, 100, 1000)),
)
@settings(max_examples=40)
def test_whatever_happens_every_line_is_seen_once(steps, max_size_bytes):
    """Writes of some lines, writers that end or are killed, and a reader who looks now and then."""
    with tempfile.TemporaryDirectory() as directory:
        path = os.path.join(directory, "log")
        writer = make_writer(path, max_files=1000, max_size_bytes=max_size_bytes)
        written, seen = 0, []
        with LogReader(path, max_files=1000) as reader:
            for step in steps:
                if step == "read":
                    seen += take(reader)
                elif isinstance(step, int):
                    write(writer, *range(written, written + step))
                    written += step
                else:
                    writer.close()
                    if step == "kill":
                        with open(path, "ab") as file:
                            file.write(b"2026-01-02T03:04")
                    writer = make_writer(path, max_files=1000, max_size_bytes=max_size_bytes)
            seen += take(reader)
        writer.close()
    assert seen == [f"{n}\n" for n in range(written)]


def test_a_reader_that_fell_behind_goes_on_with_what_is_left(path):
    writer = make_writer(path, max_files=2)
    write(writer, "first")
    with LogReader(path, max_files=2) as reader:
        assert take(reader) == ["first\n"]
        write(writer, *range(100))
        found = [int(word) for word in take(reader)]
    assert found[-1] == 99
    assert found == sorted(set(found)) != list(range(100))
    writer.close()


def test_a_file_that_is_rotated_out_is_read_to_its_end(path):
    writer = make_writer(path, max_files=1, max_size_bytes=100)
    write(writer, "a")
    with LogReader(path, max_files=1) as reader:
        assert take(reader) == ["a\n"]
        write(writer, "b", "c", "d", "e")
        assert take(reader)[0] == "b\n"
    writer.close()


def test_nothing_there_yet(path):
    with LogReader(path, max_files=3) as reader:
        reader.skip_to_tail(5)
        assert take(reader) == []
        write(make_writer(path), "now")
        assert take(reader) == ["now\n"]


@pytest.mark.parametrize("lines", [0, 1, 5, 20, 30, 1000])
def test_tail_goes_back_through_the_files(path, lines):
    writer = make_writer(path, max_files=5)
    write(writer, *range(40))
    assert os.path.exists(f"{path}.2")
    with LogReader(path, max_files=5) as reader:
        reader.skip_to_tail(lines)
        assert take(reader) == [f"{n}\n" for n in range(max(0, 40 - lines), 40)]
        write(writer, "new")
        assert take(reader) == ["new\n"]
    writer.close()


def test_an_emptied_file_is_read_from_its_beginning(path):
    writer = make_writer(path, max_size_bytes=0)
    write(writer, "long long ago")
    with LogReader(path, max_files=1) as reader:
        take(reader)
        os.truncate(path, 0)
        write(writer, "new")
        assert take(reader) == ["new\n"]
    writer.close()


def test_a_line_is_read_when_it_is_whole(path):
    with open(path, "wb", buffering=0) as file, LogReader(path, max_files=1) as reader:
        file.write(b"2026 stdout F be")
        assert take(reader) == []
        file.write(b"gin\n2026")
        assert take(reader) == ["begin\n"]


def test_a_file_that_is_no_log_is_not_kept_in_memory(path):
    with open(path, "wb") as file:
        file.truncate(64 << 20)
        file.seek(0, os.SEEK_END)
        file.write(b"\n2026 stdout F end\n")
    with LogReader(path, max_files=1) as reader:
        lines = [line for lines in reader.read() for line in lines]
    assert lines[-1] == b"2026 stdout F end"
    assert len(lines[0]) < 2 << 20


@pytest.mark.parametrize("lines", [1, 100, 235, 500, 1999, 2000, 2001])
def test_tail_offset_is_the_start_of_a_line(path, lines):
    with open(path, "wb") as file:
        file.write(b"".join(b"%d " % n + b"x" * 201 + b"\n" for n in range(2000)) + b"unfinished")
    with open(path, "rb") as file:
        offset, found = find_tail(file.fileno(), lines)
        file.seek(offset)
        left = file.read().splitlines()
    assert left[-1] == b"unfinished"
    assert len(left) - 1 == found == min(lines, 2000)
    assert left[0].startswith(b"%d " % max(0, 2000 - lines))


def test_watch_tells_changes_and_ends(tmp_path):
    read, write_end = os.pipe()
    with Watch(str(tmp_path)) as watch:
        assert not watch.wait(read, timeout_ms=0)
        (tmp_path / "file").write_text("x")
        assert not watch.wait(read)
        assert not select.select([watch._fd], [], [], 0)[0]  # what was seen wakes nobody again
        os.rename(tmp_path / "file", tmp_path / "other")
        assert not watch.wait(read)
        os.close(write_end)
        assert watch.wait(read) or watch.wait(read)
    os.close(read)


def test_watch_without_inotify_looks_again_and_again(tmp_path, monkeypatch):
    def none_left():
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(inotify, "init", none_left)
    with Watch(str(tmp_path)) as watch:
        assert not watch.wait(timeout_ms=1)
        assert not watch.wait()
