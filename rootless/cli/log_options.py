"""--log-driver and --log-opt: where a container's output is kept, and for how long. Pure; ring 1."""

from __future__ import annotations

from rootless.cli import values
from rootless.cli.args import bad_value
from rootless.engine.logattrs import tag_problem
from rootless.model.policy import LogConfig

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rootless.cli.args import Parsed

DRIVERS = ("json-file", "k8s-file", "none")
_HINTS = {
    "local": "use json-file with --log-opt max-size=20m --log-opt max-file=5",
    "passthrough": "in the foreground, output is passed through whatever the driver",
}
_OTHER_HINT = "choose json-file, k8s-file or none; without -d the output can be piped into any logger"
_ATTRIBUTES = ("labels", "labels-regex", "env", "env-regex", "tag")
_UNNEEDED = ("compress", "mode", "max-buffer-size")
"""Docker's, without effect: rotated files stay as they are, and a log never blocks its container."""
_MOST_FILES = 1000


def parse_log(parsed: Parsed) -> LogConfig:
    """Return how the output is kept.

    Raises:
        UsageError: names the option, its value and the reason.
    """
    driver = parsed.text("log-driver") or "json-file"
    if driver not in DRIVERS:
        hint = _HINTS.get(driver, _OTHER_HINT)
        raise bad_value("--log-driver", driver, "not supported", hint=hint)
    sizes = {"max_size_bytes": 0, "max_files": 1}
    for text in parsed.texts("log-opt"):
        name, equals, value = text.partition("=")
        if name == "max-size" and equals:
            sizes["max_size_bytes"] = _max_size(text, value)
        elif name == "max-file" and equals:
            sizes["max_files"] = _max_files(text, value)
        elif name in _ATTRIBUTES and equals:
            _check_attribute(text, name, value, driver=driver)
        elif not (name in _UNNEEDED and equals):
            known = ", ".join(("max-size", "max-file", *_ATTRIBUTES))
            raise bad_value("--log-opt", text, "unknown", hint=f"write NAME=VALUE; known: {known}")
    return LogConfig(driver=driver, options=parsed.texts("log-opt"), **sizes)


def notices(parsed: Parsed) -> list[str]:
    """Return a line about what was taken and has no effect."""
    compressed = ("compress=true", "compress=1")
    return [
        f"--log-opt {text} has no effect: rotated files stay as they are"
        for text in parsed.texts("log-opt")
        if text in compressed
    ]


def _max_size(text: str, value: str) -> int:
    if value == "-1":  # Docker's word for without end
        return 0
    size = values.parse_size(value, option="--log-opt max-size")
    if not size:
        raise bad_value("--log-opt", text, "it must be positive")
    return size


def _max_files(text: str, value: str) -> int:
    if not (value.isascii() and value.isdecimal() and 1 <= int(value[:9]) <= _MOST_FILES):
        raise bad_value("--log-opt", text, "not a number of files", hint=f"write 1 to {_MOST_FILES}")
    return int(value)


def _check_attribute(text: str, name: str, value: str, *, driver: str) -> None:
    if driver == "k8s-file":
        raise bad_value("--log-opt", text, "k8s-file has no place for it", hint="use json-file")
    if name == "tag" and (problem := tag_problem(value)):
        raise bad_value("--log-opt", text, problem, hint="for example tag={{.Name}}/{{.ID}}")
    if name.endswith("-regex"):
        import re  # 2 ms for the few that use it

        try:
            re.compile(value)
        except re.error as exc:
            raise bad_value("--log-opt", text, f"not a regular expression: {exc}") from exc
