"""Grammars of single option values."""

import signal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rootless.cli import values
from rootless.errors import UsageError
from rootless.model.spec import Device, Ulimit


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("100", 100),
        ("1b", 1),
        ("64m", 64 << 20),
        ("64M", 64 << 20),
        ("64MB", 64 << 20),
        ("64MiB", 64 << 20),
        ("1.5g", 3 << 29),
        ("2 k", 2048),
        ("1t", 1 << 40),
    ],
)
def test_size(text, size):
    assert values.parse_size(text, option="--shm-size") == size


@pytest.mark.parametrize(
    "text", ["", "m", "-1", "1x", "1.m", "1i", "1.2.3", "٣", "1_0", "1  k", "0x10", "1bb", "9" * 30]
)
def test_bad_size_is_refused(text):
    with pytest.raises(UsageError, match="not a size"):
        values.parse_size(text, option="--shm-size")


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("SIGTERM", 15),
        ("term", 15),
        ("15", 15),
        ("SIGRTMIN+3", signal.SIGRTMIN + 3),
        ("RTMAX-1", signal.SIGRTMAX - 1),
        ("RTMIN", int(signal.SIGRTMIN)),
        ("64", 64),
    ],
)
def test_signal(text, number):
    assert values.parse_signal(text, option="--stop-signal") == number


@pytest.mark.parametrize(
    "text", ["", "0", "65", "-1", "SIGNOPE", "RTMIN+99", "RTMIN-1", "_DFL", "SIG_DFL", "１"]
)
def test_bad_signal_is_refused(text):
    with pytest.raises(UsageError, match="no such signal"):
        values.parse_signal(text, option="--stop-signal")


def test_ulimit():
    assert values.parse_ulimit("nofile=1024") == Ulimit(name="nofile", soft=1024, hard=1024)
    assert values.parse_ulimit("nofile=1:-1") == Ulimit(name="nofile", soft=1, hard=-1)
    assert values.parse_ulimit("core=unlimited") == Ulimit(name="core", soft=-1, hard=-1)


@pytest.mark.parametrize(
    "text", ["", "foo=1", "nofile", "nofile=", "nofile=a", "nofile=2:1", "nofile=-1:5", "nofile=1:2:3"]
)
def test_bad_ulimit_is_refused(text):
    with pytest.raises(UsageError, match="--ulimit"):
        values.parse_ulimit(text)


def test_device():
    assert values.parse_device("/dev/fuse") == Device(source="/dev/fuse", target="/dev/fuse")
    assert values.parse_device("/dev/a:r") == Device(source="/dev/a", target="/dev/a", permissions="r")
    assert values.parse_device("/dev/a:/dev/b:rw") == Device(
        source="/dev/a", target="/dev/b", permissions="rw"
    )


@pytest.mark.parametrize(
    "text", ["", "fuse", "/dev/a:b", "/dev/a:/b:x", "/a:/b:/c:r", "vendor.com/gpu=all", "/a::"]
)
def test_bad_device_is_refused(text):
    with pytest.raises(UsageError, match="--device"):
        values.parse_device(text)


@pytest.mark.parametrize(
    ("text", "keys"),
    [("ctrl-p,ctrl-q", b"\x10\x11"), ("a,b", b"ab"), ("ctrl-@", b"\0"), ("ctrl-[", b"\x1b"), ("", b"")],
)
def test_detach_keys(text, keys):
    assert values.parse_detach_keys(text) == keys


@pytest.mark.parametrize("text", ["ctrl-", "ctrl-1", "ab", "a,,b", "ctrl-P1", "ä"])
def test_bad_detach_keys_are_refused(text):
    with pytest.raises(UsageError, match="--detach-keys"):
        values.parse_detach_keys(text)


@pytest.mark.parametrize("text", ["", "8", "00222", "0x1", "-1"])
def test_bad_umask_is_refused(text):
    with pytest.raises(UsageError, match="--umask"):
        values.parse_umask(text)


def test_ulimit_without_a_value_is_not_called_unknown():
    with pytest.raises(UsageError, match="the limit is missing"):
        values.parse_ulimit("nofile")


@given(st.text())
def test_any_environment_file_is_entries_or_a_usage_error(text):
    try:
        entries = values.parse_env_file(text, path="x")
    except UsageError:
        return
    for entry in entries:
        name = entry.partition("=")[0]
        assert name
        assert "\n" not in entry
        assert "\0" not in entry
