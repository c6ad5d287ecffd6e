"""`manifest`: lists of images for several platforms, made here or of what registries have, and pushed."""

from __future__ import annotations

import json
import subprocess
import tarfile
from typing import TYPE_CHECKING, Any

import pytest

from tests.helpers.images import Layer, Layout, digest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.helpers.product import Product
    from tests.helpers.registry import Registry

pytestmark = pytest.mark.needs("docker-registry", "skopeo")

OCI_INDEX = "application/vnd.oci.image.index.v1+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"


@pytest.fixture
def place(registry: Registry, request: pytest.FixtureRequest) -> str:
    """A repository that no other test uses."""
    return f"{registry.address}/list-{digest(request.node.name.encode())[7:19]}"


@pytest.fixture
def images(place: str, tmp_path: Path) -> dict[str, str]:
    """Architecture → the name of an image in the registry, each in a repository of its own."""
    names = {}
    for number, architecture in enumerate(("amd64", "arm64")):
        layout = Layout(tmp_path / architecture)
        layers = [Layer().file("both", b"b" * 1000), Layer().file(architecture, b"x" * (100 + number))]
        layout.image("x", layers, config={"Cmd": ["id"]}, architecture=architecture)
        names[architecture] = layout.push("x", f"{place}-{architecture}:1")
    return names


def raw(name: str) -> bytes:
    """Return what a registry has under a name, by another program."""
    command = ["skopeo", "inspect", "--raw", "--tls-verify=false", f"docker://{name}"]
    return subprocess.run(command, check=True, capture_output=True).stdout


def entries(document: bytes | str) -> dict[str, dict[str, Any]]:
    """Return architecture → entry of an index."""
    return {item["platform"]["architecture"]: item for item in json.loads(document)["manifests"]}


def test_list_of_a_registry_s_images_is_pushed_without_pulling_them(
    fresh_product: Product, place: str, images: dict[str, str], tmp_path: Path
) -> None:
    """Docker's way: members are references, their layers are read from there if another place needs them."""
    made = fresh_product.run("manifest", "create", f"{place}:all", *images.values())
    assert made.out == f"Created manifest list {place}:all\n"
    assert fresh_product.run("images", "--format", "{{.Repository}}:{{.Tag}}").lines == [f"{place}:all"]
    elsewhere = tmp_path / "elsewhere"
    fresh_product.run("manifest", "push", f"{place}:all", f"oci:{elsewhere}:x")
    layers = [layer["digest"] for name in images.values() for layer in json.loads(raw(name))["layers"]]
    assert len(set(layers)) == 3
    assert all((elsewhere / "blobs/sha256" / layer[7:]).exists() for layer in layers)
    assert not any((fresh_product.store / "blobs/sha256" / layer[7:]).exists() for layer in layers)
    pushed = fresh_product.run("manifest", "push", "--purge", f"{place}:all").lines[-1]
    data = raw(f"{place}:all")
    assert pushed == digest(data)
    assert {a: item["digest"] for a, item in entries(data).items()} == {
        architecture: digest(raw(name)) for architecture, name in images.items()
    }
    assert raw(f"{place}@{entries(data)['arm64']['digest']}") == raw(images["arm64"])
    assert fresh_product.run("images", "-q").out == ""
    assert fresh_product.run("pull", "-q", "--platform=linux/arm64", f"{place}:all").out


def test_list_of_local_images_is_kept_tagged_saved_and_removed(
    fresh_product: Product, images: dict[str, str], tmp_path: Path
) -> None:
    """Podman's way: members are images of this store, and stay with the list when their names go."""
    for architecture, name in images.items():
        fresh_product.run("pull", "-q", f"--platform=linux/{architecture}", name)
    fresh_product.run("manifest", "create", "localhost/both", *images.values())
    fresh_product.run("tag", "localhost/both", "localhost/again:2")
    fresh_product.run("rmi", *images.values())
    fresh_product.run("image", "prune", "-f")
    archive = tmp_path / "both.tar"
    fresh_product.run("save", "--format=oci-archive", "-o", str(archive), "localhost/both")
    fresh_product.run("save", "-o", str(tmp_path / "one.tar"), "localhost/both")
    with tarfile.open(tmp_path / "one.tar") as one:
        (listed,) = json.load(one.extractfile("manifest.json"))  # type: ignore[arg-type]
    assert listed["RepoTags"] == ["localhost/both:latest"]
    fresh_product.run("rmi", "localhost/both")
    fresh_product.run("system", "check")
    assert sorted(entries(fresh_product.run("manifest", "inspect", "localhost/again:2").out)) == [
        "amd64",
        "arm64",
    ]
    told = fresh_product.run("manifest", "rm", "localhost/again:2").lines
    assert told[0] == "Untagged: localhost/again:2"
    fresh_product.run("image", "prune", "-f")
    assert list((fresh_product.store / "blobs/sha256").iterdir()) == []
    loaded = fresh_product.run("load", "-i", str(archive)).out
    assert "localhost/both:latest" in loaded


