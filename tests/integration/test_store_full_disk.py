"""A disk that is really full: a small tmpfs in a user namespace."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
pytestmark = pytest.mark.needs("unshare", "mount")

PROGRAM = """
import os, sys
from layers.errors import StoreError
from layers.store.directory import ImageLayout
from tests.helpers.blobs import add_image, describe

layout = ImageLayout("store", locks=sys.argv[1])
layout.ensure()
layout.tag("docker.io/library/x:1", add_image(layout, os.urandom(100_000)))

big = os.urandom(1 << 20)
try:
    with layout.begin(describe(big)) as ingest:
        ingest.write(big)
except StoreError as exc:
    print(exc.message)
assert not layout.has(describe(big).digest)
assert set(os.listdir("store/ingest")) == {"reserve"}

with open("filler", "wb", buffering=0) as filler:
    try:
        while filler.write(bytes(512)):
            pass
    except OSError:
        pass
for entry in layout.entries():
    layout.remove(entry.digest)
print(len(layout.sweep().deleted), layout.entries())
layout.tag("docker.io/library/y:1", add_image(layout, os.urandom(50_000)))
assert os.path.getsize("store/ingest/reserve") == 65536
"""


def test_full_disk_is_reported_leaves_nothing_and_can_be_emptied(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "program.py").write_text(PROGRAM)
    script = 'mount -t tmpfs -o size=400k none "$1" && cd "$1" && PYTHONPATH=$5 exec "$2" -B "$3" "$4"'
    words = (tmp_path / "disk", sys.executable, tmp_path / "program.py", tmp_path / "locks", REPOSITORY)
    done = subprocess.run(
        ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script, "sh", *words],
        capture_output=True,
        text=True,
    )
    assert done.stdout == "cannot write to the store: No space left on device\n3 []\n", done.stderr
