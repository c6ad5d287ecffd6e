from __future__ import annotations

import fcntl
import os
import stat
from typing import TYPE_CHECKING, Any

import pytest

from rootless.errors import RegistryError
from rootless.registry.logins import change_logins, drop_logins, key_path, load_logins, logins_path
from rootless.registry.settings import RegistrySettings

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def settings(tmp_path: Path) -> RegistrySettings:
    return RegistrySettings(environment={"HOME": str(tmp_path)})


def test_what_is_kept_is_found_and_dropped(settings: RegistrySettings) -> None:
    assert load_logins(settings) is None
    change_logins(settings, lambda config: {**config, "a": 1})
    change_logins(settings, lambda config: {**config, "b": 2})
    assert load_logins(settings) == {"a": 1, "b": 2}
    drop_logins(settings)
    drop_logins(settings)
    assert load_logins(settings) is None


def test_change_excludes_other_changes(settings: RegistrySettings) -> None:
    def change(config: dict[str, Any]) -> dict[str, Any]:
        fd = os.open(os.path.dirname(logins_path(settings)), os.O_RDONLY)
        try:
            with pytest.raises(BlockingIOError):
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        finally:
            os.close(fd)
        return config

    change_logins(settings, change)


def test_files_are_private_whatever_the_umask(settings: RegistrySettings) -> None:
    before = os.umask(0)
    try:
        change_logins(settings, lambda config: config)
    finally:
        os.umask(before)
    for path in (logins_path(settings), key_path(settings)):
        assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
        assert stat.S_IMODE(os.stat(os.path.dirname(path)).st_mode) == 0o700


def test_change_that_fails_leaves_what_was(settings: RegistrySettings) -> None:
    change_logins(settings, lambda config: {"a": 1})
    with pytest.raises(ZeroDivisionError):
        change_logins(settings, lambda config: {"b": 1 // 0})
    assert load_logins(settings) == {"a": 1}


@pytest.mark.parametrize("text", [b"", b"\0", b"gAAAAA", b"x" * 3_000_000])
def test_damaged_file_or_key_is_told(settings: RegistrySettings, text: bytes) -> None:
    change_logins(settings, lambda config: {"a": 1})
    for path in (logins_path(settings), key_path(settings)):
        with open(path, "wb") as file:
            file.write(text)
        with pytest.raises(RegistryError, match="cannot read the logins"):
            load_logins(settings)


def test_login_of_another_key_is_not_believed(settings: RegistrySettings, tmp_path: Path) -> None:
    change_logins(settings, lambda config: {"a": 1})
    other = RegistrySettings(environment={"HOME": str(tmp_path / "other")})
    change_logins(other, lambda config: {"b": 1})
    os.replace(logins_path(other), logins_path(settings))
    with pytest.raises(RegistryError, match="another key"):
        load_logins(settings)
