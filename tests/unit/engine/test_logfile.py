"""The log's writer: rotation, kills at every step of it, full disks, long lines."""

import errno
import os
import tracemalloc

import pytest

from rootless.engine import logfile
from rootless.engine.logattrs import log_attributes, tag_problem
from rootless.engine.logfile import MAX_LINE_BYTES, LogWriter, open_writer
from rootless.engine.logformat import FORMATS
from rootless.engine.logreader import LogReader
from rootless.model.policy import LogConfig
from rootless.model.spec import ContainerSpec, Process


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "log")


class Killed(BaseException):
    """Our process ended here."""


def texts(path, *, max_files=1, driver="k8s-file"):
    """Return what a reader gets of all files, damaged lines left out."""
    form = FORMATS[driver]
    with LogReader(path, max_files=max_files) as reader:
        lines = [line for lines in reader.read() for line in lines]
    return b"".join(entry[2] for entry in form.parse(lines))


def make_writer(path, **options):
    return LogWriter(path, form=FORMATS["k8s-file"], **options)


def numbers(*bounds):
    return b"".join(b"%d\n" % n for n in range(*bounds))


def test_files_are_rotated_when_they_have_grown(path):
    writer = make_writer(path, max_size_bytes=1000, max_files=3)
    for n in range(200):
        writer.write("stdout", b"%d\n" % n)
    writer.close()
    assert sorted(os.listdir(os.path.dirname(path))) == ["log", "log.1", "log.2"]
    assert all(1000 <= os.stat(f"{path}.{n}").st_size < 1050 for n in (1, 2))
    found = texts(path, max_files=3)
    assert numbers(200).endswith(found)
    assert len(found.splitlines()) > 50


def test_a_large_block_is_cut_at_its_lines(path):
    writer = make_writer(path, max_size_bytes=1000, max_files=100)
    writer.write("stdout", numbers(1000))
    writer.close()
    sizes = [os.stat(name).st_size for name in logfile.file_names(path, 100) if os.path.exists(name)]
    assert all(1000 <= size < 1050 for size in sizes[1:])
    assert len(sizes) > 30
    assert texts(path, max_files=100) == numbers(1000)


def test_one_file_begins_anew(path):
    writer = make_writer(path, max_size_bytes=1000)
    writer.write("stdout", numbers(200))
    writer.close()
    assert os.listdir(os.path.dirname(path)) == ["log"]
    assert os.stat(path).st_size < 1050
    assert numbers(200).endswith(texts(path))


@pytest.mark.parametrize("step", range(12))
def test_a_writer_killed_while_it_rotates_loses_and_doubles_nothing(path, monkeypatch, step):
    """Every rename, unlink and open of a rotation is once the last thing that it does."""
    made = 0

    def until_killed(call):
        def limited(*args, **options):
            nonlocal made
            if made > step:
                raise Killed
            result = call(*args, **options)
            made += 1
            if made > step:
                raise Killed
            return result

        return limited

    writer = make_writer(path, max_size_bytes=300, max_files=5)
    written = 0

    def write_until(done):
        nonlocal written
        while not done():
            writer.write("stdout", b"%d\n" % written)
            written += 1

    write_until(lambda: os.path.exists(f"{path}.3"))
    with monkeypatch.context() as patched:
        for name in ("rename", "unlink", "open"):
            patched.setattr(logfile.os, name, until_killed(getattr(os, name)))
        with pytest.raises(Killed):
            write_until(lambda: False)
    found = [int(n) for n in texts(path, max_files=5).split()]
    assert found == list(range(found[0], found[0] + len(found)))
    assert found[-1] == written - 1
    after = make_writer(path, max_size_bytes=300, max_files=5)
    after.write("stdout", numbers(written, written + 100))
    after.close()
    found = [int(n) for n in texts(path, max_files=5).split()]
    assert found == list(range(found[0], written + 100))
    assert sorted(os.listdir(os.path.dirname(path))) == ["log", *(f"log.{n}" for n in range(1, 5))]


def test_a_restarted_container_continues_its_log(path):
    for part in (b"one\n", b"two\n"):
        writer = make_writer(path, max_size_bytes=10_000)
        writer.write("stdout", part)
        writer.close()
    assert texts(path) == b"one\ntwo\n"


def test_what_a_killed_writer_broke_off_does_not_damage_the_next_line(path):
    with open(path, "wb") as file:
        file.write(b'{"log":"half')
    writer = LogWriter(path)
    writer.write("stdout", b"whole\n")
    writer.close()
    assert texts(path, driver="json-file") == b"whole\n"


