"""`push` to Docker's registry: what arrives, what is not sent again, what is said."""

from __future__ import annotations

import itertools
import json
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.helpers.images import MANIFEST, Layer, Layout, digest
from tests.helpers.registry import private_registry
from tests.helpers.uploads import UploadRegistry, error

if TYPE_CHECKING:
    from pathlib import Path

    from tests.helpers.product import Product
    from tests.helpers.registry import Registry

pytestmark = pytest.mark.needs("docker-registry", "skopeo")


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    made = Layout(tmp_path / "layout")
    layers = [Layer().directory("etc").file("etc/one", b"1" * 100_000), Layer().file("two", b"2")]
    made.image("latest", layers, compression="gzip", config={"Cmd": ["id"]})
    return made


@pytest.fixture
def image(fresh_product: Product, layout: Layout, registry: Registry, request: pytest.FixtureRequest) -> str:
    """The image in the store, under a name in the registry that no other test uses."""
    fresh_product.run("pull", f"oci:{layout.path}")
    name = f"{registry.address}/push-{digest(request.node.name.encode())[7:19]}:1"
    fresh_product.run("tag", "localhost/layout:latest", name)
    return name


def manifest_of(layout: Layout) -> bytes:
    (entry,) = json.loads((layout.path / "index.json").read_text())["manifests"]
    return layout.blob_path(entry["digest"]).read_bytes()


def raw_manifest(name: str, *options: str) -> bytes:
    """Return what a registry has under a name, by another program."""
    command = ["skopeo", "inspect", "--raw", "--tls-verify=false", *options, f"docker://{name}"]
    return subprocess.run(command, check=True, capture_output=True).stdout


def requests(registry: Registry, name: str) -> list[str]:
    """Return "METHOD PATH" of what the registry was asked about a repository, in order."""
    repository = name.partition("/")[2].rpartition(":")[0]
    lines = (
        line.split('"') for line in registry.log.read_text().splitlines() if f"/v2/{repository}/" in line
    )
    return [parts[1].rpartition(" ")[0] for parts in lines if len(parts) > 1 and "HTTP/1.1" in parts[1]]


def layer_names(layout: Layout) -> list[str]:
    return [layer["digest"][7:19] for layer in json.loads(manifest_of(layout))["layers"]]


def test_push_prints_what_docker_prints_and_gives_the_name_last(
    fresh_product: Product, image: str, registry: Registry, layout: Layout
) -> None:
    lines = fresh_product.run("push", image).lines
    data = manifest_of(layout)
    assert lines[0] == f"The push refers to repository [{image.rpartition(':')[0]}]"
    assert sorted(lines[1:-1]) == sorted(f"{name}: Pushed" for name in layer_names(layout))
    assert lines[-1] == f"1: digest: {digest(data)} size: {len(data)}"
    assert raw_manifest(image) == data
    asked = [line for line in requests(registry, image) if not line.startswith(("GET", "HEAD"))]
    assert asked[-1].startswith("PUT ")
    assert asked[-1].endswith("/manifests/1")


def test_pushed_image_is_pulled_again(fresh_product: Product, image: str, layout: Layout) -> None:
    fresh_product.run("push", image)
    for name in fresh_product.run("images", "--format", "{{.Repository}}:{{.Tag}}").lines:
        fresh_product.run("rmi", name)
    assert digest(manifest_of(layout)) in fresh_product.run("pull", image).out


def test_what_is_there_is_not_sent_again(
    fresh_product: Product, image: str, registry: Registry, layout: Layout
) -> None:
    fresh_product.run("push", image)
    before = len(requests(registry, image))
    lines = fresh_product.run("push", image).lines
    assert sorted(lines[1:-1]) == sorted(f"{name}: Layer already exists" for name in layer_names(layout))
    asked = requests(registry, image)[before:]
    assert {line.split()[0] for line in asked} == {"HEAD", "PUT"}
    assert [line for line in asked if "uploads" in line] == []


