"""`cp`: both directions, running and stopped containers, and containers that do what they can against it."""

from __future__ import annotations

import bz2
import fcntl
import gzip
import io
import lzma
import os
import signal
import stat
import subprocess
import tarfile
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.helpers.images import EPOCH, Layer, Layout, busybox_layer, compress
from tests.helpers.trees import differences, read_tree

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.helpers.product import Product

    Make = Callable[..., str]

SECRET = "secret-of-the-host"
STATES = ["running", "stopped"]


@pytest.fixture
def make(product: Product, busybox: str) -> Make:
    """Make a container and return its name: "running", or one that has never been started."""

    def made(state: str, *options: str, image: str = busybox) -> str:
        verb = ("run", "-d") if state == "running" else ("create",)
        product.run(*verb, "--name", "web", "--network=none", *options, image, "sleep", "1000")
        return "web"

    return made


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """Files of the host to copy."""
    (tmp_path / "f").write_text("content\n")
    (tmp_path / "f").chmod(0o640)
    os.utime(tmp_path / "f", (EPOCH, EPOCH))
    (tmp_path / "d/sub").mkdir(parents=True)
    (tmp_path / "d/x").write_text("x\n")
    return tmp_path


def listing(product: Product, what: str) -> dict[str, tarfile.TarInfo]:
    """Return what `cp CONTAINER:PATH -` says of a path, by name."""
    with product.start("cp", what, "-") as process:
        out, err = process.communicate(timeout=30)
    assert process.returncode == 0, err
    with tarfile.open(fileobj=io.BytesIO(out)) as archive:
        return {info.name: info for info in archive}


@pytest.mark.parametrize("state", STATES)
def test_copies_into_a_container_go_where_dockers_go(
    product: Product, make: Make, here: Path, state: str
) -> None:
    web = make(state)
    for source, target in (
        ("f", "tmp/new"),  # the first slash may be missing
        ("f", "/tmp/"),
        ("d", "/tmp/made"),
        ("d/.", "/root"),
        ("f", "/usr/sbin/through-a-link"),
    ):
        product.run("cp", source, f"{web}:{target}", cwd=here)
    found = listing(product, f"{web}:/tmp")
    assert set(found) == {
        "tmp", "tmp/new", "tmp/f", "tmp/made", "tmp/made/sub", "tmp/made/x"
    }  # fmt: skip
    assert set(listing(product, f"{web}:/root/.")) == {".", "./sub", "./x"}
    assert "through-a-link" in listing(product, f"{web}:/bin/through-a-link")
    info = found["tmp/new"]
    assert (info.mode, info.mtime, info.uid, info.gid, info.size) == (0o640, EPOCH, 0, 0, 8)
    for source, target, message in (
        ("f", "/nowhere/", "no such directory"),
        ("f", "/nowhere/x", "No such file or directory"),
        ("f", "/etc/passwd/x", "Not a directory"),
        ("d", "/etc/passwd", "a directory over a file"),
        ("nothing", "/tmp", "No such file or directory"),
    ):
        result = product.fail(1, "cp", source, f"{web}:{target}", cwd=here)
        assert message.lower() in result.err.lower(), str(result)


@pytest.mark.parametrize("state", STATES)
def test_copies_out_of_a_container_go_where_dockers_go(
    product: Product, make: Make, here: Path, state: str
) -> None:
    web = make(state)
    os.umask(0o077)
    for source, target in (
        ("/etc/passwd", "new"),
        ("etc/group", "d/"),
        ("/etc", "d"),
        ("/etc/.", "d/sub"),
    ):
        product.run("cp", f"{web}:{source}", target, cwd=here)
    os.umask(0o022)
    assert {"group", "x", "etc", "sub"} == set(os.listdir(here / "d"))
    for directory in ("d/etc", "d/sub"):
        assert {"passwd", "group", "shadow"} <= set(os.listdir(here / directory))
    info = (here / "new").stat()
    assert (stat.S_IMODE(info.st_mode), info.st_uid, info.st_mtime) == (0o644, os.getuid(), EPOCH)
    for source, target, message in (
        ("/etc/passwd", "nowhere/x", "no such directory"),
        ("/etc", "f", "a directory over a file"),
        ("/nowhere", ".", "No such file or directory"),
        ("/etc/passwd/", ".", "Not a directory"),
        ("/dev/null", "device", "No such file" if state == "stopped" else "it is a device"),
    ):
        result = product.fail(1, "cp", f"{web}:{source}", target, cwd=here)
        assert message.lower() in result.err.lower(), str(result)
    assert (here / "f").read_text() == "content\n"


