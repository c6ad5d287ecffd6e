"""`system df`, `system prune` and `system check`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.helpers.images import Layer, Layout, busybox_layer
from tests.helpers.product import copy_store, make_product

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.helpers.product import Product

OFFLINE = "--network=none"


@pytest.fixture(scope="module")
def template(short_directory: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Product]:
    """A store with two images that share a layer: localhost/base:1 and localhost/more:1."""
    layout = Layout(tmp_path_factory.mktemp("images") / "two")
    base = busybox_layer()
    layout.image("localhost/base:1", [base], config={"Cmd": ["true"]})
    layout.image("localhost/more:1", [base, Layer().file("more", b"m" * 5000)], config={"Cmd": ["true"]})
    product = make_product(short_directory / "two")
    for name in ("localhost/base:1", "localhost/more:1"):
        product.run("pull", "-q", f"oci:{layout.path}:{name}")
    yield product
    product.remove()


@pytest.fixture
def store(fresh_product: Product, template: Product) -> Product:
    """A product with the images of `template`."""
    copy_store(template, fresh_product)
    return fresh_product


def shares(product: Product) -> dict[str, list[str]]:
    form = "{{.Type}}|{{.TotalCount}}|{{.Active}}|{{.Size}}|{{.Reclaimable}}"
    return {
        line.split("|")[0]: line.split("|")[1:]
        for line in product.run("system", "df", "--format", form).lines
    }


def test_disk_usage_tells_what_is_used_and_what_is_not(store: Product) -> None:
    store.run(
        "run", OFFLINE, "--name=user", "-v", "/anonymous", "localhost/base:1", "sh", "-c", "echo abc >/x"
    )
    store.run("run", OFFLINE, "--rm", "-v", "free:/v", "localhost/base:1", "sh", "-c", "echo 12345 >/v/x")
    found = shares(store)
    assert found["Images"][:2] == ["2", "1"]
    assert found["Containers"][:2] == ["1", "0"]
    assert found["Local Volumes"] == ["2", "1", "6B", "6B (100%)"]
    assert found["Build Cache"] == ["0", "0", "0B", "0B"]
    told = json.loads(store.run("system", "df", "-v", "--format=json").out)
    more = next(image for image in told["Images"] if image["Repository"] == "localhost/more")
    assert (more["UniqueSize"], more["Containers"]) == ("10.2kB", "0")
    assert told["Images"][0]["SharedSize"] == told["Images"][1]["SharedSize"] != "0B"
    assert [(v["Name"], v["Links"]) for v in told["Volumes"] if v["Name"] == "free"] == [("free", "0")]
    assert "Containers space usage:" in store.run("system", "df", "-v").out


def test_image_that_lost_its_name_is_used_while_its_container_is_there(store: Product) -> None:
    store.run("rmi", "localhost/base:1")
    store.run("create", "--name=user", "localhost/more:1")
    store.run("rmi", "-f", "localhost/more:1")
    total, active, size, free = shares(store)["Images"]
    assert (total, active, free) == ("0", "0", "0B (0%)")
    assert size != "0B"
    store.run("rm", "user")
    assert shares(store)["Images"] == ["0", "0", size, f"{size} (100%)"]


def test_prune_takes_what_nobody_uses(store: Product) -> None:
    container = store.run("create", "-v", "/data", "localhost/more:1").out.strip()
    store.run("volume", "create", "named")
    asked = store.run("system", "prune", "-a", "--volumes", input="n\n").out
    for doomed in ("stopped containers", "anonymous volumes", "images without at least one container"):
        assert f"  - all {doomed}" in asked
    assert store.run("system", "prune", "-f", "--filter=label=x").lines == ["Total reclaimed space: 0B"]
    first = store.run("system", "prune", "-f").lines
    assert first[:2] == ["Deleted Containers:", container]
    assert "Deleted Images:" not in first
    second = store.run("system", "prune", "-af", "--volumes").lines
    assert second[0] == "Deleted Volumes:"
    assert "untagged: localhost/more:1" in second
    assert second[-1].startswith("Total reclaimed space: ")
    assert shares(store)["Images"] == ["0", "0", "0B", "0B"]
    assert store.run("volume", "ls", "-q").out == "named\n"
    assert "until" in store.fail(125, "system", "prune", "--volumes", "--filter=until=1h").err


# system check


def blob_of(product: Product, name: str, number: int) -> Path:
    """Return the file of an image's layer."""
    index = json.loads((product.store / "index.json").read_text())
    is_it = "org.opencontainers.image.ref.name"
    (entry,) = (e for e in index["manifests"] if e["annotations"].get(is_it) == name)
    manifest = json.loads(blob(product, entry["digest"]).read_text())
    return blob(product, manifest["layers"][number]["digest"])


def blob(product: Product, digest: str) -> Path:
    return product.store / "blobs/sha256" / digest.removeprefix("sha256:")


