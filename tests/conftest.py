"""What the tests may use, and which of them can run here.

A test states what it needs by the fixtures that it takes and by `@pytest.mark.needs("umoci", "subid", …)`.
What this machine or this user cannot offer is deselected with its reason counted at the end. A capability
that is there but does not work is not looked for here: it fails the test, as it should.

Root is not a user of the product: `scripts/test` runs the suite as each test user, and as root only the
tests marked `root`, which prepare a host and then become a user.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import zlib
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

from rootless.runtime import systemd
from rootless.runtime.cgroups import find_home
from tests.helpers.images import Layout, busybox_layer, copy
from tests.helpers.product import make_product
from tests.helpers.registry import running_registry
from tests.helpers.token_service import running_token_registry

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.helpers.product import Product
    from tests.helpers.registry import Registry
    from tests.helpers.token_service import TokenRegistry

SLOW_SAMPLE = 4
"""How many slow tests an ordinary run takes."""

CACHE = Path(os.environ.get("ROOTLESS_TEST_CACHE", "/var/cache/rootless-tests"))
"""What scripts/test prepared: layouts of Debian images in images/, wheels of the dependencies."""

FIXTURE_NEEDS = {
    "registry": ("docker-registry", "skopeo"),
    "token_registry": ("docker-registry",),
    "debian_ref": ("debian-image",),
    "postgres": ("postgres-image",),
    "busybox_layout": ("busybox",),
}

settings.register_profile("deterministic", derandomize=True, database=None, deadline=None)
settings.register_profile(
    "deep", max_examples=2000, deadline=None, parent=settings.get_profile("deterministic")
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "deterministic"))


def pytest_configure() -> None:
    """Undo what a shell does to its background jobs: tests interrupt the product with SIGINT."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--slow", choices=("none", "sample", "all"), default="sample", help="which slow tests run"
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    slow = _chosen_slow(config.getoption("--slow"), items)
    kept, dropped, reasons = [], [], Counter()
    for item in items:
        reason = _obstacle(item)
        if not reason and item.get_closest_marker("slow") and item.nodeid not in slow:
            reason = "slow (--slow=all runs them)"
        (dropped if reason else kept).append(item)
        reasons[reason] += 1
    if dropped:
        items[:] = kept
        config.hook.pytest_deselected(items=dropped)
        del reasons[""]
        config.stash[_REASONS] = reasons


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    for reason, count in sorted(config.stash.get(_REASONS, Counter()).items()):
        terminalreporter.write_line(f"not run: {count} tests: {reason}")


_REASONS = pytest.StashKey[Counter]()


def _chosen_slow(choice: str, items: list[pytest.Item]) -> frozenset[str]:
    marks = {item.nodeid: mark for item in items if (mark := item.get_closest_marker("slow"))}
    if choice == "all":
        return frozenset(marks)
    names = [name for name, mark in marks.items() if mark.kwargs.get("sampled", True)]
    names.sort(key=lambda name: zlib.crc32(name.encode()))
    return frozenset(names[:SLOW_SAMPLE] if choice == "sample" else ())


def _obstacle(item: pytest.Item) -> str:
    """Return why a test cannot run here; "" when it can."""
    if item.get_closest_marker("root") and os.geteuid() != 0:
        return "need root"
    words = [word for mark in item.iter_markers("needs") for word in mark.args]
    for name in getattr(item, "fixturenames", ()):
        words += FIXTURE_NEEDS.get(name, ())
    return next((f"need {word}" for word in words if not _available(word)), "")