@pytest.mark.parametrize("state", STATES)
def test_any_tree_comes_back_as_it_was(product: Product, make: Make, tmp_path: Path, state: str) -> None:
    web = make(state)
    tree = tmp_path / "tree"
    (tree / "empty").mkdir(parents=True, mode=0o711)
    (tree / "new\nline").write_bytes(b"1")
    (tree / os.fsdecode(b"\xff\xfe")).write_bytes(b"2")
    (tree / "first").write_bytes(b"one file, two names")
    (tree / "second").hardlink_to(tree / "first")
    (tree / "link").symlink_to("/nowhere/at all")
    (tree / "x").write_bytes(b"")
    (tree / "x").chmod(0o751)
    os.mkfifo(tree / "fifo", 0o600)
    with open(tree / "holes", "wb") as file:
        file.seek(1 << 33)
        file.write(b"end")
    os.utime(tree / "first", ns=(0, 1_234_567_890_123_456_789))
    (tree / "holes").rename(tmp_path / "holes")  # its digest would take a while
    product.run("cp", str(tree), f"{web}:/tree")
    product.run("cp", f"{web}:/tree", str(tmp_path / "back"))
    assert differences(read_tree(tree), read_tree(tmp_path / "back")) == []
    product.run("cp", str(tmp_path / "holes"), f"{web}:/holes")
    product.run("cp", f"{web}:/holes", str(tmp_path / "back/holes"))
    info = (tmp_path / "back/holes").stat()
    assert info.st_size == (1 << 33) + 3
    assert info.st_blocks < 100


def test_owners_are_kept_in_archive_mode_alone(product: Product, make: Make, here: Path) -> None:
    web = make("stopped")
    product.run("cp", "-a", str(here / "d"), f"{web}:/kept")
    product.run("cp", str(here / "d"), f"{web}:/given")
    kept, given = listing(product, f"{web}:/kept"), listing(product, f"{web}:/given")
    assert {(info.uid, info.gid) for info in kept.values()} == {(os.getuid(), os.getgid())}
    assert {(info.uid, info.gid) for info in given.values()} == {(0, 0)}
    # The image's own owners are known in both identity modes.
    assert listing(product, f"{web}:/home/app")["app"].uid == 1000
    assert listing(product, f"{web}:/etc/shadow")["shadow"].gid == 42
    result = product.run("cp", "-a", f"{web}:/home/app", str(here / "app"))
    assert "notice: owners are not kept" in result.err
    assert (here / "app").stat().st_uid == os.getuid()


def test_set_id_programs_of_a_container_are_none_on_the_host(
    product: Product, make: Make, tmp_path: Path
) -> None:
    web = make("running")
    product.run("exec", web, "sh", "-c", "cp /bin/busybox /suid; chmod 6755 /suid")
    assert listing(product, f"{web}:/suid")["suid"].mode == 0o6755
    product.run("cp", "-a", f"{web}:/suid", str(tmp_path))
    assert stat.S_IMODE((tmp_path / "suid").stat().st_mode) == 0o755


