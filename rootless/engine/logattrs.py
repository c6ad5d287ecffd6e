"""What a container's log says of the container with each line: --log-opt labels, env and tag. Pure; ring 1.

Docker's `daemon/logger/loginfo.go` and `templates` name what can be asked for.
"""

from __future__ import annotations

import re

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from rootless.model.spec import ContainerSpec

_FIELD = re.compile(r"\{\{\s*\.(\w*)\s*\}\}")
_BRACES = re.compile(r"\{\{|\}\}")
_TAG_FIELDS = ("ID", "FullID", "Name", "ImageID", "ImageFullID", "ImageName", "DaemonName")


def log_attributes(spec: ContainerSpec) -> dict[str, str]:
    """Return the attributes of each line, {} for none."""
    options = dict(option.partition("=")[::2] for option in spec.log.options)
    chosen = dict(_choose(spec.labels, options, "labels"))
    chosen |= _choose(spec.process.env, options, "env")
    if options.get("tag"):
        chosen["tag"] = _expand_tag(options["tag"], spec)
    return chosen


def tag_problem(template: str) -> str:
    """Say why a tag cannot be made, "" when it can."""
    for name in _FIELD.findall(template):
        if name not in _TAG_FIELDS:
            return f"unknown field: .{name}"
    return "not a field" if _BRACES.search(_FIELD.sub("", template)) else ""


def _choose(entries: Iterable[str], options: dict[str, str], option: str) -> Iterator[tuple[str, str]]:
    """Yield the "NAME=value" entries that an option names, or that match its -regex form."""
    names = options.get(option, "").split(",")
    pattern = re.compile(options[f"{option}-regex"]) if options.get(f"{option}-regex") else None
    for entry in entries:
        name, _, value = entry.partition("=")
        if name in names or (pattern is not None and pattern.search(name)):
            yield name, value


def _expand_tag(template: str, spec: ContainerSpec) -> str:
    image = spec.image_id.partition(":")[2]
    fields = {
        "ID": spec.id[:12],
        "FullID": spec.id,
        "Name": spec.name,
        "ImageID": image[:12],
        "ImageFullID": spec.image_id,
        "ImageName": spec.image,
        "DaemonName": "rootless",
    }
    return _FIELD.sub(lambda match: fields.get(match[1], ""), template)