def test_a_full_disk_loses_lines_and_nothing_else(path, monkeypatch):
    writer = make_writer(path)
    writer.write("stdout", b"one\n")
    room = [20, 0]

    def full(fd, data, write=os.write):
        left = room.pop(0) if room else None
        if left == 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(fd, data[:left])

    monkeypatch.setattr(logfile.os, "write", full)
    writer.write("stdout", b"lost in part\n")
    writer.write("stdout", b"lost\n")
    assert writer.lost_bytes > len(b"lost in part\nlost\n")
    writer.write("stdout", b"three\n")
    writer.close()
    assert texts(path).startswith(b"one\n")
    assert texts(path).endswith(b"three\n")
    assert b"lost" not in texts(path)


def test_a_log_that_cannot_be_made_is_tried_again(path):
    os.mkdir(path)
    writer = make_writer(path)
    writer.write("stdout", b"lost\n")
    assert writer.lost_bytes
    os.rmdir(path)
    writer.write("stdout", b"kept\n")
    writer.close()
    writer.close()
    assert texts(path) == b"kept\n"


def test_a_rotation_that_fails_goes_on_in_the_old_file(path, monkeypatch):
    writer = make_writer(path, max_size_bytes=100, max_files=2)
    writer.write("stdout", numbers(1))
    with monkeypatch.context() as patched:
        patched.setattr(logfile, "_open", lambda path: os.open("/proc/no/such", os.O_RDONLY))
        writer.write("stdout", numbers(1, 50))
    writer.write("stdout", numbers(50, 52))
    writer.close()
    assert texts(path, max_files=2) == numbers(52)
    assert os.stat(path).st_size < 150


@pytest.mark.parametrize(
    "size", [MAX_LINE_BYTES - 1, MAX_LINE_BYTES, MAX_LINE_BYTES + 1, 5 * MAX_LINE_BYTES + 7]
)
@pytest.mark.parametrize("chunk", [1 << 20, 4096, 1000])
def test_long_lines_become_several_entries(path, size, chunk):
    text = b"short\n" + b"x" * size + b"\nlast\n" + b"y" * size
    writer = make_writer(path)
    for start in range(0, len(text), chunk):
        writer.write("stdout", text[start : start + chunk])
    writer.close()
    with open(path, "rb") as file:
        assert max(map(len, file)) < MAX_LINE_BYTES + 60
    assert texts(path) == text


def test_streams_keep_their_unfinished_lines_apart(path):
    writer = make_writer(path)
    for stream, data in (("stdout", b"a"), ("stderr", b"1"), ("stdout", b"b\n"), ("stderr", b"2\n")):
        writer.write(stream, data)
    writer.close()
    assert texts(path) == b"ab\n12\n"


def test_closing_twice_writes_once(path):
    writer = make_writer(path)
    writer.write("stdout", b"unfinished")
    writer.close()
    writer.close()
    assert texts(path) == b"unfinished"


def test_output_without_newlines_does_not_grow_in_memory(path):
    writer = LogWriter(path, max_size_bytes=1 << 20)
    tracemalloc.start()
    for _ in range(200):
        writer.write("stdout", b"\xff" * (64 << 10))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    writer.close()
    assert peak < 4 << 20


def make_spec(**log):
    return ContainerSpec(
        id="abc" * 21 + "d",
        name="web",
        image="debian:12",
        image_id="sha256:" + "e" * 64,
        layers=(),
        process=Process(argv=("sh",), env=("HOME=/root", "APP=1=2", "PORT=80")),
        labels=("com.x=1", "com.y=", "other=z"),
        log=LogConfig(**log),
    )


@pytest.mark.parametrize(
    ("options", "attributes"),
    [
        ((), {}),
        (("labels=com.x,other,none",), {"com.x": "1", "other": "z"}),
        (("labels-regex=^com",), {"com.x": "1", "com.y": ""}),
        (("env=APP", "env-regex=^PO"), {"APP": "1=2", "PORT": "80"}),
        (("tag={{.Name}}/{{ .ID }}-{{.ImageName}}",), {"tag": "web/abcabcabcabc-debian:12"}),
        (("max-size=1m",), {}),
    ],
)
def test_attributes_are_those_asked_for(options, attributes):
    assert log_attributes(make_spec(options=options)) == attributes


def test_tags_that_cannot_be_made():
    assert tag_problem("{{.Name}} {{.FullID}}") == ""
    assert tag_problem("{{.Nonsense}}") == "unknown field: .Nonsense"
    assert tag_problem("{{range .}}") == tag_problem("}}") == "not a field"


@pytest.mark.parametrize(
    ("driver", "file"), [("json-file", "log.json"), ("k8s-file", "log.k8s"), ("none", "")]
)
def test_driver_chooses_the_file(tmp_path, driver, file):
    writer = open_writer(str(tmp_path), make_spec(driver=driver, options=("tag=x",)))
    writer.write("stdout", b"hello\n")
    writer.close()
    assert writer.lost_bytes == 0
    assert os.listdir(tmp_path) == [file] * bool(file)
    assert all(b"hello" in (tmp_path / name).read_bytes() for name in os.listdir(tmp_path))
