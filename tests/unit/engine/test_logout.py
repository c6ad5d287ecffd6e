"""Whether the host ends containers at logout, from its files, and what the user is told."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from rootless.engine import logout
from rootless.engine.logout import Facts

if TYPE_CHECKING:
    from pathlib import Path

SESSION = "/user.slice/user-1000.slice/session-3.scope"
MANAGER = "/user.slice/user-1000.slice/user@1000.service/app.slice/vte-spawn.scope"


def facts(**changes: object) -> Facts:
    base: dict[str, object] = {"job": "", "cgroup": "/", "kills_session": False, "lingers": False}
    return Facts(**(base | changes))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (facts(), ()),
        (facts(job="Slurm job 7"), ("Slurm job 7 ends",)),
        (facts(cgroup=SESSION), ()),
        (facts(cgroup=SESSION, kills_session=True), ("you log out", "enable-linger", "systemd-run --user")),
        (facts(cgroup=SESSION, kills_session=True, lingers=True), ("you log out", "systemd-run --user")),
        (facts(cgroup=MANAGER), ("you log out", "enable-linger")),
        (facts(cgroup=MANAGER, lingers=True), ()),
        (facts(cgroup=MANAGER, kills_session=True, lingers=True), ()),
        (facts(cgroup="/system.slice/cron.service", kills_session=True), ()),
    ],
)
def test_user_is_told_when_the_host_ends_a_container(given: Facts, words: tuple[str, ...]) -> None:
    text = logout.notice(given)
    assert bool(text) == bool(words)
    assert all(word in text for word in words)


@pytest.mark.parametrize(
    ("settings", "kills"),
    [
        ({}, False),
        ({"KillUserProcesses": "no"}, False),
        ({"KillUserProcesses": "Yes"}, True),
        ({"KillUserProcesses": "1"}, True),
        ({"KillUserProcesses": "yes", "KillExcludeUsers": "root me"}, False),
        ({"KillUserProcesses": "yes", "KillExcludeUsers": ""}, True),
        ({"KillUserProcesses": "yes", "KillOnlyUsers": "you"}, False),
        ({"KillUserProcesses": "yes", "KillOnlyUsers": "you me"}, True),
    ],
)
def test_settings_of_logind(settings: dict[str, str], kills: bool) -> None:
    assert logout.kills_session(settings, user="me") is kills


def test_only_the_login_section_counts_and_no_comments() -> None:
    text = "KillUserProcesses=yes\n[Login]\n#KillUserProcesses=yes\n KillOnlyUsers = a b \n[X]\nA=1\n"
    assert logout.parse_login_section(text) == {"KillOnlyUsers": "a b"}


def put(root: Path, name: str, text: str) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_configuration_is_read_as_systemd_reads_it(tmp_path: Path) -> None:
    put(tmp_path, "usr/lib/systemd/logind.conf", "[Login]\nKillOnlyUsers=other\n")
    put(tmp_path, "etc/systemd/logind.conf", "[Login]\nKillUserProcesses=no\n")
    put(tmp_path, "usr/lib/systemd/logind.conf.d/10-x.conf", "[Login]\nKillUserProcesses=yes\n")
    put(tmp_path, "etc/systemd/logind.conf.d/50-y.conf", "[Login]\nKillExcludeUsers=\n")
    put(tmp_path, "etc/systemd/logind.conf.d/README", "[Login]\nKillUserProcesses=no\n")
    put(tmp_path, "proc/self/cgroup", f"3:cpu:/x\n0::{SESSION}\n")
    put(tmp_path, "var/lib/systemd/linger/me", "")
    found = logout.load_facts(environment={"SLURM_JOB_ID": ""}, user="me", root=str(tmp_path))
    assert (found.kills_session, found.lingers, found.cgroup, found.job) == (True, True, SESSION, "")
    put(tmp_path, "etc/systemd/logind.conf.d/10-x.conf", "[Login]\nKillUserProcesses=no\n")
    found = logout.load_facts(environment={"PBS_JOBID": "9.host"}, user="you", root=str(tmp_path))
    assert (found.kills_session, found.lingers, found.job) == (False, False, "PBS job 9.host")


def test_host_without_systemd_says_nothing(tmp_path: Path) -> None:
    found = logout.load_facts(environment={}, user="me", root=str(tmp_path))
    assert logout.notice(found) == ""


def test_session_of_an_older_hierarchy_is_known(tmp_path: Path) -> None:
    put(tmp_path, "proc/self/cgroup", f"1:name=systemd:{SESSION}\n0::/\n")
    assert logout.load_facts(environment={}, user="me", root=str(tmp_path)).cgroup == SESSION
