"""Small JSON objects in files that are replaced as a whole: what is read is what somebody wrote. Ring 1."""

from __future__ import annotations

import os

from layers import jsontext


def read(directory: str, name: str) -> dict[str, object]:
    """Read one object.

    Raises:
        OSError: it cannot be read. ValueError: it holds something else.
    """
    with open(os.path.join(directory, name), encoding="utf-8", errors="surrogateescape") as file:
        data = jsontext.loads(file.read())
    if not isinstance(data, dict):
        raise ValueError(f"{name} holds no object")
    return data


def replace(directory: str, name: str, data: dict[str, object], *, durable: bool) -> None:
    """Replace one file as a whole: write beside it, rename.

    Args:
        durable: it must survive a power cut.

    Raises:
        OSError: the old file stands.
    """
    path = os.path.join(directory, name)
    temporary = os.path.join(directory, f".{name}.{os.getpid()}")
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        _write_all(fd, jsontext.dumps(data).encode())
        if durable:
            os.fsync(fd)
        os.rename(temporary, path)
    except OSError as exc:
        os.unlink(temporary)
        exc.filename = exc.filename or path  # write(2) and fsync(2) do not know it
        raise
    finally:
        os.close(fd)


def overwrite(directory: str, name: str, data: dict[str, object]) -> None:
    """Write an object over the old one, which needs no space: for full disks.

    It is one write, within the first block: a kill cannot tear it.
    """
    fd = os.open(os.path.join(directory, name), os.O_WRONLY | os.O_CLOEXEC)
    try:
        text = jsontext.dumps(data).encode()
        _write_all(fd, text.ljust(os.fstat(fd).st_size))  # JSON may end in spaces
        os.fsync(fd)
    finally:
        os.close(fd)


def _write_all(fd: int, text: bytes) -> None:
    while text:
        text = text[os.write(fd, text) :]
