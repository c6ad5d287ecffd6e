"""Reading, cutting and following logs."""

import json
import os
import subprocess
import sys
import time

import pytest

from rootless.cli import logs
from rootless.cli.moments import parse_moment
from rootless.engine import records
from rootless.engine.logfile import LogWriter, timestamp
from rootless.errors import RootlessError, StateConflict, UsageError
from rootless.model.policy import LogConfig

SECOND = 1_000_000_000


def entry(second, text, stream="stdout"):
    return json.dumps({"log": text, "stream": stream, "time": timestamp(second * SECOND)}) + "\n"


@pytest.fixture
def web(store):
    container = store.add("web")
    with open(container.path("log.json"), "w") as file:
        file.write(entry(1, "one\n") + entry(2, "oops\n", "stderr") + entry(3, "three\n") + entry(4, "four"))
    return container


def printed(store, capfd, *words):
    assert logs.main([*words, "web"], store.options) == 0
    return capfd.readouterr()


def test_streams_go_where_they_came_from(store, web, capfd):
    assert printed(store, capfd) == ("one\nthree\nfour", "oops\n")


@pytest.mark.parametrize(
    ("tail", "out", "err"),
    [
        ("all", "one\nthree\nfour", "oops\n"),
        ("0", "", ""),
        ("1", "four", ""),
        ("3", "three\nfour", "oops\n"),
        ("4", "one\nthree\nfour", "oops\n"),
        ("99", "one\nthree\nfour", "oops\n"),
    ],
)
def test_tail_counts_entries_from_the_end(store, web, capfd, tail, out, err):
    assert printed(store, capfd, "--tail", tail) == (out, err)


def test_tail_of_a_log_longer_than_a_block(store, capfd):
    container = store.add("web")
    with open(container.path("log.json"), "w") as file:
        file.writelines(entry(n, f"{n} " + "x" * 200 + "\n") for n in range(2000))
    lines = printed(store, capfd, "-n", "700").out.splitlines()
    assert [line.split()[0] for line in lines] == [str(n) for n in range(1300, 2000)]


@pytest.mark.parametrize("words", [(), ("-f",), ("--tail=0",)])
def test_what_a_full_disk_has_taken_is_told_at_the_end(store, web, capfd, words):
    records.save_state(web, status="exited", log_lost_bytes=4711)
    err = printed(store, capfd, *words).err
    assert err.endswith("notice: 4711 bytes of this log are lost: the disk was full\n")


@pytest.mark.parametrize("text", ["-1", "x", "", "1.5", "٣"])
def test_bad_tail_is_a_usage_error(store, web, text):
    with pytest.raises(UsageError):
        logs.main([f"--tail={text}", "web"], store.options)


def test_since_and_until_bound_the_time(store, web, capfd):
    assert printed(store, capfd, "--since", "2", "--until", "3").out == "three\n"
    assert printed(store, capfd, "--since", "1970-01-01T00:00:03.5Z").out == "four"


def test_timestamps_stand_before_the_text(store, web, capfd):
    assert printed(store, capfd, "-t", "--tail=1").out == "1970-01-01T00:00:04.000000000Z four"


def test_container_that_never_wrote_has_an_empty_log(store, capfd):
    store.add("web")
    assert printed(store, capfd) == ("", "")


def test_unknown_container_is_named(store):
    with pytest.raises(RootlessError, match="no such container: ghost"):
        logs.main(["ghost"], store.options)


def test_unfinished_last_line_is_left_out(store, web, capfd):
    with open(web.path("log.json"), "a") as file:
        file.write('{"log":"half')
    assert printed(store, capfd, "--tail", "1").out == "four"


def test_bytes_survive_the_way_through_the_log(store, capfdbinary):
    container = store.add("web")
    writer = LogWriter(container.path("log.json"))
    data = bytes(range(256)) + "ä€\n".encode() + b"x" * 100_000
    writer.write("stdout", data)
    writer.close()
    logs.main(["web"], store.options)
    assert capfdbinary.readouterr().out == data


def test_details_stand_between_time_and_text(store, capfd):
    container = store.add("web")
    line = {"log": "hi\n", "stream": "stdout", "attrs": {"tag": "a b", "env": "x=1&y"}, "time": timestamp(0)}
    with open(container.path("log.json"), "w") as file:
        file.write(json.dumps(line) + "\n" + entry(1, "plain\n"))
    assert printed(store, capfd, "--details").out == "env=x%3D1%26y,tag=a+b hi\n plain\n"
    out = printed(store, capfd, "--details", "-t", "--tail=1").out
    assert out == "1970-01-01T00:00:01.000000000Z  plain\n"


def test_log_of_several_files_is_read_as_one(store, capfd):
    container = store.add("web", log=LogConfig(max_size_bytes=1, max_files=3))
    for number, name in enumerate(("log.json.2", "log.json.1", "log.json"), start=1):
        with open(container.path(name), "w") as file:
            file.write(entry(number, f"{number}\n"))
    assert printed(store, capfd).out == "1\n2\n3\n"
    assert printed(store, capfd, "--tail=2").out == "2\n3\n"
    os.unlink(container.path("log.json.1"))
    assert printed(store, capfd, "--tail=2").out == "1\n3\n"