def test_list_is_changed_member_by_member(fresh_product: Product, images: dict[str, str]) -> None:
    run = fresh_product.run
    run("manifest", "create", "my-list")
    first = run("manifest", "add", "my-list", f"docker://{images['amd64']}").out.strip()
    options = ("--arch=arm", "--variant=v7", "--os-features=sse4", "--annotation=a=b")
    second = run("manifest", "add", *options, "my-list", images["arm64"]).out.strip()
    assert first != second
    run("manifest", "annotate", "--os-version=10.0", "my-list", images["amd64"])
    shown = run("manifest", "inspect", "my-list").out
    assert json.loads(shown)["mediaType"] == OCI_INDEX
    arm = entries(shown)["arm"]
    assert arm["platform"] == {"architecture": "arm", "os": "linux", "os.features": ["sse4"], "variant": "v7"}
    assert arm["annotations"] == {"a": "b"}
    assert entries(shown)["amd64"]["platform"]["os.version"] == "10.0"
    run("manifest", "remove", "my-list", arm["digest"])
    verbose = json.loads(run("manifest", "inspect", "-v", "my-list").out)
    assert [item["Descriptor"]["platform"]["architecture"] for item in verbose] == ["amd64"]
    assert "layers" in verbose[0]["OCIManifest"]
    run("manifest", "exists", "my-list")
    assert fresh_product.fail(1, "manifest", "exists", "no-list").err == ""


def test_list_in_docker_s_format_has_members_of_it(
    fresh_product: Product, place: str, images: dict[str, str]
) -> None:
    """Podman's way of a push: the list has a name of its own, and what it needs is in that registry."""
    fresh_product.run("manifest", "create", "localhost/mine", *images.values())
    told = fresh_product.run("manifest", "push", "--format=docker", "localhost/mine", f"docker://{place}:d")
    assert all(line.endswith(": Mounted from another repository") for line in told.lines[1:-1])
    data = raw(f"{place}:d")
    assert json.loads(data)["mediaType"] == DOCKER_LIST
    for architecture, item in entries(data).items():
        assert item["mediaType"] == DOCKER_MANIFEST
        there = json.loads(raw(f"{place}@{item['digest']}"))
        ours = json.loads(raw(images[architecture]))
        assert there["config"]["digest"] == ours["config"]["digest"]
        assert [x["digest"] for x in there["layers"]] == [x["digest"] for x in ours["layers"]]


def test_list_of_a_registry_is_shown_and_taken_over(
    fresh_product: Product, place: str, images: dict[str, str]
) -> None:
    fresh_product.run("manifest", "create", f"{place}:all", *images.values())
    fresh_product.run("push", f"{place}:all")
    fresh_product.run("manifest", "rm", f"{place}:all")
    there = fresh_product.run("manifest", "inspect", f"{place}:all").out
    assert json.loads(there) == json.loads(raw(f"{place}:all"))
    verbose = json.loads(fresh_product.run("manifest", "inspect", "-v", images["arm64"]).out)
    assert verbose["Descriptor"]["digest"] == digest(raw(images["arm64"]))
    fresh_product.run("manifest", "create", "--all", "everything", f"{place}:all")
    assert len(entries(fresh_product.run("manifest", "inspect", "everything").out)) == 2


def test_what_cannot_be_is_refused(fresh_product: Product, images: dict[str, str]) -> None:
    image = images["amd64"]
    fresh_product.run("manifest", "create", "taken", image)
    assert "--amend" in fresh_product.fail(1, "manifest", "create", "taken", image).err
    fresh_product.run("manifest", "create", "--amend", "taken", images["arm64"])
    fresh_product.run("pull", "-q", image)
    assert "name of an image" in fresh_product.fail(1, "manifest", "create", "-a", image).err
    assert "it is an image" in fresh_product.fail(1, "manifest", "rm", image).err
    assert "no such manifest list" in fresh_product.fail(1, "manifest", "add", "none", image).err
    nothing = image.replace(":1", ":2")
    assert nothing in fresh_product.fail(1, "manifest", "add", "taken", nothing).err
    stranger = fresh_product.fail(1, "manifest", "annotate", "--arch=arm", "taken", nothing).err
    assert "no such member" in stranger
    fresh_product.fail(125, "manifest", "annotate", "--annotation=a", "taken", image)
    fresh_product.fail(125, "manifest", "create", "UPPER")
    assert len(entries(fresh_product.run("manifest", "inspect", "taken").out)) == 2


def test_members_added_at_once_are_all_there(fresh_product: Product, images: dict[str, str]) -> None:
    fresh_product.run("manifest", "create", "shared")
    adding = [fresh_product.start("manifest", "add", "shared", name) for name in images.values()]
    for process in adding:
        process.communicate(timeout=20)
    assert [process.returncode for process in adding] == [0, 0]
    assert sorted(entries(fresh_product.run("manifest", "inspect", "shared").out)) == ["amd64", "arm64"]


def test_what_the_policy_rejects_is_in_no_list(fresh_product: Product, images: dict[str, str]) -> None:
    policy = fresh_product.home / ".config/rootless/policy.toml"
    policy.parent.mkdir(parents=True)
    policy.write_text(f'default = "accept"\n[images]\n"{images["arm64"].rpartition(":")[0]}" = "reject"\n')
    refused = fresh_product.fail(1, "manifest", "create", "mixed", *images.values()).err
    assert "policy.toml decides" in refused
    fresh_product.fail(1, "manifest", "exists", "mixed")
    fresh_product.run("manifest", "create", "mixed", images["amd64"])
