"""The grammars of single option values: sizes, signals, limits, environment files, devices. Pure; ring 1."""

from __future__ import annotations

import os

from rootless.cli.args import bad_value
from rootless.errors import UsageError
from rootless.model.policy import RestartPolicy
from rootless.model.spec import Device, Ulimit

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_BINARY_UNITS = {"": 0, "k": 10, "m": 20, "g": 30, "t": 40, "p": 50}
_ULIMITS = frozenset(
    (
        "as",
        "core",
        "cpu",
        "data",
        "fsize",
        "locks",
        "memlock",
        "msgqueue",
        "nice",
        "nofile",
        "nproc",
        "rss",
        "rtprio",
        "rttime",
        "sigpending",
        "stack",
    )
)
_DEFAULT_DETACH_KEYS = "ctrl-p,ctrl-q"
_CTRL_KEYS = "abcdefghijklmnopqrstuvwxyz@[\\]^_"


def parse_size(text: str, *, option: str) -> int:
    """Return bytes of "64m", "1.5g", "100KiB": units are powers of 1024 (go-units RAMInBytes)."""
    digits = text.rstrip("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
    unit = text[len(digits) :].lower()
    number = digits.removesuffix(" ")
    unit = unit.removesuffix("b").removesuffix("i") if unit != "i" else unit
    whole, point, fraction = number.partition(".")
    if unit not in _BINARY_UNITS or not _is_decimal(whole) or not _is_decimal(fraction if point else "0"):
        raise bad_value(option, text, "not a size", hint="write a number and b, k, m or g, for example 64m")
    return int(float(f"{whole}.{fraction or 0}") * (1 << _BINARY_UNITS[unit]))


def parse_signal(text: str, *, option: str) -> int:
    """Return the number of "SIGTERM", "term", "15" or "RTMIN+3"."""
    import signal  # only for those who name one

    name = text.upper().removeprefix("SIG")
    if _is_decimal(name):
        number = int(name)
    elif name.startswith(("RTMIN+", "RTMAX-")) and _is_decimal(name[6:]):
        offset = int(name[6:])
        number = signal.SIGRTMIN + offset if name[2:5] == "MIN" else signal.SIGRTMAX - offset
    else:
        number = int(getattr(signal.Signals, "SIG" + name, 0))
    if 1 <= number <= signal.SIGRTMAX:
        return number
    raise bad_value(
        option, text, "no such signal", hint="write a name or a number, for example SIGTERM or 15"
    )


def parse_ulimit(text: str) -> Ulimit:
    """Return one --ulimit: NAME=SOFT[:HARD], -1 or "unlimited" for none."""
    name, equals, limits = text.partition("=")
    soft_text, colon, hard_text = limits.partition(":")
    if name in _ULIMITS and not equals:
        raise bad_value("--ulimit", text, "the limit is missing", hint=f"for example {name}=1024:2048")
    if name not in _ULIMITS:
        known = ", ".join(sorted(_ULIMITS))
        raise bad_value("--ulimit", text, f"no such limit: {name}", hint=f"write NAME=SOFT[:HARD]; {known}")
    soft = _parse_limit(soft_text, text=text)
    hard = _parse_limit(hard_text, text=text) if colon else soft
    if hard != -1 and (soft == -1 or soft > hard):
        raise bad_value("--ulimit", text, "the soft limit is above the hard limit")
    return Ulimit(name=name, soft=soft, hard=hard)


def parse_umask(text: str) -> int:
    if text and len(text) <= 4 and not set(text) - set("01234567"):
        return int(text, 8) & 0o777
    raise bad_value("--umask", text, "not an octal number", hint="for example 0022")


def parse_device(text: str) -> Device:
    """Return one --device: SOURCE[:TARGET][:PERMISSIONS], permissions of r, w and m."""
    source, *rest = text.split(":")
    permissions = rest.pop() if rest and _is_permissions(rest[-1]) else "rwm"
    target = rest.pop() if rest else source
    if rest or not _is_absolute(source) or not _is_absolute(target):
        raise bad_value("--device", text, "not a device", hint="write /dev/SOURCE[:/dev/TARGET][:rwm]")
    return Device(source=source, target=os.path.normpath(target), permissions=permissions)


def parse_detach_keys(text: str) -> bytes:
    """Return the bytes of "ctrl-p,ctrl-q" or "a,b"; b"" for "", which switches detaching off."""
    keys = bytearray()
    for key in text.split(",") if text else ():
        if len(key) == 1 and key.isascii():
            keys += key.encode()
        elif len(key) == 6 and key.startswith("ctrl-") and key[5] in _CTRL_KEYS:
            keys.append(ord(key[5].upper()) & 0x1F)
        else:
            raise bad_value("--detach-keys", text, f"no such key: {key}", hint="write ctrl-a or one letter")
    return bytes(keys)


def default_detach_keys() -> bytes:
    return parse_detach_keys(_DEFAULT_DETACH_KEYS)


def expand_env(
    values: Iterable[str], *, environment: Mapping[str, str], option: str
) -> list[tuple[str, str | None]]:
    """Return (name, value) of each `-e`; NAME alone copies from the caller, None where it has none.

    Docker takes a None out of the image's environment (daemon/container/env.go).
    """
    pairs: list[tuple[str, str | None]] = []
    for text in values:
        name, equals, value = text.partition("=")
        if not name or "\0" in text:
            raise bad_value(option, text, "invalid environment variable", hint="write NAME=VALUE or NAME")
        pairs.append((name, value if equals else environment.get(name)))
    return pairs


def parse_env_file(text: str, *, path: str) -> list[str]:
    """Return the entries of an --env-file, "NAME=value" or "NAME" (docker/cli: pkg/kvfile).

    Values keep everything after the first "=": quotes and "#" are not special, only leading blanks of the
    line are dropped.
    """
    entries = []
    for number, line in enumerate(text.removeprefix("\ufeff").split("\n"), start=1):
        entry = line.removesuffix("\r").lstrip()
        if not entry or entry.startswith("#"):
            continue
        name = entry.partition("=")[0]
        if not name or "\0" in entry or any(c.isspace() for c in name):
            why = "contains white space" if name else "is missing"
            raise UsageError(
                f"cannot read the environment file: the variable name on line {number} {why}",
                on=path,
                hint="write NAME=VALUE or NAME, one a line",
            )
        entries.append(entry)
    return entries


def merge_labels(image: Mapping[str, str], entries: Iterable[str]) -> tuple[str, ...]:
    """Return "name=value" of the image's labels and the user's over them."""
    labels = dict(image)
    for text in entries:
        name, _, value = text.partition("=")
        if not name:
            raise bad_value("--label", text, "a label needs a name", hint="write NAME=VALUE or NAME")
        labels[name] = value
    return tuple(f"{name}={value}" for name, value in labels.items())


def _parse_limit(number: str, *, text: str) -> int:
    if number in ("-1", "unlimited"):
        return -1
    if not _is_decimal(number):
        raise bad_value("--ulimit", text, "a limit is not a number", hint="write NAME=SOFT[:HARD]")
    return int(number)


def _is_decimal(text: str) -> bool:
    # int() would also take other scripts' digits, "1_0" and " 1"; 18 digits fit the kernel's 64 bits
    return text.isascii() and text.isdecimal() and len(text) <= 18


def _is_permissions(text: str) -> bool:
    return bool(text) and not set(text) - set("rwm")


def _is_absolute(path: str) -> bool:
    return path.startswith("/") and "\0" not in path


def parse_restart(text: str) -> RestartPolicy:
    """Parse --restart: "no", "always", "unless-stopped", "on-failure" or "on-failure:N".

    Raises:
        UsageError: it is none of them.
    """
    name, colon, count = text.partition(":")
    known = ("no", "always", "unless-stopped", "on-failure")
    if name in ("", *known) and not colon:
        return RestartPolicy(name=name or "no")
    if name == "on-failure" and count.isascii() and count.isdecimal() and len(count) < 10:
        return RestartPolicy(name=name, max_retries=int(count))
    raise bad_value(
        "--restart", text, "not a restart policy", hint=f"write {', '.join(known)} or on-failure:TIMES"
    )