def test_archives_come_in_any_compression(product: Product, make: Make, here: Path) -> None:
    web = make("stopped")
    compressors = {
        "plain": bytes,
        "gzip": gzip.compress,
        "bzip2": bz2.compress,
        "xz": lzma.compress,
        "zstd": lambda data: compress(data, "zstd"),
    }
    for name, compressor in compressors.items():
        content = compressor(Layer().file(name, b"data", uid=7).bytes())
        product.run("cp", "-", f"{web}:/home", input=content)
    found = listing(product, f"{web}:/home/.")
    assert {name: found[f"./{name}"].size for name in compressors} == dict.fromkeys(compressors, 4)
    assert found["./xz"].uid == 7  # as docker does, with -a and without
    product.fail(1, "cp", "-", f"{web}:/etc/passwd", input=content)
    for broken in (content[:-10], Layer().file("f", b"data").bytes()[:514], b"no archive" * 100):
        result = product.fail(1, "cp", "-", f"{web}:/tmp", input=broken)
        assert "Traceback" not in result.err
    with product.terminal("cp", f"{web}:/etc", "-") as terminal:
        code, shown = terminal.wait()
    assert code == 1
    assert "cannot write an archive to a terminal" in shown


def test_closed_stdout_ends_quietly(product: Product, make: Make) -> None:
    web = make("running")
    with product.start("cp", f"{web}:/bin", "-") as process:
        assert process.stdout is not None
        process.stdout.read(1)
        process.stdout.close()
        assert process.wait(20) == 128 + 13
        assert process.stderr is not None
        assert process.stderr.read() == b""


def test_links_are_copied_unless_told_otherwise(product: Product, make: Make, here: Path) -> None:
    web = make("stopped")
    (here / "l").symlink_to("d")
    product.run("cp", "l", f"{web}:/plain", cwd=here)
    product.run("cp", "-L", "l", f"{web}:/followed", cwd=here)
    product.run("cp", "l/", f"{web}:/tmp", cwd=here)
    assert listing(product, f"{web}:/plain")["plain"].issym()
    assert "followed/x" in listing(product, f"{web}:/followed")
    assert "tmp/l/x" in listing(product, f"{web}:/tmp")
    product.run("cp", f"{web}:/sbin", "plain", cwd=here)
    product.run("cp", "-L", f"{web}:/sbin", "followed", cwd=here)
    product.run("cp", f"{web}:/sbin/", ".", cwd=here)
    assert (here / "plain").is_symlink()
    assert (here / "followed/busybox").is_file()
    assert (here / "sbin/busybox").is_file()


@pytest.mark.parametrize("state", STATES)
def test_volumes_and_binds_are_part_of_the_container(
    product: Product, make: Make, here: Path, state: str
) -> None:
    bound = here / "bound"
    bound.mkdir()
    web = make(state, "-v", "cpvolume:/home", "-v", f"{bound}:/data", "--read-only")
    product.run("cp", "f", f"{web}:/data/", cwd=here)
    assert (bound / "f").read_text() == "content\n"
    product.run("cp", "f", f"{web}:/home/f", cwd=here)
    result = product.fail(1, "cp", "f", f"{web}:/root/", cwd=here)
    assert "Read-only file system" in result.err
    assert set(listing(product, f"{web}:/home")) == {"home", "home/app", "home/f"}
    product.remove_containers()
    words = ("run", "--rm", "--network=none", "-v", "cpvolume:/v", product_image(product), "cat", "/v/f")
    assert product.run(*words).out == "content\n"
    product.run("volume", "rm", "cpvolume")


def product_image(product: Product) -> str:
    return next(line for line in product.run("images", "--format", "{{.Repository}}:{{.Tag}}").lines
                if "busybox" in line)  # fmt: skip


@pytest.mark.parametrize(
    "storage",
    [
        "overlay",
        "copy",
        pytest.param("fuse-overlayfs", marks=pytest.mark.needs("fuse-overlayfs", "fuse")),
    ],
)
def test_copies_are_there_after_a_start_and_before(
    product: Product, make: Make, here: Path, storage: str
) -> None:
    web = make("stopped", "--storage", storage)
    product.run("cp", "f", f"{web}:/early", cwd=here)
    product.run("start", web)
    product.run("cp", "f", f"{web}:/while", cwd=here)
    assert product.run("exec", web, "cat", "/early", "/while").out == "content\n" * 2
    product.run("stop", "-t", "0", web)
    product.run("cp", "f", f"{web}:/late", cwd=here)
    product.run("start", web)
    assert product.run("exec", web, "cat", "/early", "/while", "/late").out == "content\n" * 3


