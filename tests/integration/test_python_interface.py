"""The Python interface, as a trio program uses it: docs/python.md."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tarfile
import threading
from pathlib import Path

import pytest
import trio

import rootless

REPOSITORY = Path(__file__).resolve().parents[2]
QUIET = {"network": "none", "stop_timeout": 0}
"""No network to set up, and no program that is deaf to SIGTERM to wait for."""
FOREVER = ["sleep", "1000"]


@pytest.fixture
async def engine(product, monkeypatch):
    for name, value in product.env.items():
        monkeypatch.setenv(name, value)
    async with rootless.open_engine() as engine:
        yield engine


@pytest.fixture
def other_thread():
    """A thread that lives through the test: this process must not fork, nor enter a namespace."""
    ended = threading.Event()
    thread = threading.Thread(target=ended.wait)
    thread.start()
    yield thread
    ended.set()
    thread.join()


async def nothing_is_left(engine) -> bool:
    return await engine.containers.list(all=True) == []


async def pid_of(container) -> int:
    return (await container.inspect())["State"]["Pid"]


async def wait_until_gone(pidfd: int) -> None:
    with trio.fail_after(20):
        await trio.lowlevel.wait_readable(pidfd)
    os.close(pidfd)


async def test_run_returns_what_a_command_wrote(engine, busybox, other_thread):
    script = "cat; echo to stderr >&2; exit 3"
    made = await engine.run(
        busybox, ["sh", "-c", script], input=b"a\0b\n", check=False, env={"A": "1"}, **QUIET
    )
    assert made == (3, b"a\0b\n", b"to stderr\n")
    assert await nothing_is_left(engine)


async def test_image_may_come_from_an_archive(engine, busybox_layout, tmp_path):
    archive = tmp_path / "box.tar"
    with tarfile.open(archive, "w") as tar:
        tar.add(busybox_layout.path, ".")
    made = await engine.run(f"oci-archive:{archive}:latest", ["echo", "hello"], **QUIET)
    assert made.stdout == b"hello\n"
    await engine.images.remove("localhost/latest")


async def test_run_raises_for_a_command_that_fails(engine, busybox):
    with pytest.raises(rootless.CommandFailed) as failure:
        await engine.run(busybox, ["sh", "-c", "echo out; echo why >&2; exit 4"], **QUIET)
    assert failure.value.result == rootless.Completed(4, b"out\n", b"why\n")
    assert failure.value.hint == "why"


async def test_errors_have_classes_and_say_what_to_do(engine, busybox):
    with pytest.raises(rootless.RuntimeSetupError) as missing:
        await engine.run(busybox, ["no-such-program"], **QUIET)
    assert missing.value.exit_code == 127
    with pytest.raises(rootless.UsageError, match="unknown option: --nmae") as unknown:
        await engine.run(busybox, nmae="x")
    assert "--name" in unknown.value.hint
    with pytest.raises(rootless.UsageError, match="banana"):
        await engine.containers.create(busybox, memory="banana")
    with pytest.raises(rootless.NotFound, match="no such image"):
        await engine.images.get("nobody/has-this")
    with pytest.raises(rootless.NotFound) as container:
        await engine.containers.get("nobody")
    assert container.value.reference == "no-such-container"
    assert await nothing_is_left(engine)


async def test_missing_image_is_pulled_and_images_can_be_removed(fresh_product, busybox_ref, monkeypatch):
    for name, value in fresh_product.env.items():
        monkeypatch.setenv(name, value)
    async with rootless.open_engine() as engine:
        assert await engine.images.list() == []
        with pytest.raises(rootless.NotFound):
            await engine.run(busybox_ref, pull="never")
        assert (await engine.run(busybox_ref, ["echo", "hi"], **QUIET)).stdout == b"hi\n"
        (image,) = await engine.images.list()
        assert busybox_ref in image.names
        assert (await engine.images.inspect(image.id[7:19]))["Id"] == image.id
        assert await engine.images.pull(busybox_ref) == image
        await engine.images.remove(busybox_ref)
        assert await engine.images.list() == []
        with pytest.raises(rootless.RegistryError):
            await engine.images.pull("127.0.0.1:1/nobody/listens")
    assert fresh_product.run("images", "-q").out == ""


async def test_image_is_pushed(engine, product, busybox, registry):
    name = f"{registry.address}/from-python:1"
    product.run("tag", busybox, name)
    (pushed,) = await engine.images.push(name)
    assert pushed == (name, "1", pushed.digest)
    shown = product.run("inspect", "--format", "{{.RepoDigests}}", name).out
    assert f"{registry.address}/from-python@{pushed.digest}" in shown
    product.run("rmi", name)
    with pytest.raises(rootless.NotFound):
        await engine.images.push(name)
    with pytest.raises(rootless.UsageError):
        await engine.images.push(busybox, format="tar")


async def test_exec_feeds_and_reads_a_further_command(engine, busybox):
    async with engine.container(busybox, FOREVER, **QUIET) as box:
        assert (await box.exec(["cat"], input=b"x" * 300_000)).stdout == b"x" * 300_000
        assert (
            await box.exec(["sh", "-c", "echo $A; pwd"], env=["A=2"], workdir="/tmp")
        ).stdout == b"2\n/tmp\n"
        async with box.open_exec(["cat"], interactive=True) as process:
            for text in (b"question", b"another"):
                await process.stdin.send_all(text)
                assert await process.stdout.receive_some() == text
            await process.stdin.aclose()
            assert await process.wait() == 0
        with pytest.raises(rootless.RuntimeSetupError):
            await box.exec(["no-such-program"])


async def test_exec_that_still_runs_ends_with_its_block(engine, busybox):
    async with engine.container(busybox, FOREVER, **QUIET) as box:
        async with box.open_exec(FOREVER) as process:
            pidfd = os.pidfd_open(process.pid)
        await wait_until_gone(pidfd)
        assert await box.status() == "running"


async def test_logs_are_followed_to_the_end_of_the_container(engine, busybox):
    async with engine.container(busybox, ["cat"], interactive=True, **QUIET) as box:
        seen = []

        async def follow():
            seen.extend([(entry.stream, entry.text) async for entry in box.logs(follow=True)])

        with trio.fail_after(20):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(follow)
                async with box.attach(input=True) as process:
                    for text in (b"one\n", b"two\n"):
                        await process.stdin.send_all(text)
                        assert await process.stdout.receive_some() == text
                    await process.stdin.aclose()
                    assert await process.wait() == 0
        assert seen == [("stdout", b"one\n"), ("stdout", b"two\n")]
        assert await box.status() == "exited"
        assert [entry.text async for entry in box.logs(tail=1)] == [b"two\n"]


async def test_events_tell_what_happens(engine, busybox):
    events = engine.events()
    async with engine.container(busybox, FOREVER, **QUIET) as box:
        pass
    actions = []
    with trio.fail_after(20):
        async for event in events:
            if event.id == box.id and event.action != "kill":  # how it is stopped
                actions.append(event.action)
                assert event.attributes["name"] == box.name
                if event.action == "destroy":
                    break
    assert actions == ["create", "start", "die", "stop", "destroy"]


async def test_container_of_a_block_ends_with_it(engine, busybox):
    volumes = Path(engine.root, "volumes")
    before = set(volumes.glob("*"))
    async with engine.container(busybox, FOREVER, volume=["/data"], **QUIET) as box:
        pidfd = os.pidfd_open(await pid_of(box))
        assert [str(each) for each in await engine.containers.list()] == [str(box)]
    await wait_until_gone(pidfd)
    assert await nothing_is_left(engine)
    with pytest.raises(rootless.NotFound):
        await box.status()
    assert set(volumes.glob("*")) == before


async def test_container_that_has_ended_stays_until_its_block_ends(engine, busybox):
    async with engine.container(busybox, ["sh", "-c", "echo last; exit 5"], **QUIET) as box:
        assert await box.wait() == 5
        assert [entry.text async for entry in box.logs(follow=True)] == [b"last\n"]
    assert await nothing_is_left(engine)


async def test_container_ends_with_a_block_that_fails(engine, busybox):
    with pytest.raises(ZeroDivisionError):
        async with engine.container(busybox, FOREVER, **QUIET):
            raise ZeroDivisionError
    assert await nothing_is_left(engine)


async def test_cancellation_ends_containers_wherever_it_comes(engine, busybox):
    async def hold(task_status):
        async with engine.container(busybox, FOREVER, **QUIET) as box:
            task_status.started(await pid_of(box))
            await trio.sleep_forever()

    async def run():
        await engine.run(busybox, FOREVER, **QUIET)

    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            pidfds = [os.pidfd_open(await nursery.start(hold)) for _ in range(2)]
            nursery.start_soon(run)
            await started(engine, 3)
            with trio.move_on_after(0):
                await hold(trio.TASK_STATUS_IGNORED)  # before its container is made
            nursery.cancel_scope.cancel()
    for pidfd in pidfds:
        await wait_until_gone(pidfd)
    assert await nothing_is_left(engine)


async def started(engine, count: int) -> None:
    seen = set()
    async for event in engine.events(since=0):
        if event.action in ("start", "destroy"):
            (seen.add if event.action == "start" else seen.discard)(event.id)
        if len(seen) == count:
            return


PROGRAM = """
import sys
import rootless
import trio

