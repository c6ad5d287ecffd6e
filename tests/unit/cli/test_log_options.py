"""--log-driver and --log-opt."""

import pytest

from rootless.cli.log_options import notices, parse_log
from rootless.cli.run_table import TABLE
from rootless.errors import UsageError
from rootless.model.policy import LogConfig


def parse(*words):
    return parse_log(TABLE.parse([*words, "image"]))


def opts(*options):
    return [f"--log-opt={option}" for option in options]


def test_default_is_one_json_file_without_bounds():
    assert parse() == LogConfig(driver="json-file", max_size_bytes=0, max_files=1, options=())


@pytest.mark.parametrize("driver", ["json-file", "k8s-file", "none"])
def test_known_drivers(driver):
    assert parse(f"--log-driver={driver}").driver == driver


@pytest.mark.parametrize(
    ("driver", "hint"),
    [("local", "max-size=20m"), ("journald", "json-file"), ("syslog", "piped"), ("x", "none")],
)
def test_other_drivers_are_refused_with_a_way_out(driver, hint):
    with pytest.raises(UsageError, match="not supported") as caught:
        parse(f"--log-driver={driver}")
    assert hint in caught.value.hint


def test_rotation_and_what_to_say_of_each_line():
    options = (
        "max-size=10m",
        "max-file=3",
        "labels=a,b",
        "env-regex=^X",
        "tag={{.Name}}",
        "mode=non-blocking",
    )
    found = parse(*opts(*options))
    assert (found.max_size_bytes, found.max_files, found.options) == (10 << 20, 3, options)
    assert parse(*opts("max-size=-1")).max_size_bytes == 0


@pytest.mark.parametrize(
    ("option", "why"),
    [
        ("max-size=ten", "not a size"),
        ("max-size=0", "must be positive"),
        ("max-size", "unknown"),
        ("max-file=0", "not a number of files"),
        ("max-file=-1", "not a number of files"),
        ("max-file=1001", "not a number of files"),
        ("max-file=٣", "not a number of files"),
        ("syslog-address=x", "unknown"),
        ("tag={{.Nonsense}}", "unknown field: .Nonsense"),
        ("env-regex=(", "not a regular expression"),
    ],
)
def test_bad_options_are_refused(option, why):
    with pytest.raises(UsageError, match=why):
        parse(*opts(option))


@pytest.mark.parametrize("option", ["tag=x", "labels=x", "env=x"])
def test_k8s_file_has_no_place_for_attributes(option):
    with pytest.raises(UsageError, match="no place"):
        parse("--log-driver=k8s-file", *opts(option))


def test_compression_is_taken_with_a_notice():
    assert notices(TABLE.parse([*opts("compress=false", "max-size=1m"), "image"])) == []
    (line,) = notices(TABLE.parse([*opts("compress=true"), "image"]))
    assert "compress=true has no effect" in line