def _available(word: str) -> bool:
    special = {
        "subid": _has_subids,
        "single": lambda: not _has_subids(),
        "no-cgroup": lambda: find_home() is None and not systemd.is_there(),
        "fuse": lambda: os.access("/dev/fuse", os.R_OK | os.W_OK),
        "tun": lambda: os.access("/dev/net/tun", os.R_OK | os.W_OK),
        "skopeo-sigstore": _signs_with_skopeo,
        "wheels": lambda: any(CACHE.glob("wheels/*.whl")),
        "debian-image": lambda: (CACHE / "images/debian/index.json").exists(),
        "postgres-image": lambda: (CACHE / "images/postgres/index.json").exists(),
    }
    if word in special:
        return bool(special[word]())
    return shutil.which(word, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin") is not None


def _signs_with_skopeo() -> bool:
    """Debian 12's is of before 1.11, and built without such signatures."""
    if shutil.which("skopeo") is None:
        return False
    result = subprocess.run(["skopeo", "--help"], capture_output=True, check=False)
    return b"generate-sigstore-key" in result.stdout


def _has_subids() -> bool:
    name = pwd.getpwuid(os.geteuid()).pw_name
    try:
        lines = Path("/etc/subuid").read_text().splitlines()
    except FileNotFoundError:
        return False
    return any(line.split(":")[0] in (name, str(os.geteuid())) for line in lines)


@pytest.fixture(scope="session")
def short_directory() -> Iterator[Path]:
    """A private directory with a short name: sockets below it must fit 108 characters."""
    path = Path(tempfile.mkdtemp(prefix="rlt-"))
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture(scope="session")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """An empty docker-registry on loopback, one for the session: name your repositories after your test."""
    with running_registry(tmp_path_factory.mktemp("registry")) as running:
        yield running


@pytest.fixture
def token_registry(tmp_path: Path) -> Iterator[TokenRegistry]:
    """An empty docker-registry whose clients need tokens; `tokens` is the service that they get them from."""
    with running_token_registry(tmp_path / "token-registry") as running:
        yield running


@pytest.fixture(scope="session")
def busybox_layout(tmp_path_factory: pytest.TempPathFactory) -> Layout:
    """A small image with a whole userland, tagged "latest"."""
    layout = Layout(tmp_path_factory.mktemp("images") / "busybox")
    layout.image("latest", [busybox_layer()], config={"Cmd": ["sh"]})
    return layout


@pytest.fixture(scope="session")
def busybox_ref(registry: Registry, busybox_layout: Layout) -> str:
    """The busybox image in the registry: "127.0.0.1:PORT/busybox:latest"."""
    return busybox_layout.push("latest", f"{registry.address}/busybox:latest")


@pytest.fixture(scope="session")
def debian_ref(registry: Registry) -> str:
    """A real Debian 12 in the registry: "127.0.0.1:PORT/debian:12"."""
    copy(f"oci:{CACHE}/images/debian:12", f"docker://{registry.address}/debian:12")
    return f"{registry.address}/debian:12"


@pytest.fixture(scope="session")
def shared_product(short_directory: Path) -> Iterator[Product]:
    """The product with a store that keeps its images for the session; take `product` instead."""
    product = make_product(short_directory / "s")
    yield product
    product.remove()
    assert not product.mounts()


@pytest.fixture
def product(shared_product: Product) -> Iterator[Product]:
    """The product with a warm store; the containers that a test leaves are removed after it."""
    yield shared_product
    shared_product.remove_containers()


@pytest.fixture
def fresh_product(short_directory: Path) -> Iterator[Product]:
    """The product with an empty home of its own."""
    product = make_product(Path(tempfile.mkdtemp(dir=short_directory)))
    yield product
    product.remove()
    assert not product.mounts()


@pytest.fixture(scope="session")
def busybox(shared_product: Product, busybox_ref: str) -> str:
    """The busybox image, pulled into the store of `product`."""
    shared_product.run("pull", "-q", busybox_ref)
    return busybox_ref


@pytest.fixture(scope="session")
def debian(shared_product: Product, debian_ref: str) -> str:
    """The Debian image, pulled into the store of `product`."""
    shared_product.run("pull", "-q", debian_ref, timeout=300)
    return debian_ref


@pytest.fixture(scope="session")
def postgres(shared_product: Product) -> str:
    """A PostgreSQL server of Debian's, pulled into the store of `product`; its id."""
    return shared_product.run("pull", "-q", f"oci:{CACHE}/images/postgres:12", timeout=300).out.strip()
