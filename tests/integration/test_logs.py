"""What a container wrote: drivers, rotation, following, by several readers and across restarts."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.helpers.processes import wait_for
from tests.integration.test_lifecycle import detached

if TYPE_CHECKING:
    from tests.helpers.product import Product

BYTES = "printf 'one\\n\\377\\000two\\n'; echo oops >&2; printf 'no end'"
"""A script that writes what is no text, to both streams."""


def finished(product: Product, *words: str) -> str:
    """Run a container in the background to its end; return its id."""
    container = detached(product, *words)
    product.run("wait", container)
    return container


def files(product: Product, container: str, driver_file: str) -> list[Path]:
    """Return the files of a log, newest first."""
    return sorted((product.store / "containers" / container).glob(f"{driver_file}*"))


@pytest.mark.parametrize("driver", ["json-file", "k8s-file"])
def test_output_is_kept_byte_for_byte(product: Product, busybox: str, driver: str) -> None:
    container = finished(product, f"--log-driver={driver}", busybox, "sh", "-c", BYTES)
    result = product.run("logs", container)
    assert (result.out, result.err) == ("one\n\udcff\0two\nno end", "oops\n")
    stamped = product.run("logs", "-t", "--tail=1", container)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z (no end|oops\n)", stamped.out + stamped.err)


def test_k8s_file_is_the_form_of_the_cri(product: Product, busybox: str) -> None:
    container = finished(product, "--log-driver=k8s-file", busybox, "sh", "-c", "echo a b; printf c")
    (path,) = files(product, container, "log")
    stamp = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z"
    assert re.fullmatch(f"{stamp} stdout F a b\n{stamp} stdout P c\n", path.read_text())


def test_none_keeps_nothing_and_says_so(product: Product, busybox: str) -> None:
    container = finished(product, "--log-driver=none", busybox, "echo", "gone")
    result = product.fail(1, "logs", container)
    assert "configured logging driver does not support reading" in result.err
    assert files(product, container, "log") == []
    assert (
        product.run("run", "--rm", "--log-driver=none", "--network=none", busybox, "echo", "seen").out
        == "seen\n"
    )


def test_unknown_driver_is_refused_before_anything_happens(product: Product) -> None:
    result = product.fail(125, "run", "--log-driver=journald", "no-such-image")
    assert "--log-driver" in result.err
    assert "json-file" in result.err


def test_rotated_log_is_read_as_one(product: Product, busybox: str) -> None:
    bounds = ("--log-opt=max-size=20k", "--log-opt=max-file=3")
    container = finished(product, *bounds, busybox, "seq", "1", "1000")
    found = files(product, container, "log.json")
    assert [path.name for path in found] == ["log.json", "log.json.1", "log.json.2"]
    assert all(path.stat().st_size < 21_000 for path in found)
    lines = product.run("logs", container).lines
    assert lines == [str(n) for n in range(1001 - len(lines), 1001)]
    assert 400 < len(lines) < 1000
    assert product.run("logs", "--tail=300", container).lines == lines[-300:]
    assert product.run("logs", "-f", "--tail", "2", container).lines == ["999", "1000"]


def test_readers_follow_through_rotations(product: Product, busybox: str) -> None:
    """Three readers at once, one of them late."""
    script = "read line; seq 1 3000; read line; seq 3001 6000"
    bounds = ("--log-opt=max-size=200k", "--log-opt=max-file=3")
    with product.start("run", "-i", "--network=none", "--name=flood", *bounds, busybox, "sh", "-c", script,
                       stdin=-1) as running:  # fmt: skip
        assert running.stdin
        wait_for(lambda: product.run("ps", "-q", "--filter=name=flood").out)
        early = [product.start("logs", "-f", "flood") for _ in range(2)]
        running.stdin.write(b"\n")
        running.stdin.flush()
        for reader in early:
            assert reader.stdout
            assert [int(reader.stdout.readline()) for _ in range(3000)] == list(range(1, 3001))
        late = product.start("logs", "-f", "--tail=10", "flood")
        assert late.stdout
        assert int(late.stdout.readline()) == 2991
        running.stdin.write(b"\n")
        running.communicate(timeout=20)
    for reader, first in ((early[0], 3001), (early[1], 3001), (late, 2992)):
        with reader:
            assert reader.stdout
            assert reader.stderr
            assert list(map(int, reader.stdout.read().split())) == list(range(first, 6001))
            assert reader.stderr.read() == b""
        assert reader.returncode == 0


def test_following_goes_on_through_restarts_and_ends_with_the_last(product: Product, busybox: str) -> None:
    script = "echo run $(cat /count 2>/dev/null); echo x >> /count; exit 1"
    container = detached(product, "--restart=on-failure:2", busybox, "sh", "-c", script)
    assert product.run("logs", "-f", container).lines == ["run", "run x", "run x x"]
    product.run("start", container)
    product.run("wait", container)
    assert product.run("logs", container).lines[:4] == ["run", "run x", "run x x", "run x x x"]


def test_follower_sleeps_while_nothing_happens(product: Product, busybox: str) -> None:
    container = detached(product, busybox, "sh", "-c", "echo ready; exec sleep 1000")
    with product.start("logs", "-f", container) as reader:
        assert reader.stdout
        assert reader.stdout.readline() == b"ready\n"
        status = Path(f"/proc/{reader.pid}/status")
        wait_for(lambda: "(sleeping)" in status.read_text())
        switches = re.findall(r"ctxt_switches:\t(\d+)", status.read_text())
        product.run("exec", container, "true")
        assert re.findall(r"ctxt_switches:\t(\d+)", status.read_text()) == switches
        product.run("rm", "-f", container)
        assert reader.wait(20) == 0


def test_bounds_in_time(product: Product, busybox: str) -> None:
    container = finished(product, busybox, "sh", "-c", "echo first; sleep 0.1; echo second")
    first, second = (line.split(" ")[0] for line in product.run("logs", "-t", container).lines)
    assert product.run("logs", "--since", second, container).lines == ["second"]
    assert product.run("logs", "--until", first, container).lines == ["first"]
    assert product.run("logs", "--since=1h", container).lines == ["first", "second"]
    assert product.run("logs", "--until=1h", "-f", container).lines == []
    assert "not a point in time" in product.fail(125, "logs", "--since=yesterday", container).err


def test_details_show_what_was_asked_for(product: Product, busybox: str) -> None:
    options = ("labels=com.example", "env=PORT", "tag={{.Name}}")
    container = finished(
        product, "--name=detailed", "--label=com.example=a b", "-e=PORT=80", "-e=SECRET=x",
        *(f"--log-opt={option}" for option in options), busybox, "echo", "hello",
    )  # fmt: skip
    assert product.run("logs", "--details", container).out == "PORT=80,com.example=a+b,tag=detailed hello\n"
    (path,) = files(product, container, "log.json")
    assert json.loads(path.read_text())["attrs"] == {"PORT": "80", "com.example": "a b", "tag": "detailed"}


def test_damaged_lines_are_passed_over(product: Product, busybox: str) -> None:
    container = finished(product, busybox, "sh", "-c", "echo one; echo two")
    (path,) = files(product, container, "log.json")
    whole = path.read_bytes()
    path.write_bytes(b'{"log":"cut\n' + whole + b"\0" * 5000 + b"\n[]\n" + b'{"log":"three\\n","stre')
    assert product.run("logs", container).lines == ["one", "two"]
    product.run("start", container)
    product.run("wait", container)
    assert product.run("logs", "--tail=3", container).lines == ["two", "one", "two"][1:]
