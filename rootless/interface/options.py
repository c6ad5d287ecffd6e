"""Keywords of the Python interface are options of the command line: `stop_timeout=5` is `--stop-timeout=5`.

There is one table of options, the command line's, which also says what each means. The classes here only
tell type checkers its names and kinds; a test compares the two. `words` is all that happens at run time.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import TypedDict  # noqa: TID253  trio has imported it

Text = str | int | float | os.PathLike[str]
"""The value of an option: written as `str` does."""
Texts = str | Iterable[str | os.PathLike[str]] | Mapping[str, str]
"""The values of an option that may be repeated; of a mapping, "name=value"."""


class ExecOptions(TypedDict, total=False):
    """Options of `rootless exec`."""

    env: Texts
    env_file: Texts
    interactive: bool
    privileged: bool
    user: Text
    workdir: Text


class CreateOptions(ExecOptions, total=False):
    """Options of `rootless create` and `rootless run`."""

    add_host: Texts
    cap_add: Texts
    cap_drop: Texts
    cpu_period: int
    cpu_quota: int
    cpu_shares: int
    cpus: Text
    cpuset_cpus: Text
    device: Texts
    dns: Texts
    dns_option: Texts
    dns_search: Texts
    entrypoint: Text
    expose: Texts
    group_add: Texts
    health_cmd: Text
    health_interval: Text
    health_retries: int
    health_start_interval: Text
    health_start_period: Text
    health_timeout: Text
    hostname: Text
    init: bool
    ipc: Text
    label: Texts
    label_file: Texts
    limits: Text
    log_driver: Text
    log_opt: Texts
    memory: Text
    memory_reservation: Text
    memory_swap: Text
    mount: Texts
    name: Text
    network: Text
    no_healthcheck: bool
    oom_score_adj: int
    pids_limit: int
    platform: Text
    publish: Texts
    publish_all: bool
    pull: Text
    read_only: bool
    restart: Text
    rm: bool
    security_opt: Texts
    shm_size: Text
    stop_signal: Text
    stop_timeout: int
    storage: Text
    tls_verify: bool
    tmpfs: Texts
    tty: bool
    ulimit: Texts
    umask: Text
    user: Text
    uts: Text
    volume: Texts
    volumes_from: Texts
    workdir: Text


def words(options: Mapping[str, object]) -> list[str]:
    """Return keywords as words of a command line; None is an option that is not given. Pure.

    A wrong name or value is complained about by who parses them.
    """
    return [word for name, value in options.items() for word in _words(name.replace("_", "-"), value)]


def _words(name: str, value: object) -> list[str]:
    if value is None:
        return []
    if isinstance(value, bool):
        return [f"--{name}={str(value).lower()}"]
    if isinstance(value, Mapping):
        return [f"--{name}={key}={item}" for key, item in value.items()]
    if isinstance(value, Iterable) and not isinstance(value, str):
        return [f"--{name}={_text(item)}" for item in value]
    return [f"--{name}={_text(value)}"]


def _text(value: object) -> str:
    return os.fspath(value) if isinstance(value, os.PathLike) else str(value)