def test_layers_of_another_repository_are_mounted(
    fresh_product: Product, image: str, registry: Registry
) -> None:
    fresh_product.run("push", image)
    other = image.replace("/push-", "/team/push-")
    fresh_product.run("tag", image, other)
    lines = fresh_product.run("push", other).lines
    assert all(line.endswith(": Mounted from another repository") for line in lines[1:-1])
    sent = [line for line in requests(registry, other) if "uploads" in line]
    assert all("mount=" in line for line in sent)
    assert raw_manifest(other) == raw_manifest(image)


def test_pulled_and_renamed_image_is_pushed_bit_for_bit(
    fresh_product: Product, registry: Registry, layout: Layout
) -> None:
    """An image as Docker writes it, with Docker's media types and whatever order of fields."""
    name = f"{registry.address}/as-docker:1"
    copy = ["skopeo", "--insecure-policy", "copy", "--quiet", "--format=v2s2", "--dest-tls-verify=false"]
    subprocess.run([*copy, f"oci:{layout.path}:latest", f"docker://{name}"], check=True)
    fresh_product.run("pull", name)
    renamed = f"{registry.address}/renamed:2"
    fresh_product.run("tag", name, renamed)
    fresh_product.run("push", renamed)
    data = raw_manifest(renamed)
    assert data == raw_manifest(name)
    assert b"vnd.docker.distribution.manifest.v2" in data


def test_docker_s_format_keeps_the_blobs(fresh_product: Product, image: str, layout: Layout) -> None:
    lines = fresh_product.run("push", "--format=docker", image).lines
    data = raw_manifest(image)
    assert lines[-1] == f"1: digest: {digest(data)} size: {len(data)}"
    pushed, ours = json.loads(data), json.loads(manifest_of(layout))
    assert pushed["mediaType"] == "application/vnd.docker.distribution.manifest.v2+json"
    assert pushed["config"]["digest"] == ours["config"]["digest"]
    assert [layer["digest"] for layer in pushed["layers"]] == [layer["digest"] for layer in ours["layers"]]
    fresh_product.run("rmi", "-f", image)
    assert digest(data) in fresh_product.run("pull", image).out
    back = image.replace("/push-", "/back-")
    fresh_product.run("copy", "--format=oci", image, back)
    assert json.loads(raw_manifest(back))["mediaType"] == MANIFEST


def test_docker_s_format_has_its_zstd_layers_packed_anew(
    fresh_product: Product, image: str, layout: Layout
) -> None:
    fresh_product.run("push", "--compression=zstd", image)
    zstd = image.replace("/push-", "/zstd-")
    fresh_product.run("copy", image, zstd)
    fresh_product.run("rmi", "-f", image)
    fresh_product.run("pull", zstd)
    fresh_product.run("push", "--format=docker", zstd)
    types = {layer["mediaType"] for layer in json.loads(raw_manifest(zstd))["layers"]}
    assert types == {"application/vnd.docker.image.rootfs.diff.tar.gzip"}
    refused = fresh_product.fail(1, "copy", "--format=docker", image, zstd).err
    assert "--format oci" in refused
    clash = fresh_product.fail(125, "push", "--compression=zstd", "--format=docker", image).err
    assert "no zstd" in clash


def test_registry_that_refuses_oci_manifests_gets_docker_s(
    fresh_product: Product, image: str, layout: Layout
) -> None:
    with UploadRegistry() as old:
        old.faults.append(
            lambda request: (
                error(400, "MANIFEST_INVALID") if request.headers.get("content-type") == MANIFEST else None
            )
        )
        name = f"{old.address}/old:1"
        fresh_product.run("tag", image, name)
        last = fresh_product.run("push", name).lines[-1]
        (data,) = old.manifests.values()
        assert digest(data) in last
        assert json.loads(data)["config"]["digest"] == json.loads(manifest_of(layout))["config"]["digest"]
        assert "manifest-refused" in fresh_product.fail(1, "push", "--format=oci", name).err


