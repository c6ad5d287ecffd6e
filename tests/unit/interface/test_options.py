"""Keywords of the Python interface, beside the command line's table of options."""

from __future__ import annotations

from pathlib import Path
from typing import get_type_hints

import pytest

from rootless.cli import exec
from rootless.cli.args import BOOL, INT, LIST, STRING
from rootless.cli.run_table import CREATE_TABLE, TABLE
from rootless.interface.options import CreateOptions, ExecOptions, Text, Texts, words

ABOUT_TERMINALS = {"attach", "cidfile", "detach", "detach_keys", "quiet", "sig_proxy"}
TYPES = {BOOL: bool, INT: int, LIST: Texts, STRING: Text}


def of_table(options, *without: str) -> dict[str, object]:
    shown = {option.key.replace("-", "_"): TYPES[option.kind] for option in options if not option.hidden}
    return {name: kind for name, kind in shown.items() if name not in ABOUT_TERMINALS | set(without)}


def test_keywords_are_those_of_the_table_with_their_types():
    assert get_type_hints(CreateOptions) == of_table(TABLE.options)
    assert get_type_hints(ExecOptions) == of_table(exec.TABLE.options, "tty")


@pytest.mark.parametrize(
    ("keywords", "expected"),
    [
        ({"stop_timeout": 0, "init": True, "rm": False}, ["--stop-timeout=0", "--init=true", "--rm=false"]),
        ({"name": None, "cpus": 1.5, "workdir": Path("/w")}, ["--cpus=1.5", "--workdir=/w"]),
        ({"env": "A=1"}, ["--env=A=1"]),
        ({"env": ["A=1", "B"], "volume": (Path("/v"),)}, ["--env=A=1", "--env=B", "--volume=/v"]),
        ({"env": {"A": "x=y", "B": ""}}, ["--env=A=x=y", "--env=B="]),
        ({"entrypoint": "", "dns": []}, ["--entrypoint="]),
    ],
)  # fmt: skip
def test_words_are_what_a_shell_user_writes(keywords, expected):
    assert words(keywords) == expected


def test_words_are_understood_by_the_table():
    keywords = {"env": {"A": "1"}, "tls_verify": False, "memory": "64m", "pids_limit": -1}
    parsed = CREATE_TABLE.parse([*words(keywords), "--", "image", "--", "-x"])
    assert parsed.texts("env") == ("A=1",)
    assert (parsed.flag("tls-verify"), parsed.text("memory"), parsed.number("pids-limit")) == (
        False,
        "64m",
        -1,
    )
    assert parsed.positionals == ("image", "--", "-x")
