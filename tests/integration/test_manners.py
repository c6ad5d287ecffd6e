"""How commands behave on terminals and pipes: what a shell's user expects of any program."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import termios
import time
from typing import TYPE_CHECKING

import pytest

from tests.helpers.processes import monitor_pid, wait_for
from tests.helpers.product import QUICK, Terminal

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.helpers.product import Product

DETACHED = ("run", "-d", "--network=none")


def line(product: Product, *words: str) -> str:
    """Return a command as one types it."""
    return shlex.join(product.argv(*words))


def shell(product: Product, script: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        ["bash", "-c", script], env=product.env, capture_output=True, timeout=60, check=False
    )


@pytest.fixture
def prompt(product: Product) -> Iterator[Terminal]:
    """A plain shell on a terminal, which leaves the terminal's modes alone."""
    env = {**product.env, "PS1": "ready> "}
    terminal = Terminal(["bash", "--norc", "--noediting", "-i"], env=env, rows=24, columns=200)
    terminal.expect("ready> ")
    yield terminal
    terminal.close()


def test_keys_edit_and_control_the_jobs_of_a_shell_inside(product: Product, busybox: str) -> None:
    with product.terminal(*QUICK, "-it", busybox, "sh") as terminal:
        terminal.expect("# ")
        terminal.type("echo ac\x1b[Db\x01\x05\n")  # left, home, end
        terminal.expect("\nabc\r\n")
        terminal.type("echo u''p; cat\n")
        terminal.expect("\nup\r\n")
        terminal.type("one\n")
        terminal.expect("one\r\none\r\n")
        terminal.type("\x1a")
        terminal.expect("Stopped")
        terminal.type("fg\n")
        terminal.expect("\ncat\r\n")
        terminal.type("two\n")
        terminal.expect("two\r\ntwo\r\n")
        terminal.type("\x03")
        terminal.expect("# ")
        terminal.type("echo $?\n")
        terminal.expect("\n130\r\n")
        terminal.expect("# ")
        terminal.type("\x04")
        assert terminal.wait()[0] == 0


def test_window_of_exec_and_attach_follows_theirs(product: Product, busybox: str) -> None:
    product.run(*DETACHED, "-it", "--name=wide", busybox, "sh")
    for words in (("exec", "-it", "wide", "sh"), ("attach", "wide")):
        with product.terminal(*words, rows=20, columns=70) as terminal:
            terminal.expect("# ")
            terminal.resize(41, 121)
            terminal.type("stty size\n")
            terminal.expect("41 121\r\n")


def test_suspended_command_leaves_its_container_alone(
    product: Product, busybox: str, prompt: Terminal
) -> None:
    script = "while read x; do echo got-$x; done"
    command = line(product, "run", "-i", "--name=stopped", "--network=none", busybox, "sh", "-c", script)
    prompt.type(f"{command}\n")
    prompt.type("one\n")
    prompt.expect("got-one")
    prompt.type("\x1a")
    prompt.expect("Stopped")
    prompt.expect("ready> ")
    assert product.run("inspect", "--format={{.State.Status}}", "stopped").out == "running\n"
    assert product.run("exec", "stopped", "echo", "alive").out == "alive\n"
    prompt.type("fg\n")
    prompt.expect("rootless")
    prompt.type("two\n")
    prompt.expect("got-two")
    prompt.type("\x04")
    prompt.expect("ready> ")


def test_terminal_has_its_modes_back_after_its_monitor_was_killed(product: Product, busybox: str) -> None:
    with product.terminal("run", "-it", "--name=raw", "--network=none", busybox, "sh") as terminal:
        before = termios.tcgetattr(terminal.master)
        terminal.expect("# ")
        os.kill(monitor_pid(product, "raw"), signal.SIGKILL)
        assert terminal.wait()[0] == 125
        assert termios.tcgetattr(terminal.master) == before


@pytest.mark.parametrize("words", [("attach", "--sig-proxy=false", "deaf"), ("exec", "-it", "deaf", "sh")])
def test_terminal_has_its_modes_back_after_its_command_was_terminated(
    product: Product, busybox: str, words: tuple[str, ...]
) -> None:
    """A shell on a terminal ignores SIGTERM: what forwards signals needs three, what does not needs one."""
    product.run(*DETACHED, "-it", "--name=deaf", busybox, "sh")
    with product.terminal(*words) as terminal:
        before = termios.tcgetattr(terminal.master)
        terminal.expect("# ")
        assert termios.tcgetattr(terminal.master) != before
        terminal.process.terminate()
        if words[0] == "exec":
            wait_for(lambda: terminal.process.poll() is not None or terminal.process.terminate())
        assert terminal.wait()[0] == (1 if words[0] == "exec" else -signal.SIGTERM)
        assert termios.tcgetattr(terminal.master) == before
    assert product.run("inspect", "--format={{.State.Status}}", "deaf").out == "running\n"


@pytest.mark.parametrize("delay_s", [0.1, 0.15, 0.2, 0.3])
def test_interrupt_while_a_terminal_session_starts(product: Product, busybox: str, delay_s: float) -> None:
    """Before the session starts an interrupt ends it; its program is deaf to them afterwards."""
    script = "echo runs; exec sleep 1000"
    with product.terminal(*QUICK, "-it", busybox, "sh", "-c", script) as terminal:
        before = termios.tcgetattr(terminal.master)
        time.sleep(delay_s)  # any moment will do
        terminal.type("\x03\x03\x03")
        while terminal.process.poll() is None:
            if running := product.run("ps", "-q").lines:
                product.run("rm", "-f", *running)
        assert not re.search(r"rootless/(cli|engine)/", terminal.wait()[1])  # a traceback
        assert termios.tcgetattr(terminal.master) == before
    wait_for(lambda: product.containers() == [])


def test_script_gives_a_terminal_and_types_its_input(product: Product, busybox: str) -> None:
    command = line(product, *QUICK, "-it", busybox, "sh")
    result = subprocess.run(
        ["script", "-qec", command, "/dev/null"], input=b"tty; exit 3\n",
        env=product.env, capture_output=True, timeout=60, check=False,
    )  # fmt: skip
    assert (b"/dev/pts/0" in result.stdout, result.returncode) == (True, 3), result


@pytest.mark.parametrize(
    "words",
    ["ps -a", "images", "inspect talks", "logs talks", "events --since 1h --until 0s", "top talks", "--help"],
)
def test_reader_that_leaves_ends_a_command_quietly(product: Product, busybox: str, words: str) -> None:
    product.run(*DETACHED, "--name=talks", busybox, "sh", "-c", "seq 1 20000; sleep 1000")
    wait_for(lambda: "20000" in product.run("logs", "--tail=1", "talks").out)
    for reader in ("true", "head -c 1"):
        result = shell(product, f"{line(product, *words.split())} | {reader}")
        assert (result.returncode, result.stderr) == (0, b"")
    assert b"Traceback" not in shell(product, f"{line(product, *words.split())} >&-").stderr


def test_what_prints_for_ever_ends_with_its_reader(product: Product, busybox: str) -> None:
    product.run(*DETACHED, "--name=ticks", busybox, "sh", "-c", "while :; do echo line; sleep 0.1; done")
    talk = ("sh", "-c", "while echo line; do :; done 2>/dev/null")
    for words in (("logs", "-f", "ticks"), ("exec", "ticks", *talk), (*QUICK, busybox, *talk)):
        result = shell(product, f"{line(product, *words)} | head -2")
        assert (result.stdout, result.stderr) == (b"line\nline\n", b"")
