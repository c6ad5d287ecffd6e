"""`commit`: images of containers, as this engine runs them and as other tools see them."""

from __future__ import annotations

import json
import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.helpers.product import QUICK

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.helpers.product import Product

CHANGES = (
    "rm -r /etc/old && mkdir /etc/old && echo 1 >/etc/old/new && rm /etc/gone && rm -r /etc/whole && "
    "rm /etc/was-file && mkdir /etc/was-file && echo 2 >/etc/was-file/x && "
    "rm -r /etc/was-dir && echo 3 >/etc/was-dir && echo 4 >/a && ln /a /b && ln -s a /c && mkfifo /p && "
    "chmod 4755 /a && mkdir -m 1777 /t && chmod 700 /etc/kept && touch -d @1000000000 /a /t /etc/kept"
)
LISTING = (
    "cd /; for f in a b t p etc/kept etc/old etc/old/new etc/was-dir etc/was-file etc/was-file/x; do "
    "stat -c '%n %F %a %u:%g' $f; done; readlink c; stat -c %Y a t etc/kept; "
    "for f in etc/gone etc/whole etc/old/x etc/was-dir/y; do test ! -e $f || echo there: $f; done; "
    "test a -ef b && cat a"
)
TOLD = """\
a regular file 4755 0:0
b regular file 4755 0:0
t directory 1777 0:0
p fifo 644 0:0
etc/kept directory 700 0:0
etc/old directory 755 0:0
etc/old/new regular file 644 0:0
etc/was-dir regular file 644 0:0
etc/was-file directory 755 0:0
etc/was-file/x regular file 644 0:0
a
1000000000
1000000000
1000000000
4
"""


@pytest.fixture
def base(product: Product, busybox: str) -> str:
    """An image with something to change, made by a commit itself."""
    if product.attempt("inspect", "--type=image", "commit/base").code:
        make = "cd /etc; mkdir old whole was-dir kept; touch old/x gone whole/z was-file was-dir/y"
        product.run("run", "--network=none", "--name=made", busybox, "sh", "-c", make)
        product.run("commit", "made", "commit/base")
        product.run("rm", "made")
    return "commit/base"


@pytest.fixture
def image(product: Product, base: str) -> Iterator[str]:
    """An image of a container that has made all kinds of changes; its id."""
    product.run("run", "--network=none", "--name=changed", base, "sh", "-c", CHANGES)
    yield product.run("commit", "-c", "CMD true", "changed", "commit/changed:1").out.strip()
    product.remove_containers()
    product.attempt("rmi", "-f", "commit/changed:1")


def layers(product: Product, name: str) -> list[str]:
    (shown,) = json.loads(product.run("image", "inspect", name).out)
    return shown["RootFS"]["Layers"]


def test_image_holds_what_the_container_changed(product: Product, image: str) -> None:
    assert product.run(*QUICK, image, "sh", "-c", LISTING).out == TOLD
    assert product.run(*QUICK, "commit/changed:1").out == ""


def test_same_changes_make_the_same_layer_whatever_the_storage(product: Product, base: str) -> None:
    for name, *options in (("one",), ("two", "--storage=copy")):
        script = "echo x >/f; ln /f /g; rm /etc/gone; rm -r /etc/old; mkdir /etc/old; touch -d @1 /f /etc/old"
        words = (*options, "--network=none", f"--name={name}")
        product.run("run", *words, base, "sh", "-c", f"{script}; touch -d @2 /etc / /f")
    first, second = (product.run("commit", name).out.strip() for name in ("one", "two"))
    assert first != second, "the images differ by their time"
    assert layers(product, first) == layers(product, second)
    assert first in product.run("images", "-q", "--no-trunc", "--filter=dangling=true").lines
    product.remove_containers()
    product.run("rmi", first, second)


def test_nothing_changed_adds_no_layer(product: Product, base: str) -> None:
    product.run("create", "--name=same", base)
    made = product.run("commit", "-m", "nothing", "same").out.strip()
    assert layers(product, made) == layers(product, base)
    assert product.run("history", "--format={{.Size}} {{.Comment}}", made).lines[0] == "0B nothing"
    assert product.run(*QUICK, made, "cat", "/etc/kept/../hostname").out != ""
    product.run("rmi", made)


def test_config_and_history_are_those_of_the_container(product: Product, base: str) -> None:
    words = ("-e", "A=1", "-w", "/etc", "-u", "7:8", "-l", "k=v", "-p", "127.0.0.1::80", "-v", "/data")
    product.run("create", "--name=rich", *words, "--stop-signal=INT", "-t", base, "sh", "-c", "echo $A $B")
    before = len(product.run("history", "-q", base).lines)
    told = ("-m", "a message", "--author", "Ann <a@b>", "-c", "ENV B=$A$A", "-c", "EXPOSE 53/udp")
    made = product.run("commit", *told, "rich", "localhost:5000/commit/rich:v1").out.strip()
    (shown,) = json.loads(product.run("inspect", "--type=image", "localhost:5000/commit/rich:v1").out)
    assert (shown["Id"], shown["Author"], shown["Comment"]) == (made, "Ann <a@b>", "a message")
    config = shown["Config"]
    assert [e for e in config["Env"] if not e.startswith("PATH=")] == ["A=1", "B=11"]
    assert config["Cmd"] == ["sh", "-c", "echo $A $B"]
    assert (config["WorkingDir"], config["User"], config["StopSignal"]) == ("/etc", "7:8", "SIGINT")
    assert (config["ExposedPorts"], config["Volumes"]) == ({"53/udp": {}, "80/tcp": {}}, {"/data": {}})
    assert config["Labels"] == {"k": "v"}
    assert shown["RepoDigests"] == []
    lines = product.run("history", "--format={{.CreatedBy}}|{{.Comment}}", made).lines
    assert (lines[0], len(lines)) == ("sh -c echo $A $B|a message", before + 1)
    events = product.run("events", "--since=1m", "--until=0s", "--format={{.Type}} {{.Action}}").lines
    assert events[-2:] == ["container commit", "image tag"]
    product.run("rm", "rich")
    product.run("rmi", made)


