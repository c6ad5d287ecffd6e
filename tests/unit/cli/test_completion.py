"""The generated completion scripts; bash's is run by bash itself."""

import shutil
import subprocess

import pytest

from rootless.cli import completion, groups
from rootless.cli.args import BOOL, LIST, Command, Option
from rootless.cli.run_table import TABLE as RUN

TABLES = [
    RUN,
    Command("rm", "CONTAINER", "Remove it's things", min_positionals=1, completes="containers"),
    Command(
        "cat",
        "FILE",
        "Show [it]: 'now'",
        options=(
            Option("--all", "-a", kind=BOOL, help="It's [all]: 1"),
            Option("--from", kind=LIST, completes="directory", help="d"),
        ),
    ),
]
IMAGE_VERBS = set(groups.shown_names("image"))
HOSTILE = "x$(touch pwned)`touch pwned`;touch${IFS}pwned"


@pytest.fixture
def complete(tmp_path):
    """Ask bash what it offers for a command line that ends at the cursor."""
    program = tmp_path / "bin" / "rootless"
    program.parent.mkdir()
    program.write_text(
        "#!/bin/sh\ncase $1 in\n"
        f"ps) printf '%s\\n' web worker '{HOSTILE}';;\n"
        "images) printf '%s\\n' debian:12 debian:11 localhost:5000/x:1;;\nesac\n"
    )
    program.chmod(0o755)
    script = tmp_path / "completion.bash"
    script.write_text(completion.bash(TABLES))
    (tmp_path / "folder").mkdir()

    def run(line):
        code = (
            f"source {script}; compopt() {{ :; }}\n"
            'COMP_LINE=$1; COMP_POINT=${#1}; _rootless; printf "%s\\n" "${COMPREPLY[@]}"'
        )
        result = subprocess.run(
            ["bash", "--norc", "-u", "-c", code, "bash", line],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env={"PATH": f"{program.parent}:/usr/bin:/bin"},
            check=False,
        )
        assert result.stderr == ""
        assert not (tmp_path / "pwned").exists()
        return result.stdout.split()

    return run


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("rootless r", ["run", "rm", "registry"]),
        ("rootless --root /x r", ["run", "rm", "registry"]),
        ("rootless --root=/x r", ["run", "rm", "registry"]),
        ("rootless --log-level ", ["debug", "info", "warn", "error", "fatal"]),
        ("rootless run --pu", ["--publish-all", "--publish", "--pull"]),
        ("rootless run --pull ", ["always", "missing", "never"]),
        ("rootless run --pull=m", ["missing"]),
        ("rootless run --name web deb", ["debian:12", "debian:11"]),
        ("rootless run --name=web debian:", ["12", "11"]),
        ("rootless run localhost:5000/x:", ["1"]),
        ("rootless run --name ", []),
        ("rootless run debian:12 --pu", []),
        ("rootless rm w", ["web", "worker"]),
        ("rootless rm --h", ["--help"]),
        ("rootless cat -", ["--all", "-a", "--from", "--help"]),
        ("rootless cat --from f", ["folder"]),
        ("rootless nonsense x", []),
        ("rootless cont", ["container"]),
        ("rootless image ", [*IMAGE_VERBS, "--help"]),
        ("rootless image hi", ["history"]),
        ("rootless container rm w", ["web", "worker"]),
        ("rootless --root /x container run --pull ", ["always", "missing", "never"]),
        ("rootless container run --name web deb", ["debian:12", "debian:11"]),
        ("rootless image run x", []),
    ],
)
def test_bash_offers_what_the_tables_say(complete, line, words):
    assert sorted(complete(line)) == sorted(words)


def test_hostile_name_is_neither_run_nor_offered(complete):
    assert complete("rootless rm ") == ["web", "worker"]
    assert complete("rootless rm x") == []


@pytest.mark.skipif(shutil.which("fish") is None, reason="fish is not installed")
@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("rootless cont", {"container"}),
        ("rootless --root /x run --pu", {"--publish-all", "--publish", "--pull"}),
        ("rootless image ", IMAGE_VERBS),
        ("rootless container run --pull ", {"always", "missing", "never"}),
        ("rootless cat --al", {"--all"}),
    ],
)
def test_fish_offers_what_the_tables_say(tmp_path, line, words):
    code = f"source {tmp_path}/script; complete -C '{line}'"
    (tmp_path / "script").write_text(completion.fish(TABLES))
    result = subprocess.run(
        ["fish", "--no-config", "-c", code],
        capture_output=True,
        text=True,
        env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path)},
        check=True,
    )
    assert {row.split("\t")[0] for row in result.stdout.splitlines()} == words


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_every_shell_has_every_option(shell):
    script = getattr(completion, shell)(TABLES)
    for option in RUN.shown_options:
        assert option.key in script


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_script_is_valid_for_its_shell(shell, tmp_path):
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    script = tmp_path / "script"
    script.write_text(getattr(completion, shell)(TABLES))
    subprocess.run([shell, "-n", str(script)], check=True)
