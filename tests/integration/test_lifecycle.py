"""Containers over time: detached, listed, followed, joined, signalled, stopped, removed."""

from __future__ import annotations

import json
import os
import re
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.helpers.processes import processes_with, wait_for
from tests.helpers.product import QUICK

if TYPE_CHECKING:
    from tests.helpers.product import Product

DETACHED = ("run", "-d", "--network=none")


def detached(product: Product, *words: str) -> str:
    """Start a container in the background; return its id."""
    return product.run(*DETACHED, *words).out.strip()


def ticking(product: Product, image: str, *, name: str, trap: str) -> str:
    """Start a container that says "ready" and then waits for signals with a shell trap."""
    script = f"{trap}; echo ready; while :; do sleep 0.05; done"
    container = detached(product, f"--name={name}", image, "sh", "-c", script)
    wait_for(lambda: "ready" in product.run("logs", container).out)
    return container


def test_detached_container_lives_until_stopped(product: Product, busybox: str) -> None:
    container = detached(product, "--name=web", busybox, "sleep", "1000")
    assert re.fullmatch("[0-9a-f]{64}", container)
    listed = product.run("ps", "--format", "{{.ID}} {{.Names}} {{.Image}} {{.Status}}").out.split(" ", 3)
    assert listed[:3] == [container[:12], "web", busybox]
    assert listed[3].startswith("Up ")
    product.run("stop", "-t", "1", "web")
    assert product.run("ps", "-q").out == ""
    assert "Exited (137)" in product.run("ps", "-a", "--format", "{{.Status}}").out
    product.run("rm", container[:5])
    assert product.run("ps", "-aq").out == ""


def test_logs_keep_both_streams(product: Product, busybox: str) -> None:
    container = detached(product, busybox, "sh", "-c", "echo one; echo two >&2; printf three")
    wait_for(lambda: product.run("ps", "-q").out == "")
    result = product.run("logs", container)
    assert (result.out, result.err) == ("one\nthree", "two\n")
    assert product.run("logs", "--tail", "1", container).out == "three"


def test_following_logs_ends_with_the_container(product: Product, busybox: str) -> None:
    container = detached(product, busybox, "sh", "-c", "for n in 1 2 3; do echo $n; sleep 0.2; done")
    assert product.run("logs", "-f", container).lines == ["1", "2", "3"]


def test_exit_code_is_recorded(product: Product, busybox: str) -> None:
    container = detached(product, busybox, "sh", "-c", "exit 42")
    wait_for(lambda: product.run("ps", "-q").out == "")
    state = json.loads(product.run("inspect", container).out)[0]["State"]
    assert (state["ExitCode"], state["Running"], state["Status"]) == (42, False, "exited")
    assert product.run("inspect", "--format", "{{.State.ExitCode}}", container).out == "42\n"


def test_stop_sends_the_stop_signal_first(product: Product, busybox: str) -> None:
    ticking(product, busybox, name="polite", trap="trap 'echo stopping; exit 5' TERM")
    product.run("stop", "polite")
    assert "Exited (5)" in product.run("ps", "-a", "--format", "{{.Status}}").out
    assert product.run("logs", "polite").lines == ["ready", "stopping"]


def test_running_container_is_removed_by_force_only(product: Product, busybox: str) -> None:
    container = detached(product, busybox, "sleep", "1000")
    result = product.attempt("rm", container)
    assert result.code != 0
    assert "running" in result.err
    product.run("rm", "-f", container)
    assert product.containers() == []


def test_container_whose_monitor_hangs_can_be_removed(product: Product, busybox: str) -> None:
    container = detached(product, busybox, "sleep", "1000")
    record = json.loads((product.store / "containers" / container / "state.json").read_text())
    os.kill(record["monitor_pid"], signal.SIGSTOP)
    product.run("rm", "-f", container)
    assert product.containers() == []
    wait_for(lambda: not Path(f"/proc/{record['pid']}").exists())  # the host's init reaps it now


def test_stop_ends_processes_that_hid_themselves(product: Product, busybox: str) -> None:
    mark = f"98765{os.getpid()}"
    script = f"(setsid sh -c '(sleep {mark} &)' &); exec sleep {mark}"
    container = detached(product, busybox, "sh", "-c", script)
    wait_for(lambda: len(processes_with(mark)) >= 2)
    product.run("rm", "-f", container)
    wait_for(lambda: not processes_with(mark))


def test_rm_flag_removes_a_detached_container_at_its_end(product: Product, busybox: str) -> None:
    detached(product, "--rm", busybox, "true")
    wait_for(lambda: product.run("ps", "-aq").out == "")


@pytest.mark.parametrize("name", ["TERM", "INT", "HUP", "USR1"])
def test_signals_to_run_are_passed_on(product: Product, busybox: str, name: str) -> None:
    script = f"trap 'echo got; exit 9' {name}; echo ready; while :; do sleep 0.05; done"
    with product.start(*QUICK, busybox, "sh", "-c", script) as process:
        assert process.stdout
        assert process.stdout.readline() == b"ready\n"
        process.send_signal(getattr(signal, f"SIG{name}"))
        assert process.stdout.readline() == b"got\n"
        process.communicate(timeout=20)
    assert process.returncode == 9


