"""Files that say which registries are asked: which count, and what is wrong with them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from rootless.errors import RegistryError
from rootless.registry import registry_files
from rootless.registry.registry_files import load_registries

if TYPE_CHECKING:
    from pathlib import Path

    from rootless.registry.registries import Registries


class Files:
    """A home and an /etc; `write` takes a path below both."""

    def __init__(self, base: Path) -> None:
        self.base = base
        self.environment = {"HOME": str(base / "home")}

    def write(self, path: str, text: str) -> Path:
        file = self.base / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        return file

    def load(self) -> Registries:
        return load_registries(self.environment)


OURS = "home/.config/rootless/config.toml"
OURS_OF_ALL = "etc/rootless/config.toml"
PODMANS = "home/.config/containers/registries.conf"
PODMANS_OF_ALL = "etc/containers/registries.conf"


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Files:
    monkeypatch.setattr(registry_files, "SYSTEM_DIRECTORY", str(tmp_path / "etc"))
    return Files(tmp_path)


def located(files: Files) -> str:
    found = files.load().find("a.org/x:1")
    return found.location if found else ""


def test_earlier_places_go_first_prefix_by_prefix(files: Files) -> None:
    for count, path in enumerate(
        (
            PODMANS_OF_ALL,
            PODMANS,
            PODMANS_OF_ALL + ".d/1.conf",
            PODMANS_OF_ALL + ".d/2.conf",
            PODMANS + ".d/1.conf",
            OURS_OF_ALL,
            OURS,
        )
    ):
        files.write(path, f'[[registry]]\nprefix = "a.org"\nlocation = "n{count}.org"\n')
        assert located(files) == f"n{count}.org", path
    files.write(OURS, '[[registry]]\nprefix = "b.org"\nlocation = "c.org"\n')
    assert located(files) == "n5.org"


def test_users_main_file_of_podman_hides_the_systems(files: Files) -> None:
    files.write(PODMANS_OF_ALL, '[[registry]]\nlocation = "a.org"\nblocked = true\n')
    assert files.load().find("a.org")
    files.write(PODMANS, "")
    assert not files.load().find("a.org")
    chosen = files.write("chosen", '[[registry]]\nlocation = "a.org"\n')
    files.environment["CONTAINERS_REGISTRIES_CONF"] = str(chosen)
    assert files.load().find("a.org")
    chosen.unlink()
    with pytest.raises(RegistryError, match="it is not there"):
        files.load()


def test_podmans_short_names_need_the_switch(files: Files) -> None:
    files.write(PODMANS, 'unqualified-search-registries = ["a.org"]\n[aliases]\nbox = "b.org/box"\n')
    assert (files.load().search, files.load().aliases) == ((), {})
    files.write(OURS, "podman-short-names = true\n")
    assert (files.load().search, files.load().aliases) == (("a.org",), {"box": "b.org/box"})
    files.write(
        OURS,
        'podman-short-names = true\nunqualified-search-registries = []\n[aliases]\nbox = ""\nx = "c.org/x"',
    )
    assert (files.load().search, files.load().aliases) == ((), {"x": "c.org/x"})


def test_all_fields_are_read(files: Files) -> None:
    files.write(
        PODMANS,
        """
        [[registry]]
        location = "a.org/team/"
        insecure = true
        blocked = false
        [[registry.mirror]]
        location = "b.org"
        insecure = true
        pull-from-mirror = "tag-only"
        [[registry]]
        prefix = "*.c.org"
        mirror-by-digest-only = true
        [[registry.mirror]]
        location = "[::1]:5000/c"
        """,
    )
    team, wild = files.load().registries
    assert (team.prefix, team.location, team.insecure) == ("a.org/team", "a.org/team", True)
    (mirror,) = team.mirrors
    assert (mirror.location, mirror.insecure, mirror.pull_from) == ("b.org", True, "tag-only")
    assert [(each.location, each.pull_from) for each in wild.mirrors] == [("[::1]:5000/c", "digest-only")]


def test_old_name_of_docker_hub_is_docker_hub(files: Files) -> None:
    files.write(PODMANS, '[[registry]]\nprefix = "index.docker.io/library"\nlocation = "a.org"\n')
    found = files.load().find("docker.io/library/debian:latest")
    assert found
    assert found.location == "a.org"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("x = 1\ny = = 2", "line 2"),
        ('[[registry]]\nlocation = "nodots/x"', "location `nodots/x` is not HOST"),
        ('[[registry]]\nprefix = "a.*.org"', "prefix `a.*.org` is not HOST"),
        ('[[registry]]\nprefix = "*.a.org/x"', "prefix `*.a.org/x` is not HOST"),
        ("[[registry]]\ninsecure = true", "neither prefix nor location"),
        ('[[registry]]\nlocation = "a.org"\ninsecure = "yes"', "`insecure` is neither true nor false"),
        ('[[registry]]\nlocation = "a.org"\n[[registry.mirror]]', "location of a mirror `None`"),
        (
            '[[registry]]\nlocation = "a.org"\nmirror = [{location = "b.org", pull-from-mirror = "no"}]',
            "`pull-from-mirror` is none of",
        ),
        ('registry = "a.org"', "`registry` is not a list of tables"),
        ('unqualified-search-registries = "a.org"', "is not a list"),
        ("[aliases]\nbox = 1", "`aliases` is not a table of strings"),
        ('[aliases]\nbox = "b.org"', "aliases.box `b.org` is not HOST[:PORT]/PATH"),
        ('[aliases]\nbox = "b.org/x:1"', "aliases.box `b.org/x:1` is not HOST[:PORT]/PATH"),
        ('[aliases]\nbox = "debian"', "aliases.box `debian` is not HOST"),
        ("x = " + "[" * 5000, "nest"),
        ("\xff", "cannot read the registries file"),
    ],
)
def test_what_makes_no_sense_is_told_with_its_file(files: Files, text: str, problem: str) -> None:
    path = files.write(OURS, "")
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(RegistryError) as caught:
        files.load()
    assert problem in caught.value.message
    assert caught.value.on == str(path)


def test_unknown_keys_are_told_of_ours_alone(files: Files) -> None:
    text = 'mirros = 1\n[[registry]]\nlocation = "a.org"\nblock = true\n'
    files.write(PODMANS, text)
    assert files.load().warnings == ()
    path = files.write(OURS, text)
    assert files.load().warnings == (
        f"{path}: `mirros` is unknown, and ignored",
        f"{path}: `registry.block` is unknown, and ignored",
    )


def test_file_that_cannot_be_read_is_told(files: Files) -> None:
    (files.base / OURS).mkdir(parents=True)
    with pytest.raises(RegistryError, match="EISDIR"):
        files.load()
