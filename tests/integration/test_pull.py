"""`pull`, `images` and `rmi` as users run them: real and hostile registries, killed processes, full disks."""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

from tests.helpers.hostile_registry import HostileRegistry, Reply, Request
from tests.helpers.images import MANIFEST, Layer, Layout, copy, digest
from tests.helpers.registry import running_registry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.helpers.product import Product
    from tests.helpers.registry import Registry

SHORT_DEADLINES = "connect_s=5,answer_s=5,idle_s=1,slow_window_s=1,attempts=2,backoff_s=0.05"
PASSWORD_ENTRY = "jo:$2y$05$abcdefghijklmnopqrstuuQDoL5Sa/TtfS/XN4AY/jgq.HBbO1BTu"
"""bcrypt of "word", cost 5: htpasswd -nbB -C 5 jo word."""


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """Two layers, small, with something to hide."""
    made = Layout(tmp_path / "layout")
    base = (
        Layer()
        .directory("etc")
        .file("etc/one", b"1\n")
        .file("etc/two", b"2\n")
        .file("big", os.urandom(400_000))
    )
    made.image("latest", [base, Layer().whiteout("etc/two").file("etc/three", b"3\n")])
    return made


@pytest.fixture
def server(layout: Layout) -> Iterator[HostileRegistry]:
    with HostileRegistry() as running:
        running.add_image("box", "latest", layout)
        yield running


def image_of(layout: Layout, tag: str = "latest") -> tuple[dict[str, object], str]:
    """Return an image's manifest and its id."""
    index = json.loads((layout.path / "index.json").read_text())
    entry = next(
        m for m in index["manifests"] if m["annotations"]["org.opencontainers.image.ref.name"] == tag
    )
    manifest = json.loads(layout.blob_path(entry["digest"]).read_bytes())
    return manifest, manifest["config"]["digest"]


def leftovers(product: Product) -> list[str]:
    """Return what must not be there after a command has ended: partial blobs, temporaries, locks of blobs."""
    store = product.store
    found = [*store.glob("ingest/*.partial"), *store.glob("ingest/*.tmp"), *store.glob("snapshots/*/tmp-*")]
    return [str(path.relative_to(store)) for path in found]


def snapshots(product: Product) -> list[Path]:
    return [path for path in product.store.glob("snapshots/*/*") if len(path.name) == 64]


def check_blobs(product: Product) -> None:
    for path in (product.store / "blobs/sha256").iterdir():
        assert digest(path.read_bytes()) == f"sha256:{path.name}"


def expect_failure(product: Product, image: str, *words: str) -> str:
    """Pull, which must fail with a message that names image and cause, and leave nothing."""
    product.env["ROOTLESS_REGISTRY_DEADLINES"] = SHORT_DEADLINES
    result = product.fail(1, "pull", image)
    for word in words:
        assert word in result.err, str(result)
    assert result.err.startswith("error: "), str(result)
    assert "Traceback" not in result.err
    assert leftovers(product) == []
    assert product.run("images", "-q").out == ""
    return result.err


# The good paths


def test_pull_prints_what_docker_prints(fresh_product: Product, registry: Registry, layout: Layout) -> None:
    name = layout.push("latest", f"{registry.address}/pull/lines:1")
    manifest, image_id = image_of(layout)
    result = fresh_product.run("pull", name)
    assert result.lines[0] == f"1: Pulling from {registry.address}/pull/lines"
    assert result.lines[-2:] == [f"Status: Downloaded newer image for {name}", name]
    assert any(line.startswith("Digest: sha256:") for line in result.lines)
    for layer in manifest["layers"]:  # type: ignore[attr-defined]
        assert f"{layer['digest'][7:19]}: Pull complete" in result.lines
    again = fresh_product.run("pull", name)
    assert f"Status: Image is up to date for {name}" in again.lines
    assert sum(": Already exists" in line for line in again.lines) == 2
    assert fresh_product.run("pull", "-q", name).out == f"{image_id}\n"
    assert leftovers(fresh_product) == []


def test_pulled_layers_are_whole_and_in_overlay_form(
    fresh_product: Product, registry: Registry, layout: Layout
) -> None:
    fresh_product.run("pull", layout.push("latest", f"{registry.address}/pull/content:1"))
    base = next(path for path in snapshots(fresh_product) if (path / "etc/one").exists())
    top = next(path for path in snapshots(fresh_product) if path != base)
    assert (base / "etc/one").read_bytes() == b"1\n"
    assert (base / "big").stat().st_size == 400_000
    assert (top / "etc/three").read_bytes() == b"3\n"
    check_blobs(fresh_product)


