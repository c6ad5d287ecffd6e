"""Finding, naming and describing containers, and clearing them away."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.helpers.product import Product

DETACHED = ("run", "-d", "--network=none")
FORMAT = "{{.Names}} {{.State}}"


def test_container_is_known_by_its_new_name_while_it_runs(product: Product, busybox: str) -> None:
    container = product.run(*DETACHED, "--name=before", busybox, "sleep", "1000").out.strip()
    product.run("create", "--name=other", busybox)
    taken = product.fail(1, "rename", "before", "other")
    assert "already in use" in taken.err
    product.run("container", "rename", container[:12], "after")
    assert product.run("ps", "--format", FORMAT).out == "after running\n"
    product.fail(1, "exec", "before", "true")
    product.run("exec", "after", "true")
    product.run("run", "-d", "--rm", "--network=none", "--name=before", busybox, "true")
    assert product.run("stop", "-t", "0", "after").out == "after\n"
    assert product.run("container", "inspect", "-f", "{{.Name}} {{.State.ExitCode}}", "after").out == (
        "/after 137\n"
    )


def test_groups_lead_to_the_same_commands(product: Product, busybox: str) -> None:
    container = product.run("container", "create", "--name=one", busybox, "true").out.strip()
    assert product.run("container", "ls", "-aq", "--no-trunc").lines == [container]
    ids = ("-a", "--format={{.ID}} {{.Names}}")  # the times go on between the two
    assert product.run("container", "list", *ids).lines == product.run("ps", *ids).lines
    assert json.loads(product.run("container", "inspect", "one").out)[0]["Id"] == container
    assert busybox.rpartition(":")[0] in product.run("image", "ls").out
    product.fail(1, "image", "inspect", "one")
    assert product.run("container", "rm", "one").out == "one\n"
    wrong = product.fail(125, "container", "isnpect", "one")
    assert "Did you mean `rootless container inspect`?" in wrong.err
    assert "prune" in product.run("container").out


def test_prune_takes_what_does_not_run(product: Product, busybox: str) -> None:
    running = product.run(*DETACHED, "--name=running", busybox, "sleep", "1000").out.strip()
    fresh = product.run("create", "--name=fresh", "--label=keep", busybox).out.strip()
    product.run("run", "--network=none", "--name=ended", busybox, "sh", "-c", "printf 1234567890 >/x")
    ended = product.run("inspect", "-f", "{{.Id}}", "ended").out.strip()
    assert "Total reclaimed space: 0B" in product.run("container", "prune", "-f", "--filter", "until=1h").out
    pruned = product.run("container", "prune", "--force", "--filter", "label!=keep").out
    assert pruned.startswith(f"Deleted Containers:\n{ended}\n\nTotal reclaimed space: ")
    assert set(product.containers()) == {running, fresh}
    assert "Are you sure" in product.run("container", "prune", input="y\n").out
    assert product.containers() == [running]


def test_description_tells_what_was_asked_for_and_what_is(product: Product, busybox: str) -> None:
    words = ("--name=told", "--restart=on-failure:3", "--log-opt", "max-size=1m", "--stop-timeout=7")
    check = ("--health-cmd", "true", "--health-interval", "1h")
    product.run(*DETACHED, *words, *check, busybox, "sleep", "1000")
    (shown,) = json.loads(product.run("inspect", "--size", "told").out)
    assert shown["State"]["Running"]
    assert not shown["State"]["Paused"]
    assert shown["HostConfig"]["RestartPolicy"] == {"Name": "on-failure", "MaximumRetryCount": 3}
    assert shown["HostConfig"]["LogConfig"]["Config"] == {"max-size": "1m"}
    assert shown["Config"]["Healthcheck"]["Test"] == ["CMD-SHELL", "true"]
    assert shown["RestartCount"] == 0
    assert shown["SizeRootFs"] > 0
    assert shown["GraphDriver"]["Name"] == shown["Driver"] != ""
    assert product.run("port", "told").out == ""
    product.fail(1, "port", "told", "80")


@pytest.mark.parametrize("query", ["", "..", "\x1b[31m", "x" * 5000])
def test_what_means_no_container_is_told_as_one_line(product: Product, busybox: str, query: str) -> None:
    for words in (("inspect",), ("port",), ("rm",)):
        failed = product.fail(1, *words, "--", query)
        assert "no such" in failed.err
        assert "\x1b" not in failed.err
        assert "Traceback" not in failed.err


def test_record_of_a_newer_version_is_told_and_can_be_removed(product: Product, busybox: str) -> None:
    container = product.run("create", "--name=future", busybox).out.strip()
    record = product.store / "containers" / container / "spec.json"
    spec = json.loads(record.read_text())
    record.write_text(json.dumps({**spec, "colour": "red"}))
    assert product.run("inspect", "-f", "{{.Name}}", "future").out == "/future\n"
    record.write_text(json.dumps({**spec, "version": 99}))
    assert "a newer version of rootless wrote it" in product.fail(1, "inspect", "future").err
    assert "Dead" in product.run("ps", "-a").out
    assert product.run("rm", "-f", "future").out == "future\n"
    assert product.containers() == []


def test_unit_names_this_store(fresh_product: Product) -> None:
    unit = fresh_product.run("generate", "systemd").out
    assert "start --restartable\n" in unit
    assert fresh_product.run("generate", "crontab").out.startswith("@reboot env PATH=")
    fresh_product.fail(1, "generate", "systemd", "ghost")
