"""The life of a container beyond one run: create, start, attach, restart, kill, wait, restart policies."""

from __future__ import annotations

import json
import os
import re
import signal
import threading
from typing import TYPE_CHECKING

from tests.helpers.processes import monitor_pid, wait_for

if TYPE_CHECKING:
    from tests.helpers.product import Product

OFFLINE = "--network=none"
DETACHED = ("run", "-d", OFFLINE)


def state(product: Product, name: str) -> dict[str, object]:
    found: dict[str, object] = json.loads(product.run("inspect", "--format", "{{json .State}}", name).out)
    return found


def status(product: Product, name: str) -> object:
    return state(product, name)["Status"]


def attached(product: Product, name: str) -> int:
    """Return how many windows have been attached so far."""
    events = product.run("events", "--since=1h", "--until=0s", "--filter", f"container={name}").out
    return events.count(" container attach ")


def test_created_container_waits_for_its_start_also_with_rm(product: Product, busybox: str) -> None:
    """Other commands sweep what killed ones left; this is none of that."""
    product.run("create", "--rm", "--name=patient", OFFLINE, busybox, "true")
    product.run("run", "--rm", OFFLINE, busybox, "true")
    assert product.run("start", "-a", "patient").code == 0
    product.fail(1, "inspect", "patient")


def test_created_container_starts_again_and_again(product: Product, busybox: str) -> None:
    container = product.run(
        "create", "--name=again", OFFLINE, busybox, "sh", "-c", "cat /n; echo x >>/n"
    ).out.strip()
    assert re.fullmatch("[0-9a-f]{64}", container)
    assert status(product, "again") == "created"
    assert product.run("wait", "again").out == "0\n"
    first = product.attempt("start", "-a", "again")
    assert "can't open '/n'" in first.err
    assert product.run("start", "-a", "again").out == "x\n"
    assert product.run("start", "again").out == "again\n"
    assert product.run("wait", "again").out == "0\n"
    assert product.run("logs", "again").out == "x\nx\nx\n"
    product.run("rm", "again")


def test_start_passes_input_exit_code_and_terminal(product: Product, busybox: str) -> None:
    product.run("create", "-i", "--name=reader", OFFLINE, busybox, "sh", "-c", "read x; echo got $x; exit 5")
    result = product.fail(5, "start", "-ai", "reader", input="word\n")
    assert result.out == "got word\n"
    product.run("create", "-it", "--name=shell", OFFLINE, busybox, "sh")
    with product.terminal("start", "-ai", "shell") as terminal:
        terminal.expect("# ")
        terminal.type("stty size; exit 4\n")
        terminal.expect("24 80")
        assert terminal.wait()[0] == 4


def test_wrong_states_are_named_with_what_would_work(product: Product, busybox: str) -> None:
    product.run("create", "--name=still", OFFLINE, busybox, "true")
    for verb in ("kill", "attach"):
        result = product.fail(1, verb, "still")
        assert "`still`" in result.err
        assert "created" in result.err or "not running" in result.err
    product.run(*DETACHED, "--name=alive", busybox, "sleep", "1000")
    assert product.run("start", "alive").out == "alive\n"  # docker: nothing to do
    assert "it is running" in product.fail(1, "rm", "alive").err
    assert "no such container" in product.fail(1, "start", "nobody").err
    result = product.fail(1, "kill", "nobody", "alive")
    assert result.out == "alive\n"
    assert product.run("wait", "alive").out == "137\n"
    assert "conflicting options" in product.fail(125, "run", "--rm", "--restart=always", busybox).err
    assert "not a restart policy" in product.fail(125, "run", "--restart=sometimes", busybox).err


def test_two_starts_at_once_run_it_once(product: Product, busybox: str) -> None:
    """Hazard: two first processes on one writable layer."""
    product.run("create", "--name=once", OFFLINE, busybox, "sh", "-c", "echo run; sleep 0.3")
    starts = [product.start("start", "once") for _ in range(4)]
    results = [process.communicate(timeout=30) for process in starts]
    assert any(process.returncode == 0 for process in starts), results
    product.run("wait", "once")
    assert product.run("logs", "once").out == "run\n"


def test_on_failure_is_tried_as_often_as_asked(product: Product, busybox: str) -> None:
    product.run(
        *DETACHED, "--name=failing", "--restart=on-failure:2", busybox, "sh", "-c", "echo try; exit 3"
    )
    assert product.run("wait", "failing").out == "3\n"
    assert product.run("logs", "failing").out == "try\n" * 3
    assert product.run("inspect", "--format", "{{.RestartCount}}", "failing").out == "2\n"
    product.run(*DETACHED, "--name=fine", "--restart=on-failure", busybox, "true")
    assert product.run("wait", "fine").out == "0\n"
    assert product.run("inspect", "--format", "{{.RestartCount}}", "fine").out == "0\n"