def damage(path: Path) -> None:
    """Change one byte, as a disk does."""
    path.chmod(0o644)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def test_empty_store_is_whole(fresh_product: Product) -> None:
    for words in (("check",), ("check", "--repair"), ("df",), ("df", "-v"), ("prune", "-f")):
        fresh_product.run("system", *words)


def test_whole_store_is_said_to_be_whole(store: Product) -> None:
    store.run("create", "localhost/more:1")
    assert store.run("system", "check").out.startswith("No damage: 2 images, ")
    assert store.run("system", "check", "--repair").out.endswith(" 1 containers\n")


def test_corrupt_layer_is_found_and_its_image_unlisted(store: Product) -> None:
    damage(blob_of(store, "localhost/more:1", 1))
    assert store.run("system", "check", "--quick").out.startswith("No damage: ")
    found = store.fail(1, "system", "check").out
    assert "its bytes are not those of its name\n  --repair: delete it\n" in found
    assert "image localhost/more:1: its layer sha256:" in found
    assert "hint: `rootless pull localhost/more:1` brings it back" in found
    assert "localhost/base:1" not in found
    repaired = store.run("system", "check", "--repair")
    assert repaired.out.splitlines()[-1].startswith("No damage: 1 images, ")
    assert store.run("images", "--format={{.Repository}}").out == "localhost/base\n"
    assert store.run("run", "--rm", OFFLINE, "localhost/base:1").out == ""


def test_damaged_image_of_a_container_goes_on_serving_it(store: Product) -> None:
    store.run("create", OFFLINE, "--name=user", "localhost/more:1", "ls", "/more")
    blob_of(store, "localhost/more:1", 1).unlink()
    assert "is missing, or not whole" in store.fail(1, "system", "check").out
    store.run("system", "check", "--repair")
    assert store.run("start", "-a", "user").out == "/more\n"


def test_layer_that_is_not_unpacked_is_unpacked_again(store: Product) -> None:
    store.run("create", OFFLINE, "--name=user", "localhost/more:1", "ls", "/more")
    store.run("tag", "localhost/more:1", "localhost/other")
    store.run("unshare", "sh", "-c", f"rm -rf {store.store}/snapshots/*/*")
    names = store.run("images", "--digests").out
    found = store.fail(1, "system", "check").out
    assert "image localhost/base:1: 1 of its 1 layers are not unpacked\n  --repair: unpack it again" in found
    assert "image localhost/more:1: 2 of its 2" in found
    assert "container user: 2 of the 2" in found
    store.run("system", "check", "--repair")
    assert store.run("start", "-a", "user").out == "/more\n"
    assert store.run("images", "--digests").out == names


def test_leftovers_are_told_and_swept(store: Product) -> None:
    store.run("rmi", "--no-prune", "localhost/more:1")
    (store.store / "names").mkdir(exist_ok=True)
    (store.store / "names/ghost").symlink_to("0" * 64)
    (store.store / "containers" / (".gone-" + "1" * 64)).mkdir()
    found = store.run("system", "check").out
    for what in (
        "blobs that no image",
        "unpacked layers that no image",
        "containers that were not",
        "name ghost",
    ):
        assert what in found
    last = store.run("system", "check", "--repair").lines[-1]
    assert last.startswith("No damage: 1 images, 3 blobs")
    assert store.run("system", "check").lines == [last]
    assert not (store.store / "names/ghost").is_symlink()


def test_damaged_list_of_images_is_told_and_nothing_is_swept(store: Product) -> None:
    blobs = sorted((store.store / "blobs/sha256").iterdir())
    store.run("rm", store.run("create", "localhost/base:1").out.strip())
    (store.store / "containers" / (".gone-" + "1" * 64)).mkdir()
    (store.store / "index.json").write_text("{")
    for words in ((), ("--repair",)):
        told = store.fail(1, "system", "check", *words)
        assert "the list of images: " in told.out
        assert told.err == ""
    assert sorted((store.store / "blobs/sha256").iterdir()) == blobs


def test_killed_commits_leave_nothing_that_a_check_does_not_mend(store: Product) -> None:
    """Hazard: kill -9 in the midst of a commit. What was there works, what is left is swept."""
    script = "head -c 3000000 /dev/urandom >/x"
    store.run("run", OFFLINE, "--name=work", "localhost/base:1", "sh", "-c", script)
    for trace, more in (("ingest/*.tmp", 1), ("snapshots/*/tmp-*", 1), ("blobs/sha256/*", 2)):
        before = len(list(store.store.glob(trace)))
        process = store.start("commit", "--pause=false", "work", "localhost/made")
        while process.poll() is None and len(list(store.store.glob(trace))) < before + more:
            pass
        process.kill()
        process.communicate()
    assert "still: " not in store.run("system", "check", "--repair").out
    store.run("commit", "work", "localhost/made")
    assert store.run("run", "--rm", OFFLINE, "localhost/made", "wc", "-c", "/x").out == "3000000 /x\n"
    assert store.run("system", "check").out.startswith("No damage: 3 images")
