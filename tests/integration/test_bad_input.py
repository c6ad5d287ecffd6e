"""What is wrong is named, and harms nothing else: words without a meaning, states that forbid, torn files."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.helpers.product import QUICK

if TYPE_CHECKING:
    from pathlib import Path

    from tests.helpers.product import Product

OFFLINE = "--network=none"


def directory(product: Product, name: str) -> Path:
    """Return where a container lies on disk."""
    return product.store / "containers" / product.run("inspect", "--format={{.Id}}", name).out.strip()


@pytest.mark.parametrize("damage", [b"", b"null", b"[]", b'{"id": "', b"\xff\xfe\x00"])
def test_damaged_records_harm_nobody_else(product: Product, busybox: str, damage: bytes) -> None:
    product.run("run", "-d", OFFLINE, "--name=sound", busybox, "sleep", "1000")
    for name in ("spec", "state"):
        product.run("create", OFFLINE, f"--name=torn-{name}", busybox, "true")
        (directory(product, f"torn-{name}") / f"{name}.json").write_bytes(damage)
    table = product.run("ps", "-a", "--format={{.Names}} {{.State}}").lines
    assert sorted(table) == ["sound running", "torn-spec dead", "torn-state dead"]
    for words in (("start", "torn-spec"), ("logs", "torn-state"), ("exec", "torn-spec", "true")):
        assert "damaged" in product.fail(1, *words).err
    product.run("rm", "-f", "torn-spec", "torn-state")
    assert product.run("ps", "-a", "--format={{.Names}}").out == "sound\n"


def test_record_with_more_than_we_know_is_read(product: Product, busybox: str) -> None:
    product.run("create", OFFLINE, "--name=later", busybox, "true")
    path = directory(product, "later") / "state.json"
    path.write_text(path.read_text().replace("{", '{"of_a_later_release": [1], ', 1))
    product.run("start", "-a", "later")


def test_torn_log_and_health_are_passed_over(product: Product, busybox: str) -> None:
    check = ("--health-cmd=true", "--health-interval=1h")
    product.run("run", OFFLINE, "--name=torn", *check, busybox, "echo", "said")
    place = directory(product, "torn")
    log = place / "log.json"
    log.write_bytes(log.read_bytes()[:-20])
    (place / "health.json").write_text('{"Sta')
    assert product.run("logs", "torn").out == ""
    product.run("inspect", "torn")
    assert product.run("ps", "-a", "--format={{.State}}").out == "exited\n"
    product.run("start", "-a", "torn")
    assert product.run("logs", "torn").out == "said\n"


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (("{image}", ""), 127, "cannot run ``: executable file not found in $PATH"),
        (("-w", "/etc/passwd", "{image}", "true"), 127, "/etc/passwd"),
        (("-u", "root:no-group", "{image}", "true"), 125, "no-group"),
        (("--group-add", "no-group", "{image}", "true"), 125, "no-group"),
        (("--name", "a b", "{image}", "true"), 125, "cannot use the name `a b`"),
    ],
)
def test_run_names_what_is_wrong(
    product: Product, busybox: str, words: tuple[str, ...], code: int, text: str
) -> None:
    result = product.fail(code, *QUICK, *(word.format(image=busybox) for word in words))
    assert text in result.err
    assert product.containers() == []


def test_empty_name_is_none(product: Product, busybox: str) -> None:
    product.run("create", OFFLINE, "--name=", busybox, "true")
    assert "_" in product.run("ps", "-a", "--format={{.Names}}").out


def test_states_that_forbid_are_named(product: Product, busybox: str) -> None:
    product.run("create", OFFLINE, "--name=still", busybox, "true")
    for verb, text in (
        ("kill", "cannot kill container `still`: it is created"),
        ("pause", "cannot pause container `still`: it is created"),
        ("attach", "cannot attach to container `still`: it is created"),
    ):
        result = product.fail(1, verb, "still")
        assert text in result.err
        assert "`rootless start`" in result.err or "`rootless start -a`" in result.err
    assert "that is its name already" in product.fail(1, "rename", "still", "still").err


def test_store_that_is_a_file_is_named(product: Product, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.touch()
    for words in (("ps",), ("run", "image")):
        result = product.attempt("--root", str(path), *words)
        assert result.code in (1, 125)
        assert str(path) in result.err
        assert "a bug" not in result.err


@pytest.mark.parametrize(
    "mark", ['"imageLayoutVersion": "2.0.0"', '"imageLayoutVersion": "1.0.0", "rootless.form": 2']
)
def test_store_of_a_newer_version_is_refused_and_untouched(fresh_product: Product, mark: str) -> None:
    fresh_product.store.mkdir(parents=True)
    (fresh_product.store / "oci-layout").write_text("{" + mark + "}")
    (fresh_product.store / "index.json").write_text('{"of": "a later release"}')
    for words in (
        ("ps",),
        ("pull", "x"),
        ("system", "prune", "-af"),
        ("system", "check", "--repair"),
        ("rmi", "x"),
    ):
        err = fresh_product.attempt(*words).err
        assert "cannot use the store: a newer version of rootless made it" in err, words
        assert str(fresh_product.store) in err
    assert fresh_product.fail(125, "run", "x").err.count("newer version") == 1
    assert sorted(path.name for path in fresh_product.store.iterdir()) == ["index.json", "oci-layout"]
    (fresh_product.store / "oci-layout").write_text('{ "imageLayoutVersion": "1.0.0" }\n')
    (fresh_product.store / "index.json").unlink()
    assert fresh_product.run("ps", "-q").out == ""