def test_pull_by_digest(fresh_product: Product, registry: Registry, layout: Layout) -> None:
    layout.push("latest", f"{registry.address}/pull/digest:1")
    entry = json.loads((layout.path / "index.json").read_text())["manifests"][0]
    name = f"{registry.address}/pull/digest@{entry['digest']}"
    assert fresh_product.run("pull", name).lines[-1] == name
    assert fresh_product.run("images", "-q", "--no-trunc").lines == [image_of(layout)[1]]


def test_moved_tag_leaves_the_old_image_without_a_name(
    fresh_product: Product, registry: Registry, tmp_path: Path
) -> None:
    name = f"{registry.address}/pull/moved:1"
    ids = []
    for word in (b"old", b"new"):
        layout = Layout(tmp_path / word.decode())
        layout.image("latest", [Layer().file("word", word)])
        layout.push("latest", name)
        fresh_product.run("pull", name)
        ids.append(image_of(layout)[1])
    found = fresh_product.run("images", "--format", "{{.ID}} {{.Tag}}", "--no-trunc").lines
    assert sorted(found) == sorted([f"{ids[0]} <none>", f"{ids[1]} 1"])


def test_platform_of_an_index_is_chosen(fresh_product: Product, registry: Registry, tmp_path: Path) -> None:
    layout = Layout(tmp_path / "many")
    manifests = [
        layout.manifest([Layer().file("arch", a.encode())], architecture=a) for a in ("amd64", "arm64")
    ]
    layout.index("latest", manifests)
    name = layout.push("latest", f"{registry.address}/pull/platforms:1")
    fresh_product.run("pull", "--platform", "linux/arm64", name)
    assert [path.read_bytes() for path in fresh_product.store.glob("snapshots/*/*/arch")] == [b"arm64"]
    result = fresh_product.fail(1, "pull", "--platform", "linux/s390x", name)
    assert "s390x" in result.err
    assert name in result.err


@pytest.mark.parametrize("compression", ["none", "gzip", "zstd"])
def test_each_compression_is_unpacked(fresh_product: Product, tmp_path: Path, compression: str) -> None:
    layout = Layout(tmp_path / "layout")
    layout.image("latest", [Layer().file("data", b"x" * 100_000)], compression=compression)
    assert fresh_product.run("pull", f"oci:{layout.path}:latest").lines[-1] == "localhost/latest:latest"
    (found,) = fresh_product.store.glob("snapshots/*/*/data")
    assert found.read_bytes() == b"x" * 100_000


def test_terminal_shows_a_bar_for_each_layer(fresh_product: Product, layout: Layout) -> None:
    layers = image_of(layout)[0]["layers"]
    with fresh_product.terminal("pull", f"oci:{layout.path}:latest", columns=100) as terminal:
        code, shown = terminal.wait()
    assert code == 0
    for layer in layers:  # type: ignore[attr-defined]
        assert f"{layer['digest'][7:19]}: Pull complete" in shown
    assert "█" in shown
    assert shown.endswith("localhost/latest:latest\r\n")


def test_image_layout_without_a_name_gets_its_directorys(fresh_product: Product, layout: Layout) -> None:
    assert fresh_product.run("pull", f"oci:{layout.path}").lines[-1] == "localhost/layout:latest"


def test_store_can_be_read_by_skopeo(
    fresh_product: Product, registry: Registry, layout: Layout, tmp_path: Path
) -> None:
    name = layout.push("latest", f"{registry.address}/pull/skopeo:1")
    fresh_product.run("pull", name)
    copy(f"oci:{fresh_product.store}:{name}", f"oci:{tmp_path / 'copy'}:latest")
    assert image_of(Layout(tmp_path / "copy"))[1] == image_of(layout)[1]


def test_blobs_of_the_store_are_unpacked_again_without_a_download(
    fresh_product: Product, server: HostileRegistry
) -> None:
    name = f"{server.address}/box:latest"
    fresh_product.run("pull", name)
    for path in snapshots(fresh_product):
        fresh_product.run("unshare", "rm", "-rf", str(path))
    del server.requests[:]
    fresh_product.run("pull", name)
    assert len(snapshots(fresh_product)) == 2
    assert not [path for path in server.paths() if "blobs" in path]


