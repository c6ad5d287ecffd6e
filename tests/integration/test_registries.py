"""Mirrors, locations, blocked and insecure registries, short names: what files say is what happens."""

from __future__ import annotations

import base64
import json
import os
import ssl
from typing import TYPE_CHECKING

import pytest
import trustme

from tests.helpers.hostile_registry import HostileRegistry, Reply, Request
from tests.helpers.images import Layout, busybox_layer
from tests.helpers.registry import running_registry

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.helpers.product import Product
    from tests.helpers.registry import Registry

pytestmark = pytest.mark.needs("docker-registry", "skopeo", "busybox")


@pytest.fixture(scope="module")
def layout(tmp_path_factory: pytest.TempPathFactory) -> Layout:
    layout = Layout(tmp_path_factory.mktemp("images") / "box")
    layout.image("latest", [busybox_layer()], config={"Cmd": ["sh"]})
    return layout


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    with running_registry(tmp_path_factory.mktemp("other")) as running:
        yield running


def configure(product: Product, text: str, *, path: str = ".config/rootless/config.toml") -> str:
    file = product.home / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return str(file)


def mirrored(prefix: str, *mirrors: str, location: str = "") -> str:
    lines = ["[[registry]]", f'prefix = "{prefix}"', f'location = "{location or prefix}"']
    for mirror in mirrors:
        lines += ["[[registry.mirror]]", f'location = "{mirror}"']
    return "\n".join(lines) + "\n"


def closed_port() -> int:
    with HostileRegistry() as server:
        return server.port


def names(product: Product) -> list[str]:
    return product.run("images", "--format", "{{.Repository}}:{{.Tag}}").lines


def test_mirror_is_asked_first_and_the_name_stays(
    fresh_product: Product, other: Registry, layout: Layout
) -> None:
    layout.push("latest", f"{other.address}/hub/library/box:1")
    configure(fresh_product, mirrored("docker.io", f"{other.address}/hub", location="127.0.0.1:1"))
    result = fresh_product.run("pull", "box:1")
    assert result.lines[0] == "1: Pulling from library/box"
    assert result.lines[-1] == "docker.io/library/box:1"
    assert result.err == ""
    assert names(fresh_product) == ["box:1"]
    assert fresh_product.run("run", "--rm", "--network=none", "box:1", "echo", "x").out == "x\n"


def test_mirrors_that_fail_are_passed_over_with_one_line_each(
    fresh_product: Product, registry: Registry, other: Registry, layout: Layout
) -> None:
    image = layout.push("latest", f"{registry.address}/mirrored/box:1")
    with HostileRegistry() as busy:
        busy.on("/v2/", lambda request: Reply(503))
        nobody = f"127.0.0.1:{closed_port()}"
        configure(fresh_product, mirrored(registry.address, nobody, busy.address, f"{other.address}/no"))
        result = fresh_product.run("pull", image)
        assert "authorization" not in busy.requests[-1].headers
    lines = result.err.splitlines()
    assert [line.split(":")[0] for line in lines] == ["notice"] * 3
    assert f"passed over {nobody}/mirrored/box: cannot connect" in lines[0]
    assert f"passed over {busy.address}/mirrored/box: " in lines[1]
    assert "503" in lines[1]
    assert f"passed over {other.address}/no/mirrored/box: " in lines[2]
    assert "404" in lines[2]
    assert names(fresh_product) == [image]
    assert fresh_product.run("pull", "-q", image).err == ""