def test_always_comes_back_until_it_is_stopped(product: Product, busybox: str) -> None:
    product.run(*DETACHED, "--name=ever", "--restart=always", busybox, "sh", "-c", "echo run; sleep 1000")
    first = state(product, "ever")["Pid"]
    assert isinstance(first, int)
    os.kill(first, signal.SIGKILL)
    wait_for(lambda: state(product, "ever")["Pid"] not in (0, first))
    product.run("stop", "-t", "0", "ever")
    assert status(product, "ever") == "exited"
    assert product.run("logs", "ever").out == "run\nrun\n"
    product.run("start", "ever")
    assert status(product, "ever") == "running"


def test_container_that_waits_for_its_restart_stops_at_once(product: Product, busybox: str) -> None:
    product.run(*DETACHED, "--name=bouncing", "--restart=always", busybox, "false")
    wait_for(lambda: status(product, "bouncing") == "restarting" and state(product, "bouncing")["Restarting"])
    product.run("stop", "bouncing", timeout=10)
    assert status(product, "bouncing") == "exited"
    product.run("rm", "bouncing")
    product.run(*DETACHED, "--name=bouncing", "--restart=always", busybox, "false")
    wait_for(lambda: status(product, "bouncing") == "restarting")
    product.run("rm", "-f", "bouncing")


def test_restart_takes_a_running_or_stopped_one(product: Product, busybox: str) -> None:
    script = 'trap "echo bye; exit 0" TERM; echo hello; while :; do sleep 0.05; done'
    product.run(*DETACHED, "--name=turn", busybox, "sh", "-c", script)
    wait_for(lambda: "hello" in product.run("logs", "turn").out)
    assert product.run("restart", "turn").out == "turn\n"
    wait_for(lambda: product.run("logs", "turn").out.count("hello") == 2)
    assert product.run("logs", "turn").out == "hello\nbye\nhello\n"
    product.run("stop", "turn")
    product.run("restart", "turn")
    assert status(product, "turn") == "running"


def test_kill_sends_any_signal(product: Product, busybox: str) -> None:
    script = 'trap "echo usr1" USR1; trap "exit 9" TERM; echo ready; while :; do sleep 0.05; done'
    product.run(*DETACHED, "--name=ears", "--restart=always", busybox, "sh", "-c", script)
    wait_for(lambda: "ready" in product.run("logs", "ears").out)
    product.run("kill", "-s", "USR1", "ears")
    wait_for(lambda: "usr1" in product.run("logs", "ears").out)
    product.run("kill", "-s", "SIGTERM", "ears")  # its stop signal: no policy starts it again
    assert product.run("wait", "ears").out == "9\n"
    assert status(product, "ears") == "exited"


def test_restartable_starts_what_a_boot_has_ended(product: Product, busybox: str) -> None:
    for name, policy in (("a", "always"), ("u", "unless-stopped"), ("s", "unless-stopped"), ("n", "no")):
        product.run(*DETACHED, f"--name=boot-{name}", f"--restart={policy}", busybox, "sleep", "1000")
    product.run("stop", "-t0", "boot-s")
    for name in ("a", "u", "n"):  # as a power cut would
        os.kill(monitor_pid(product, f"boot-{name}"), signal.SIGKILL)
        wait_for(lambda name=name: status(product, f"boot-{name}") == "exited")
    assert sorted(product.run("start", "--restartable").lines) == ["boot-a", "boot-u"]
    running = product.run("ps", "--format", "{{.Names}}").lines
    assert sorted(running) == ["boot-a", "boot-u"]


def test_wait_tells_the_code_of_a_container_that_removes_itself(product: Product, busybox: str) -> None:
    product.run("run", "-d", "--rm", "--name=brief", OFFLINE, busybox, "sh", "-c", "sleep 0.5; exit 6")
    assert product.run("wait", "brief").out == "6\n"
    wait_for(lambda: product.containers() == [])


