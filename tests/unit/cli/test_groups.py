"""Groups of commands: what they mean, their help, and mistakes in them."""

import sys
from types import ModuleType

import pytest

from rootless import _entry
from rootless.cli import COMMANDS, GROUPS, groups
from rootless.errors import HelpRequested, NotFound, UsageError


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        (["container", "ls", "-a"], ("ps", ["-a"])),
        (["container", "run", "-it", "x"], ("run", ["-it", "x"])),
        (["container", "inspect", "x"], ("inspect", ["--type", "container", "x"])),
        (["image", "rm", "x"], ("rmi", ["x"])),
    ],
)
def test_group_leads_to_the_verb(words, meant):
    assert groups.resolve(words[0], words[1:]) == meant


def test_every_command_of_a_group_exists():
    for _, targets in GROUPS.values():
        assert {groups.split_target(target)[0] for target in targets.values()} <= COMMANDS.keys()


def test_verb_of_two_words_belongs_to_its_group():
    for verb in COMMANDS:
        if " " in verb:
            group, name = verb.split()
            assert groups.split_target(GROUPS[group][1][name])[0] == verb


@pytest.mark.parametrize("words", [[], ["--help"], ["-h"], ["help"]])
def test_group_alone_prints_its_commands(words):
    with pytest.raises(HelpRequested) as caught:
        groups.resolve("container", words)
    assert "  ls " in caught.value.text
    assert "List containers" in caught.value.text
    assert "  list " not in caught.value.text  # another name of `ls`


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["lss"], "unknown command: container lss"),
        (["--all", "ls"], "unknown option: --all"),
    ],
)
def test_unknown_word_is_refused(words, message):
    with pytest.raises(UsageError, match=message):
        groups.resolve("container", words)


def test_mistyped_command_of_a_group_is_guessed(capsys):
    assert _entry.main(["container", "isnpect"]) == 125
    assert "Did you mean `rootless container inspect`?" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["help", "container", "ls"], ["container", "ls", "--help"]])
def test_help_of_a_command_in_a_group_is_the_verbs(words, capsys):
    assert _entry.main(words) == 0
    assert "List containers" in capsys.readouterr().out


@pytest.mark.parametrize(("words", "code"), [(["container", "rm"], 1), (["container", "run"], 125)])
def test_failure_in_a_group_has_the_verbs_exit_code(words, code, monkeypatch, capsys):
    module = ModuleType("fake_verb")

    def main(argv, options):
        raise NotFound("no such thing")

    module.main = main
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setitem(COMMANDS, words[1], (module.__name__, ""))
    assert _entry.main(words) == code


def test_list_of_commands_has_the_groups_and_no_verb_of_two_words(capsys):
    assert _entry.main(["--help"]) == 0
    out = capsys.readouterr().out
    assert "  container " in out
    assert not any(f"  {verb} " in out for verb in COMMANDS if " " in verb)
