"""`run -t` and `exec -t`, with the tests as the person at the terminal."""

from __future__ import annotations

import termios
from typing import TYPE_CHECKING

import pytest

from tests.helpers.product import QUICK

if TYPE_CHECKING:
    from tests.helpers.product import Product


def test_terminal_has_the_window_size_and_follows_it(product: Product, busybox: str) -> None:
    script = "tty; stty size; read again; stty size"
    with product.terminal(*QUICK, "-it", busybox, "sh", "-c", script, rows=33, columns=101) as terminal:
        terminal.expect("/dev/pts/0\r\n")
        terminal.expect("33 101\r\n")
        terminal.resize(40, 120)
        terminal.type("\n")
        terminal.expect("40 120\r\n")
        assert terminal.wait()[0] == 0


def test_shell_is_interactive_and_its_exit_code_counts(product: Product, busybox: str) -> None:
    with product.terminal(*QUICK, "-it", busybox, "sh") as terminal:
        terminal.expect("# ")
        terminal.type("echo $((6*7))\n")
        terminal.expect("42\r\n")
        terminal.type("exit 5\n")
        assert terminal.wait()[0] == 5


def test_interrupt_key_reaches_the_command_not_the_engine(product: Product, busybox: str) -> None:
    script = 'trap "echo caught; exit 3" INT; echo ready; while :; do sleep 0.1; done'
    with product.terminal(*QUICK, "-it", busybox, "sh", "-c", script) as terminal:
        terminal.expect("ready\r\n")
        terminal.type("\x03")
        terminal.expect("caught")
        assert terminal.wait()[0] == 3


def test_terminal_is_as_before_afterwards(product: Product, busybox: str) -> None:
    with product.terminal(*QUICK, "-it", busybox, "sh", "-c", "echo ready; read x") as terminal:
        before = termios.tcgetattr(terminal.master)
        terminal.expect("ready\r\n")
        during = termios.tcgetattr(terminal.master)
        terminal.type("\n")
        assert terminal.wait()[0] == 0
        assert termios.tcgetattr(terminal.master) == before
    assert during != before


@pytest.mark.parametrize("attempt", range(5))  # which thread the kernel tells first is chance
def test_closing_the_terminal_reaches_the_command(product: Product, busybox: str, attempt: int) -> None:
    script = 'trap "exit 3" HUP; echo ready; while :; do sleep 1; done'
    with product.terminal(*QUICK, "-it", busybox, "sh", "-c", script) as terminal:
        terminal.expect("ready\r\n")
        terminal.hang_up()
        assert terminal.process.wait(5) == 3


def test_term_is_set_with_a_terminal_only(product: Product, busybox: str) -> None:
    with product.terminal(*QUICK, "-t", busybox, "env") as terminal:
        assert "TERM=" in terminal.wait()[1]
    assert "TERM=" not in product.run(*QUICK, busybox, "env").out


def test_output_is_whole_when_the_command_ends_at_once(product: Product, busybox: str) -> None:
    with product.terminal(*QUICK, "-t", busybox, "seq", "2000") as terminal:
        code, text = terminal.wait()
    assert (code, text.split()) == (0, [str(n) for n in range(1, 2001)])


def test_detach_keys_leave_the_container_running(product: Product, busybox: str) -> None:
    with product.terminal("run", "-it", "--network=none", "--name=left", busybox, "sh") as terminal:
        terminal.expect("# ")
        terminal.type("\x10\x11")
        assert terminal.wait()[0] == 0
    assert product.run("ps", "--format", "{{.Names}}").lines == ["left"]


def test_terminal_without_input_is_refused_when_stdin_is_a_pipe(product: Product, busybox: str) -> None:
    result = product.attempt(*QUICK, "-it", busybox, "true", input="x")
    assert result.code != 0
    assert "TTY" in result.err or "terminal" in result.err


def test_exec_has_a_terminal_too(product: Product, busybox: str) -> None:
    name = product.run("run", "-d", "--network=none", busybox, "sleep", "1000").out.strip()
    with product.terminal("exec", "-it", name, "sh", rows=11, columns=44) as terminal:
        terminal.expect("# ")
        terminal.type("stty size; tty\n")
        terminal.expect("11 44\r\n")
        terminal.expect("/dev/pts/")
        terminal.type("exit 9\n")
        assert terminal.wait()[0] == 9
