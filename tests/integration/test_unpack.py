"""Layers unpacked by the worker, one process each, against what `umoci unpack --rootless` makes of the
image."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from layers.apply import Request
from layers.snapshot import remove_tree
from tests.helpers.images import EPOCH, Layer, Layout, compress, digest
from tests.helpers.trees import Tree, differences

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

REPOSITORY = Path(__file__).parents[2]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
SINGLE = ("unshare", "-Ur")
NEW_MTIME = "made by the unpacker: the layer does not say"


@pytest.fixture
def work(short_directory: Path) -> Iterator[Path]:
    """A directory with a short name: a path of 4,000 bytes must fit PATH_MAX for umoci."""
    path = Path(tempfile.mkdtemp(dir=short_directory))
    yield path
    command = [
        *SINGLE,
        sys.executable,
        "-c",
        "import sys; from layers.snapshot import remove_tree as r; r(sys.argv[1])",
    ]
    subprocess.run([*command, path], check=True, env=ENVIRONMENT)


class Worker:
    """One `layers.apply` process."""

    def __init__(self, root: Path, content: bytes, *, compression: str = "gzip", **request: Any) -> None:
        root.mkdir(mode=0o700)
        fields = {"compression": compression, "diff_id": digest(content), "owners": "recorded", "sync": False}
        reading, self.control = os.pipe()
        self.request = Request(str(root), **{**fields, "control": reading, **request})
        self.process = subprocess.Popen(
            [*SINGLE, sys.executable, "-P", "-m", "layers.apply", self.request.to_json()],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            pass_fds=(reading,),
            env=ENVIRONMENT,
        )
        os.close(reading)
        self.bytes = compress(content, compression)

    def feed(self, data: bytes | None = None) -> dict[str, Any]:
        """Send the layer, or other bytes, and return the first answer."""
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(self.bytes if data is None else data)
            self.process.stdin.close()
        except BrokenPipeError:
            pass
        return self.answer()

    def finish(self, parents: Sequence[Path]) -> dict[str, Any]:
        """Name the layers below, topmost first, and return the second answer."""
        os.write(self.control, json.dumps({"parents": [str(path) for path in parents]}).encode() + b"\n")
        answer = self.answer()
        self.end()
        return answer

    def answer(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        return json.loads(line) if line else {}

    def end(self) -> int:
        """Close the control descriptor and return the exit code; nothing may have been said meanwhile."""
        assert self.process.stdout is not None
        os.close(self.control)
        assert self.process.stdout.read() == b""
        self.process.stdout.close()
        return self.process.wait(timeout=30)


def apply_all(work: Path, layers: Sequence[Layer], *, compression: str = "gzip") -> list[Path]:
    """Extract all layers at the same time, finish them bottom first; return their directories, top first."""
    workers = [
        Worker(work / f"layer{n}", layer.bytes(), compression=compression) for n, layer in enumerate(layers)
    ]
    for worker in workers:
        answer = worker.feed()
        assert answer.get("event") == "extracted", answer
    done: list[Path] = []
    for worker in workers:
        answer = worker.finish(done)
        assert answer.get("event") == "finished", answer
        done.insert(0, Path(worker.request.root))
    return done


def trees(kind: str, *arguments: str | Path) -> Tree:
    command = [*SINGLE, "-m", sys.executable, "-m", "tests.helpers.trees", kind, *map(str, arguments)]
    result = subprocess.run(command, cwd=REPOSITORY, stdout=subprocess.PIPE, check=True, env=ENVIRONMENT)
    return json.loads(result.stdout)


def overlay_tree(work: Path, applied: Sequence[Path]) -> Tree:
    """Return what the kernel's overlayfs shows of the layers."""
    (work / "merged").mkdir()
    (work / "empty").mkdir()
    return trees("overlay", work / "merged", work / "empty", *applied)


