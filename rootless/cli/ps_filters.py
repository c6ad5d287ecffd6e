"""Which containers `ps --filter` picks, by Docker's rules. Ring 1."""

from __future__ import annotations

from rootless.cli import filters
from rootless.engine.describe import label_map
from rootless.errors import RootlessError, UsageError
from rootless.model import lifecycle
from rootless.model.names import SHORT_ID_LENGTH, find_container_id

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rootless.engine.records import Container
    from rootless.paths import Paths

    Filters = dict[str, list[str]]

KNOWN = (
    "ancestor",
    "before",
    "exited",
    "expose",
    "health",
    "id",
    "is-task",
    "label",
    "name",
    "network",
    "publish",
    "since",
    "status",
    "volume",
)
_HEALTHS = ("none", "starting", "healthy", "unhealthy")


def select(
    containers: Sequence[Container], *, wanted: Filters, everything: bool, last: int, paths: Paths
) -> list[Container]:
    """Return the containers to show.

    Args:
        containers: newest first.
        wanted: values of one name are alternatives, names are conditions that all must hold; labels
            must all hold (Docker's rules).
        last: show as many of the newest whatever their state; 0 or less does not limit.
        paths: where the images are that the filter "ancestor" names.
    """
    everything = everything or last > 0 or bool({"status", "exited"} & wanted.keys())
    tests = _make_tests(wanted, containers, paths)
    chosen = [
        container
        for container in containers
        if (everything or container.state.status in lifecycle.MINDED)
        and all(test(container) for test in tests)
    ]
    return chosen[:last] if last > 0 else chosen


def health_of(container: Container) -> str:
    """Return "starting", "healthy", "unhealthy", or "none" for a container that is not checked."""
    if not container.spec.healthcheck.test:
        return "none"
    from rootless.engine import health  # most containers have no check

    return health.status_of(container) or "none"


def _make_tests(
    wanted: Filters, containers: Sequence[Container], paths: Paths
) -> list[Callable[[Container], bool]]:
    makers = {
        "exited": _has_exited,
        "expose": lambda c, value: _has_port(c, value, "container_port"),
        "health": lambda c, value: health_of(c) == _known(value, "health", _HEALTHS),
        "id": lambda c, value: _found(value, "id", c.spec.id),
        "is-task": lambda c, value: not filters.boolean("is-task", value),  # of a swarm, which is none
        "name": lambda c, value: _found(value, "name", c.spec.name, "/" + c.spec.name),
        "network": lambda c, value: value in (c.state.network, c.spec.network.driver),
        "publish": lambda c, value: _has_port(c, value, "host_port"),
        "status": lambda c, value: c.state.status == _known(value, "status", lifecycle.STATUSES),
        "volume": lambda c, value: any(value in (m.source, m.target) for m in c.spec.mounts),
    }
    tests: list[Callable[[Container], bool]] = []
    for name, values in wanted.items():
        if name == "label":
            tests.append(lambda c, values=values: _has_labels(c, values))  # type: ignore[misc]
        elif name in ("before", "since"):
            tests.extend(_age_test(value, containers, before=name == "before") for value in values)
        elif name == "ancestor":
            chosen = [_ancestor_test(paths, value) for value in values]
            tests.append(lambda c, chosen=chosen: any(test(c) for test in chosen))  # type: ignore[misc]
        else:
            tests.append(_any_test(makers[name], values))
    return tests


def _any_test(test: Callable[[Container, str], bool], values: list[str]) -> Callable[[Container], bool]:
    return lambda container: any(test(container, value) for value in values)


def _has_labels(container: Container, values: list[str]) -> bool:
    labels = label_map(container.spec.labels)
    return all(filters.has_label(labels, value) for value in values)


def _age_test(query: str, containers: Sequence[Container], *, before: bool) -> Callable[[Container], bool]:
    by_id = {container.spec.id: container.spec for container in containers}
    names = {spec.name: spec.id for spec in by_id.values()}
    limit = by_id[find_container_id(query, names, by_id)].created_ns
    if before:
        return lambda container: container.spec.created_ns < limit
    return lambda container: container.spec.created_ns > limit


def _ancestor_test(paths: Paths, value: str) -> Callable[[Container], bool]:
    """Match containers of an image, and of images that were made from it: whose lowest layers are its own."""
    from rootless.engine import image_lookup  # only this filter looks at images

    try:
        image = image_lookup.find_image(paths, value)
    except RootlessError:  # removed meanwhile: containers still know the name, and the id
        pass
    else:
        chain = tuple(str(item) for item in image.chain_ids)[-1:]
        return lambda c: c.spec.image_id == image.image_id or bool(chain and chain[0] in c.spec.layers)

    def test(container: Container) -> bool:
        spec = container.spec
        is_id = len(value) >= SHORT_ID_LENGTH and spec.image_id.removeprefix("sha256:").startswith(value)
        return is_id or value in (spec.image, spec.image.removesuffix(":latest"))

    return test


def _found(pattern: str, name: str, *texts: str) -> bool:
    """Search a regular expression, as Docker's filters do; most are plain words."""
    import re  # `json` has loaded it already

    try:
        return any(re.search(pattern, text) for text in texts)
    except re.error as exc:
        raise UsageError(
            f"invalid filter: {name}={pattern}: {exc}", hint="write a regular expression"
        ) from exc


def _has_port(container: Container, value: str, field: str) -> bool:
    """Compare PORT[-LAST][/tcp|/udp] with the ports that are published."""
    ports, _, protocol = value.partition("/")
    first, dash, last = ports.partition("-")
    if not (first.isdecimal() and (last if dash else first).isdecimal()):
        raise UsageError(f"invalid filter: {value} is not a port", hint="write 80, 80/udp or 80-90")
    wanted = range(int(first), int(last or first) + 1)
    return container.state.status in lifecycle.ALIVE and any(
        isinstance(port, dict)
        and port.get(field) in wanted
        and port.get("protocol", "tcp") == (protocol or "tcp")
        for port in container.state.ports
    )


def _has_exited(container: Container, value: str) -> bool:
    if not value.isdecimal():
        raise UsageError(f"invalid filter: exited={value}", hint="write an exit code, for example exited=0")
    return container.state.status == lifecycle.EXITED and container.state.exit_code == int(value)


def _known(value: str, name: str, known: Sequence[str]) -> str:
    if value not in known:
        raise UsageError(f"invalid filter: {name}={value}", hint="there are: " + ", ".join(known))
    return value