def test_run_reports_a_stop_from_elsewhere(product: Product, busybox: str) -> None:
    with product.start(*QUICK, "--name=seen", busybox, "sh", "-c", "echo ready; exec sleep 1000") as process:
        assert process.stdout
        process.stdout.readline()
        product.run("stop", "-t", "0", "seen")
        process.communicate(timeout=20)
    assert process.returncode == 137


def test_exec_joins_the_container(product: Product, busybox: str) -> None:
    container = detached(product, "-e", "A=1", "-w", "/var", "--hostname=inside", busybox, "sleep", "1000")
    script = "hostname; pwd; echo $A; cat /proc/1/cmdline | tr '\\0' ' '"
    assert product.run("exec", container, "sh", "-c", script).lines == ["inside", "/var", "1", "sleep 1000 "]
    assert product.run("exec", "-e", "A=2", "-w", "/tmp", container, "sh", "-c", "pwd; echo $A").lines == [
        "/tmp",
        "2",
    ]
    assert product.run("exec", "-i", container, "cat", input="piped").out == "piped"
    assert product.run("exec", container, "cat", input="piped").out == ""


@pytest.mark.parametrize(
    ("code", "command"),
    [
        (3, ["sh", "-c", "exit 3"]),
        (127, ["no-such-program"]),
        (126, ["/etc/passwd"]),
        (137, ["sh", "-c", "kill -9 $$"]),
    ],
)
def test_exec_exit_codes(product: Product, busybox: str, code: int, command: list[str]) -> None:
    container = detached(product, busybox, "sleep", "1000")
    product.fail(code, "exec", container, *command)


def test_exec_whose_command_cannot_start_has_dockers_exit_code(product: Product, busybox: str) -> None:
    container = detached(product, busybox, "sleep", "1000")
    assert "-w names another" in product.fail(127, "exec", "-w", "/none", container, "true").err
    assert "no such user" in product.fail(126, "exec", "-u", "nobody-here", container, "true").err
    product.fail(1, "exec", "no-such-container", "true")
    product.run("stop", "-t0", container)
    assert "is not running" in product.fail(1, "exec", container, "true").err


@pytest.mark.parametrize("left_behind", ["sleep 1000", "yes", "while echo tick; do sleep 1; done"])
def test_exec_ends_although_a_process_it_left_holds_its_output(
    product: Product, busybox: str, left_behind: str
) -> None:
    container = detached(product, busybox, "sleep", "1000")
    script = f"seq 1 20000; ({left_behind}) & exit 3"
    result = product.attempt("exec", container, "sh", "-c", script, timeout=20)
    assert (result.code, result.err) == (3, "")
    assert [line for line in result.lines if line.isdigit()] == [str(n) for n in range(1, 20001)]


def test_exec_is_as_confined_as_the_container(product: Product, busybox: str) -> None:
    container = detached(product, "--cap-drop=NET_RAW", busybox, "sleep", "1000")
    lines = product.run("exec", container, "cat", "/proc/self/status").lines
    own = {line for line in lines if line.startswith(("Cap", "Seccomp:", "NoNewPrivs"))}
    lines = product.run("exec", container, "cat", "/proc/1/status").lines
    assert own == {line for line in lines if line.startswith(("Cap", "Seccomp:", "NoNewPrivs"))}


@pytest.mark.needs("subid")
def test_exec_as_another_user(product: Product, busybox: str) -> None:
    container = detached(product, busybox, "sleep", "1000")
    result = product.run("exec", "-u", "app", container, "id")
    assert result.out == "uid=1000(app) gid=1000(app) groups=1000(app),2000(extra)\n"


def test_exec_needs_a_running_container(product: Product, busybox: str) -> None:
    container = detached(product, busybox, "true")
    wait_for(lambda: product.run("ps", "-q").out == "")
    result = product.attempt("exec", container, "true")
    assert result.code != 0
    assert "running" in result.err
    assert product.attempt("exec", "no-such-container", "true").code != 0


def test_exec_sessions_end_with_their_container(product: Product, busybox: str) -> None:
    container = detached(product, busybox, "sleep", "1000")
    with product.start("exec", container, "sh", "-c", "echo ready; exec sleep 1000") as session:
        assert session.stdout
        session.stdout.readline()
        product.run("rm", "-f", container)
        session.communicate(timeout=20)
    assert session.returncode == 137


def test_containers_are_found_by_id_prefix_and_name(product: Product, busybox: str) -> None:
    container = detached(product, "--name=found", busybox, "sleep", "1000")
    for query in (container, container[:12], container[:6], "found", "/found"):
        assert product.run("inspect", "--format", "{{.Id}}", query).out.strip() == container
    assert product.attempt("inspect", "no-such-thing").code == 1


def test_image_in_use_is_not_removed(product: Product, busybox: str) -> None:
    detached(product, "--name=user", busybox, "sleep", "1000")
    result = product.attempt("rmi", busybox)
    assert result.code != 0
    assert "user" in result.err or "container" in result.err
    product.run(*QUICK, busybox, "true")


def test_log_survives_a_flood(product: Product, busybox: str) -> None:
    container = detached(
        product, busybox, "sh", "-c", "head -c 3000000 /dev/zero | tr '\\0' x; echo; echo end"
    )
    wait_for(lambda: product.run("ps", "-q").out == "", timeout=60)
    out = product.run("logs", container).out
    assert out.endswith("x\nend\n")
    assert out.count("x") == 3_000_000
