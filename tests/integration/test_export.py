"""`export` and `diff`: a container's files as an archive, and what of them is not its image's."""

from __future__ import annotations

import io
import os
import stat
import subprocess
import sys
import tarfile
from typing import TYPE_CHECKING

import pytest

from tests.helpers.extraction import read_members
from tests.helpers.images import Layer, Layout, busybox_layer

if TYPE_CHECKING:
    from pathlib import Path

    from tests.helpers.product import Product

STORAGES = [
    "overlay",
    "copy",
    pytest.param("fuse-overlayfs", marks=pytest.mark.needs("fuse-overlayfs", "fuse")),
]
CHANGE = """
    echo more >> /etc/passwd; rm /bin/vi; rm -r /home/app; mkdir -p /new/deep; touch /new/deep/f
    ln /etc/group /etc/twin; chmod 700 /var; rm /usr/sbin; echo a file > /usr/sbin
    touch /tmp/gone; rm /tmp/gone; ln -s /etc/passwd /new/link; printf '' > "/new/line
feed"
"""
LAYER = """
import sys
from rootless.engine import modes, records
from rootless.engine.archive import Archivist
from rootless.paths import find_paths
paths = find_paths()
facts, chosen = modes.load_modes(paths)
container = records.find(paths, sys.argv[1])
Archivist(paths, container, modes=chosen, facts=facts).read_layer(sys.stdout.buffer.write)
"""


def export(product: Product, name: str) -> tarfile.TarFile:
    with product.start("export", name) as process:
        out, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (0, b"")
    return tarfile.open(fileobj=io.BytesIO(out))


def read(archive: tarfile.TarFile, name: str) -> bytes:
    file = archive.extractfile(name)
    assert file is not None
    return file.read()


@pytest.mark.parametrize("storage", STORAGES)
def test_changes_are_told_exported_and_packed(product: Product, busybox: str, storage: str) -> None:
    words = ("--storage", storage, "--name", "web", "--network=none", "-v", "exported:/srv/data")
    product.run("create", *words, busybox, "sh", "-c", CHANGE + "\ntouch /srv/data/in-volume; sleep 1000")
    assert product.run("diff", "web").out == ""
    never_started = set(export(product, "web").getnames())
    product.run("start", "web")
    product.run("exec", "web", "sh", "-c", "until [ -e /srv/data/in-volume ]; do :; done")
    expected = ["C /bin", "D /bin/vi", "C /etc", "C /etc/passwd", "A /etc/twin", "C /home", "D /home/app",
                "A /new", "A /new/deep", "A /new/deep/f", "A /new/line", "feed", "A /new/link", "A /srv",
                "A /srv/data", "C /usr", "C /usr/sbin", "C /var"]  # fmt: skip
    told = [
        line for line in product.run("diff", "web").lines if line != "C /etc/group"
    ]  # copied up to be linked
    assert told == expected
    running = export(product, "web")
    product.run("stop", "-t", "0", "web")
    with export(product, "web") as stopped:
        assert running.getnames() == stopped.getnames()
    names = set(running.getnames())
    assert names - never_started >= {"new/deep/f", "new/line\nfeed", "etc/twin", "srv/data"}
    assert never_started - names == {"bin/vi", "home/app"}
    assert not any(name.startswith("srv/data/") for name in names)
    assert read(running, "etc/passwd").endswith(b"more\n")
    assert read(running, "usr/sbin") == b"a file\n"
    assert running.getmember("etc/shadow").gid == 42
    assert running.getmember("etc/twin").islnk()
    layer = subprocess.run(
        [sys.executable, "-c", LAYER, "web"], env=product.env, stdout=subprocess.PIPE, check=True
    )
    packed = {member.name: data for member, data in read_members(layer.stdout)}
    assert {b"bin/.wh.vi", b"home/.wh.app", b"new/deep/f", b"usr/sbin"} <= packed.keys()
    assert not {b"bin/sh", b"etc/shadow", b"proc/", b"etc/hosts"} & packed.keys()


def test_export_to_a_file_is_complete_or_not_there(product: Product, busybox: str, tmp_path: Path) -> None:
    product.run("create", "--name", "web", busybox)
    target = tmp_path / "out.tar"
    target.write_text("older")
    product.run("export", "-o", "out.tar", "web", cwd=tmp_path)
    assert os.listdir(tmp_path) == ["out.tar"]
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    with tarfile.open(target) as archive:
        assert "bin/busybox" in archive.getnames()
    result = product.fail(1, "export", "-o", "nowhere/out.tar", "web", cwd=tmp_path)
    assert "cannot write nowhere/out.tar" in result.err
    product.run("export", "--output=/dev/null", "web")
    product.fail(1, "export", "nobody")
    with product.terminal("export", "web") as terminal:
        code, shown = terminal.wait()
    assert code == 1
    assert "cannot write an archive to a terminal" in shown
    with product.start("export", "web") as process:
        assert process.stdout is not None
        process.stdout.close()
        assert process.wait(20) == 128 + 13


def test_names_of_a_container_do_not_drive_the_terminal(product: Product, busybox: str) -> None:
    product.run("run", "--name", "web", "--network=none", busybox, "sh", "-c", "touch $(printf '/\\033[2J')")
    assert product.run("diff", "web").out == "A /\x1b[2J\n"
    with product.terminal("diff", "web") as terminal:
        assert terminal.wait()[1].strip() == r"A /\x1b[2J"


def test_hostile_image_is_exported_as_it_is(product: Product, tmp_path: Path) -> None:
    layer = Layer().symlink("data", "/etc").fifo("fifo").symlink("etc/shadow", "/etc/shadow")
    layer.file("uid", uid=1000, gid=2000).file("user", pax_headers={"SCHILY.xattr.user.note": "kept"})
    Layout(tmp_path / "hostile").image("1", [busybox_layer(), layer])
    image = product.run("pull", "-q", f"oci:{tmp_path}/hostile:1").out.strip()
    product.run("run", "--name", "web", "--network=none", image, "true")
    with export(product, "web") as archive:
        assert archive.getmember("data").issym()
        assert archive.getmember("fifo").isfifo()
        assert archive.getmember("etc/shadow").linkname == "/etc/shadow"
        assert (archive.getmember("uid").uid, archive.getmember("uid").gid) == (1000, 2000)
        assert archive.getmember("user").pax_headers["SCHILY.xattr.user.note"] == "kept"
        assert not any("rootlesscontainers" in key for info in archive for key in info.pax_headers)