def test_all_tags_are_pushed_in_order(fresh_product: Product, image: str, layout: Layout) -> None:
    repository = image.rpartition(":")[0]
    fresh_product.run("tag", image, f"{repository}:0.9")
    lines = fresh_product.run("push", "--all-tags", repository).lines
    assert [line.partition(":")[0] for line in lines if " size: " in line] == ["0.9", "1"]
    assert raw_manifest(f"{repository}:0.9") == raw_manifest(image) == manifest_of(layout)
    assert "--all-tags" in fresh_product.fail(125, "push", "-a", image).err


def test_quiet_push_prints_the_name_and_its_digest_is_shown(
    fresh_product: Product, image: str, layout: Layout
) -> None:
    result = fresh_product.run("push", "-q", image)
    assert (result.out, result.err) == (image + "\n", "")
    by_name = fresh_product.run("images", "--digests", image.rpartition(":")[0]).out
    assert digest(manifest_of(layout)) in by_name
    events = fresh_product.run("events", "--since", "1h", "--until", "0s", "--filter", "event=push").out
    assert image in events


def test_image_that_is_not_here_is_told(fresh_product: Product, image: str) -> None:
    assert "no such image" in fresh_product.fail(1, "push", image + "1").err
    repository = image.rpartition(":")[0]
    assert "digest reference" in fresh_product.fail(125, "push", f"{repository}@{digest(b'')}").err


def test_image_of_another_platform_is_refused(fresh_product: Product, image: str) -> None:
    error = fresh_product.fail(1, "push", "--platform=linux/s390x", image).err
    assert "linux/s390x" in error


def test_layers_are_compressed_anew_and_the_image_stays_the_same(
    fresh_product: Product, image: str, layout: Layout
) -> None:
    blobs = fresh_product.store / "blobs/sha256"
    before = sorted(path.name for path in blobs.iterdir())
    lines = fresh_product.run("push", "--compression=zstd", "--compression-level=9", image).lines
    manifest = json.loads(raw_manifest(image))
    assert [layer["mediaType"].rpartition("+")[2] for layer in manifest["layers"]] == ["zstd", "zstd"]
    assert manifest["config"] == json.loads(manifest_of(layout))["config"]
    assert digest(raw_manifest(image)) in lines[-1]
    assert sorted(path.name for path in blobs.iterdir()) == before  # what was made for it is gone
    again = image.replace("/push-", "/again/push-")
    fresh_product.run("tag", image, again)
    fresh_product.run("push", "--compression=zstd", "--compression-level=9", again)
    assert raw_manifest(again) == raw_manifest(image)
    ids = fresh_product.run("images", "-q", "--no-trunc").lines
    fresh_product.run("rmi", "-f", *set(ids))
    fresh_product.run("pull", image)
    assert set(fresh_product.run("images", "-q", "--no-trunc").lines) == set(ids)


@pytest.mark.parametrize(
    "words",
    [
        ("--compression=xz",),
        ("--compression=gzip", "--compression-level=10"),
        ("--compression=zstd", "--compression-level=0"),
        ("--compression-level=3",),
    ],
)
def test_compression_that_there_is_none_of_is_refused(product: Product, words: tuple[str, ...]) -> None:
    assert "compression" in product.fail(125, "push", *words, "nothing:1").err


def test_image_goes_to_another_place(
    fresh_product: Product, image: str, layout: Layout, tmp_path: Path
) -> None:
    fresh_product.run("push", image, f"oci:{tmp_path / 'there'}:x")
    entries = json.loads((tmp_path / "there/index.json").read_text())["manifests"]
    assert [entry["digest"] for entry in entries] == [digest(manifest_of(layout))]


def test_private_registry_wants_a_login(fresh_product: Product, image: str, tmp_path: Path) -> None:
    with private_registry(tmp_path / "private") as private:
        name = f"{private.address}/box:1"
        fresh_product.run("tag", image, name)
        error = fresh_product.fail(1, "push", name).err
        assert f"rootless login {private.address}" in error
        fresh_product.run("login", "-u", "jo", "--password-stdin", private.address, input="word")
        fresh_product.run("push", name)
        assert raw_manifest(name, "--creds=jo:word") == raw_manifest_of(fresh_product, image)


