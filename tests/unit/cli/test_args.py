"""The parser against Docker's semantics, and `--help` verbatim."""

import pytest

from rootless.cli.args import BOOL, INT, LIST, Command, Option
from rootless.errors import HelpRequested, UsageError

RUN = Command(
    "run",
    "[OPTIONS] IMAGE [COMMAND] [ARG...]",
    "Create and run a new container from an image",
    options=(
        Option("--env", "-e", kind=LIST, help="Set environment variables"),
        Option("--interactive", "-i", kind=BOOL, help="Keep STDIN open even if not attached"),
        Option("--tty", "-t", kind=BOOL, help="Allocate a pseudo-TTY"),
        Option("--rm", kind=BOOL, help="Remove the container and its associated anonymous volumes at exit"),
        Option("--sig-proxy", kind=BOOL, default=True, help="Proxy received signals to the process"),
        Option("--name", help="Assign a name to the container"),
        Option("--pull", default="missing", choices=("always", "missing", "never"), help="Pull image before"),
        Option("--publish", "-p", kind=LIST, help="Publish a container's port(s) to the host"),
        Option("--stop-timeout", kind=INT, help="Timeout (in seconds) to stop a container"),
        Option("--network", "--net", metavar="network", help="Connect a container to a network"),
    ),
    min_positionals=1,
    interspersed=False,
)
PS = Command(
    "ps",
    "[OPTIONS]",
    "List containers",
    options=(
        Option("--all", "-a", kind=BOOL, help="Show all"),
        Option("--last", "-n", kind=INT, default=-1, help="Show n last"),
    ),
    max_positionals=0,
)
RM = Command("rm", "[OPTIONS] CONTAINER [CONTAINER...]", "Remove", min_positionals=1, options=PS.options)


def complaint(command, *words):
    with pytest.raises(UsageError) as caught:
        command.parse(words)
    assert caught.value.exit_code == 125
    return caught.value.render()


@pytest.mark.parametrize(
    "words",
    [["--name", "web"], ["--name=web"], ["--name=x", "--name", "web"], ["--name=web", "--"]],
)
def test_scalar_option_takes_either_form_and_the_last_wins(words):
    parsed = RUN.parse([*words, "debian"])
    assert parsed.text("name") == "web"
    assert parsed.positionals == ("debian",)


@pytest.mark.parametrize("words", [["-p", "80:80"], ["-p80:80"], ["-p=80:80"], ["--publish=80:80"]])
def test_short_option_takes_its_value_attached_or_apart(words):
    assert RUN.parse([*words, "debian"]).texts("publish") == ("80:80",)


def test_clustered_booleans_may_end_in_an_option_with_a_value():
    parsed = RUN.parse(["-itp", "80:80", "-ip=81:81", "debian"])
    assert parsed.flag("interactive")
    assert parsed.flag("tty")
    assert parsed.texts("publish") == ("80:80", "81:81")


def test_repeated_list_option_keeps_all_values_in_order():
    assert RUN.parse(["-e", "A=1", "--env", "B=2", "-eC=3", "x"]).texts("env") == ("A=1", "B=2", "C=3")


def test_list_value_is_not_split_at_commas():
    assert RUN.parse(["-e", "A=1,2", "x"]).texts("env") == ("A=1,2",)


@pytest.mark.parametrize(
    ("word", "value"),
    [("--rm", True), ("--rm=true", True), ("--rm=1", True), ("--rm=false", False), ("--rm=F", False)],
)
def test_boolean_takes_a_value_only_after_an_equals_sign(word, value):
    parsed = RUN.parse([word, "false"])
    assert parsed.flag("rm") is value
    assert parsed.positionals == ("false",)


def test_short_boolean_can_be_switched_off():
    assert not RUN.parse(["-t=false", "x"]).flag("tty")


def test_boolean_default_can_be_true():
    assert RUN.parse(["x"]).flag("sig-proxy")
    assert not RUN.parse(["--sig-proxy=false", "x"]).flag("sig-proxy")


def test_value_may_look_like_an_option():
    assert RUN.parse(["--name", "--rm", "x"]).text("name") == "--rm"


def test_options_stop_at_the_first_positional_when_not_interspersed():
    parsed = RUN.parse(["-i", "debian", "ls", "-t", "--name", "--", "x"])
    assert parsed.positionals == ("debian", "ls", "-t", "--name", "--", "x")
    assert not parsed.flag("tty")


