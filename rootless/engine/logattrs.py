"""What a container's log says of the container with each line: --log-opt labels, env and tag. Pure; ring 1.

Docker's `daemon/logger/loginfo.go` and `templates` name what can be asked for.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from rootless.model.spec import ContainerSpec

_FIELD = r"\{\{\s*\.(\w*)\s*\}\}"
_BRACES = r"\{\{|\}\}"
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
    import re  # 2 ms, and few logs have tags

    for name in re.findall(_FIELD, template):
        if name not in _TAG_FIELDS:
            return f"unknown field: .{name}"
    return "not a field" if re.search(_BRACES, re.sub(_FIELD, "", template)) else ""


def _choose(entries: Iterable[str], options: dict[str, str], option: str) -> Iterator[tuple[str, str]]:
    """Yield the "NAME=value" entries that an option names, or that match its -regex form."""
    names = options.get(option, "").split(",")
    pattern = options.get(f"{option}-regex")
    for entry in entries:
        name, _, value = entry.partition("=")
        if name in names or (pattern and _matches(pattern, name)):
            yield name, value


def _matches(pattern: str, name: str) -> bool:
    import re  # as in `tag_problem`

    return re.search(pattern, name) is not None


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
    import re  # as in `tag_problem`

    return re.sub(_FIELD, lambda match: fields.get(match[1], ""), template)