def umoci_tree(work: Path, layers: Sequence[Layer]) -> Tree:
    Layout(work / "oci").image("t", layers)
    command = [*SINGLE, "umoci", "unpack", "--rootless", "--image", f"{work}/oci:t", f"{work}/u"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return trees("list", work / "u/rootfs")


def forget_new_mtimes(tree: Tree, names: Sequence[str]) -> None:
    for name in names:
        tree[name]["mtime_ns"] = NEW_MTIME


def xattr(**values: bytes) -> dict[str, Any]:
    """PAX headers for user.* attributes; "__" stands for a dot in a name."""
    return {
        "pax_headers": {
            f"SCHILY.xattr.user.{name.replace('__', '.')}": value.decode("latin-1")
            for name, value in values.items()
        }
    }


LONG_DIRECTORY = "/".join(f"{n:02}" + "d" * 246 for n in range(15))
LONG_PATH = LONG_DIRECTORY + "/" + "f" * 254


def base_layer() -> Layer:
    layer = Layer().directory("./", mode=0o755, mtime=EPOCH - 5)
    layer.directory("usr").directory("usr/lib").directory("etc", mode=0o750, uid=3, gid=4)
    layer.symlink("lib", "usr/lib").symlink("absolute", "/usr/lib").symlink("dangling", "nowhere/at/all")
    layer.file("usr/lib/libc.so", b"\x7fELF" * 1000, mode=0o755).hardlink(
        "usr/lib/libc.so.6", "usr/lib/libc.so"
    )
    layer.file("etc/shadow", b"root:*", mode=0o640, gid=42).file("etc/none", b"x", mode=0, uid=7)
    layer.file("usr/su", b"s", mode=0o4755).file("usr/wall", b"w", mode=0o2755, gid=5)
    layer.directory("tmp", mode=0o1777).directory("closed", mode=0o555).file(
        "closed/inside", b"1", mode=0o444
    )
    layer.file("closed/read-only", b"2", mode=0o444, uid=9, gid=9)
    layer.directory("gone").file("gone/a", b"a").file("gone/b", b"b").directory("gone/c").file(
        "gone/c/d", b"d"
    )
    layer.directory("opaque", mode=0o700).file("opaque/old", b"o").directory("opaque/sub").file(
        "opaque/sub/x"
    )
    layer.directory("becomes-file").file("becomes-file/x", b"x").file("becomes-directory", b"f")
    layer.directory("implied", mode=0o711, uid=11, gid=12, mtime=EPOCH + 0.25, **xattr(colour=b"blue"))
    layer.file("implied/old", b"old").directory("implied/deep", mode=0o701).file("implied/deep/old")
    layer.file("xattrs", b"x", **xattr(one=b"1", two__three=b"23\xff")).fifo("fifo", mode=0o620, uid=1)
    layer.device("null", 1, 3, mode=0o666).device("sda", 8, 0, block=True, mode=0o660, gid=6)
    layer.device("looks-like-a-whiteout", 0, 0, mode=0o600)
    layer.hardlink("link-to-link", "lib").file("recorded", b"r", uid=2**31, gid=2**32 - 2)
    layer.file("new\nline", b"n").file("not\udcffutf8\udc80", b"u").file("späce ☃ ", b"s").file("-rf", b"-")
    layer.file("fraction", b"f", mtime=EPOCH + 0.123456789).file("old", b"o", mtime=0).file(
        "older", mtime=-86400
    )
    directory = ""
    for component in LONG_DIRECTORY.split("/"):
        directory = f"{directory}/{component}" if directory else component
        layer.directory(directory)
    return (
        layer.file(LONG_PATH, b"far down")
        .file("twice", b"first", mode=0o600)
        .file("twice", b"second, longer")
    )


def second_layer() -> Layer:
    layer = (
        Layer().whiteout("gone/a").whiteout("gone/c").whiteout("old").whiteout("never-was").whiteout("fifo")
    )
    layer.directory("opaque", mode=0o700).file("opaque/new", b"n").opaque("opaque")
    layer.file("becomes-file", b"now a file").directory("becomes-directory").file("becomes-directory/x", b"x")
    layer.file("implied/new", b"new").file("implied/deep/new", b"new").file("lib/through-link", b"t")
    layer.file("absolute/through-absolute-link", b"a").hardlink("usr/lib/again", "usr/lib/libc.so")
    layer.hardlink("implied/su", "usr/su").hardlink("etc/shadow.bak", "absolute/../../etc/shadow")
    layer.file("/leading/slash", b"/").file("../../up", b"up").file("a/../../b", b"b").file(
        "./dot/./dot", b"."
    )
    layer.whiteout("missing-directory/x").file("wins", b"w").whiteout("wins").whiteout("wins-too")
    return layer.file("wins-too", b"w").directory("tmp", mode=0o1770, gid=9)


def third_layer(files: int) -> Layer:
    layer = (
        Layer().directory("becomes-file").file("becomes-file/again", b"directory").whiteout("implied/deep")
    )
    layer.file("gone/a", b"back").whiteout("becomes-directory").directory("becomes-directory")
    layer.whiteout("lib").directory("lib").file("lib/own", b"no link any more").directory("many")
    for n in range(files):
        if n % 250 == 0:
            layer.directory(f"many/{n // 250:03}", uid=n % 7)
        layer.file(
            f"many/{n // 250:03}/{n}", b"%d\n" % n, mode=0o640 if n % 3 else 0o755, uid=n % 5, gid=n % 2
        )
    return layer


IMPLIED = (".", "leading", "dot")
"""Made only on the way to their entries; umoci touches the directory that it makes them in, too."""


@pytest.mark.needs("umoci")
@pytest.mark.parametrize("files", [5_000, pytest.param(100_000, marks=pytest.mark.slow(sampled=False))])
def test_unpack_of_everything_equals_umoci(work: Path, files: int) -> None:
    layers = [base_layer(), second_layer(), third_layer(files)]
    applied = apply_all(work, layers)
    ours, theirs = overlay_tree(work, applied), umoci_tree(work, layers)
    for tree in (ours, theirs):
        forget_new_mtimes(tree, IMPLIED)
    assert differences(ours, theirs) == []
    assert len(ours) > files


@pytest.mark.needs("umoci")
@pytest.mark.parametrize("compression", ["none", "zstd"])
def test_unpack_of_other_compressions_equals_umoci(work: Path, compression: str) -> None:
    layers = [base_layer(), second_layer()]
    ours = overlay_tree(work, apply_all(work, layers, compression=compression))
    theirs = umoci_tree(work, layers)
    for tree in (ours, theirs):
        forget_new_mtimes(tree, IMPLIED)
    assert differences(ours, theirs) == []


LINKED = {
    "relative": ("a/link", "target"),
    "absolute": ("a/link", "/a/target"),
    "upwards": ("a/link", "../../../a/target"),
    "chained": ("a/link", "other"),
    "twice": ("a/link", "other/../target"),
}


@pytest.mark.needs("umoci")
@pytest.mark.parametrize("case", LINKED)
def test_implied_directory_over_a_link_of_a_lower_layer_lands_where_the_link_points(
    work: Path, case: str
) -> None:
    name, target = LINKED[case]
    base = Layer().directory("./").directory("a", mode=0o750).directory("a/target", mode=0o705, uid=5)
    base.file("a/target/old", b"old").symlink("a/other", "target").symlink(name, target)
    base.directory("a/target/sub").file("a/target/sub/hidden")
    upper = (
        Layer().file(f"{name}/new", b"new").file(f"{name}/sub/deep", b"deep").file("a/target/beside", b"b")
    )
    upper.whiteout(f"{name}/old").whiteout(f"{name}/sub/hidden").hardlink(f"{name}/hard", f"{name}/new")
    layers = [base, upper]
    ours, theirs = overlay_tree(work, apply_all(work, layers)), umoci_tree(work, layers)
    assert differences(ours, theirs) == []


@pytest.mark.needs("umoci")
def test_opaque_root_directory_hides_everything_below(work: Path) -> None:
    base = Layer().directory("./").directory("etc").file("etc/old", b"o").file("old").symlink("link", "etc")
    upper = Layer().opaque("").directory("etc").file("etc/new", b"n")
    layers = [base, upper]
    ours, theirs = overlay_tree(work, apply_all(work, layers)), umoci_tree(work, layers)
    assert differences(ours, theirs) == []


def test_opaque_directory_without_one_below_leaves_no_trace(work: Path) -> None:
    upper = Layer().opaque("a").whiteout("b/c").whiteout("d").file("e/f").whiteout("e/g")
    layers = [Layer().directory("./").file("z"), upper]
    tree = overlay_tree(work, apply_all(work, layers))
    assert sorted(tree) == [".", "e", "e/f", "z"]


def test_flat_copy_of_layers_equals_their_overlay(work: Path) -> None:
    applied = apply_all(work, [base_layer(), second_layer(), third_layer(300)])
    overlay = overlay_tree(work, applied)
    (work / "flat").mkdir()
    flat = trees("flat", work / "flat", *reversed(applied))
    assert differences(overlay, flat) == []


def test_flat_copy_keeps_holes(work: Path) -> None:
    applied = apply_all(work, [Layer().add("sparse", b"0", data=b"12" * 2048, pax_headers=SPARSE)])
    (work / "flat").mkdir()
    trees("flat", work / "flat", *applied)
    copied = (work / "flat/sparse").stat()
    assert copied.st_size == 1 << 30
    assert copied.st_blocks * 512 < 1 << 20


SPARSE = {
    "GNU.sparse.major": "0",
    "GNU.sparse.minor": "1",
    "GNU.sparse.size": str(1 << 30),
    "GNU.sparse.map": f"4096,2048,{(1 << 30) - 2048},2048",
}


@pytest.mark.needs("subid")
def test_owners_are_set_for_real_where_ids_are_mapped(work: Path) -> None:
    layer = Layer().directory("d", uid=1000, gid=1001).file("d/f", mode=0o6755, uid=33, gid=33)
    layer.symlink("l", "d", uid=5, gid=6).fifo("p", uid=7, gid=8)
    tree = run_direct(work, layer)
    owners = {name: entry["owner"] for name, entry in tree.items()}
    assert owners == {".": "0:0", "d": "1000:1001", "d/f": "33:33", "l": "5:6", "p": "7:8"}
    assert tree["d/f"]["mode"] == "0o106755"
    assert not any(entry.get("xattrs") for entry in tree.values())


def run_direct(work: Path, layer: Layer) -> Tree:
    (work / "root").mkdir()
    program = (
        "import json, os, subprocess, sys, tempfile\n"
        "from layers.apply import LayerApplier\n"
        "from layers.snapshot import remove_tree\n"
        "from tests.helpers.trees import read_tree\n"
        "root, diff_id = sys.argv[1:]\n"
        "os.umask(0)\n"
        "fd = os.open(root, os.O_RDONLY)\n"
        "applier = LayerApplier(fd, owners='direct')\n"
        "applier.extract(0, compression='none', diff_id=diff_id)\n"
        "applier.finish([])\n"
        "tree = read_tree(root)\n"
        "remove_tree(root)\n"
        "json.dump(tree, sys.stdout)\n"
    )
    command = ["unshare", "--map-root-user", "--map-auto", sys.executable, "-c", program]
    command += [str(work / "root"), digest(layer.bytes())]
    result = subprocess.run(
        command, cwd=REPOSITORY, input=layer.bytes(), stdout=subprocess.PIPE, check=True, env=ENVIRONMENT
    )
    return json.loads(result.stdout)


def test_worker_refuses_bytes_of_another_layer(work: Path) -> None:
    worker = Worker(work / "l", Layer().file("a").bytes())
    answer = worker.feed(compress(Layer().file("b").bytes(), "gzip"))
    assert answer["ok"] is False
    assert answer["kind"] == "DigestMismatch"
    assert worker.end() == 1


def test_worker_refuses_a_layer_that_is_cut_off(work: Path) -> None:
    worker = Worker(work / "l", Layer().file("a", os.urandom(100_000)).bytes())
    answer = worker.feed(worker.bytes[:50_000])
    assert answer == {
        "ok": False,
        "kind": "InvalidLayer",
        "message": "cannot decompress layer: the gzip stream is cut off",
        "on": "a",
        "hint": "",
    }
    assert worker.end() == 1


def test_worker_names_the_entry_at_fault(work: Path) -> None:
    worker = Worker(
        work / "l", Layer().file("etc/\udcff\n.wh../x").hardlink("etc/h", "\udcfe/\nmissing").bytes()
    )
    assert worker.feed()["ok"]
    answer = worker.finish([])
    assert answer["kind"] == "InvalidLayer"
    assert answer["on"] == "etc/h"
    assert "missing" in answer["message"]


def test_worker_ends_without_an_answer_when_its_owner_goes(work: Path) -> None:
    worker = Worker(work / "l", Layer().file("a").bytes())
    assert worker.feed()["ok"]
    assert worker.end() == 1


def test_worker_reports_a_full_disk(work: Path) -> None:
    content = Layer().file("big", bytes(4 << 20)).bytes()
    request = Request("root", compression="none", diff_id=digest(content), owners="recorded", sync=False)
    script = (
        'mount -t tmpfs -o size=1m none "$1" && cd "$1" && mkdir root && '
        f'{sys.executable} -P -m layers.apply "$2" 3</dev/null'
    )
    command = [*SINGLE, "-m", "sh", "-c", script, "sh", str(work), request.to_json()]
    result = subprocess.run(command, input=content, stdout=subprocess.PIPE, check=False, env=ENVIRONMENT)
    answer = json.loads(result.stdout)
    assert (answer["kind"], answer["errno"], result.returncode) == ("OSError", 28, 1)


def test_file_system_without_xattrs_gets_opaque_files_and_a_note(work: Path) -> None:
    """ramfs has no user xattrs (it does make device nodes)."""
    base = work / "base"
    worker = Worker(base, Layer().directory("./").directory("d").file("d/old").file("gone").bytes())
    assert worker.feed()["ok"]
    assert worker.finish([])["whiteouts"] == "overlay"
    content = Layer().whiteout("gone").opaque("d").file("d/new", uid=5).bytes()
    request = Request("root", compression="none", diff_id=digest(content), owners="recorded", sync=False)
    script = (
        'mount -t ramfs none "$1" && cd "$1" && mkdir root && '
        f'echo "$3" > ctl && {sys.executable} -P -m layers.apply "$2" 3<ctl >&2 && cd root && find . | sort'
    )
    (work / "m").mkdir()
    parents = json.dumps({"parents": [str(base)]})
    command = [*SINGLE, "-m", "sh", "-c", script, "sh", str(work / "m"), request.to_json(), parents]
    result = subprocess.run(command, input=content, capture_output=True, check=True, env=ENVIRONMENT)
    assert result.stdout.split() == [b".", b"./d", b"./d/.wh..wh..opq", b"./d/new", b"./gone"]
    finished = json.loads(result.stderr.splitlines()[-1])
    assert finished["whiteouts"] == "files"
    assert finished["notes"] == ["owners are not recorded: the file system has no extended attributes"]


@pytest.mark.slow
def test_worker_killed_at_any_moment_leaves_nothing_committed(work: Path) -> None:
    from layers.digest import Digest
    from layers.snapshot import Snapshots

    snapshots = Snapshots(str(work / "snapshots"), "key")
    content = third_layer(2000).bytes()
    for n in range(20):
        with snapshots.new_temporary() as temporary:
            Path(temporary).rmdir()
            worker = Worker(Path(temporary), content)
            try:
                worker.process.stdin.write(worker.bytes[: len(worker.bytes) * n // 20])
                worker.process.stdin.flush()
            finally:
                worker.process.kill()
            worker.process.stdin.close()
            worker.end()
        assert not snapshots.has(Digest(digest(content)))
        assert snapshots.stale() == [temporary.path]
        remove_tree(temporary.path)
    assert os.listdir(snapshots.directory) == []