def test_options_may_follow_positionals_when_interspersed():
    parsed = RM.parse(["one", "-a", "two", "--", "-n"])
    assert parsed.flag("all")
    assert parsed.positionals == ("one", "two", "-n")


def test_double_dash_ends_options_and_vanishes():
    assert RUN.parse(["-i", "--", "-odd", "ls"]).positionals == ("-odd", "ls")


def test_single_dash_is_a_positional():
    assert RM.parse(["-"]).positionals == ("-",)


def test_second_long_name_is_the_same_option():
    assert RUN.parse(["--net", "none", "x"]).text("network") == "none"


def test_integer_takes_a_sign():
    assert PS.parse(["-n", "-5"]).number("last") == -5
    assert PS.parse([]).number("last") == -1
    assert RUN.parse(["x"]).number("stop-timeout") is None


@pytest.mark.parametrize("text", ["", "1.5", "0x10", "1_0", "٣", "9" * 5000, "-", "1 "])
def test_integer_refuses_anything_but_digits(text):
    assert "not a whole number" in complaint(PS, f"--last={text}")


def test_given_tells_silence_from_the_default():
    assert not RUN.parse(["x"]).given("pull")
    assert RUN.parse(["--pull", "missing", "x"]).given("pull")
    assert RUN.parse(["x"]).text("pull") == "missing"


def test_unknown_option_is_named_with_the_nearest_known_one():
    assert complaint(RUN, "--nmae", "x", "y") == (
        "error: unknown option: --nmae\n  hint: Did you mean `--name`? See 'rootless run --help'.\n  [usage]"
    )


def test_unknown_letter_is_named_with_its_cluster():
    assert "unknown option: -z (in -itz)" in complaint(RUN, "-itz", "x")
    assert "unknown option: -z\n" in complaint(RUN, "-z", "x")


def test_missing_value_names_the_option():
    assert "option needs a value: --name" in complaint(RUN, "--name")
    assert "option needs a value: -p (in -itp)" in complaint(RUN, "-itp")


def test_bad_boolean_and_bad_choice_name_option_and_value():
    assert 'invalid argument "maybe" for "--rm"' in complaint(RUN, "--rm=maybe", "x")
    text = complaint(RUN, "--pull", "often", "x")
    assert 'invalid argument "often" for "--pull": choose one of always, missing, never' in text


def test_argument_counts_are_complained_about_as_docker_does():
    assert "'rootless run' requires at least 1 argument\n" in complaint(RUN, "-i")
    assert "usage: rootless run [OPTIONS] IMAGE [COMMAND] [ARG...]" in complaint(RUN)
    assert "'rootless ps' accepts no arguments" in complaint(PS, "x")
    one = Command("logs", "CONTAINER", "x", min_positionals=1, max_positionals=1)
    assert "requires 1 argument\n" in complaint(one)
    assert "requires 1 argument\n" in complaint(one, "a", "b")
    most = Command("x", "", "x", max_positionals=2)
    assert "accepts at most 2 arguments" in complaint(most, "a", "b", "c")


def test_short_h_is_help_unless_the_command_has_that_option():
    with pytest.raises(HelpRequested):
        PS.parse(["-h"])
    taken = Command("x", "", "x", options=(Option("--hostname", "-h"),))
    assert taken.parse(["-h", "web"]).text("hostname") == "web"


def test_help_after_the_image_belongs_to_the_container():
    assert RUN.parse(["debian", "--help"]).positionals == ("debian", "--help")


def test_help_text_verbatim():
    with pytest.raises(HelpRequested) as caught:
        RUN.parse(["--rm", "--help", "--nonsense"])
    assert caught.value.text == HELP


HELP = """\
Usage:  rootless run [OPTIONS] IMAGE [COMMAND] [ARG...]

Create and run a new container from an image

Options:
  -e, --env list           Set environment variables
  -i, --interactive        Keep STDIN open even if not attached
      --name string        Assign a name to the container
      --network network    Connect a container to a network
  -p, --publish list       Publish a container's port(s) to the host
      --pull string        Pull image before (default "missing")
      --rm                 Remove the container and its associated anonymous
                           volumes at exit
      --sig-proxy          Proxy received signals to the process (default true)
      --stop-timeout int   Timeout (in seconds) to stop a container
  -t, --tty                Allocate a pseudo-TTY
"""