def test_mounted_file_is_written_in_place(product: Product, make: Make, here: Path) -> None:
    web = make("running")
    product.run("cp", "f", f"{web}:/etc/hosts", cwd=here)
    assert product.run("exec", web, "cat", "/etc/hosts").out == "content\n"


def test_start_waits_for_a_copy_and_an_interrupted_copy_blocks_nothing(product: Product, make: Make) -> None:
    web = make("stopped")
    (container,) = product.containers()
    with product.start("cp", "-", f"{web}:/", stdin=subprocess.PIPE) as copying:
        wait_locked(product.store / "containers" / container / "files.lock")
        with product.start("start", web) as starting:
            with pytest.raises(subprocess.TimeoutExpired):
                starting.wait(0.3)
            copying.send_signal(signal.SIGINT)
            assert copying.wait(10) == 128 + 2
            assert starting.wait(20) == 0


def test_killed_copy_blocks_nothing(product: Product, make: Make) -> None:
    web = make("stopped")
    (container,) = product.containers()
    with product.start("cp", "-", f"{web}:/", stdin=subprocess.PIPE) as copying:
        wait_locked(product.store / "containers" / container / "files.lock")
        copying.kill()
    product.run("start", web)
    product.run("exec", web, "true")


def test_copy_into_a_container_ends_with_it(product: Product, make: Make) -> None:
    web = make("running")
    with product.start("cp", "-", f"{web}:/", stdin=subprocess.PIPE) as copying:
        assert copying.stdin is not None
        copying.stdin.write(Layer().directory("begun").bytes())
        copying.stdin.flush()
        product.run("exec", web, "sh", "-c", "until [ -e /begun ]; do :; done")
        product.run("stop", "-t", "0", web)
        assert copying.wait(20) == 1
        assert copying.stderr is not None
        assert b"it has ended meanwhile" in copying.stderr.read()


def test_whole_container_comes_without_the_kernels_files(
    product: Product, make: Make, tmp_path: Path
) -> None:
    web = make("running")
    product.run("cp", f"{web}:/", str(tmp_path / "all"))
    assert {"bin", "etc", "proc", "sys", "dev"} <= set(os.listdir(tmp_path / "all"))
    assert os.listdir(tmp_path / "all/proc") == os.listdir(tmp_path / "all/sys") == []
    assert "kcore" in os.readlink(tmp_path / "all/dev/core")


def wait_locked(path: Path) -> None:
    """Wait until another process holds a lock on a file."""
    for _ in range(2000):
        with suppress(FileNotFoundError), open(path) as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return
        time.sleep(0.01)
    raise AssertionError(f"nobody locks {path}")