def test_decayed_blob_is_fetched_again(
    fresh_product: Product, server: HostileRegistry, layout: Layout
) -> None:
    name = f"{server.address}/box:latest"
    fresh_product.run("pull", name)
    manifest, _ = image_of(layout)
    blob = fresh_product.store / "blobs/sha256" / manifest["layers"][0]["digest"][7:]  # type: ignore[index]
    data = bytearray(blob.read_bytes())
    data[1000] ^= 1
    blob.chmod(0o600)
    blob.write_bytes(data)
    for path in snapshots(fresh_product):
        fresh_product.run("unshare", "rm", "-rf", str(path))
    fresh_product.run("pull", name)
    check_blobs(fresh_product)
    assert len(snapshots(fresh_product)) == 2


def test_password_is_read_from_podmans_file(fresh_product: Product, layout: Layout, tmp_path: Path) -> None:
    (tmp_path / "htpasswd").write_text(PASSWORD_ENTRY + "\n")
    extra = f"auth: {{htpasswd: {{realm: box, path: {tmp_path / 'htpasswd'}}}}}\n"
    with running_registry(tmp_path / "registry", extra=extra) as private:
        name = f"{private.address}/box:1"
        arguments = ["--dest-creds", "jo:word", "--dest-tls-verify=false"]
        command = ["skopeo", "--insecure-policy", "copy", "--quiet", *arguments]
        subprocess.run([*command, f"oci:{layout.path}:latest", f"docker://{name}"], check=True)
        assert "401" in fresh_product.fail(1, "pull", name).err
        auth = fresh_product.runtime / "containers/auth.json"
        auth.parent.mkdir()
        auth.write_text(
            json.dumps({"auths": {f"{private.address}/box": {"auth": base64.b64encode(b"jo:word").decode()}}})
        )
        fresh_product.run("pull", name)
        auth.write_text(
            json.dumps({"auths": {private.address: {"auth": base64.b64encode(b"jo:no").decode()}}})
        )
        result = fresh_product.fail(1, "pull", name)
        assert str(auth) in result.err
        assert "jo:no" not in result.err


# Images that are wrong