def test_running_container_is_paused_meanwhile_and_goes_on(product: Product, base: str) -> None:
    script = "while :; do echo $((i+=1)) >/n; done"
    product.run("run", "-d", "--network=none", "--name=busy", base, "sh", "-c", script)
    for options in ((), ("--pause=false",)):
        made = product.run("commit", *options, "busy").out.strip()
        assert product.run("inspect", "-f", "{{.State.Status}}", "busy").out == "running\n"
        product.run("rmi", made)
    told = product.run(
        "events", "--since=1m", "--until=0s", "-f", "container=busy", "--format={{.Action}}"
    ).lines
    assert told[-4:] == ["pause", "unpause", "commit", "commit"]


def test_container_whose_image_has_no_name_any_more_is_committed(product: Product, base: str) -> None:
    product.run("tag", base, "commit/doomed")
    product.run("create", "--name=first", base)
    doomed = product.run("commit", "-c", "LABEL x=y", "first", "commit/doomed").out.strip()
    product.run("run", "--network=none", "--name=user", "commit/doomed", "touch", "/late")
    product.run("rmi", "-f", "commit/doomed")
    product.fail(1, "image", "inspect", doomed)
    made = product.run("commit", "user").out.strip()
    assert product.run(*QUICK, made, "ls", "/late").out == "/late\n"
    product.run("rmi", made)


def test_image_without_a_name_is_unpacked_again_where_it_has_to_be(product: Product, base: str) -> None:
    """As after a power cut, or when an administrator has granted more ids."""
    product.run("run", "--network=none", "--name=plain", base, "touch", "/plain")
    before = set(product.store.glob("snapshots/*/" + "?" * 64))
    made = product.run("commit", "plain").out.strip()
    (tree,) = set(product.store.glob("snapshots/*/" + "?" * 64)) - before
    listed = ("images", "--no-trunc", "--digests", "--format={{.ID}} {{.Tag}} {{.Digest}} {{.Size}}")
    images = product.run(*listed).out
    product.run("unshare", "rm", "-r", str(tree))
    assert product.run(*QUICK, made, "ls", "/plain").out == "/plain\n"
    assert product.run(*listed).out == images
    product.run("rm", "plain")
    product.run("rmi", made)


def test_what_cannot_be_committed_leaves_nothing(product: Product, base: str) -> None:
    product.run("create", "--name=none", base)
    before = product.run("images", "-a", "-q").lines
    blobs = set(os.listdir(product.store / "blobs/sha256"))
    assert "none of CMD" in product.fail(125, "commit", "-c", "RUN x", "none", "x").err
    assert "lower case" in product.fail(125, "commit", "none", "UPPER").err
    assert "no such container" in product.fail(1, "commit", "ghost", "x").err
    assert product.run("images", "-a", "-q").lines == before
    assert set(os.listdir(product.store / "blobs/sha256")) <= blobs


@pytest.mark.needs("skopeo", "umoci")
def test_other_tools_read_the_image(product: Product, image: str, tmp_path: Path) -> None:
    source = f"oci:{product.store}:docker.io/commit/changed:1"
    subprocess.run(["skopeo", "copy", "-q", source, f"oci:{tmp_path}/copy:x"], check=True)
    bundle = tmp_path / "bundle"
    unpack = ["umoci", "raw", "unpack", "--rootless", "--image", f"{tmp_path}/copy:x", str(bundle)]
    subprocess.run(unpack, check=True, capture_output=True)
    assert (bundle / "etc/old/new").read_text() == "1\n"
    assert os.listdir(bundle / "etc/old") == ["new"]
    assert not {"gone", "whole"} & set(os.listdir(bundle / "etc"))
    assert (bundle / "etc/was-file/x").read_text() == "2\n"
    assert (bundle / "etc/was-dir").read_text() == "3\n"
    assert (bundle / "a").stat().st_ino == (bundle / "b").stat().st_ino
    assert (bundle / "a").stat().st_mtime == 1_000_000_000


@pytest.mark.needs("skopeo")
def test_image_goes_through_a_registry_unchanged(
    product: Product, fresh_product: Product, image: str, registry: object
) -> None:
    target = f"{registry.address}/commit-changed:1"
    source = f"oci:{product.store}:docker.io/commit/changed:1"
    subprocess.run(
        ["skopeo", "copy", "-q", "--dest-tls-verify=false", source, f"docker://{target}"], check=True
    )
    assert fresh_product.run("pull", "-q", target).out.strip() == image
    assert fresh_product.run(*QUICK, target, "sh", "-c", LISTING).out == TOLD
