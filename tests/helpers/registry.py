"""Run Debian's docker-registry on a free loopback port.

with running_registry(directory) as registry:
    Layout(path).push("latest", f"{registry.address}/busybox:latest")
"""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

CONFIG = """\
version: 0.1
log: {{level: info, formatter: text}}
storage:
  filesystem: {{rootdirectory: {storage}}}
  delete: {{enabled: true}}
http:
  addr: 127.0.0.1:0
"""
START_TIMEOUT_S = 20


_PASSWORDS = "jo:$2y$05$abcdefghijklmnopqrstuuQDoL5Sa/TtfS/XN4AY/jgq.HBbO1BTu"
"""bcrypt of "word", cost 5: htpasswd -nbB -C 5 jo word."""


class Registry:
    """A registry that is up.

    Attributes:
        address: "127.0.0.1:PORT", plain HTTP.
        storage: its files; blobs lie in docker/registry/v2/blobs/sha256/<2 digits>/<hex>/data.
        log: its log file, one line per request.
    """

    def __init__(self, address: str, *, storage: Path, log: Path) -> None:
        self.address = address
        self.storage = storage
        self.log = log


@contextmanager
def private_registry(directory: Path) -> Iterator[Registry]:
    """Serve a registry that only jo may use, with the password "word"."""
    directory.mkdir(parents=True, exist_ok=True)
    passwords = directory / "htpasswd"
    passwords.write_text(_PASSWORDS + "\n")
    with running_registry(
        directory, extra=f"auth: {{htpasswd: {{realm: box, path: {passwords}}}}}\n"
    ) as registry:
        yield registry


@contextmanager
def running_registry(directory: Path, *, extra: str = "") -> Iterator[Registry]:
    """Serve `directory`/storage until the block ends.

    Args:
        extra: appended to the configuration, `auth: …` for instance.

    Raises:
        RuntimeError: it ended at once, or did not listen in time.
    """
    storage, log, config = directory / "storage", directory / "log", directory / "config.yml"
    storage.mkdir(parents=True, exist_ok=True)
    config.write_text(CONFIG.format(storage=storage) + extra)
    with log.open("w") as stream:
        process = subprocess.Popen(
            ["docker-registry", "serve", str(config)], stdin=subprocess.DEVNULL, stdout=stream, stderr=stream
        )
    try:
        yield Registry(_wait_for_address(process, log), storage=storage, log=log)
    finally:
        process.terminate()
        process.wait(10)


def _wait_for_address(process: subprocess.Popen[bytes], log: Path) -> str:
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline and process.poll() is None:
        if found := re.search(r"listening on (127\.0\.0\.1:\d+)", log.read_text()):
            return found[1]
        time.sleep(0.02)  # its log is the only place where it says so
    raise RuntimeError(f"the registry did not start: {log.read_text()}")


def main(directory: Path) -> None:
    address = directory / "address"
    address.unlink(missing_ok=True)
    with running_registry(directory) as registry:
        address.write_text(registry.address)
        signal.signal(signal.SIGTERM, lambda *_: sys.exit())  # unwinds through the with statement
        signal.pause()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
