"""Root file systems made to hurt: links, FIFOs and files where the engine mounts, reads or writes.

Each run must end in a clear error or a harmless result, and in any case soon; the host's own files, of which
a canary stands for all, stay as they were and cannot be read from inside. CVE-2021-30465, CVE-2025-31133,
CVE-2025-52565, CVE-2026-41579, CVE-2026-47766, CVE-2023-28642 and their kin.
"""

from __future__ import annotations

import socket
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.helpers.images import Layer, Layout, busybox_layer
from tests.helpers.product import QUICK

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.helpers.product import Product, Result

SECRET = "secret-of-the-host"
TREES = ["proc", "sys", "dev", "etc", "run", "tmp"]
FILES = ["passwd", "group", "hosts", "resolv.conf", "hostname"]
PATHS = [*TREES, "dev/null", "dev/pts", "dev/console", "dev/shm", *(f"etc/{name}" for name in FILES)]
GUARDED = ("proc", "sys", "dev")
"""Never mounted through a link: what guards them would be somewhere else."""
KINDS = ["absolute", "relative", "magic", "fifo", "file"]


class Canary:
    """A directory of the host that a hostile image points at; its permissions do not protect it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.chmod(0o777)
        for name in ("passwd", "null", "hosts", "shm", "pts"):
            (path / name).write_text(SECRET)
            (path / name).chmod(0o666)
        self._before = self._state()

    def untouched(self) -> bool:
        return self._state() == self._before

    def _state(self) -> list[tuple[str, int, int, int, str]]:
        found = []
        for path in [self.path, *sorted(self.path.rglob("*"))]:
            info = path.lstat()
            text = path.read_text() if path.is_file() else ""
            found.append((str(path), info.st_mode, info.st_uid, info.st_mtime_ns, text))
        return found


@pytest.fixture
def canary() -> Iterator[Canary]:
    with tempfile.TemporaryDirectory(prefix="canary-", dir="/tmp") as directory:
        yield Canary(Path(directory))


@pytest.fixture(scope="module")
def base() -> bytes:
    return busybox_layer().bytes()


def obstruct(layer: Layer, path: str, kind: str, target: Path) -> Layer:
    """Put a link to the target, a FIFO or a file at a path."""
    if kind == "fifo":
        return layer.fifo(path, mode=0o666)
    if kind == "file":
        return layer.file(path, b"a file\n")
    links = {
        "absolute": str(target),
        "relative": "../" * 40 + str(target).lstrip("/"),
        "magic": f"/proc/self/root{target}",
    }
    return layer.symlink(path, links[kind])


def pull(product: Product, tmp_path: Path, *layers: Layer | bytes, **options: object) -> str:
    """Put an image of these layers into the product's store; return its name."""
    Layout(tmp_path / "hostile").image("1", layers, **options)
    return product.run("pull", "-q", f"oci:{tmp_path}/hostile:1").out.strip()


def assert_harmless(result: Result, canary: Canary) -> None:
    assert canary.untouched()
    assert SECRET not in result.out + result.err
    assert "Traceback" not in result.err
    if result.code:
        assert "error: " in result.err, str(result)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("path", PATHS)
def test_path_that_the_engine_uses_is_hostile(
    product: Product, tmp_path: Path, canary: Canary, base: bytes, path: str, kind: str
) -> None:
    layer = Layer()
    if "/" in path:
        layer.directory(path.partition("/")[0])
    target = (
        canary.path if path in ("proc", "sys", "dev", "etc", "run", "tmp") else canary.path / Path(path).name
    )
    image = pull(product, tmp_path, base, obstruct(layer, path, kind, target))
    words = ("--hostname=victim", "--tmpfs=/run", "--add-host=a:192.0.2.1")
    script = "timeout -s KILL 1 cat /etc/passwd; ls /tmp; exit 0"
    result = product.attempt(*QUICK, *words, image, "sh", "-c", script, timeout=30)
    assert_harmless(result, canary)
    if path in GUARDED:
        assert result.code == 125


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("use", ["workdir", "volume", "volume-below", "tmpfs", "bind", "bind-file"])
def test_target_that_the_user_names_is_hostile(
    product: Product, tmp_path: Path, canary: Canary, base: bytes, use: str, kind: str
) -> None:
    image = pull(product, tmp_path, base, obstruct(Layer(), "trap", kind, canary.path))
    source = tmp_path / "source"
    source.mkdir()
    (source / "file").write_text("bound\n")
    words = {
        "workdir": ["-w", "/trap/made"],
        "volume": ["-v", "/trap"],
        "volume-below": ["-v", "/trap/a/b"],
        "tmpfs": ["--tmpfs", "/trap"],
        "bind": ["-v", f"{source}:/trap"],
        "bind-file": ["-v", f"{source}/file:/trap/hosts"],
    }[use]
    script = "touch /trap/x; timeout -s KILL 1 cat /trap /trap/*; exit 0"
    result = product.attempt(*QUICK, *words, image, "sh", "-c", script, timeout=30)
    assert_harmless(result, canary)
    refusals = (
        (126, 127) if use == "workdir" else (125,)
    )  # docker's codes for a directory that cannot be entered
    allowed = (0,) if kind in ("absolute", "relative") else refusals  # such links lead inside the root
    assert result.code in allowed


