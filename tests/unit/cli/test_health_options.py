"""How HEALTHCHECK of an image and the options make one check."""

import json

import pytest

from layers.config import parse_config
from rootless.cli import health_options
from rootless.cli.run_table import TABLE
from rootless.errors import UsageError
from rootless.model.policy import Healthcheck

SECOND = 10**9


def config_json(**config):
    return json.dumps({"config": config, "rootfs": {"type": "layers", "diff_ids": []}}).encode()


def parse(*words, healthcheck=None, shell=None):
    config = parse_config(config_json(Healthcheck=healthcheck, Shell=shell))
    parsed = TABLE.parse([*words, "image"])
    health_options.check_conflicts(parsed)
    return health_options.parse_healthcheck(parsed, config)


def test_nothing_said_is_no_check():
    assert parse() == parse("--health-interval=1s") == Healthcheck()
    assert parse().test == ()


def test_option_makes_a_check_with_dockers_defaults():
    assert parse("--health-cmd", "curl -f localhost") == Healthcheck(
        test=("CMD-SHELL", "curl -f localhost"),
        interval_ns=30 * SECOND,
        timeout_ns=30 * SECOND,
        retries=3,
        start_period_ns=0,
        start_interval_ns=5 * SECOND,
    )


IMAGE = {"Test": ["CMD", "check"], "Interval": SECOND, "Retries": 7, "StartPeriod": 2 * SECOND}


def test_image_is_followed_where_no_option_says_else():
    assert parse(healthcheck=IMAGE) == Healthcheck(
        test=("CMD", "check"), interval_ns=SECOND, retries=7, start_period_ns=2 * SECOND
    )
    words = ("--health-retries=1", "--health-timeout=1m30s", "--health-start-period=0s", "--health-cmd=x y")
    assert parse(*words, healthcheck=IMAGE) == Healthcheck(
        test=("CMD-SHELL", "x y"),
        interval_ns=SECOND,
        timeout_ns=90 * SECOND,
        retries=1,
        start_period_ns=2 * SECOND,
    )
    assert parse("--health-start-interval=200ms", healthcheck=IMAGE).start_interval_ns == SECOND // 5


@pytest.mark.parametrize(
    "healthcheck", [{}, {"Test": []}, {"Test": ["NONE"]}, {"Test": ["CMD"]}, {"Test": ["X", "y"]}]
)
def test_image_without_a_check(healthcheck):
    assert parse(healthcheck=healthcheck) == Healthcheck()


def test_no_healthcheck_switches_the_images_off():
    assert parse("--no-healthcheck", healthcheck=IMAGE) == Healthcheck()
    assert parse("--no-healthcheck=false", healthcheck=IMAGE).test == ("CMD", "check")


def test_shell_of_the_image_runs_text():
    found = parse(healthcheck={"Test": ["CMD-SHELL", "x y"]}, shell=["/bin/bash", "-ec"])
    assert found.test == ("CMD", "/bin/bash", "-ec", "x y")


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("--no-healthcheck", "--health-cmd=x"), "--no-healthcheck and --health-cmd"),
        (("--health-retries=2", "--no-healthcheck"), "--no-healthcheck and --health-retries"),
        (("--health-interval=soon",), "not a length of time"),
        (("--health-interval=10",), "not a length of time"),
        (("--health-timeout=-1s",), "cannot be negative"),
        (("--health-interval=999us",), "less than 1ms"),
        (("--health-retries=-1",), "cannot be negative"),
    ],
)
def test_bad_options_are_refused(words, why):
    with pytest.raises(UsageError, match=why):
        parse(*words)
