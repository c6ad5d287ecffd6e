"""Signatures of images, and the policy that wants them: what is refused, when, and what is left then."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.helpers.hostile_registry import HostileRegistry, Reply
from tests.helpers.images import INDEX, MANIFEST, Layer, Layout, digest
from tests.helpers.product import QUICK
from tests.helpers.signatures import (
    ARTIFACT,
    Signer,
    delete_manifest,
    get_manifest,
    payload_of,
    put_manifest,
    signature_tag,
)

if TYPE_CHECKING:
    from pathlib import Path

    from tests.helpers.product import Product
    from tests.helpers.registry import Registry

pytestmark = pytest.mark.needs("docker-registry", "skopeo")
WORD = "word"


class Signable:
    """An image in the registry that no other test uses, and its signer.

    Attributes:
        name: with its tag, "1". repository: its path. digest: of its manifest.
    """

    def __init__(self, registry: Registry, repository: str, layout: Layout, signer: Signer) -> None:
        self.registry = registry
        self.address = registry.address
        self.repository = repository
        self.signer = signer
        self.name = layout.push("latest", f"{registry.address}/{repository}:1")
        (entry,) = json.loads((layout.path / "index.json").read_text())["manifests"]
        self.digest = str(entry["digest"])
        self.data = layout.blob_path(self.digest).read_bytes()

    def sign(self, **wrong: str | bytes) -> bytes:
        signed = {"name": self.name, "signed": self.digest, **wrong}
        return self.signer.sign(self.address, self.repository, **signed)  # type: ignore[arg-type]

    def asked(self) -> list[str]:
        """Return what the registry was asked about the repository by rootless: "METHOD PATH"."""
        lines = self.registry.log.read_text().splitlines()
        mine = [line.split('"') for line in lines if f"/v2/{self.repository}/" in line and "rootless" in line]
        return [parts[1].rpartition(" ")[0] for parts in mine if len(parts) > 1 and "HTTP/1.1" in parts[1]]


@pytest.fixture(scope="module")
def layout(tmp_path_factory: pytest.TempPathFactory) -> Layout:
    made = Layout(tmp_path_factory.mktemp("signatures") / "layout")
    made.image("latest", [Layer().file("one", b"1" * 1000)])
    return made


@pytest.fixture
def image(registry: Registry, layout: Layout, tmp_path: Path, request: pytest.FixtureRequest) -> Signable:
    repository = f"sig-{digest(request.node.name.encode())[7:19]}"
    return Signable(registry, repository, layout, Signer(tmp_path))


def set_policy(product: Product, *lines: str) -> Path:
    path = product.home / ".config/rootless/policy.toml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines))
    return path


def want_signatures(product: Product, image: Signable) -> None:
    set_policy(
        product,
        'default = "reject"',
        "[images]",
        f'"{image.address}" = {{ signed = ["{image.signer.public}"] }}',
    )


def left(product: Product) -> list[str]:
    """Return what there is of images in the store."""
    kept = [path for name in ("blobs/sha256", "snapshots") for path in (product.store / name).rglob("*")]
    ingest = [path for path in (product.store / "ingest").rglob("*") if path.name != "reserve"]
    return [str(path) for path in (*kept, *ingest) if path.is_file()] + product.run("images", "-q").lines


def test_image_is_signed_verified_and_pulled(fresh_product: Product, image: Signable, tmp_path: Path) -> None:
    keys = fresh_product.run(
        "trust", "generate-key", "--password-stdin", "--output-prefix", str(tmp_path / "my"), input=WORD
    ).lines
    assert keys == [str(tmp_path / "my.key"), str(tmp_path / "my.pub")]
    assert (tmp_path / "my.key").stat().st_mode & 0o777 == 0o600
    tag = signature_tag(image.digest)
    signed = fresh_product.run("sign", "--password-stdin", "--key", keys[0], image.name, input=WORD + "\n")
    assert signed.out == f"{image.digest}: signed, tag {tag}\n"
    assert "stdin is no terminal" in fresh_product.fail(125, "sign", "--key", keys[0], image.name).err
    again = fresh_product.run(
        "sign", "--key", keys[0], image.name, env={**fresh_product.env, "COSIGN_PASSWORD": WORD}
    )
    assert again.out == f"{image.digest}: was signed already, tag {tag}\n"
    (layer,) = get_manifest(image.address, image.repository, tag)["layers"]
    assert layer["digest"] == digest(
        payload_of(image.digest, image.name).replace(b": ", b":").replace(b", ", b",")
    )
    image.signer.public = tmp_path / "my.pub"
    want_signatures(fresh_product, image)
    assert fresh_product.run("verify", image.name).out == f"{image.digest}: signed with the key {keys[1]}\n"
    assert fresh_product.run("pull", "-q", image.name).code == 0
    assert fresh_product.run("pull", "-q", f"{image.name[:-2]}@{image.digest}").code == 0


def test_signatures_of_several_stand_beside_each_other_and_a_wrong_password_makes_none(
    fresh_product: Product, image: Signable, tmp_path: Path
) -> None:
    fresh_product.env["COSIGN_PASSWORD"] = WORD
    _, public = fresh_product.run("trust", "generate-key", cwd=tmp_path).lines
    failed = fresh_product.fail(1, "sign", "--password-stdin", image.name, cwd=tmp_path, input="other")
    assert "the password is wrong" in failed.err
    assert not get_manifest(image.address, image.repository, signature_tag(image.digest))
    image.sign()
    fresh_product.run("sign", image.name, cwd=tmp_path)
    for key in (public, str(image.signer.public)):
        assert fresh_product.run("verify", "--key", key, image.name).out.endswith(f"the key {key}\n")
    other = Signer(tmp_path, "other")
    failed = fresh_product.fail(1, "verify", "--key", str(other.public), image.name)
    assert "made with another key" in failed.err


def test_signature_of_a_repository_as_cosign_makes_it_is_good_for_its_tags(
    fresh_product: Product, image: Signable
) -> None:
    image.sign(name=image.name[:-2])
    want_signatures(fresh_product, image)
    assert fresh_product.run("pull", "-q", image.name).code == 0


def test_signature_is_found_among_referrers(fresh_product: Product, image: Signable) -> None:
    image.signer.refer(image.address, image.repository, image.digest, name=image.name)
    assert image.digest in fresh_product.run("verify", "--key", str(image.signer.public), image.name).out


def test_signature_is_found_by_the_api_of_referrers(
    fresh_product: Product, layout: Layout, image: Signable
) -> None:
    data = image.sign(config_type=ARTIFACT)
    layer, config = json.loads(data)["layers"][0], json.loads(data)["config"]
    with HostileRegistry() as server:
        server.add_image("box", "1", layout)
        server.add_manifest("box", (digest(data),), data, MANIFEST)
        payload = payload_of(image.digest, image.name)
        server.add_blob("box", layer["digest"], payload)
        entry = {
            "mediaType": MANIFEST,
            "digest": digest(data),
            "size": len(data),
            "artifactType": config["mediaType"],
        }
        index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": [entry]}
        server.on(
            f"/v2/box/referrers/{image.digest}?artifactType=application%2Fvnd.dev.cosign.artifact.sig.v1%2Bjson",
            lambda _: Reply(200, json.dumps(index).encode(), headers={"Content-Type": INDEX}),
        )
        key = ("--key", str(image.signer.public), "--identity", image.name)
        assert image.digest in fresh_product.run("verify", *key, f"{server.address}/box:1").out


def unsigned(image: Signable, other: Signer) -> str:
    return "it has no signature"


def signed_by_another(image: Signable, other: Signer) -> str:
    image.signer, mine = other, image.signer
    image.sign()
    image.signer = mine
    return "made with another key"


def with_another_payload(image: Signable, other: Signer) -> str:
    image.sign(signed=digest(b"harmless"), at=image.digest, sent=payload_of(image.digest, image.name))
    return "for another payload"


def with_a_payload_that_is_not_its_digest(image: Signable, other: Signer) -> str:
    layer = json.loads(image.sign())["layers"][0]["digest"].removeprefix("sha256:")
    (blob,) = image.registry.storage.glob(f"docker/registry/v2/blobs/sha256/*/{layer}/data")
    blob.write_bytes(blob.read_bytes().replace(b"cosign", b"Cosign"))
    return "cannot be read"


def for_another_digest(image: Signable, other: Signer) -> str:
    image.sign(signed=digest(b"harmless"), at=image.digest)
    return "it is for another digest"


def for_another_repository(image: Signable, other: Signer) -> str:
    image.sign(name=f"{image.address}/something-else:1")
    return "it is for another name"


def for_another_tag(image: Signable, other: Signer) -> str:
    image.sign(name=f"{image.name[:-2]}:0.9")
    return "it is for another name"


def taken_away(image: Signable, other: Signer) -> str:
    delete_manifest(image.address, image.repository, digest(image.sign()))
    return "it has no signature"


def malformed(image: Signable, other: Signer) -> str:
    put_manifest(image.address, image.repository, signature_tag(image.digest), image.data)
    return "it has no signature"


@pytest.mark.parametrize(
    "wrong",
    [
        unsigned,
        signed_by_another,
        with_another_payload,
        with_a_payload_that_is_not_its_digest,
        for_another_digest,
        for_another_repository,
        for_another_tag,
        taken_away,
        malformed,
    ],
)
def test_image_whose_signature_does_not_count_is_refused_before_its_layers_are_fetched(
    fresh_product: Product, image: Signable, tmp_path: Path, wrong: object
) -> None:
    reason = wrong(image, Signer(tmp_path, "other"))  # type: ignore[operator]
    want_signatures(fresh_product, image)
    failed = fresh_product.fail(1, "pull", image.name)
    assert reason in failed.err
    assert image.name in failed.err
    assert "policy.toml decides" in failed.err
    assert str(image.signer.public) in failed.err
    layers = {
        part["digest"] for part in (*json.loads(image.data)["layers"], json.loads(image.data)["config"])
    }
    assert not [line for line in image.asked() if line.rpartition("/")[2] in layers]
    assert left(fresh_product) == []


def test_image_that_is_rejected_is_not_asked_for(
    fresh_product: Product, image: Signable, layout: Layout, tmp_path: Path
) -> None:
    path = set_policy(
        fresh_product, 'default = "accept"', "[images]", f'"{image.address}/{image.repository}" = "reject"'
    )
    for code, command in (
        (1, ["pull", image.name]),
        (125, ["run", image.name, "true"]),
        (125, ["create", image.name]),
        (1, ["copy", f"docker://{image.name}", f"oci:{tmp_path}/copy"]),
    ):
        failed = fresh_product.fail(code, *command)
        assert "the policy rejects it" in failed.err
        assert str(path) in failed.err
    assert image.asked() == []
    assert left(fresh_product) == []
    assert not (tmp_path / "copy").exists()
    assert fresh_product.run("pull", "-q", f"oci:{layout.path}").code == 0  # files are the user's own


def test_policy_with_a_mistake_lets_nothing_in(
    fresh_product: Product, image: Signable, layout: Layout
) -> None:
    path = set_policy(fresh_product, 'default = "accept"', "[images", "")
    for command in (["pull", image.name], ["pull", f"oci:{layout.path}"]):
        failed = fresh_product.fail(1, *command)
        assert str(path) in failed.err
        assert "line 2" in failed.err
    set_policy(fresh_product, 'default = { signed = "missing.pub" }')
    assert "missing.pub" in fresh_product.fail(1, "pull", image.name).err
    assert left(fresh_product) == []


def test_policy_of_podman_counts_where_there_is_none_of_ours(fresh_product: Product, image: Signable) -> None:
    path = fresh_product.home / ".config/containers/policy.json"
    path.parent.mkdir(parents=True)
    wanted = [{"type": "sigstoreSigned", "keyPath": str(image.signer.public)}]
    value = {"default": [{"type": "reject"}], "transports": {"docker": {image.address: wanted}}}
    path.write_text(json.dumps(value))
    assert f"{path} decides" in fresh_product.fail(1, "pull", image.name).err
    image.sign(name=image.name[:-2])
    assert "one for a tag is wanted" in fresh_product.fail(1, "pull", image.name).err  # podman's rule, too
    image.sign()
    assert fresh_product.run("pull", "-q", image.name).code == 0
    set_policy(fresh_product, 'default = "reject"')
    assert "policy.toml decides" in fresh_product.fail(1, "pull", image.name).err


def test_index_is_signed_and_each_of_its_images_if_asked(
    fresh_product: Product, registry: Registry, tmp_path: Path
) -> None:
    layout = Layout(tmp_path / "index")
    here = layout.manifest([Layer().file("one", b"1")])
    other = layout.manifest([Layer().file("two", b"2")], architecture="s390x")
    whole = str(layout.index("latest", [here, other])["digest"])
    image = Signable(registry, "sig-index", layout, Signer(tmp_path))
    want_signatures(fresh_product, image)
    image.sign(signed=str(here["digest"]))
    assert fresh_product.run("pull", "-q", image.name).code == 0  # the one that is used is signed
    assert str(here["digest"]) in fresh_product.run("verify", image.name).out
    assert "no signature" in fresh_product.fail(1, "pull", "--platform=linux/s390x", image.name).err
    image.sign()
    assert fresh_product.run("pull", "-q", "--platform=linux/s390x", image.name).code == 0
    fresh_product.env["COSIGN_PASSWORD"] = ""
    fresh_product.run("trust", "generate-key", cwd=tmp_path)
    signed = fresh_product.run("sign", "-r", image.name, cwd=tmp_path).lines
    assert {line.partition(": ")[0] for line in signed} == {whole, here["digest"], other["digest"]}


def test_image_that_is_here_runs_whatever_the_policy_says(fresh_product: Product, busybox_ref: str) -> None:
    fresh_product.run("pull", "-q", busybox_ref)
    set_policy(fresh_product, 'default = "reject"')
    assert fresh_product.run(*QUICK, busybox_ref, "echo", "here").out == "here\n"
    assert "rejects" in fresh_product.fail(125, *QUICK, "--pull=always", busybox_ref, "true").err


@pytest.mark.needs("skopeo-sigstore")
def test_skopeo_verifies_ours_and_we_verify_its_own(
    fresh_product: Product, image: Signable, tmp_path: Path
) -> None:
    fresh_product.env["COSIGN_PASSWORD"] = WORD
    private, public = fresh_product.run("trust", "generate-key", cwd=tmp_path).lines
    (tmp_path / "word").write_text(WORD)
    (tmp_path / "registries.d").mkdir()
    (tmp_path / "registries.d/all.yaml").write_text("default-docker: {use-sigstore-attachments: true}\n")
    policy = {"default": [{"type": "sigstoreSigned", "keyPath": public}]}
    (tmp_path / "policy.json").write_text(json.dumps(policy))

    def skopeo(*words: str) -> int:
        command = ["skopeo", *words, "--src-tls-verify=false", "--dest-tls-verify=false"]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, check=False).returncode

    checked = ("--policy=policy.json", "--registries.d=registries.d", "copy", f"docker://{image.name}")
    assert skopeo(*checked, "dir:unsigned") != 0
    fresh_product.run("sign", image.name, cwd=tmp_path)
    assert skopeo(*checked, "dir:signed") == 0
    target = f"{image.name[:-2]}:2"
    signing = (f"--sign-by-sigstore-private-key={private}", "--sign-passphrase-file=word")
    made = ("--insecure-policy", "--registries.d=registries.d", "copy", *signing)
    assert skopeo(*made, f"docker://{image.name}", f"docker://{target}") == 0
    assert fresh_product.run("verify", "--key", public, target).code == 0


def test_mirror_hands_out_signatures_and_does_not_say_what_is_signed(
    fresh_product: Product, image: Signable, layout: Layout, tmp_path: Path
) -> None:
    other = Layout(tmp_path / "other")
    other.image("latest", [Layer().file("two", b"2")])
    mirror = Signable(image.registry, f"mirror/{image.repository}", other, image.signer)
    config = fresh_product.home / ".config/rootless/config.toml"
    config.parent.mkdir(parents=True)
    tables = f'[[registry]]\nprefix = "{image.address}/{image.repository}"\n'
    mirrored = f'[[registry.mirror]]\nlocation = "{mirror.address}/{mirror.repository}"\n'
    config.write_text(tables + mirrored)
    fresh_product.env["COSIGN_PASSWORD"] = WORD
    fresh_product.run("trust", "generate-key", cwd=tmp_path)
    assert fresh_product.run("sign", image.name, cwd=tmp_path).out.startswith(f"{image.digest}: signed")
    want_signatures(fresh_product, image)
    assert "no signature" in fresh_product.fail(1, "pull", image.name).err  # of what the mirror has
    mirror.sign(name=image.name)
    config.write_text(tables + 'location = "127.0.0.1:1/nobody"\n' + mirrored)
    assert fresh_product.run("pull", "-q", image.name).code == 0


@pytest.mark.parametrize("status", [403, 503])
def test_image_is_refused_when_the_registry_does_not_say_whether_it_is_signed(
    fresh_product: Product, image: Signable, layout: Layout, status: int
) -> None:
    fresh_product.env["ROOTLESS_REGISTRY_DEADLINES"] = "attempts=1"
    with HostileRegistry() as server:
        server.add_image("box", "1", layout)
        server.on(f"/v2/box/manifests/{signature_tag(image.digest)}", lambda _: Reply(status))
        image.address = server.address
        want_signatures(fresh_product, image)
        failed = fresh_product.fail(1, "pull", f"{server.address}/box:1")
        assert f"cannot read the signatures: the registry answered {status}" in failed.err
        assert left(fresh_product) == []
