"""`rootless events`: tell what happens to containers, images and volumes, as it happens. Ring 1."""

from __future__ import annotations

import sys
import time

from rootless.cli import output
from rootless.cli.args import LIST, Command, Option
from rootless.engine import event_reader, events
from rootless.errors import UsageError
from rootless.paths import find_paths

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    from rootless._entry import GlobalOptions
    from rootless.cli.args import Parsed
    from rootless.engine.event_reader import Event

_FILTERS = ("container", "event", "image", "label", "scope", "type", "volume")

TABLE = Command(
    "events",
    "[OPTIONS]",
    "Get real time events from the store",
    options=(
        Option("--filter", "-f", kind=LIST, metavar="filter", help="Filter output based on conditions"),
        Option("--format", help="Format output using a custom template: 'json', or a Go template"),
        Option("--since", help="Show all events created since timestamp, or relative (e.g. 42m)"),
        Option("--until", help="Stream events until this timestamp, or relative (e.g. 42m)"),
    ),
    max_positionals=0,
)


def main(argv: list[str], options: GlobalOptions) -> int:
    """Print a line for each event; without --until that goes on until a signal or a closed pipe ends it."""
    parsed = TABLE.parse(argv)
    since_ns, until_ns = _window(parsed, now_ns=time.time_ns())
    is_wanted = make_test(output.parse_filters(parsed.texts("filter"), known=_FILTERS))
    render = _renderer(parsed.text("format"))
    paths = find_paths(options.root)
    paths.ensure()
    for event in event_reader.read(paths, since_ns=since_ns, until_ns=until_ns):
        if is_wanted(event):
            output.write(render(event) + "\n")
            if sys.stdout is not None:
                sys.stdout.flush()
    return 0


def text_line(event: Event) -> str:
    """Return an event as Docker shows it: moment, type, action, id, and the attributes by name."""
    actor = event["Actor"]
    attributes = ", ".join(f"{name}={value}" for name, value in sorted(actor["Attributes"].items()))
    line = f"{_local_time(event['timeNano'])} {event['Type']} {event['Action']} {actor['ID']}"
    return f"{line} ({attributes})" if attributes else line


def make_test(filters: Mapping[str, Sequence[str]]) -> Callable[[Event], bool]:
    """Return what tells whether an event is wanted: values of one filter are alternatives, labels are not."""
    tests: dict[str, Callable[[Event, str], bool]] = {
        "container": _is_of_container,
        "event": lambda e, value: value in (e["Action"], e["Action"].partition(":")[0]),
        "image": _is_of_image,
        "scope": lambda e, value: value == e.get("scope", "local"),
        "type": lambda e, value: value == e["Type"],
        "volume": lambda e, value: [events.VOLUME, value] == [e["Type"], e["Actor"]["ID"]],
    }

    def is_wanted(event: Event) -> bool:
        return all(
            (all if name == "label" else any)(tests.get(name, _has_label)(event, value) for value in values)
            for name, values in filters.items()
        )

    return is_wanted


def _is_of_container(event: Event, value: str) -> bool:
    """Compare with the name, or with a beginning of the id."""
    actor = event["Actor"]
    is_named: bool = actor["Attributes"].get("name") == value or actor["ID"].startswith(value)
    return is_named and event["Type"] == events.CONTAINER


def _is_of_image(event: Event, value: str) -> bool:
    """Compare with the image of a container, or with an image's name or id; the tag may be left out."""
    actor = event["Actor"]
    names = [actor["Attributes"].get("image", "")]
    if event["Type"] == events.IMAGE:
        names = [actor["ID"], actor["Attributes"].get("name", "")]
    return value in names or value in map(_without_tag, names)


def _without_tag(name: str) -> str:
    head, colon, tag = name.rpartition(":")
    return head if colon and "/" not in tag else name


def _has_label(event: Event, text: str) -> bool:
    name, equals, value = text.partition("=")
    found: str | None = event["Actor"]["Attributes"].get(name)
    return found is not None and (not equals or found == value)


def _window(parsed: Parsed, *, now_ns: int) -> tuple[int | None, int | None]:
    """Return the bounds; with an end and no beginning, all that is recorded is shown."""
    from rootless.cli.moments import parse_moment  # compiles expressions

    bounds = [
        parse_moment(parsed.text(name), option=f"--{name}", now_ns=now_ns) if parsed.given(name) else None
        for name in ("since", "until")
    ]
    since_ns, until_ns = bounds
    if since_ns is not None and until_ns is not None and until_ns < since_ns:
        raise UsageError(
            "invalid arguments: --since is later than --until", hint="durations are counted back from now"
        )
    return 0 if since_ns is None and until_ns is not None else since_ns, until_ns


def _renderer(form: str) -> Callable[[Event], str]:
    if not form:
        return text_line
    import json

    if form == "json":
        return lambda event: json.dumps(event, ensure_ascii=False, separators=(",", ":"))
    from rootless.cli.template import Template

    template = Template(form.replace("\\t", "\t").replace("\\n", "\n"))
    return lambda event: template.render(_fields(event))


def _fields(event: Event) -> dict[str, Any]:
    """Return what a template can name: moby's Message, with the fields of older versions."""
    actor = event["Actor"]
    return {
        "Type": event["Type"],
        "Action": event["Action"],
        "Actor": actor,
        "Scope": event.get("scope", "local"),
        "Time": event["timeNano"] // 10**9,
        "TimeNano": event["timeNano"],
        "Status": event["Action"],
        "ID": actor["ID"],
        "From": actor["Attributes"].get("image", ""),
    }


def _local_time(time_ns: int) -> str:
    """Return RFC 3339 with nine digits of a second and the offset of this host's time zone."""
    seconds, nanoseconds = divmod(time_ns, 10**9)
    try:
        local = time.localtime(seconds)
    except (OverflowError, OSError):  # a journal that somebody else has written
        return str(time_ns)
    minutes = local.tm_gmtoff // 60
    offset = f"{'-' if minutes < 0 else '+'}{abs(minutes) // 60:02}:{abs(minutes) % 60:02}"
    return time.strftime("%Y-%m-%dT%H:%M:%S", local) + f".{nanoseconds:09}" + (offset if minutes else "Z")
