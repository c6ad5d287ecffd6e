"""Change the limits and the restart policy of a container, of one that runs too. Ring 1."""

from __future__ import annotations

from rootless.engine import events, limits, records
from rootless.errors import StateConflict
from rootless.model import lifecycle

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from rootless.engine.records import Container
    from rootless.model.policy import Limits, RestartPolicy
    from rootless.paths import Paths


def update(
    paths: Paths,
    container: Container,
    *,
    change: Callable[[Limits], Limits],
    restart: RestartPolicy | None,
) -> str:
    """Record the change, and make it hold for the running container where a cgroup can.

    Args:
        change: from the present limits to those wanted.
        restart: None leaves the policy as it is.
    Returns:
        one line for the user about what will hold from the next start only, "" for nothing.
    Raises:
        StateConflict: the container's state or nature forbids it.
        HostUnsupported: the container requires its limits, and one cannot be enforced; nothing has changed.
    """
    with records.locked(paths, container):
        spec, state = container.spec, container.state
        if state.status in (lifecycle.REMOVING, lifecycle.DEAD):
            raise StateConflict(f"cannot update container `{spec.name}`: it is {state.status}")
        if restart is not None and restart.name != "no" and spec.auto_remove:
            raise StateConflict(
                f"cannot give container `{spec.name}` a restart policy: it is removed at its end (--rm)",
                reference="auto-remove",
            )
        wanted = change(spec.limits)
        missing: list[str] = []
        if state.status in lifecycle.ALIVE:
            missing = limits.write_settings(state.cgroup, limits.changed_settings(spec.limits, wanted))
        if missing and wanted.required:
            limits.write_settings(state.cgroup, limits.changed_settings(wanted, spec.limits))
            raise limits.refusal(missing)
        records.save_spec(container, spec.replace(limits=wanted, restart=restart or spec.restart))
    events.record_container(paths, container, "update")
    if not missing:
        return ""
    return (
        f"not enforced on the running container: {', '.join(missing)}; as far as possible from its next start"
    )
