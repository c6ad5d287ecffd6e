"""What a container shares with its host or its caller on request: --ipc, --uts, --attach."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

import pytest

from tests.helpers.product import QUICK

if TYPE_CHECKING:
    from tests.helpers.product import Product


@pytest.mark.parametrize("name", ["ipc", "uts"])
def test_namespace_is_the_hosts_on_request_alone(product: Product, busybox: str, name: str) -> None:
    host = os.readlink(f"/proc/self/ns/{name}")
    words = (busybox, "readlink", f"/proc/self/ns/{name}")
    assert product.run(*QUICK, *words).out.strip() != host
    assert product.run(*QUICK, f"--{name}=host", *words).out.strip() == host


def test_host_name_is_the_hosts_with_its_uts_namespace(product: Product, busybox: str) -> None:
    assert product.run(*QUICK, "--uts=host", busybox, "hostname").out.strip() == socket.gethostname()


def test_attach_shows_the_named_streams_only(product: Product, busybox: str) -> None:
    script = ("sh", "-c", "echo out; echo err >&2")
    result = product.run(*QUICK, "-a", "stderr", busybox, *script)
    assert (result.out, result.err) == ("", "err\n")
    result = product.run(*QUICK, "-a", "stdout", busybox, *script)
    assert (result.out, result.err) == ("out\n", "")
