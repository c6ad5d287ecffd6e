"""Options that limit what a container may use, shared by `run`, `create` and `update`. Pure; ring 1.

Checks are Docker's (moby daemon/daemon_unix.go, verifyPlatformContainerResources). What the limits mean on
this host is decided in `engine.limits`.
"""

from __future__ import annotations

from rootless.cli.args import INT, Option, bad_value
from rootless.cli.values import parse_size
from rootless.errors import UsageError
from rootless.model.policy import Limits, parse_cpuset

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from rootless.cli.args import Parsed

LIVE_OPTIONS = (
    Option("--memory", "-m", metavar="bytes", help="Memory limit"),
    Option("--memory-reservation", metavar="bytes", help="Memory soft limit"),
    Option(
        "--memory-swap",
        metavar="bytes",
        help="Swap limit equal to memory plus swap: -1 to enable unlimited swap",
    ),
    Option("--cpus", metavar="decimal", help="Number of CPUs"),
    Option("--cpu-period", kind=INT, help="Length of the time slices of --cpu-quota, in microseconds"),
    Option("--cpu-quota", kind=INT, help="Time that may be used in each period, in microseconds"),
    Option("--cpu-shares", "-c", kind=INT, help="CPU shares (relative weight)"),
    Option("--cpuset-cpus", help="CPUs in which to allow execution (0-3, 0,1)"),
    Option("--pids-limit", kind=INT, help="Tune container pids limit (set -1 for unlimited)"),
)
"""Those that `update` can change."""

OPTIONS = (
    *LIVE_OPTIONS,
    Option("--oom-score-adj", kind=INT, help="Tune host's OOM preferences (-1000 to 1000)"),
    Option(
        "--limits",
        default="best",
        choices=("best", "require"),
        help="What to do where a limit cannot be enforced: come as close as possible, or refuse",
    ),
)

_MIN_MEMORY = 6 << 20
_MIN_CPUS = 10
_PERIOD_US = 100_000


def parse_limits(parsed: Parsed, *, online: int) -> Limits:
    """Return the limits of a `run` command line.

    Args:
        online: number of CPUs of this host, which cannot be exceeded.
    Raises:
        UsageError: names the option, its value and the reason.
    """
    base = Limits(oom_score_adj=_oom_score(parsed), required=parsed.text("limits") == "require")
    return change_limits(parsed, base, online=online)


def change_limits(parsed: Parsed, base: Limits, *, online: int) -> Limits:
    """Return `base` with what a command line of LIVE_OPTIONS says; what it does not name keeps its value.

    Raises:
        UsageError: a value is wrong, or does not fit the others.
    """
    changes: dict[str, Any] = {}
    for option, field in (
        ("memory", "memory_bytes"),
        ("memory-reservation", "memory_reservation_bytes"),
        ("memory-swap", "memory_swap_bytes"),
    ):
        if parsed.given(option):
            changes[field] = _size(parsed, option)
    if parsed.given("cpus") or parsed.given("cpu-quota"):
        changes["cpus"] = _cpus(parsed, online=online)
    if parsed.given("cpu-shares"):
        changes["cpu_shares"] = _not_negative(parsed, "cpu-shares")
    if parsed.given("cpuset-cpus"):
        changes["cpuset_cpus"] = parsed.text("cpuset-cpus")
        _check_cpuset(parsed.text("cpuset-cpus"), online=online)
    if parsed.given("pids-limit"):
        changes["pids"] = parsed.number("pids-limit") or -1
    limits: Limits = base.replace(**changes)
    _check_memory(limits)
    return limits


def _size(parsed: Parsed, option: str) -> int:
    text = parsed.text(option)
    if option == "memory-swap" and text == "-1":
        return -1
    size = parse_size(text, option=f"--{option}")
    if option != "memory-swap" and 0 < size < _MIN_MEMORY:
        raise bad_value(f"--{option}", text, "below the minimum of 6 MB")
    return size


def _check_memory(limits: Limits) -> None:
    memory, swap = limits.memory_bytes, limits.memory_swap_bytes
    if swap > 0 and not memory:
        raise UsageError("cannot use --memory-swap alone", hint="it counts memory and swap: add --memory")
    if 0 < swap < memory:
        raise UsageError(
            "cannot use a --memory-swap below --memory", hint="it counts memory and swap together"
        )
    if memory and limits.memory_reservation_bytes > memory:
        raise UsageError("cannot use a --memory-reservation above --memory", hint="reserve less")


def _cpus(parsed: Parsed, *, online: int) -> int:
    """Return thousandths of a CPU from --cpus, or from --cpu-quota and --cpu-period."""
    if parsed.given("cpus"):
        for option in ("cpu-quota", "cpu-period"):
            if parsed.given(option):
                raise UsageError(f"conflicting options: --cpus and --{option}", hint="leave one of them out")
        text, option = parsed.text("cpus"), "--cpus"
        cpus = _thousandths(text)
    else:
        quota, period = parsed.number("cpu-quota") or 0, parsed.number("cpu-period") or _PERIOD_US
        text, option = str(quota), "--cpu-quota"
        if period < 1000 or period > 1_000_000:
            raise bad_value("--cpu-period", str(period), "not between 1000 and 1000000 microseconds")
        cpus = max(quota, 0) * 1000 // period
    if cpus > online * 1000 or 0 < cpus < _MIN_CPUS:
        raise bad_value(option, text, f"this host has {online} CPUs", hint=f"from 0.01 to {online} CPUs")
    return cpus


def _thousandths(text: str) -> int:
    whole, point, fraction = text.partition(".")
    digits = (whole or "0") + (fraction if point else "")
    if not (digits.isascii() and digits.isdigit() and len(text) < 16) or text == ".":
        raise bad_value("--cpus", text, "not a number", hint="for example 1.5")
    return int((whole or "0") + fraction.ljust(3, "0")[:3])


def _not_negative(parsed: Parsed, option: str) -> int:
    number = parsed.number(option) or 0
    if number < 0:
        raise bad_value(f"--{option}", str(number), "negative")
    return number


def _check_cpuset(text: str, *, online: int) -> None:
    try:
        numbers = parse_cpuset(text) if text else frozenset()
    except ValueError:
        raise bad_value("--cpuset-cpus", text, "not a list of CPUs", hint="for example 0-3 or 0,2") from None
    if numbers and max(numbers) >= online:
        raise bad_value("--cpuset-cpus", text, f"this host has CPUs 0 to {online - 1}")


def _oom_score(parsed: Parsed) -> int | None:
    score = parsed.number("oom-score-adj")
    if score is not None and not -1000 <= score <= 1000:
        raise bad_value("--oom-score-adj", str(score), "not between -1000 and 1000")
    return score