@pytest.mark.parametrize("use", ["volume", "named volume", "tmpfs", "bind"])
def test_link_into_proc_is_no_mount_target(
    product: Product, tmp_path: Path, canary: Canary, base: bytes, use: str
) -> None:
    """With --init a process of ours reads its own entry there: it must not be a forgery."""
    image = pull(product, tmp_path, base, Layer().symlink("trap", "proc").symlink("deep", "/trap/self"))
    (tmp_path / "self").mkdir()
    (tmp_path / "self" / "stat").write_text("1 (forged) S " + "4660 " * 50)
    for target in ("/trap", "/deep"):
        words = {
            "volume": ["-v", target],
            "named volume": ["-v", f"forged:{target}"],
            "tmpfs": ["--tmpfs", target],
            "bind": ["-v", f"{tmp_path}:{target}"],
        }[use]
        result = product.attempt(*QUICK, "--init", *words, image, "true", timeout=30)
        assert (result.code, "leads from there into /proc" in result.err) == (125, True), result
        assert_harmless(result, canary)


@pytest.mark.parametrize("target", ["/proc/self/fd/3", "/proc/self/cwd", "/proc/1/root", "/proc/self/exe"])
@pytest.mark.parametrize("path", ["dev", "proc", "etc", "trap"])
def test_link_to_a_magic_link_does_not_lead_outside(
    product: Product, tmp_path: Path, canary: Canary, base: bytes, path: str, target: str
) -> None:
    link = Layer().symlink(path, f"{target}{canary.path}" if path == "trap" else target)
    image = pull(product, tmp_path, base, link)
    script = "timeout -s KILL 1 cat *; exit 0"
    result = product.attempt(*QUICK, "-w", "/trap", image, "sh", "-c", script, timeout=30)
    assert_harmless(result, canary)


@pytest.mark.parametrize(
    "user",
    ["nobody-here", "-1", "4294967295", "99999999999999999999", "0:-1", "a\nb", "../etc/passwd", "0:0:0"],
)
def test_user_of_a_hostile_image_never_becomes_root_by_accident(
    product: Product, tmp_path: Path, base: bytes, user: str
) -> None:
    # CVE-2024-40635: an overflowing uid became 0.
    image = pull(product, tmp_path, base, config={"User": user})
    result = product.fail(125, *QUICK, image, "id", "-u")
    assert result.out == ""
    assert "error: " in result.err


@pytest.mark.parametrize(
    "passwd",
    [
        b"app:x:notanumber:0::/:/bin/sh\n",
        b"app:x:4294967296:0::/:/bin/sh\n",
        b"app:x:-1:0::/:/bin/sh\n",
        b"app\n",
        b"\xff\xfe\x00app:x:1000",
        b"app:x:" + b"9" * 1_000_000 + b":0::/:\n",
    ],
)
def test_hostile_password_file_grants_nothing(
    product: Product, tmp_path: Path, base: bytes, passwd: bytes
) -> None:
    image = pull(product, tmp_path, base, Layer().file("etc/passwd", passwd))
    result = product.fail(125, *QUICK, "-u", "app", image, "id", "-u")
    assert result.out == ""


@pytest.mark.parametrize(
    "config",
    [
        {"WorkingDir": "/../../../../tmp"},
        {"WorkingDir": "relative/dir"},
        {"Volumes": {"/../../escape": {}}},
        {"Volumes": {"relative": {}, "": {}}},
        {"Env": ["NOEQUALS", "=novalue", "LD_PRELOAD=/evil.so", "PYTHONPATH=/evil", "A=\x1b[2J"]},
        {"Cmd": [""]},
        {"Cmd": []},
        {"Cmd": None, "Entrypoint": None},
        {"Entrypoint": ["sh", "-c", "true\x00hidden"]},
        {"StopSignal": "SIGNONSENSE"},
        {"StopSignal": "99999"},
        {"Labels": {"a": "\x1b]0;title\x07"}},
        {"Cmd": "not a list", "Env": {"not": "a list"}},
    ],
)
def test_hostile_config_is_harmless(
    product: Product, tmp_path: Path, canary: Canary, base: bytes, config: dict[str, object]
) -> None:
    # CVE-2022-23648: a volume path with ".." read files of the host.
    Layout(tmp_path / "hostile").image("1", [base], config=config)
    result = product.attempt("pull", "-q", f"oci:{tmp_path}/hostile:1")
    if result.code == 0:
        result = product.attempt(*QUICK, result.out.strip(), timeout=30)
    assert "\x1b" not in result.err
    assert "Traceback" not in result.err
    assert canary.untouched()


def test_services_of_the_host_on_loopback_are_out_of_reach(product: Product, busybox: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        result = product.attempt(*QUICK, busybox, "nc", "-w", "2", "127.0.0.1", str(port), timeout=30)
        assert result.code != 0
        server.setblocking(False)
        with pytest.raises(BlockingIOError):
            server.accept()


def test_abstract_sockets_of_the_host_are_not_seen(product: Product, busybox: str) -> None:
    # CVE-2020-15257
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"\0{SECRET}-{threading.get_native_id()}")
        listener.listen()
        assert SECRET in Path("/proc/net/unix").read_text()
        assert SECRET not in product.run(*QUICK, busybox, "cat", "/proc/net/unix").out


def test_escape_sequences_do_not_reach_the_terminal_through_listings(product: Product, busybox: str) -> None:
    evil = "\x1b]0;owned\x07"
    product.run("run", "--network=none", "--name=evil", "-l", f"a={evil}", busybox, "echo", evil)
    with product.terminal("ps", "-a") as terminal:
        code, text = terminal.wait()
    assert code == 0
    assert "\x1b]" not in text