async def main():
    async with rootless.open_engine() as engine:
        async with engine.container(sys.argv[1], ["sleep", "1000"], network="none", stop_timeout=0) as box:
            if sys.argv[2] == "ended":
                await box.kill()
                await box.wait()
            print(box.id, flush=True)
            await trio.sleep_forever()

trio.run(main)
"""


@pytest.mark.parametrize("then", ["running", "ended"])
async def test_container_does_not_outlive_a_program_that_is_killed(engine, product, busybox, then):
    argv = [sys.executable, "-P", "-c", PROGRAM, busybox, then]
    with subprocess.Popen(argv, env=product.env, stdout=subprocess.PIPE) as program:
        container_id = (await trio.to_thread.run_sync(program.stdout.readline)).decode().strip()
        assert (await engine.containers.get(container_id)).id == container_id
        program.send_signal(signal.SIGKILL)
        with trio.fail_after(20):
            async for event in engine.events(since=0):
                if (event.action, event.id) == ("destroy", container_id):
                    break
    assert await nothing_is_left(engine)


async def test_container_whose_keeper_is_killed_ends_with_its_block(engine, busybox):
    async with engine.container(busybox, FOREVER, **QUIET) as box:
        (agent,) = [pid for pid in children(os.getpid()) if b"rootless.cli.agent" in command_line(pid)]
        (keeper,) = children(agent)
        os.kill(keeper, signal.SIGKILL)
        assert await box.status() == "running"
    assert await nothing_is_left(engine)


def children(pid: int) -> list[int]:
    tasks = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(word) for task in tasks for word in task.read_text().split()]


def command_line(pid: int) -> bytes:
    return Path(f"/proc/{pid}/cmdline").read_bytes()


async def test_container_has_a_life_of_its_own_where_it_was_only_created(engine, product, busybox):
    box = await engine.containers.create(busybox, FOREVER, name="own", label={"a": "1"}, **QUIET)
    assert (await box.status(), await engine.containers.list()) == ("created", [])
    await box.start()
    assert product.run("inspect", "-f", "{{.Config.Labels.a}} {{.State.Status}}", "own").out == "1 running\n"
    assert (await box.usage()).memory_bytes > 0
    with pytest.raises(rootless.StateConflict):
        await box.remove()
    await box.stop()
    assert await box.wait() == 137
    await (await engine.containers.get("own")).remove()
    assert await nothing_is_left(engine)


async def test_stop_waits_no_longer_than_its_caller(engine, busybox):
    options = {**QUIET, "stop_timeout": 1000}
    box = await engine.containers.create(
        busybox, ["sh", "-c", "trap : TERM; while :; do sleep 1000 & wait; done"], **options
    )
    await box.start()
    with trio.move_on_after(0.1) as scope:
        await box.stop()
    assert scope.cancelled_caught
    await box.kill()
    assert await box.wait() == 137


async def test_documented_program_runs(product, busybox):
    (program,) = re.findall(r"```python\n(import rootless\n.*?)```", doc(), re.DOTALL)
    text = program.replace('"debian:12"', repr(busybox)).replace("init=True", "init=True, network='none'")
    done = await trio.run_process(
        [sys.executable, "-P", "-c", text], env=product.env, capture_stdout=True, capture_stderr=True
    )
    assert (done.stdout, done.stderr) == (b"hello\nbye\nTrue\n", b"")


def doc() -> str:
    return (REPOSITORY / "docs/python.md").read_text()
