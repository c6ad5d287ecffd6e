"""Pulls and pushes over a network that cuts, delays, changes, repeats and redirects: whole, or a clear error.

The registry is Docker's, or `rootless registry serve`, behind a proxy whose faults a seed repeats. What has
arrived whole is not carried again by the next try.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import random
import ssl
import subprocess
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest
import trustme

from tests.helpers.faulty_proxy import CUTS, FAULTS, FaultyProxy, Plan
from tests.helpers.images import Layer, Layout
from tests.helpers.own_registry import serving
from tests.helpers.product import make_product
from tests.helpers.registry import private_registry, running_registry
from tests.helpers.token_service import running_token_registry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.helpers.registry import Registry

pytestmark = pytest.mark.needs("docker-registry", "skopeo")

IMPATIENT = "attempts=2,backoff_s=0.01,backoff_limit_s=0.05,idle_s=1,answer_s=1"
KINDS = ("open", "basic", "token", "tls", "own")
SEEDS = 1
MANY_SEEDS = 40


class Place:
    """A registry of some kind, a faulty way to it, and a user with an image who may use it."""

    def __init__(self, kind: str, directory: Path, short: Path, stack: ExitStack) -> None:
        self.address, self._linked = _open(kind, directory / kind, short, stack)
        tls = _tls(directory) if kind == "tls" else None
        self.proxy = stack.enter_context(FaultyProxy(self.address, tls=tls))
        env = {"ROOTLESS_REGISTRY_DEADLINES": IMPATIENT}
        if tls:
            env["SSL_CERT_FILE"] = str(directory / "ca.pem")
        self.product = make_product(short / kind, env=env)
        stack.callback(self.product.remove)
        (self.product.home / ".docker").mkdir()
        login = {"auth": base64.b64encode(b"jo:word").decode()}
        (self.product.home / ".docker/config.json").write_text(
            json.dumps({"auths": {self.proxy.address: login}})
        )
        self.layout = Layout(directory / f"layout-{kind}")
        dice = random.Random(kind)
        sizes = [dice.randrange(1000, 200_000) for _ in range(5)]
        self.layout.image("latest", [Layer().file(f"f{n}", dice.randbytes(n)) for n in sizes])
        self.product.run("pull", "-q", f"oci:{self.layout.path}")
        self.image = self.product.run("images", "--format", "{{.Repository}}:{{.Tag}}").out.strip()
        self.blobs = {f"sha256:{p.name}": p.stat().st_size for p in self._files()}

    def _files(self) -> list[Path]:
        return list((self.layout.path / "blobs/sha256").iterdir())

    def push_by_another(self, name: str) -> None:
        """Put the image where it can be pulled, around the faults."""
        command = ["skopeo", "--insecure-policy", "copy", "--quiet", "--preserve-digests"]
        command += ["--dest-creds=jo:word", "--dest-tls-verify=false"]
        target = f"docker://{self.address}/{name}"
        subprocess.run([*command, f"oci:{self.layout.path}:latest", target], check=True)

    def pull_by_another(self, name: str, directory: Path) -> set[str]:
        """Return the digests of what is at the far end, bytes verified."""
        command = ["skopeo", "--insecure-policy", "copy", "--quiet", "--src-creds=jo:word"]
        source = f"docker://{self.address}/{name}"
        subprocess.run([*command, "--src-tls-verify=false", source, f"dir:{directory}"], check=True)
        files = [path for path in directory.iterdir() if path.name != "version"]
        return {"sha256:" + hashlib.sha256(path.read_bytes()).hexdigest() for path in files}

    def arrived(self, repository: str) -> set[str]:
        """Return the blobs that the registry has in a repository."""
        base = self._linked(repository)
        return {f"sha256:{path.name}" for path in base.iterdir()} if base.is_dir() else set()

    def stored(self) -> set[str]:
        return {f"sha256:{path.name}" for path in (self.product.store / "blobs/sha256").iterdir()}

    def partials(self) -> dict[str, int]:
        """Return how much of blobs that did not come whole is kept."""
        found = self.product.store.glob("ingest/*.partial")
        return {f"sha256:{path.name.partition('.')[0][-64:]}": path.stat().st_size for path in found}

    def attempt(self, plan: Plan, *words: str) -> bool:
        """Do it over the faulty way; True when it succeeded. A failure must be told well."""
        self.proxy.plan = plan
        result = self.product.attempt(*words)
        self.proxy.plan = None
        self.proxy.exchanges.clear()
        if result.code:
            assert result.code == 1, str(result)
            assert "error: " in result.err, str(result)
            assert f"on:   {self.proxy.address}/" in result.err, str(result)
            assert "Traceback" not in result.err, str(result)
            assert "internal-error" not in result.err, str(result)
        assert "word" not in result.err
        return not result.code

    def assert_clean(self) -> None:
        self.product.run("system", "check")
        assert list(self.product.store.glob("ingest/*.partial")) == []


def _open(kind: str, directory: Path, short: Path, stack: ExitStack) -> tuple[str, Callable[[str], Path]]:
    """Start a registry; return its address, and what tells where it lists the blobs of a repository."""
    if kind == "own":
        owner = make_product(short / "owner")
        stack.callback(owner.remove)
        server = stack.enter_context(serving(owner, directory))
        return server.address, lambda repository: directory / "repositories" / repository / "_blobs"
    make = {"basic": private_registry, "token": running_token_registry}.get(kind, running_registry)
    registry: Registry = stack.enter_context(make(directory))
    base = registry.storage / "docker/registry/v2/repositories"
    return registry.address, lambda repository: base / repository / "_layers/sha256"


def _tls(directory: Path) -> ssl.SSLContext:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(directory / "ca.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1", "localhost").configure_cert(context)
    return context


@pytest.fixture(scope="module", params=KINDS)
def place(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, short_directory: Path
) -> Iterator[Place]:
    with ExitStack() as stack:
        yield Place(request.param, tmp_path_factory.mktemp("faults"), short_directory, stack)


def plan_of(seed: int) -> Plan:
    return Plan(seed, rate=(0.2, 0.35, 0.5)[seed % 3], faults=CUTS if seed % 4 == 3 else FAULTS)


def pull_through_faults(place: Place, seed: int) -> None:
    name = f"pull{seed}:1"
    place.push_by_another(name)
    place.product.run("rmi", "-f", place.image)
    image = f"{place.proxy.address}/{name}"
    if not place.attempt(plan_of(seed), "pull", "-q", image):
        had, partial = place.stored(), place.partials()
        place.product.run("system", "check")
        place.product.run("pull", "-q", image)
        for digest, size in place.blobs.items():
            down = place.proxy.bytes_down(digest)
            assert down <= (0 if digest in had else size)
            if seed % 4 == 3:  # cuts alone: nothing of what came is wrong
                assert down + partial.get(digest, 0) <= size
    place.assert_clean()
    place.product.run("tag", image, place.image)
    place.product.run("rmi", image)
    assert place.stored() <= set(place.blobs)


def push_through_faults(place: Place, seed: int, directory: Path) -> None:
    name = f"push{seed}:1"
    image = f"{place.proxy.address}/{name}"
    place.product.run("tag", place.image, image)
    if not place.attempt(plan_of(seed), "push", "-q", image):
        had = place.arrived(f"push{seed}")
        place.product.run("push", "-q", image)
        for digest, size in place.blobs.items():
            assert place.proxy.bytes_up(digest) <= (0 if digest in had else size)
    assert place.pull_by_another(name, directory) == set(place.blobs)
    place.product.run("rmi", image)
    place.assert_clean()
    notes = [path for path in place.product.runtime.rglob("uploads/*") if path.stat().st_size]
    assert notes == []


@pytest.mark.parametrize("seed", range(SEEDS))
def test_pull_through_faults_is_whole_or_refused_and_goes_on(place: Place, seed: int) -> None:
    pull_through_faults(place, seed + 2)


@pytest.mark.parametrize("seed", range(SEEDS))
def test_push_through_faults_is_whole_or_refused_and_goes_on(place: Place, seed: int, tmp_path: Path) -> None:
    push_through_faults(place, seed + 2, tmp_path / "there")


@pytest.mark.slow(sampled=False)
@pytest.mark.timeout(900)
def test_many_faults(place: Place, tmp_path: Path) -> None:
    first = int(os.environ.get("ROOTLESS_TEST_SEED", "100"))
    for seed in range(first, first + MANY_SEEDS):
        print("seed", seed)
        pull_through_faults(place, seed)
        push_through_faults(place, seed, tmp_path / str(seed))
