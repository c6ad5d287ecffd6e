"""The way from argv to one command module and back: exit codes, complaints, broken pipes."""

import errno
import subprocess
import sys
from types import ModuleType

import pytest

from rootless import __version__, _entry
from rootless.cli import COMMANDS, GROUPS
from rootless.errors import HelpRequested, NotFound, UsageError


@pytest.fixture
def command(monkeypatch):
    """Register a command `x` (and `run`) whose main is given."""

    def register(main, name="x"):
        module = ModuleType(f"fake_{name}")
        module.main = main
        monkeypatch.setitem(sys.modules, module.__name__, module)
        monkeypatch.setitem(COMMANDS, name, (module.__name__, "Do x"))

    return register


def raiser(exc):
    def main(argv, options):
        raise exc

    return main


def test_command_gets_its_words_and_the_global_options(command):
    seen = []
    command(lambda argv, options: seen.append((argv, options.root, options.debug)) or 7)
    assert _entry.main(["--root", "/r", "--log-level=debug", "x", "--root", "y"]) == 7
    assert _entry.main(["--root=/r", "--debug", "x"]) == 7
    assert seen == [(["--root", "y"], "/r", True), ([], "/r", True)]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--nope", "x"], "unknown option: --nope"),
        (["--root"], "option needs a value: --root"),
        (["--log-level", "loud", "x"], "unknown log level: loud"),
        (["ruin"], "unknown command: ruin"),
    ],
)
def test_wrong_words_before_the_command_exit_with_125(words, message, capsys):
    assert _entry.main(words) == 125
    assert message in capsys.readouterr().err


def test_mistyped_command_is_guessed(capsys):
    _entry.main(["isnpect"])
    assert "Did you mean `inspect`?" in capsys.readouterr().err


def test_help_of_an_unknown_command_is_an_error(capsys):
    assert _entry.main(["help", "imges"]) == 1
    assert capsys.readouterr() == (
        "",
        "error: unknown command: imges\n"
        "  hint: Did you mean `images`? `rootless --help` lists the commands\n"
        "  [not-found]\n",
    )


@pytest.mark.parametrize("option", ["--version", "-v"])
def test_version_option_prints_one_line(option, capsys):
    assert _entry.main([option]) == 0
    assert capsys.readouterr().out == f"rootless version {__version__}\n"


@pytest.mark.parametrize(
    ("exc", "name", "code"),
    [
        (NotFound("no such thing"), "x", 1),
        (NotFound("no such thing"), "run", 125),
        (NotFound("no such thing", exit_code=127), "run", 127),
        (UsageError("bad"), "x", 125),
        (KeyboardInterrupt(), "x", 130),
        (HelpRequested("text\n"), "x", 0),
        (OSError(errno.ENOSPC, "No space left on device", "/store/f"), "x", 1),
        (ZeroDivisionError("oops"), "run", 125),
    ],
)
def test_failures_have_dockers_exit_codes(command, exc, name, code, capsys):
    command(raiser(exc), name)
    assert _entry.main([name]) == code


def test_help_goes_to_stdout(command, capsys):
    command(raiser(HelpRequested("how to\n")))
    _entry.main(["x", "--help"])
    assert capsys.readouterr() == ("how to\n", "")


def test_operating_system_error_names_the_file(command, capsys):
    command(raiser(OSError(errno.ENOSPC, "No space left on device", "/store/f")))
    _entry.main(["x"])
    assert capsys.readouterr().err == (
        "error: cannot complete `rootless x`: No space left on device (ENOSPC)\n"
        "  on:   /store/f\n"
        "  [os-error]\n"
    )


def test_bug_is_owned_up_to_and_debug_shows_where(command, capsys):
    command(raiser(ZeroDivisionError("oops")))
    _entry.main(["x"])
    assert "this is a bug of rootless: ZeroDivisionError: oops" in capsys.readouterr().err
    with pytest.raises(ZeroDivisionError):
        _entry.main(["--debug", "x"])


def test_hostile_text_in_an_error_cannot_drive_the_terminal(command, capsys):
    command(raiser(NotFound("no \x1b]0;x\x07", on="a\nb")))
    _entry.main(["x"])
    assert "\x1b" not in capsys.readouterr().err


def test_list_of_commands_names_each_once(capsys):
    assert _entry.main([]) == 0
    out = capsys.readouterr().out
    verbs = {name: summary for name, (_, summary) in COMMANDS.items() if " " not in name}
    for name, summary in (verbs | {name: text for name, (text, _) in GROUPS.items()}).items():
        assert f"  {name} " in out
        assert summary in out


def test_every_command_has_a_table_of_its_name():
    for name, (module, _) in COMMANDS.items():
        __import__(module)
        assert sys.modules[module].TABLE.name == name


@pytest.mark.parametrize("stdout", [">&-", "| true", "> /dev/full"])
def test_output_that_nobody_takes_makes_no_traceback(stdout, tmp_path):
    code = "from rootless._entry import console; console()"
    line = f"\"{sys.executable}\" -c '{code}' --help {stdout}"
    result = subprocess.run(["sh", "-c", line], capture_output=True, text=True, check=False)
    assert "Traceback" not in result.stderr
    assert "Exception ignored" not in result.stderr


@pytest.mark.parametrize(("words", "code"), [(["--help"], 0), (["nonsense"], 125)])
def test_console_script_leaves_with_the_exit_code_and_all_output(words, code):
    result = subprocess.run(
        [sys.executable, "-m", "rootless", *words], capture_output=True, text=True, check=False
    )
    assert result.returncode == code
    assert ("unshare" in result.stdout) == (code == 0)
    assert ("unknown command: nonsense" in result.stderr) == (code == 125)
