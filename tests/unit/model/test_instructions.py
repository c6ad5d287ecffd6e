"""Dockerfile instructions that change an image's config."""

from __future__ import annotations

import pytest

from rootless.errors import UsageError
from rootless.model.instructions import apply_changes

BEFORE = {
    "Env": ["PATH=/bin", "HOME=/root"],
    "Cmd": ["old"],
    "Entrypoint": ["/start"],
    "WorkingDir": "/srv",
    "Labels": {"a": "1"},
}


@pytest.mark.parametrize(
    ("change", "name", "value"),
    [
        ('CMD ["a", "b c"]', "Cmd", ["a", "b c"]),
        ("CMD echo $HOME", "Cmd", ["/bin/sh", "-c", "echo $HOME"]),
        ("cmd [not json", "Cmd", ["/bin/sh", "-c", "[not json"]),
        ("CMD [1]", "Cmd", ["/bin/sh", "-c", "[1]"]),
        ('ENTRYPOINT ["x"]', "Entrypoint", ["x"]),
        ("ENTRYPOINT exec top", "Entrypoint", ["/bin/sh", "-c", "exec top"]),
        ("ENV A=1 B='2 3' C=\"$HOME\\\"\" PATH=/x:$PATH", "Env",
         ["PATH=/x:/bin", "HOME=/root", "A=1", "B=2 3", 'C=/root"']),
        ("ENV A some words", "Env", ["PATH=/bin", "HOME=/root", "A=some words"]),
        ("ENV A=${NO:-d} B=${HOME:+y} C=${NO:+n} D=${HOME}/x E=a\\ b F='$HOME' G=$", "Env",
         ["PATH=/bin", "HOME=/root", "A=d", "B=y", "C=", "D=/root/x", "E=a b", "F=$HOME", "G=$"]),
        ("EXPOSE 80 53/UDP 8000-8002/tcp", "ExposedPorts",
         {"80/tcp": {}, "53/udp": {}, "8000/tcp": {}, "8001/tcp": {}, "8002/tcp": {}}),
        ('LABEL b="x y" a=2', "Labels", {"a": "2", "b": "x y"}),
        ("ONBUILD RUN make", "OnBuild", ["RUN make"]),
        ("STOPSIGNAL SIGQUIT", "StopSignal", "SIGQUIT"),
        ("USER app:app", "User", "app:app"),
        ('VOLUME ["/data", "/with space"]', "Volumes", {"/data": {}, "/with space": {}}),
        ("VOLUME /a $HOME/b", "Volumes", {"/a": {}, "/root/b": {}}),
        ("WORKDIR /new", "WorkingDir", "/new"),
        ("WORKDIR sub/../dir x", "WorkingDir", "/srv/dir x"),
    ],
)  # fmt: skip
def test_instruction_changes_its_field(change: str, name: str, value: object) -> None:
    assert apply_changes(BEFORE, [change])[name] == value
    assert BEFORE["Cmd"] == ["old"]


def test_new_entrypoint_drops_the_command_of_the_old_one() -> None:
    assert "Cmd" not in apply_changes(BEFORE, ['ENTRYPOINT ["x"]'])
    for changes in (["CMD c", 'ENTRYPOINT ["x"]'], ['ENTRYPOINT ["x"]', "CMD c"]):
        assert apply_changes(BEFORE, changes)["Cmd"] == ["/bin/sh", "-c", "c"]


def test_later_instructions_see_earlier_ones() -> None:
    changed = apply_changes({"Shell": ["/bin/bash", "-c"]}, ["ENV D=/d", "WORKDIR $D", "WORKDIR e", "CMD x"])
    assert changed["WorkingDir"] == "/d/e"
    assert changed["Cmd"] == ["/bin/bash", "-c", "x"]


@pytest.mark.parametrize(
    "change",
    [
        "", "RUN make", "FROM x", "CMD", "ENV A", "ENV =1", "ENV A=1 B", "ENV A='x", 'ENV A="x',
        "ENV A=${HOME",
        "ENV A=${HOME:?no}", "ENV A=${:-x}", "EXPOSE x", "EXPOSE 0", "EXPOSE 65536", "EXPOSE 9-8",
        "EXPOSE 80/icmp", "EXPOSE \N{ARABIC-INDIC DIGIT EIGHT}", "USER a b", "USER ''",
        "ONBUILD ONBUILD RUN x", "ONBUILD FROM x", 'VOLUME [""]', "CMD a\nRUN b", "LABEL a=\0",
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused(change: str) -> None:
    with pytest.raises(UsageError) as caught:
        apply_changes(BEFORE, [change])
    assert caught.value.message.startswith("cannot apply the change: ")
    assert "\n" not in caught.value.message