def test_layer_of_another_digest_is_refused(
    fresh_product: Product, server: HostileRegistry, layout: Layout
) -> None:
    manifest, _ = image_of(layout)
    layer = manifest["layers"][0]  # type: ignore[index]
    data = bytearray(layout.blob_path(layer["digest"]).read_bytes())
    data[len(data) // 2] ^= 1
    server.add_blob("box", layer["digest"], bytes(data))
    expect_failure(
        fresh_product, f"{server.address}/box:latest", layer["digest"], "its digest is", "box:latest"
    )
    assert snapshots(fresh_product) == []


@pytest.mark.parametrize("change", [-1, 1])
def test_layer_of_another_size_is_refused(
    fresh_product: Product, server: HostileRegistry, layout: Layout, change: int
) -> None:
    layer = image_of(layout)[0]["layers"][0]  # type: ignore[index]
    data = layout.blob_path(layer["digest"]).read_bytes()
    data = data[:change] if change < 0 else data + b"x"
    server.add_blob("box", layer["digest"], data)
    expect_failure(fresh_product, f"{server.address}/box:latest", layer["digest"], "bytes, not")


def test_endless_layer_is_cut_at_its_size(
    fresh_product: Product, server: HostileRegistry, layout: Layout
) -> None:
    def forever() -> Iterator[bytes]:
        while True:
            yield b"x" * 65536

    layer = image_of(layout)[0]["layers"][0]  # type: ignore[index]
    server.on(f"/v2/box/blobs/{layer['digest']}", lambda _: Reply(200, forever(), length=-1))
    expect_failure(fresh_product, f"{server.address}/box:latest", "bytes, not")


def test_layer_that_is_cut_again_and_again_fails_and_can_be_resumed(
    fresh_product: Product, server: HostileRegistry, layout: Layout
) -> None:
    layer = image_of(layout)[0]["layers"][0]  # type: ignore[index]
    good = list(server._handlers)
    size = layer["size"]
    server.on(
        f"/v2/box/blobs/{layer['digest']}",
        lambda _: Reply(200, [layout.blob_path(layer["digest"]).read_bytes()[:150_000]], length=size),
    )
    fresh_product.env["ROOTLESS_REGISTRY_DEADLINES"] = SHORT_DEADLINES
    name = f"{server.address}/box:latest"
    assert "connection" in fresh_product.fail(1, "pull", name).err
    assert fresh_product.run("images", "-q").out == ""
    server._handlers = good
    del server.requests[:]
    fresh_product.run("pull", name)
    assert [r.offset for r in server.requests if layer["digest"] in r.path] == [150_000]
    check_blobs(fresh_product)
    assert leftovers(fresh_product) == []


def test_damaged_partial_blob_of_a_crash_is_fetched_anew(
    fresh_product: Product, server: HostileRegistry, layout: Layout
) -> None:
    layer = image_of(layout)[0]["layers"][0]  # type: ignore[index]
    fresh_product.run("images")
    ingest = fresh_product.store / "ingest"
    ingest.mkdir(parents=True)
    (ingest / f"{layer['digest'][7:]}.partial").write_bytes(b"\0" * 100_000)
    fresh_product.run("pull", f"{server.address}/box:latest")
    check_blobs(fresh_product)


def test_wrong_layer_ends_the_others_and_takes_their_bytes_along(
    fresh_product: Product, server: HostileRegistry, layout: Layout
) -> None:
    slow_layer(server, layout)
    small = image_of(layout)[0]["layers"][1]  # type: ignore[index]
    bad = layout.blob_path(small["digest"]).read_bytes()[:-1] + b"?"

    def late(_: Request) -> Reply:
        wait_until(lambda: list(fresh_product.store.glob("ingest/*.partial")))
        server.wait(0.3)
        return Reply(200, bad)

    server.on(f"/v2/box/blobs/{small['digest']}", late)
    expect_failure(fresh_product, f"{server.address}/box:latest", small["digest"], "its digest is")


def tampered(server: HostileRegistry, change: Callable[[dict[str, object]], None], layout: Layout) -> None:
    """Serve the image with a manifest that was changed, under its own right digest."""
    manifest, _ = image_of(layout)
    change(manifest)
    data = json.dumps(manifest).encode()
    server.add_manifest("box", ("latest", digest(data)), data, MANIFEST)


WRONG_MANIFESTS: dict[str, tuple[Callable[[dict[str, object]], None], str]] = {
    "fewer-layers": (lambda m: m["layers"].pop(), "diff_ids"),  # type: ignore[attr-defined]
    "index-too": (lambda m: m.update(manifests=[]), "cannot be told apart"),
    "other-type": (lambda m: m.update(mediaType="text/plain"), "mediaType"),
    "layer-type": (lambda m: m["layers"][0].update(mediaType="application/x-secret"), "media type"),  # type: ignore[index]
    "traversal": (lambda m: m["layers"][0].update(digest="sha256:../../etc/passwd"), "digest"),  # type: ignore[index]
    "upper-case": (lambda m: m["layers"][0].update(digest="sha256:" + "A" * 64), "digest"),  # type: ignore[index]
    "sha512": (lambda m: m["layers"][0].update(digest="sha512:" + "a" * 128), "sha512"),  # type: ignore[index]
    "negative-size": (lambda m: m["layers"][0].update(size=-1), "size"),  # type: ignore[index]
    "chart": (
        lambda m: m["config"].update(mediaType="application/vnd.cncf.helm.config.v1+json"),
        "not a container",
    ),  # type: ignore[attr-defined]
}


@pytest.mark.parametrize("case", WRONG_MANIFESTS)
def test_manifest_that_is_wrong_is_refused(
    fresh_product: Product, server: HostileRegistry, layout: Layout, case: str
) -> None:
    change, words = WRONG_MANIFESTS[case]
    tampered(server, change, layout)
    expect_failure(fresh_product, f"{server.address}/box:latest", words, "box:latest")


def test_addresses_of_foreign_layers_are_not_visited(
    fresh_product: Product, server: HostileRegistry, layout: Layout
) -> None:
    with HostileRegistry() as foreign:
        urls = [f"http://{foreign.address}/layer"]
        tampered(server, lambda m: m["layers"][0].update(urls=urls), layout)  # type: ignore[index]
        fresh_product.run("pull", f"{server.address}/box:latest")
        assert foreign.requests == []


def test_layer_whose_content_is_not_its_diff_id_is_refused(fresh_product: Product, tmp_path: Path) -> None:
    layout = Layout(tmp_path / "lie")
    stored, _ = layout.layer(Layer().file("a", b"1"))
    layout.tag("latest", layout.manifest_of([stored], ["sha256:" + "0" * 64]))
    expect_failure(fresh_product, f"oci:{layout.path}:latest", stored["digest"])
    assert snapshots(fresh_product) == []


def test_hostile_layer_names_its_entry_and_touches_nothing(fresh_product: Product, tmp_path: Path) -> None:
    layout = Layout(tmp_path / "hostile")
    layout.image(
        "latest", [Layer().file("good", b"1"), Layer().symlink("out", str(tmp_path)).file("out/evil", b"x")]
    )
    result = fresh_product.attempt("pull", f"oci:{layout.path}:latest")
    assert not (tmp_path / "evil").exists()
    assert leftovers(fresh_product) == []
    if result.code:
        assert "evil" in result.err


def test_invalid_names_are_refused(fresh_product: Product) -> None:
    for name in ("UPPER/case", "a//b", "../x", "-", "a:b:c", "a@sha256:1", "", "http://a/b", "a b"):
        result = fresh_product.attempt("pull", "--", name)
        assert result.code in (1, 125), str(result)
        assert result.err.startswith("error: "), str(result)


# Interruptions


def slow_layer(server: HostileRegistry, layout: Layout) -> None:
    """Serve the big layer in small steps, for ever if need be."""
    layer = image_of(layout)[0]["layers"][0]  # type: ignore[index]
    data = layout.blob_path(layer["digest"]).read_bytes()

    def steps() -> Iterator[bytes]:
        for start in range(0, len(data), 20_000):
            yield data[start : start + 20_000]
            if server.wait(0.1):
                return

    server.on(f"/v2/box/blobs/{layer['digest']}", lambda _: Reply(200, steps(), length=len(data)))


def wait_until(condition: Callable[[], object], timeout: float = 20) -> None:
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_ends_a_pull_quickly_and_cleanly(
    fresh_product: Product, server: HostileRegistry, layout: Layout, number: signal.Signals
) -> None:
    good = list(server._handlers)
    slow_layer(server, layout)
    name = f"{server.address}/box:latest"
    process = fresh_product.start("pull", name)
    wait_until(lambda: list(fresh_product.store.glob("snapshots/*/tmp-*")))
    process.send_signal(number)
    _, err = process.communicate(timeout=5)
    assert process.returncode == 128 + number
    assert b"Traceback" not in err
    assert list(fresh_product.store.glob("snapshots/*/*")) == []
    server._handlers = good
    fresh_product.run("pull", name)
    assert leftovers(fresh_product) == []


def test_killed_pull_is_swept_by_the_next(
    fresh_product: Product, server: HostileRegistry, layout: Layout
) -> None:
    good = list(server._handlers)
    slow_layer(server, layout)
    name = f"{server.address}/box:latest"
    process = fresh_product.start("pull", name)
    wait_until(lambda: list(fresh_product.store.glob("snapshots/*/tmp-*")))
    process.kill()
    process.communicate(timeout=5)
    server._handlers = good
    fresh_product.run("pull", name)
    assert leftovers(fresh_product) == []
    assert len(snapshots(fresh_product)) == 2
    check_blobs(fresh_product)


@pytest.mark.slow
def test_pull_killed_at_any_moment_leaves_a_store_that_works(
    fresh_product: Product, server: HostileRegistry
) -> None:
    name = f"{server.address}/box:latest"
    for step in range(20):
        process = fresh_product.start("pull", name)
        time.sleep(0.1 + step * 0.03)  # any moment is meant
        process.kill()
        process.communicate(timeout=5)
        if step % 5 == 4:
            fresh_product.run("pull", name)
            check_blobs(fresh_product)
            fresh_product.run("rmi", name)
    fresh_product.run("pull", name)
    # a small file that was to become index.json is swept by its age
    assert [path for path in leftovers(fresh_product) if not path.endswith(".tmp")] == []


def test_pulls_of_one_image_share_the_download(
    fresh_product: Product, server: HostileRegistry, layout: Layout
) -> None:
    slow_layer(server, layout)
    name = f"{server.address}/box:latest"
    processes = [fresh_product.start("pull", "-q", name) for _ in range(4)]
    results = [process.communicate(timeout=60) for process in processes]
    assert [process.returncode for process in processes] == [0] * 4, results
    assert {out.decode().strip() for out, _ in results} == {image_of(layout)[1]}
    layer = image_of(layout)[0]["layers"][0]  # type: ignore[index]
    assert sum(layer["digest"] in path for path in server.paths()) == 1
    assert leftovers(fresh_product) == []


def test_pulls_of_images_that_share_layers_all_succeed(
    fresh_product: Product, server: HostileRegistry, tmp_path: Path
) -> None:
    shared = [Layer().file(f"shared/{n}", os.urandom(50_000)) for n in range(3)]
    for n in range(8):
        layout = Layout(tmp_path / f"image{n}")
        own = Layer().file("own", str(n).encode()).hardlink("shared/link", "shared/0")
        order = shared[n % 3 :] + shared[: n % 3]
        layout.image("latest", [*order, own])
        server.add_image(f"many{n}", "latest", layout)
    processes = [fresh_product.start("pull", "-q", f"{server.address}/many{n}:latest") for n in range(8)]
    results = [process.communicate(timeout=60) for process in processes]
    assert [process.returncode for process in processes] == [0] * 8, results
    assert len(fresh_product.run("images", "-q").lines) == 8
    check_blobs(fresh_product)
    assert leftovers(fresh_product) == []


def test_more_layers_than_cores_are_unpacked(fresh_product: Product, tmp_path: Path) -> None:
    layout = Layout(tmp_path / "tall")
    layers = [Layer().file("first", b"x")] + [Layer().hardlink(f"link{n}", "first") for n in range(12)]
    layout.image("latest", layers)
    fresh_product.run("pull", f"oci:{layout.path}:latest")
    assert len(snapshots(fresh_product)) == 13


# images and rmi


def test_images_lists_names_ids_and_sizes(fresh_product: Product, layout: Layout) -> None:
    fresh_product.run("pull", "-q", f"oci:{layout.path}:latest")
    image_id = image_of(layout)[1]
    lines = fresh_product.run("images").lines
    assert lines[0].split() == ["REPOSITORY", "TAG", "IMAGE", "ID", "CREATED", "SIZE"]
    assert lines[1].split()[:3] == ["localhost/latest", "latest", image_id[7:19]]
    assert fresh_product.run("images", "-q", "--no-trunc").lines == [image_id]
    assert fresh_product.run("images", "localhost/latest", "-q").lines == [image_id[7:19]]
    assert fresh_product.run("images", "other", "-q").out == ""
    assert fresh_product.run("images", "--filter", "dangling=true", "-q").out == ""
    assert fresh_product.run("images", "--format", "{{.Repository}}:{{.Tag}}").lines == [
        "localhost/latest:latest"
    ]


def test_rmi_frees_what_nothing_else_needs(fresh_product: Product, tmp_path: Path) -> None:
    base = Layer().file("base", b"b" * 10_000)
    for name in ("one", "two"):
        layout = Layout(tmp_path / name)
        layout.image(name, [base, Layer().file(name, b"1")])
        fresh_product.run("pull", "-q", f"oci:{layout.path}:{name}")
    assert len(snapshots(fresh_product)) == 3
    result = fresh_product.run("rmi", "localhost/one")
    assert result.lines[0] == "Untagged: localhost/one:latest"
    assert result.lines[-2] == f"Deleted: {image_of(Layout(tmp_path / 'one'), 'one')[1]}"
    assert result.lines[-1].startswith("Deleted: sha256:")  # its own layer; the other is of both
    assert len(snapshots(fresh_product)) == 2
    two = image_of(Layout(tmp_path / "two"), "two")[1]
    deleted = fresh_product.run("rmi", two[7:19]).lines[2:]
    assert deleted[0] == f"Deleted: {two}"
    assert len(deleted) == 3
    assert deleted[2] == f"Deleted: {digest(base.bytes())}"  # the chain id of a first layer is its diff id
    assert snapshots(fresh_product) == []
    assert list((fresh_product.store / "blobs/sha256").iterdir()) == []
    assert "no such image" in fresh_product.fail(1, "rmi", "localhost/one").err
    fresh_product.run("rmi", "-f", "localhost/one")


def test_name_of_several_is_only_untied(fresh_product: Product, layout: Layout) -> None:
    second = json.loads((layout.path / "index.json").read_text())["manifests"][0]
    layout.tag("again", {k: v for k, v in second.items() if k != "annotations"})
    for tag in ("latest", "again"):
        fresh_product.run("pull", "-q", f"oci:{layout.path}:{tag}")
    image_id = image_of(layout)[1]
    assert "2 names" in fresh_product.fail(1, "rmi", image_id[7:19]).err
    assert fresh_product.run("rmi", "localhost/again").lines[0] == "Untagged: localhost/again:latest"
    assert fresh_product.run("images", "-q").lines == [image_id[7:19]]
    assert len(snapshots(fresh_product)) == 2
