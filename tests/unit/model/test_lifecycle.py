"""The table of states: what can be reached, what is refused, and with which advice."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rootless.errors import StateConflict
from rootless.model import lifecycle
from rootless.model.lifecycle import (
    ALIVE,
    BACK_OFF,
    CREATED,
    DEAD,
    EXIT,
    EXITED,
    FAIL,
    MINDED,
    PAUSE,
    REMOVE,
    REMOVING,
    START,
    STATUSES,
    TRANSITIONS,
    UNPAUSE,
    next_status,
)

EVENTS = (START, EXIT, BACK_OFF, PAUSE, UNPAUSE, REMOVE, FAIL)
REPOSITORY = Path(__file__).resolve().parents[3]


def reachable(first: str) -> set[str]:
    """Return all statuses that events lead to from this one, itself included."""
    found, fresh = set(), {first}
    while fresh:
        found |= fresh
        fresh = {after for (before, _), after in TRANSITIONS.items() if before in found} - found
    return found


def test_every_status_is_reached_by_a_new_container() -> None:
    assert reachable(CREATED) == set(STATUSES)


@pytest.mark.parametrize("status", STATUSES)
def test_every_container_can_be_removed_in_the_end(status: str) -> None:
    assert REMOVING in reachable(status)


@given(st.sampled_from(STATUSES), st.lists(st.sampled_from(EVENTS)))
def test_no_events_lead_out_of_the_table(status: str, events: list[str]) -> None:
    for event in events:
        try:
            status = next_status(status, event, name="web")
        except StateConflict:
            assert (status, event) not in TRANSITIONS
        assert status in STATUSES


@given(st.lists(st.sampled_from(EVENTS)))
def test_a_process_appears_only_by_a_start(events: list[str]) -> None:
    status = CREATED
    for event in events:
        before = status
        status = TRANSITIONS.get((status, event), status)
        if status in ALIVE and before not in ALIVE:
            assert event == START
        if before in ALIVE and status not in ALIVE:
            assert event in (EXIT, BACK_OFF)


@pytest.mark.parametrize("status", sorted(MINDED))
def test_what_a_dead_monitor_leaves_counts_as_ended(status: str) -> None:
    assert next_status(status, EXIT, name="web") == EXITED


@pytest.mark.parametrize("status", sorted(MINDED))
def test_nothing_that_has_a_monitor_is_removed(status: str) -> None:
    with pytest.raises(StateConflict):
        next_status(status, REMOVE, name="web")


@pytest.mark.parametrize("status", [REMOVING, DEAD])
def test_nothing_leads_back_from_a_removal(status: str) -> None:
    assert reachable(status) == {REMOVING, DEAD}


@pytest.mark.parametrize("status", STATUSES)
@pytest.mark.parametrize("event", EVENTS)
def test_conflict_names_the_container_its_status_and_the_event(status: str, event: str) -> None:
    if (status, event) in TRANSITIONS:
        return
    with pytest.raises(StateConflict) as caught:
        next_status(status, event, name="web")
    assert caught.value.message == f"cannot {event} container `web`: it is {status}"


@pytest.mark.parametrize("status", STATUSES)
@pytest.mark.parametrize("event", [PAUSE, UNPAUSE, REMOVE])
def test_conflict_of_a_command_says_what_would_work(status: str, event: str) -> None:
    if (status, event) in TRANSITIONS or status in (REMOVING, DEAD):
        return
    with pytest.raises(StateConflict) as caught:
        next_status(status, event, name="web")
    assert caught.value.hint


def test_hints_belong_to_conflicts() -> None:
    assert not set(lifecycle._HINTS) & set(TRANSITIONS)


def test_diagram_in_the_docs_is_current() -> None:
    script = str(REPOSITORY / "scripts/gen-lifecycle")
    done = subprocess.run([sys.executable, script, "--check"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