def test_k8s_file_is_read_by_its_form(store, capfd):
    container = store.add("web", log=LogConfig(driver="k8s-file"))
    with open(container.path("log.k8s"), "w") as file:
        file.write(f"{timestamp(0)} stdout F one\n{timestamp(1)} stderr P two\nthree\n")
    assert printed(store, capfd) == ("one\n", "two")


def test_driver_that_keeps_nothing_cannot_be_read(store, capfd):
    store.add("web", log=LogConfig(driver="none"))
    with pytest.raises(StateConflict, match="configured logging driver does not support reading"):
        logs.main(["web"], store.options)


def test_hostile_escape_sequences_are_shown_and_colours_stay():
    assert logs.safe_for_terminal("\x1b[1;31mred\x1b[0m\ta\r\n") == "\x1b[1;31mred\x1b[0m\ta\r\n"
    for evil in ("\x1b]0;title\x07", "\x1b[2J", "\x1b[6n", "\x1bc", "\x9b6n", "\x1b[31", "\b", "\udc9b"):
        shown = logs.safe_for_terminal(evil)
        assert not set(shown) & {"\x1b", "\x9b", "\x07", "\b", "\udc9b"}


def test_follow_ends_with_the_container(store, capfd, monkeypatch):
    process = subprocess.Popen(["sleep", "60"])
    container = store.running("web", pid=process.pid)
    writer = LogWriter(container.path("log.json"))
    writer.write("stdout", b"before\n")
    seen = []

    def end_meanwhile(_pause):
        seen.append(capfd.readouterr())
        writer.write("stderr", b"during\n")
        writer.write("stdout", b"last words")
        writer.close()
        process.kill()
        process.wait()

    monkeypatch.setattr("rootless.engine.watch.Pause.wait", end_meanwhile)
    assert printed(store, capfd, "-f") == ("last words", "during\n")
    assert seen == [("before\n", "")]


def test_follow_until_a_moment_that_has_passed_ends_at_once(store, capfd):
    process = subprocess.Popen(["sleep", "60"])
    container = store.running("web", pid=process.pid)
    with open(container.path("log.json"), "w") as file:
        file.write(entry(1, "old\n"))
    assert printed(store, capfd, "-f", "--until=1s").out == "old\n"
    process.kill()
    process.wait()


def test_follow_of_a_stopped_container_ends_at_once(store, web, capfd):
    records.save_state(web, status="exited")
    assert printed(store, capfd, "-f").out == "one\nthree\nfour"


def test_reader_that_went_away_ends_quietly(store, web):
    code = "from rootless._entry import console; console()"
    command = [sys.executable, "-c", code, "--root", store.paths.store, "logs", "web"]
    read, write = os.pipe()
    os.close(read)
    result = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, check=False)
    os.close(write)
    assert result.stderr == b""
    assert result.returncode == 141


NOW = 1_000_000 * SECOND


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("0", 0),
        ("1136073600", 1136073600 * SECOND),
        ("1136073600.000000001", 1136073600 * SECOND + 1),
        ("1136073600.5", 1136073600 * SECOND + SECOND // 2),
        ("10s", NOW - 10 * SECOND),
        ("1h30m", NOW - 5400 * SECOND),
        ("1.5h", NOW - 5400 * SECOND),
        ("100ms", NOW - SECOND // 10),
        ("-10s", NOW + 10 * SECOND),
        (".5s", NOW - SECOND // 2),
        ("1m1us1ns", NOW - 60 * SECOND - 1001),
        ("2013-01-02Z", 1357084800 * SECOND),
        ("2013-01-02T13Z", 1357131600 * SECOND),
        ("2013-01-02T13:23Z", 1357132980 * SECOND),
        ("2013-01-02+02:00", 1357077600 * SECOND),
        ("2013-01-02T13:23:37Z", 1357133017 * SECOND),
        ("2013-01-02T13:23:37.000000001Z", 1357133017 * SECOND + 1),
        ("2013-01-02T15:23:37+02:00", 1357133017 * SECOND),
    ],
)
def test_moment(text, moment):
    assert parse_moment(text, option="--since", now_ns=NOW) == moment


def test_moment_without_a_zone_is_local(monkeypatch):
    monkeypatch.setenv("TZ", "UTC-2")
    time.tzset()
    try:
        assert parse_moment("2013-01-02T15:23:37", option="--since", now_ns=NOW) == 1357133017 * SECOND
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.parametrize("text", ["", "x", "1d", "h", "10 m", "2013-13-01", "９s", "1" * 40, "-1", "m5"])
def test_bad_moment_is_a_usage_error(text):
    with pytest.raises(UsageError, match="not a point in time"):
        parse_moment(text, option="--since", now_ns=NOW)