def test_windows_show_the_same_output_in_step(product: Product, busybox: str) -> None:
    script = "read go; seq 1 20000; echo end >&2"
    product.run("run", "-d", "-i", "--name=show", OFFLINE, busybox, "sh", "-c", script)
    windows = [product.start("attach", "--no-stdin", "show") for _ in range(3)]
    outputs: list[tuple[bytes, bytes]] = []
    threads = [
        threading.Thread(target=lambda w=window: outputs.append(w.communicate(timeout=40)))
        for window in windows
    ]
    for thread in threads:
        thread.start()
    wait_for(lambda: attached(product, "show") == 3)
    product.attempt("attach", "show", input="go\n")
    for thread in threads:
        thread.join()
    expected = b"".join(b"%d\n" % number for number in range(1, 20001))
    assert outputs == [(expected, b"end\n")] * 3
    assert [window.returncode for window in windows] == [0] * 3


def test_window_that_is_not_read_does_not_hold_the_container_up(product: Product, busybox: str) -> None:
    """Hazard: a terminal that somebody has paused stops a service. The reader still gets every byte."""
    script = "read go; dd if=/dev/zero bs=64k count=400 2>/dev/null; echo done >&2"
    product.run("run", "-d", "-i", "--name=flood", OFFLINE, "--log-driver=none", busybox, "sh", "-c", script)
    slow = product.start("attach", "--no-stdin", "flood")
    wait_for(lambda: attached(product, "flood"))
    product.attempt("attach", "flood", input="go\n", stdout=-3)
    assert product.run("wait", "flood", timeout=20).out == "0\n"
    out, err = slow.communicate(timeout=30)
    assert len(out) == 400 * 65536
    assert err == b"done\n"


def test_slow_reader_of_a_foreground_run_gets_every_byte(product: Product, busybox: str) -> None:
    script = "seq 1 200000; echo over >/over; sleep 1000"
    process = product.start("run", "--name=pipe", OFFLINE, busybox, "sh", "-c", script)
    wait_for(lambda: product.attempt("exec", "pipe", "cat", "/over").out == "over\n", timeout=30)
    assert process.stdout is not None
    lines = [process.stdout.readline() for _ in range(200_000)]
    assert lines == [b"%d\n" % number for number in range(1, 200_001)]
    product.run("kill", "pipe")
    process.communicate(timeout=20)
    assert process.returncode == 137


def test_detached_terminal_is_taken_up_again(product: Product, busybox: str) -> None:
    with product.terminal("run", "-it", "--name=term", OFFLINE, busybox, "sh") as first:
        first.expect("# ")
        first.type("X=kept\n")
        first.expect("# ")
        first.type("\x10\x11")
        assert "read escape sequence" in first.wait()[1]
    assert status(product, "term") == "running"
    with product.terminal("attach", "term", rows=30, columns=90) as second:
        second.type("stty size; echo $X\n")
        second.expect("30 90\r\nkept\r\n")
        with product.terminal("attach", "--detach-keys=ctrl-a", "term", rows=30, columns=90) as third:
            third.expect("# ")
            second.type("echo for all\n")
            third.expect("for all\r\n")
            third.type("\x01")
            assert third.wait()[0] == 0
        second.type("exit 3\n")
        assert second.wait()[0] == 3


def test_stdin_of_a_detached_container_stays_open_for_the_next(product: Product, busybox: str) -> None:
    product.run(
        "run", "-d", "-i", "--name=open", OFFLINE, busybox, "sh", "-c", "while read x; do echo got $x; done"
    )
    for word in ("one", "two"):
        with product.start("attach", "open", stdin=-1) as client:
            assert client.stdin is not None
            assert client.stdout is not None
            client.stdin.write(f"{word}\n".encode())
            client.stdin.close()
            assert client.stdout.readline() == f"got {word}\n".encode()
            client.kill()
    assert status(product, "open") == "running"


def test_killed_monitor_is_noticed_and_the_container_starts_again(product: Product, busybox: str) -> None:
    product.run(*DETACHED, "--name=orphan", busybox, "sh", "-c", "echo run; sleep 1000")
    pid = state(product, "orphan")["Pid"]
    watcher = product.start("attach", "orphan")
    wait_for(lambda: attached(product, "orphan"))
    os.kill(monitor_pid(product, "orphan"), signal.SIGKILL)
    assert b"monitor ended without a word" in watcher.communicate(timeout=20)[1]
    found = state(product, "orphan")
    assert (found["Status"], found["ExitCode"]) == ("exited", 137)
    assert "monitor was killed" in str(found["Error"])
    wait_for(lambda: not os.path.exists(f"/proc/{pid}"))
    product.run("start", "orphan")
    assert status(product, "orphan") == "running"
    product.run("stop", "-t", "0", "orphan")
    product.run("rm", "orphan")
