"""Whether a container that has ended is started again, and when. Pure; ring 1.

moby restartmanager: the delay doubles from 100 ms to a minute, and begins anew after a run of ten seconds.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rootless.model.policy import RestartPolicy

FIRST_DELAY_S = 0.1
LONGEST_DELAY_S = 60.0
GOOD_RUN_S = 10.0


def wants_restart(policy: RestartPolicy, *, exit_code: int, restart_count: int, stop_requested: bool) -> bool:
    """Tell whether the policy starts the container again.

    Args:
        restart_count: how often it has done so since the user's start.
        stop_requested: a user stopped it.
    """
    if stop_requested:
        return False
    if policy.name == "on-failure":
        return exit_code != 0 and (not policy.max_retries or restart_count < policy.max_retries)
    return policy.name in ("always", "unless-stopped")


def wants_start_at_boot(policy: RestartPolicy, *, stop_requested: bool) -> bool:
    """Tell whether `start --restartable` brings the container back after the host was restarted."""
    return policy.name == "always" or (policy.name == "unless-stopped" and not stop_requested)


def next_delay(previous_s: float, *, ran_s: float) -> float:
    """Return how many seconds to wait before the next start.

    Args:
        previous_s: the last delay, 0 for none. ran_s: how long the container has run since.
    """
    if not previous_s or ran_s >= GOOD_RUN_S:
        return FIRST_DELAY_S
    return min(2 * previous_s, LONGEST_DELAY_S)
