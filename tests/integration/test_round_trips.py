"""An image that has everything goes through registries, archives and other tools: every file comes back."""

from __future__ import annotations

import hashlib
import io
import subprocess
import tarfile
from typing import TYPE_CHECKING, Any

import pytest

from tests.helpers.images import Layer, Layout, busybox_layer
from tests.helpers.product import QUICK
from tests.helpers.trees import read_tree

if TYPE_CHECKING:
    from pathlib import Path

    from tests.helpers.product import Product
    from tests.helpers.registry import Registry

    Listing = dict[str, tuple[Any, ...]]

pytestmark = pytest.mark.needs("docker-registry", "skopeo", "umoci", "busybox")

LONG = "d" * 200
ODD = ("-rf", " two words", "new\nline", "back\\slash", "ü", "\udcff bytes", "*", f"{LONG}/{LONG}/{LONG}")
XATTRS = {"SCHILY.xattr.user.kept": "value", "SCHILY.xattr.user.bytes": "a=b\nc"}


@pytest.fixture(scope="module")
def layout(tmp_path_factory: pytest.TempPathFactory) -> Layout:
    lower = busybox_layer().directory("t").directory("t/opaque").file("t/opaque/hidden", b"1")
    lower.file("t/gone", b"2").directory("t/whole").file("t/whole/x", b"3").file("t/was-file", b"4")
    lower.file("t/set", b"5", mode=0o6755, uid=7, gid=8).directory("t/sticky", mode=0o1777)
    lower.file("t/first", b"6", mode=0o640).hardlink("t/second", "t/first")
    lower.file("t/marked", b"7", pax_headers=XATTRS).symlink("t/link", "nowhere/at all")
    upper = Layer().opaque("t/opaque").file("t/opaque/new", b"8").whiteout("t/gone").whiteout("t/whole")
    upper.directory("t/was-file", mode=0o711).file("t/was-file/x", b"9").directory("t/odd", uid=3, gid=65534)
    upper.directory(f"t/odd/{LONG}").directory(f"t/odd/{LONG}/{LONG}")
    for name in ODD:
        upper.file(f"t/odd/{name}", name.encode(errors="surrogateescape"))
    upper.hardlink("t/third", "t/first")
    made = Layout(tmp_path_factory.mktemp("round") / "layout")
    made.image("x", [lower, upper], config={"Cmd": ["true"]})
    return made


def listing(product: Product, image: str) -> Listing:
    """Return all that `export` tells of an image's files; names of one file are told together."""
    container = product.run("create", image).out.strip()
    with product.start("export", container) as process:
        data, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    product.run("rm", container)
    found: Listing = {}
    links: dict[str, set[str]] = {}
    with tarfile.open(fileobj=io.BytesIO(data), errors="surrogateescape") as tar:
        for member in tar:
            if member.islnk():
                links.setdefault(member.linkname, {member.linkname}).add(member.name)
                continue
            stream = tar.extractfile(member) if member.isfile() else None
            content = hashlib.sha256(stream.read()).hexdigest() if stream else member.linkname
            marks = sorted(pair for pair in member.pax_headers.items() if "xattr" in pair[0])
            who = (member.type, oct(member.mode), member.uid, member.gid, member.mtime)
            found[member.name] = (*who, content, tuple(marks))
    for first, names in links.items():
        found["|".join(sorted(names))] = found.pop(first)
    return found


def test_every_way_keeps_every_file(
    fresh_product: Product, layout: Layout, registry: Registry, tmp_path: Path
) -> None:
    product, name = fresh_product, f"{registry.address}/round/trip:1"
    image = product.run("pull", "-q", f"oci:{layout.path}:x").out.strip()
    product.run("tag", image, name)
    there = listing(product, image)
    assert_expected(there)
    product.run("push", "-q", name)
    product.run("save", "-o", f"{tmp_path}/docker.tar", name)
    product.run("save", "--format=oci-archive", "-o", f"{tmp_path}/oci.tar", name)
    product.run("rmi", "-f", image)
    for source in (
        f"docker://{name}",
        f"docker-archive:{tmp_path}/docker.tar",
        f"oci-archive:{tmp_path}/oci.tar",
    ):
        copied = f"{tmp_path}/{source.partition(':')[0]}"
        command = ["skopeo", "--insecure-policy", "copy", "-q", "--src-tls-verify=false"]
        subprocess.run([*command, source, f"oci:{copied}:x"], check=True)
        back = product.run("pull", "-q", f"oci:{copied}:x").out.strip()
        assert listing(product, back) == there, source
        product.run("rmi", "-f", back)
    compare_with_umoci(f"{tmp_path}/docker:x", tmp_path / "bundle", there)


def assert_expected(there: Listing) -> None:
    """Look at what matters by other means than a comparison with ourselves."""
    names = {name.removeprefix("t/") for name in there if name.startswith("t/")}
    assert {"opaque", "opaque/new", "was-file", "was-file/x"} <= names
    assert not names & {"opaque/hidden", "gone", "whole", "whole/x"}
    assert {f"odd/{name}" for name in ODD} <= names
    assert there["t/first|t/second|t/third"][1] == "0o640"
    assert there["t/set"][1:4] == ("0o6755", 7, 8)
    assert there["t/odd"][2:4] == (3, 65534)
    assert there["t/sticky"][1] == "0o1777"
    assert dict(there["t/marked"][-1]) == XATTRS
    assert there["t/link"][5] == "nowhere/at all"


def compare_with_umoci(source: str, bundle: Path, there: Listing) -> None:
    """Unpack by another tool, which keeps no owners for users, and compare the rest."""
    unpack = ["umoci", "raw", "unpack", "--rootless", "--image", source, str(bundle)]
    subprocess.run(unpack, check=True, capture_output=True)
    tree = read_tree(bundle / "t")
    flat = {name: entry for names, entry in there.items() for name in names.split("|")}
    assert {name for name in tree if name != "."} == {
        name.removeprefix("t/") for name in flat if name.startswith("t/")
    }
    for name, entry in tree.items():
        kind, mode, *_, content, _ = flat[f"t/{name}" if name != "." else "t"]
        if kind != tarfile.SYMTYPE:
            assert oct(int(entry["mode"], 8) & 0o7777) == mode, name
        assert entry.get("sha256", entry.get("target", "")) == content, name
    assert tree["second"]["same_as"] == tree["third"]["same_as"] == "first"


def test_image_that_came_back_runs(product: Product, layout: Layout, tmp_path: Path) -> None:
    product.run("copy", f"oci:{layout.path}:x", f"docker-archive:{tmp_path}/a.tar:round/back:1")
    product.run("load", "-i", f"{tmp_path}/a.tar")
    script = "cat /t/third /t/odd/ü /t/opaque/*; test -u /t/set"
    assert product.run(*QUICK, "round/back:1", "sh", "-c", script).out == "6ü8"
    product.run("rmi", "round/back:1")