def raw_manifest_of(product: Product, image: str) -> bytes:
    """Return a manifest of the store by its name."""
    for entry in json.loads((product.store / "index.json").read_text())["manifests"]:
        if entry.get("annotations", {}).get("org.opencontainers.image.ref.name") == image:
            return (product.store / "blobs/sha256" / entry["digest"][7:]).read_bytes()
    raise AssertionError(image)


def test_all_platforms_are_copied_and_the_index_comes_last(
    fresh_product: Product, registry: Registry, tmp_path: Path
) -> None:
    made = Layout(tmp_path / "many")
    children = []
    for number, architecture in enumerate(("amd64", "arm64")):
        child = made.image(f"only-{architecture}", [Layer().file("a", bytes([number]))], compression="gzip")
        platform = {"os": "linux", "architecture": architecture}
        children.append({**child, "mediaType": MANIFEST, "platform": platform})
    index = made.blob_path(made.index("all", children)["digest"]).read_bytes()
    name = f"{registry.address}/many:1"
    fresh_product.run("copy", "--all", f"oci:{made.path}:all", f"docker://{name}")
    assert raw_manifest(name) == index
    puts = [line for line in requests(registry, name) if line.startswith("PUT") and "manifests" in line]
    assert len(puts) == 3
    assert puts[-1].endswith("/manifests/1")


def test_decayed_layer_is_found_and_nothing_gets_the_name(
    fresh_product: Product, image: str, layout: Layout
) -> None:
    layer = json.loads(manifest_of(layout))["layers"][0]["digest"]
    path = fresh_product.store / "blobs/sha256" / layer[7:]
    path.chmod(0o600)
    data = bytearray(path.read_bytes())
    data[20] ^= 1
    path.write_bytes(data)
    with UploadRegistry() as server:
        name = f"{server.address}/box:1"
        fresh_product.run("tag", image, name)
        error = fresh_product.fail(1, "push", name).err
        assert layer[7:19] in error
        repacked = fresh_product.fail(1, "push", "--compression=zstd", name).err
        assert layer[7:19] in repacked
        assert server.manifests == {}
        assert layer not in server.blobs


def test_killed_push_is_resumed_by_the_next(fresh_product: Product, image: str, layout: Layout) -> None:
    with UploadRegistry() as server:
        name = f"{server.address}/box:1"
        fresh_product.run("tag", image, name)
        limits = [100]
        server.body_limit = lambda method, path: limits.pop() if limits and "/uploads/" in path else 1 << 40
        server.faults.append(lambda request: process.kill() if request.cut else None)
        process = fresh_product.start("push", name)
        process.communicate(timeout=20)
        assert process.returncode == -9
        assert server.manifests == {}
        fresh_product.run("push", name)
        assert server.received == sum(map(len, server.blobs.values()))
        assert server.manifests["1"] == manifest_of(layout)


def test_interrupted_push_ends_quickly_and_names_nothing(fresh_product: Product, image: str) -> None:
    with UploadRegistry() as server:
        name = f"{server.address}/box:1"
        fresh_product.run("tag", image, name)
        uploads = itertools.count()

        def hang(request: object) -> None:
            if "/uploads/" in request.path and request.method == "PUT":  # type: ignore[attr-defined]
                if next(uploads) == 0:  # a second signal would end it without manners
                    process.send_signal(2)
                server.wait(20)

        server.faults.append(hang)
        process = fresh_product.start("push", name)
        process.communicate(timeout=20)
        assert process.returncode == 130
        assert next(uploads)
        assert server.manifests == {}
    assert fresh_product.run("images", "-q").lines


def test_terminal_shows_a_bar_for_each_layer(fresh_product: Product, image: str, layout: Layout) -> None:
    with fresh_product.terminal("push", image) as terminal:
        code, shown = terminal.wait()
    assert code == 0
    for name in layer_names(layout):
        assert f"{name}: Pushed" in shown
