"""HEALTHCHECK of an image, changed by --health-* and --no-healthcheck. Pure; ring 1.

Merged as Docker does (docker/cli opts.go, moby daemon/commit.go): what is not said comes from the image.
"""

from __future__ import annotations

from rootless.cli.args import bad_value
from rootless.cli.durations import parse_duration
from rootless.errors import UsageError
from rootless.model.policy import Healthcheck

TYPE_CHECKING = False
if TYPE_CHECKING:
    from layers.config import ImageConfig
    from rootless.cli.args import Parsed

_TIMES = {
    "health-interval": "interval_ns",
    "health-timeout": "timeout_ns",
    "health-start-period": "start_period_ns",
    "health-start-interval": "start_interval_ns",
}
_SHORTEST_NS = 1_000_000
"""Docker's: a check that is run more often would do nothing else."""


def check_conflicts(parsed: Parsed) -> None:
    """Refuse what --no-healthcheck contradicts, and malformed times.

    Raises:
        UsageError: names the option.
    """
    given = [option for option in ("health-cmd", "health-retries", *_TIMES) if parsed.given(option)]
    if parsed.flag("no-healthcheck") and given:
        raise UsageError(
            f"conflicting options: --no-healthcheck and --{given[0]}", hint="leave one of them out"
        )
    _settings(parsed)


def parse_healthcheck(parsed: Parsed, image: ImageConfig) -> Healthcheck:
    """Return how the container is checked; its `test` is () when it is not."""
    base = image.healthcheck
    test = base.test if base is not None else ()
    if parsed.text("health-cmd"):
        test = ("CMD-SHELL", parsed.text("health-cmd"))
    if parsed.flag("no-healthcheck") or test[:1] not in (("CMD",), ("CMD-SHELL",)) or len(test) < 2:
        return Healthcheck()
    if test[0] == "CMD-SHELL" and image.shell:
        test = ("CMD", *image.shell, test[1])
    inherited = {
        name: value
        for name in ("retries", *_TIMES.values())
        if base is not None and (value := getattr(base, name))
    }
    return Healthcheck(test=test, **(inherited | _settings(parsed)))


def _settings(parsed: Parsed) -> dict[str, int]:
    """Return the fields that the options set; 0 leaves them, as with Docker."""
    settings = {}
    for option, field in _TIMES.items():
        text = parsed.text(option)
        time_ns = parse_duration(text, option=f"--{option}") if text else 0
        if 0 < time_ns < _SHORTEST_NS:
            raise bad_value(f"--{option}", text, "it cannot be less than 1ms")
        settings[field] = time_ns
    retries = parsed.number("health-retries") or 0
    if retries < 0:
        raise bad_value("--health-retries", str(retries), "it cannot be negative")
    settings["retries"] = retries
    return {field: value for field, value in settings.items() if value}