class TestHostile:
    @pytest.fixture
    def host(self) -> Iterator[Path]:
        """A directory of the host whose permissions do not protect it."""
        with tempfile.TemporaryDirectory(prefix="cp-canary-", dir="/tmp") as directory:
            path = Path(directory)
            path.chmod(0o777)
            (path / "x").write_text(SECRET)
            (path / "x").chmod(0o666)
            before = read_tree(path)
            yield path
            assert differences(before, read_tree(path)) == []

    @pytest.fixture
    def image(self, product: Product, tmp_path: Path, host: Path) -> str:
        """An image full of links to the host."""
        up = "../" * 30
        layer = Layer().symlink("abs", str(host)).symlink("rel", up + str(host)[1:])
        layer.symlink("magic", f"/proc/self/root{host}").symlink("cwd", "/proc/self/cwd")
        layer.symlink("file", f"{host}/x").fifo("fifo").directory("d").symlink("d/out", str(host))
        layer.symlink("loop", "loop")
        Layout(tmp_path / "hostile").image("1", [busybox_layer(), layer])
        return product.run("pull", "-q", f"oci:{tmp_path}/hostile:1").out.strip()

    @pytest.mark.parametrize("state", STATES)
    def test_links_to_the_host_lead_nowhere(
        self, product: Product, make: Make, here: Path, image: str, state: str
    ) -> None:
        web = make(state, image=image)
        out = here / "out"
        out.mkdir()
        links = ("abs", "rel", "magic", "cwd") if state == "running" else ("abs", "loop")
        for link in links:
            product.fail(1, "cp", "f", f"{web}:/{link}/x", cwd=here)
            product.fail(1, "cp", "-L", f"{web}:/{link}/x", "out", cwd=here)
        through = Layer()
        for link in links:
            through.file(f"../{link}/x")
        product.attempt("cp", "-", f"{web}:/tmp", input=through.bytes())
        product.attempt("cp", "f", f"{web}:/file", cwd=here)
        product.run("cp", f"{web}:/d", "out", cwd=here)
        assert (out / "d/out").is_symlink()
        found = [path for path in out.rglob("*") if path.is_file() and not path.is_symlink()]
        assert SECRET not in "".join(path.read_text(errors="replace") for path in found)

    def test_fifo_is_not_waited_for(self, product: Product, make: Make, here: Path, image: str) -> None:
        web = make("running", image=image)
        product.run("cp", f"{web}:/fifo", str(here / "copy"))
        assert stat.S_ISFIFO((here / "copy").stat().st_mode)
        result = product.fail(1, "cp", "f", f"{web}:/fifo", cwd=here)
        assert "neither a file nor a directory" in result.err
        result = product.fail(1, "cp", f"{web}:/etc/passwd", str(here / "copy"))
        assert "neither a file nor a directory" in result.err

    def test_directories_swapped_for_links_all_the_time(
        self, product: Product, make: Make, here: Path, host: Path
    ) -> None:
        web = make("running")
        script = f"""
            mkdir /d /d/sub; echo inside > /d/x; ln -s {host} /l; mkfifo /p
            while :; do
                mv -T /d /t; mv -T /l /d; mv -T /d /l; mv -T /t /d
                mv /d/x /y; mv /p /d/x; mv /d/x /p; mv /y /d/x
            done"""
        product.run("exec", "-d", web, "sh", "-c", script)
        product.run("exec", web, "sh", "-c", "until [ -e /p ]; do :; done")
        out = here / "out"
        out.mkdir()
        for n in range(2):
            product.attempt("cp", f"{web}:/d", str(out / str(n)), timeout=20)
            product.attempt("cp", "-L", f"{web}:/d/x", str(out / f"x{n}"), timeout=20)
            product.attempt("cp", "d", f"{web}:/d", cwd=here, timeout=20)
            product.attempt("cp", "f", f"{web}:/d/x", cwd=here, timeout=20)
        found = [path for path in out.rglob("*") if path.is_file() and not path.is_symlink()]
        assert SECRET not in "".join(path.read_text() for path in found)

    def test_container_that_makes_a_link_of_the_target_cannot_redirect_the_copy(
        self, product: Product, make: Make, here: Path, host: Path
    ) -> None:
        """The user's own tree may hold what an earlier copy brought: links are replaced, never followed."""
        web = make("running")
        product.run("exec", web, "sh", "-c", f"mkdir /d; ln -s {host} /d/a; ln -s {host}/x /d/b")
        product.run("cp", f"{web}:/d", "got", cwd=here)
        product.run("exec", web, "sh", "-c", "rm /d/a /d/b; mkdir /d/a; echo bad | tee /d/b > /d/a/x")
        result = product.fail(1, "cp", f"{web}:/d/.", "got", cwd=here)
        assert "cannot overwrite a file with a directory" in result.err
        product.run("cp", f"{web}:/d/b", "got", cwd=here)
        assert (here / "got/b").read_text() == "bad\n"


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("cp", "nobody:/x", "."), 1, "no such container"),
        (("cp", "a", "b"), 125, "neither path is in a container"),
        (("cp", "a:b", "c:d"), 125, "between containers is not supported"),
        (("cp", "a"), 125, "requires 2 arguments"),
    ],
)
def test_impossible_requests_are_refused(
    product: Product, words: tuple[str, ...], code: int, message: str
) -> None:
    assert message in product.fail(code, *words).err
