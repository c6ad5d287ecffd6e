"""What the results of health checks mean, and where they are kept."""

import os
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from layers import jsontext
from rootless.engine import health
from rootless.engine.health import HEALTHY, MAX_RESULTS, STARTING, UNHEALTHY, Health, Result, judge, pause_ns
from rootless.engine.health_probe import Output
from rootless.model.policy import Healthcheck
from tests.helpers.store import Store

SECOND = 10**9
CHECK = Healthcheck(
    test=("CMD", "x"),
    interval_ns=30 * SECOND,
    retries=2,
    start_period_ns=10 * SECOND,
    start_interval_ns=SECOND,
)


def result(code, *, output=""):
    return Result(start_ns=1, end_ns=2, exit_code=code, output=output)


def after(*steps, check=CHECK):
    """Return the health after checks, each (age of the container in seconds, exit code)."""
    found = Health()
    for age, code in steps:
        found = judge(found, result(code), check, age_ns=age * SECOND)
    return found.status, found.failing_streak


@pytest.mark.parametrize(
    ("steps", "status", "streak"),
    [
        ([], STARTING, 0),
        ([(1, 0)], HEALTHY, 0),
        ([(1, 1)], STARTING, 0),
        ([(1, 1), (2, 1), (9, 1)], STARTING, 0),
        ([(9, 1), (10, 1)], STARTING, 1),
        ([(9, 1), (10, 1), (11, 1)], UNHEALTHY, 2),
        ([(11, -1), (12, 137)], UNHEALTHY, 2),
        ([(1, 0), (2, 1)], HEALTHY, 1),  # a success ends the start period
        ([(1, 0), (2, 1), (3, 2)], UNHEALTHY, 2),
        ([(1, 0), (2, 1), (3, 0), (4, 1)], HEALTHY, 1),
        ([(11, 1), (12, 1), (13, 1)], UNHEALTHY, 3),
        ([(11, 1), (12, 1), (13, 0)], HEALTHY, 0),
    ],
)
def test_results_in_a_row(steps, status, streak):
    assert after(*steps) == (status, streak)


def test_without_a_start_period_every_failure_counts():
    check = CHECK.replace(start_period_ns=0)
    assert after((0, 1), (0, 1), check=check) == (UNHEALTHY, 2)


@given(st.lists(st.tuples(st.integers(0, 20), st.sampled_from((0, 1, -1)))))
def test_unhealthy_needs_as_many_failures_as_retries(steps):
    status, streak = after(*steps)
    assert (status == UNHEALTHY) == (streak >= CHECK.retries)
    assert streak <= len(steps)
    assert status != STARTING or all(code for _, code in steps)


def test_the_last_results_are_kept():
    found = Health()
    for code in range(9):
        found = judge(found, result(code), CHECK, age_ns=0)
    assert [kept.exit_code for kept in found.log] == list(range(9))[-MAX_RESULTS:]


@pytest.mark.parametrize(
    ("status", "age", "seconds"),
    [(STARTING, 0, 1), (STARTING, 9, 1), (STARTING, 10, 30), (HEALTHY, 0, 30), (UNHEALTHY, 5, 30)],
)
def test_checks_are_more_frequent_in_the_start_period(status, age, seconds):
    assert pause_ns(Health(status=status), CHECK, age_ns=age * SECOND) == seconds * SECOND


@pytest.fixture
def store(tmp_path, monkeypatch):
    (tmp_path / "run").mkdir(mode=0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "run"))
    return Store(str(tmp_path / "store"))


def test_health_is_kept_in_dockers_shape(store):
    web = store.add("web", healthcheck=CHECK)
    assert health.read(web) is None
    assert health.status_of(web) == ""
    health.save(web, Health(status=UNHEALTHY, failing_streak=2, log=(result(1, output="no\n"),)))
    assert health.status_of(web) == UNHEALTHY
    assert health.read(web) == {
        "Status": "unhealthy",
        "FailingStreak": 2,
        "Log": [
            {
                "Start": "1970-01-01T00:00:00.000000001Z",
                "End": "1970-01-01T00:00:00.000000002Z",
                "ExitCode": 1,
                "Output": "no\n",
            }
        ],
    }
    assert not [name for name in os.listdir(web.directory) if name.startswith(".")]


@pytest.mark.parametrize("text", ["", "{", "[]", "3", "\x00"])
def test_damaged_health_is_unknown(store, text):
    web = store.add("web", healthcheck=CHECK)
    with open(web.path("health.json"), "w") as file:
        file.write(text)
    assert health.read(web) is None


def test_container_without_a_check_has_no_health(store):
    web = store.add("web")
    health.save(web, Health(status=HEALTHY))
    assert health.read(web) is None
    assert health.start(store.paths, web, mapping=None) == 0


def test_what_cannot_be_saved_is_unknown_rather_than_old(store, monkeypatch):
    web = store.add("web", healthcheck=CHECK)
    health.save(web, Health(status=HEALTHY))

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(jsontext, "dumps", full)
    health.save(web, Health(status=UNHEALTHY))
    assert health.read(web) is None


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        (b"", ""),
        (b"ok\n", "ok\n"),
        (b"\xff", "�"),
        (b"x" * 4096, "x" * 4096),
        (b"x" * 4097, "x" * 4096 + "..."),
        (b"x" * 50_000, "x" * 4096 + "..."),
    ],
)
def test_output_is_bounded(written, kept):
    source, sink = os.pipe()
    output = Output(source)
    with open(sink, "wb") as file, ThreadPoolExecutor() as pool:
        pool.submit(lambda: (file.write(written), file.close()))  # the pipe may be a page long
        while output.source >= 0:
            output.read()
    assert output.close() == kept


def test_output_of_a_check_that_closed_it():
    source, sink = os.pipe()
    output = Output(source)
    os.write(sink, b"done")
    os.close(sink)
    output.read()
    output.read()
    assert output.source == -1
    assert output.close() == "done"
