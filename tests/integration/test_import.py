"""`import`: images of root file systems in archives, from files, pipes and URLs."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import json
import lzma
import os
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import TYPE_CHECKING

import pytest
from backports import zstd

from tests.helpers.images import Layer, busybox_layer
from tests.helpers.product import QUICK

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.helpers.product import Product

COMPRESSIONS: dict[str, Callable[[bytes], bytes]] = {
    "plain": bytes,
    "gzip": gzip.compress,
    "bzip2": bz2.compress,
    "xz": lambda data: lzma.compress(data, preset=0),
    "zstd": zstd.compress,
}


@pytest.fixture(scope="module")
def archive() -> bytes:
    return busybox_layer().file("hello", b"from the archive\n").bytes()


@pytest.fixture
def imported(product: Product) -> Iterator[Callable[..., str]]:
    """Import bytes over stdin and return the image's id; the images go at the end."""
    made: list[str] = []

    def run(data: bytes, *words: str) -> str:
        made.append(product.run("import", *words[:-1], "-", words[-1], input=data).out.strip())
        return made[-1]

    yield run
    product.run("rmi", "-f", *made)


def test_archive_is_imported_however_it_is_compressed(
    product: Product, archive: bytes, imported: Callable[..., str]
) -> None:
    made = [imported(compress(archive), f"import/it:{name}") for name, compress in COMPRESSIONS.items()]
    layers = product.run("image", "inspect", "-f", "{{.RootFS.Layers}}", *made).lines
    assert layers == ["[sha256:" + hashlib.sha256(archive).hexdigest() + "]"] * len(COMPRESSIONS)
    assert product.run(*QUICK, "import/it:zstd", "cat", "/hello").out == "from the archive\n"


def test_changes_message_and_platform_are_those_asked_for(
    product: Product, archive: bytes, imported: Callable[..., str], tmp_path: Path
) -> None:
    words = ("-c", 'CMD ["cat", "/hello"]', "-c", "ENV A=1", "-m", "said", "--platform", "linux/arm64/v8")
    image = imported(archive, *words, "import/it:2")
    (shown,) = json.loads(product.run("image", "inspect", image).out)
    assert (shown["Architecture"], shown["Os"], shown["Comment"]) == ("arm64", "linux", "said")
    assert shown["Config"] == {"Cmd": ["cat", "/hello"], "Env": ["A=1"]}
    assert product.run(*QUICK, image).out == "from the archive\n"
    (tmp_path / "root.tar").write_bytes(archive)
    nameless = product.run("import", str(tmp_path / "root.tar")).out.strip()
    assert product.run("history", "--format={{.Comment}}", nameless).out == (
        f"Imported from {tmp_path}/root.tar\n"
    )
    assert nameless in product.run("images", "-q", "--no-trunc", "--filter=dangling=true").lines
    told = product.run("events", "--since=1m", "--until=0s", "-f", "type=image", "--format={{.Action}}").lines
    assert told[-3:] == ["import", "tag", "import"]
    product.run("rmi", nameless)


def test_exported_container_comes_back(product: Product, busybox: str, imported: Callable[..., str]) -> None:
    script = "mkdir -m 1777 /d; echo x >/d/a; ln /d/a /d/b; ln -s a /d/c; chmod 4711 /d/a; touch -d @99 /d/a"
    look = "cd /d; stat -c '%n %F %a %u:%g %Y %h' . a b | sed 's/ 1777 .*/ 1777/'; readlink c; cat b"
    product.run("run", "--network=none", "--name=moving", busybox, "sh", "-c", script)
    image = imported(product.start("export", "moving").communicate()[0], "import/moved")
    before = product.run("commit", "moving").out.strip()
    assert (
        product.run(*QUICK, image, "/bin/sh", "-c", look).out
        == product.run(*QUICK, before, "sh", "-c", look).out
    )
    product.remove_containers()
    product.run("rmi", before)


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"", "no bytes"),
        (b"garbage\n", "cut off"),
        (gzip.compress(b"x" * 100_000)[:-20], "cut off"),
    ],
    ids=["nothing", "garbage", "truncated"],
)
def test_what_is_no_good_archive_leaves_nothing(product: Product, data: bytes, problem: str) -> None:
    listed = (product.store / "index.json").read_bytes()
    blobs = set(os.listdir(product.store / "blobs/sha256"))
    failed = product.fail(1, "import", "-", "import/bad", input=data)
    assert problem in failed.err
    assert "Traceback" not in failed.err
    assert (product.store / "index.json").read_bytes() == listed
    assert set(os.listdir(product.store / "blobs/sha256")) <= blobs
    assert list((product.store / "ingest").glob("*.tmp")) == []


def test_hostile_archive_stays_in_its_tree(product: Product, tmp_path: Path) -> None:
    """Hazard: names with dots, and names below a link of the archive's own."""
    layer = Layer().file("../escape", b"x").symlink("out", str(tmp_path)).file("out/escape", b"x")
    product.run("import", "-", "import/hostile", input=layer.bytes())
    assert list(product.store.glob("snapshots/*/escape")) == []
    assert list(tmp_path.iterdir()) == []
    product.run("rmi", "import/hostile")


def test_archive_is_fetched_from_a_url(product: Product, archive: bytes) -> None:
    class Server(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response({"/root.tar.gz": 200, "/moved": 302}.get(self.path, 404))
            self.send_header("Location", "/root.tar.gz")
            body = gzip.compress(archive) if self.path == "/root.tar.gz" else b""
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Server) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        base = f"http://127.0.0.1:{server.server_port}"
        image = product.run("import", f"{base}/moved", "import/fetched").out.strip()
        assert "404" in product.fail(1, "import", f"{base}/gone").err
        server.shutdown()
    assert product.run(*QUICK, image, "cat", "/hello").out == "from the archive\n"
    assert "ECONNREFUSED" in product.fail(1, "import", f"{base}/root.tar.gz").err
    product.run("rmi", image)


def test_what_makes_no_sense_is_told_before_anything_is_read(product: Product) -> None:
    assert "none of CMD" in product.fail(125, "import", "-c", "RUN x", "/nonexistent").err
    assert "ENOENT" in product.fail(1, "import", "/nonexistent").err
    assert "EISDIR" in product.fail(1, "import", "/").err
    assert "platform" in product.fail(125, "import", "--platform=a/b/c/d", "-", input=b"x").err
