"""kill -9 before every single system call that changes the store: the next command works."""

from __future__ import annotations

import fcntl
import os
import signal
from typing import TYPE_CHECKING, Any

import pytest

from layers.store.directory import ImageLayout
from tests.helpers.blobs import add_image

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from layers.digest import Digest

NAME = "docker.io/library/x:1"
CALLS = ("open", "pwrite", "fsync", "rename", "link", "unlink", "mkdir", "fchmod", "ftruncate", "close")


def pull(layout: ImageLayout) -> None:
    layout.ensure()
    with layout.pulling():
        layout.tag(NAME, add_image(layout, b"base", b"first"))


def pull_newer_and_clean(layout: ImageLayout) -> None:
    with layout.pulling():
        layout.tag(NAME, add_image(layout, b"base", b"second"))
    for entry in layout.entries():
        if entry.name is None:
            layout.remove(entry.digest)
    layout.sweep(partial_age_s=0)


def killed_at(number: int, work: Callable[[ImageLayout], None], layout: ImageLayout) -> bool:
    """Do the work in a child that is killed before its number-th call; tell whether it came so far."""
    pid = os.fork()
    if pid == 0:
        try:
            _arm(number)
            work(layout)
        finally:
            os._exit(0)
    _, status = os.waitpid(pid, 0)
    return os.WIFSIGNALED(status)


def _arm(number: int) -> None:
    left = number

    def counted(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            nonlocal left
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            left -= 1
            return real(*args, **kwargs)

        return call

    for name in CALLS:
        setattr(os, name, counted(getattr(os, name)))
    fcntl.flock = counted(fcntl.flock)


def check(layout: ImageLayout) -> None:
    """What holds at every moment: blobs are what they are called, images that are listed are complete."""
    for digest, _ in layout.blobs():
        layout.verify(digest)
    for entry in layout.entries():
        image = layout.load_image(entry)
        assert all(layout.has(layer.digest, size=layer.size) for layer in image.manifest.layers)


def files(layout: ImageLayout) -> set[str]:
    found = {
        os.path.relpath(os.path.join(directory, name), layout.root)
        for directory, _, names in os.walk(layout.root)
        for name in names
    }
    return {name for name in found if not name.endswith(".tmp")}  # swept after an hour


@pytest.mark.parametrize("stage", ["first pull", "second pull and clean-up"])
def test_kill_before_every_call_leaves_a_store_that_works(tmp_path: Path, stage: str) -> None:
    work = pull if stage == "first pull" else pull_newer_and_clean
    number = 0
    while True:
        layout = ImageLayout(tmp_path / str(number) / "store", locks=str(tmp_path / str(number) / "locks"))
        if work is pull_newer_and_clean:
            pull(layout)
        if not killed_at(number, work, layout):
            break
        check(layout)
        layout.ensure()
        work(layout)
        check(layout)
        assert [entry.name for entry in layout.entries()] == [NAME]
        layout.sweep(partial_age_s=0)
        assert files(layout) == expected_files(layout)
        number += 1
    assert number > 60, "the work was not killed as often as it makes calls"


def expected_files(layout: ImageLayout) -> set[str]:
    image = layout.load_image(layout.resolve(NAME))
    digests: list[Digest] = [image.entry.digest, image.id, *(d.digest for d in image.manifest.layers)]
    return {
        "oci-layout",
        "index.json",
        "ingest/reserve",
        *(f"blobs/sha256/{digest.encoded}" for digest in digests),
    }