@pytest.mark.parametrize("fault", ["wrong bytes", "cut", "no blob"])
def test_blob_that_a_mirror_spoils_comes_from_the_next(
    fresh_product: Product, registry: Registry, layout: Layout, fault: str
) -> None:
    def spoiled(data: bytes) -> Reply:
        if fault == "wrong bytes":
            return Reply(200, bytes(len(data)))
        return Reply(200, data[: len(data) // 2], length=len(data)) if fault == "cut" else Reply(404)

    image = layout.push("latest", f"{registry.address}/spoiled/box:1")
    with HostileRegistry() as mirror:
        mirror.add_image("spoiled/box", "1", layout)
        blob = max((layout.path / "blobs/sha256").iterdir(), key=lambda path: path.stat().st_size)
        data, layer = blob.read_bytes(), f"sha256:{blob.name}"
        mirror.on(f"/v2/spoiled/box/blobs/{layer}", lambda request: spoiled(data))
        configure(fresh_product, mirrored(registry.address, mirror.address))
        result = fresh_product.run("pull", image)
        assert any(path.endswith(layer) for path in mirror.paths())
        if fault == "wrong bytes":  # that the others are is nothing that a copy would see
            for destination in (
                f"oci:{fresh_product.home}/copied:1",
                f"docker://{registry.address}/copied:1",
            ):
                copied = fresh_product.run("copy", image, destination)
                assert copied.lines[-1] == result.lines[-3]
                assert "Already exists" not in copied.out
    (line,) = result.err.splitlines()
    assert f"passed over {mirror.address}/spoiled/box" in line
    assert fresh_product.run("run", "--rm", "--network=none", image, "echo", "x").out == "x\n"


def test_limits_of_a_registry_are_told_who_debugs(fresh_product: Product, layout: Layout) -> None:
    with HostileRegistry() as server:
        server.add_image("box", "1", layout)
        good = server._handlers[0][1]

        def limited(request: Request) -> Reply:
            reply = good(request)
            reply.headers |= {"RateLimit-Limit": "100;w=21600", "RateLimit-Remaining": "7;w=21600"}
            return reply

        server.on("/v2/box/manifests/1", limited)
        image = f"{server.address}/box:1"
        result = fresh_product.run("--log-level=debug", "pull", image)
        assert "the registry allows 100 requests in 6 h, 7 left" in result.err


def test_mirror_for_digests_alone_is_not_asked_for_a_tag(
    fresh_product: Product, registry: Registry, layout: Layout
) -> None:
    image = layout.push("latest", f"{registry.address}/pinned/box:1")
    with HostileRegistry() as mirror:
        mirror.add_image("pinned/box", "1", layout)
        text = mirrored(registry.address, mirror.address).replace(
            "[[reg", "mirror-by-digest-only = true\n[[reg", 2
        )
        configure(fresh_product, text.replace("mirror-by-digest-only = true\n", "", 1))
        digest = fresh_product.run("pull", image).lines[-3].removeprefix("Digest: ")
        assert mirror.requests == []
        fresh_product.run("rmi", image)
        fresh_product.run("pull", f"{registry.address}/pinned/box@{digest}")
        assert mirror.requests != []


def test_each_host_gets_its_own_credentials(fresh_product: Product, layout: Layout) -> None:
    secrets = {"mirror": "mirror:m", "origin": "origin:o"}
    with HostileRegistry() as mirror, HostileRegistry() as origin:
        for server in (mirror, origin):
            refusal = Reply(401, b"{}", headers={"WWW-Authenticate": 'Basic realm="box"'})
            server.on("/v2/", lambda request, refusal=refusal: refusal)  # both refuse whoever comes
        auths = {
            server.address: {"auth": base64.b64encode(secret.encode()).decode()}
            for server, secret in zip((mirror, origin), secrets.values(), strict=True)
        }
        configure(fresh_product, json.dumps({"auths": auths}), path=".docker/config.json")
        configure(fresh_product, mirrored("example.com", mirror.address, location=origin.address))
        fresh_product.fail(1, "pull", "example.com/box")
        for server, secret in zip((mirror, origin), secrets.values(), strict=True):
            sent = {request.headers.get("authorization", "") for request in server.requests}
            assert sent == {"", "Basic " + base64.b64encode(secret.encode()).decode()}


def test_blocked_registry_is_refused_with_the_file_that_says_so(
    fresh_product: Product, registry: Registry, layout: Layout
) -> None:
    image = layout.push("latest", f"{registry.address}/fine/box:1")
    fresh_product.run("pull", "-q", image)
    file = configure(
        fresh_product,
        f'[[registry]]\nlocation = "{registry.address}"\nblocked = true\n',
        path=".config/containers/registries.conf",
    )
    for words in (["pull", image], ["push", image], ["login", "-u", "jo", "-p", "x", registry.address]):
        result = fresh_product.fail(1, *words)
        assert f"`{registry.address}` is blocked" in result.err
        assert f"{file} blocks it" in result.err


def test_insecure_registry_needs_no_known_certificate_unless_the_command_line_says_so(
    fresh_product: Product, layout: Layout
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    with HostileRegistry(tls=context) as server:
        server.add_image("box", "1", layout)
        image = f"{server.address}/box:1"
        assert "cannot verify the registry's certificate" in fresh_product.fail(1, "pull", image).err
        configure(fresh_product, f'[[registry]]\nlocation = "{server.address}"\ninsecure = true\n')
        fresh_product.run("pull", image)
        strict = fresh_product.fail(1, "pull", "--tls-verify", image)
        assert "cannot verify the registry's certificate" in strict.err
        login = ("login", "-u", "jo", "--password-stdin", server.address)
        assert fresh_product.run(*login, input="word").out == "Login Succeeded\n"


def test_push_goes_to_the_location_and_to_no_mirror(
    fresh_product: Product, registry: Registry, other: Registry, layout: Layout
) -> None:
    image = layout.push("latest", f"{registry.address}/first/box:1")
    fresh_product.run("pull", "-q", image)
    fresh_product.run("tag", image, "example.com/team/box:1")
    with HostileRegistry() as mirror:
        configure(
            fresh_product, mirrored("example.com/team", mirror.address, location=f"{other.address}/moved")
        )
        assert fresh_product.run("push", "example.com/team/box:1").err == ""
        assert mirror.requests == []
    assert os.listdir(other.storage / "docker/registry/v2/repositories/moved") == ["box"]


def test_short_name_is_looked_for_in_turn_and_keeps_the_name_it_has_there(
    fresh_product: Product, registry: Registry, other: Registry, layout: Layout
) -> None:
    layout.push("latest", f"{other.address}/short/box:1")
    file = configure(
        fresh_product, f'unqualified-search-registries = ["{registry.address}", "{other.address}"]\n'
    )
    result = fresh_product.run("pull", "short/box:1")
    assert f"passed over {registry.address}/short/box" in result.err
    assert names(fresh_product) == [f"{other.address}/short/box:1"]
    again = fresh_product.run("run", "--rm", "--network=none", "short/box:1", "echo", "x")
    assert again.out == "x\n"
    assert "Unable to find" not in again.err
    fresh_product.run("tag", "short/box:1", "mine:1")
    nowhere = fresh_product.fail(1, "pull", "nosuch/box")
    assert "no registry has it" in nowhere.err
    assert f"{registry.address}/nosuch/box: " in nowhere.err
    assert f"{other.address}/nosuch/box: " in nowhere.err
    configure(fresh_product, f'[aliases]\nnick = "{other.address}/short/box"\n')
    assert (
        fresh_product.run("pull", "-q", "nick:1").out
        == fresh_product.run("images", "-q", "--no-trunc", "mine").out
    )
    assert os.path.exists(file)


def test_file_that_makes_no_sense_is_told_with_its_line(fresh_product: Product) -> None:
    file = configure(fresh_product, '[[registry]]\nlocation = "a.org"\nblocked = maybe\n')
    result = fresh_product.fail(1, "pull", "a.org/x")
    assert file in result.err
    assert "line 3" in result.err
    assert "line 3" in fresh_product.run("info").err


def test_info_shows_what_the_files_say_and_pull_what_is_unknown_in_them_once(fresh_product: Product) -> None:
    text = mirrored("docker.io", "a.org/hub", location="b.org")
    text += '[[registry]]\nlocation = "127.0.0.1:1"\nblocked = true\ninsecure = true\nwhat = 1\n'
    file = configure(fresh_product, text)
    lines = fresh_product.run("info").lines
    for line in (
        "Registry Mirrors: docker.io = a.org/hub",
        "Registry Locations: docker.io = b.org",
        "Insecure Registries: 127.0.0.1:1",
        "Blocked Registries: 127.0.0.1:1",
    ):
        assert line in lines
    assert file in lines[-1]
    assert fresh_product.run("info", "-f", "{{json .RegistryConfig.Mirrors}}").out == '["a.org/hub"]\n'
    unknown = f"{file}: `registry.what` is unknown, and ignored"
    assert unknown in fresh_product.fail(1, "pull", "127.0.0.1:1/x").err
    assert unknown not in fresh_product.fail(1, "pull", "127.0.0.1:1/x").err
