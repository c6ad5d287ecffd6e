"""What type checkers see of the Python interface: `mypy --strict` checks this file, nobody runs it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, assert_type

import rootless


async def use(engine: rootless.Engine) -> None:
    made = await engine.run(
        "debian:12", ["id"], input=b"", env={"A": "1"}, volume=[Path("/v")], memory=1 << 20
    )
    assert_type(made, rootless.Completed)
    assert_type((made.exit_code, made.stdout, made.stderr), tuple[int, bytes, bytes])
    await engine.run("debian:12", nmae="x")  # type: ignore[call-arg]
    await engine.run("debian:12", init="x")  # type: ignore[arg-type]

    async with engine.container("debian:12", stop_timeout=0) as container:
        assert_type(container, rootless.Container)
        assert_type(await container.wait(), int)
        assert_type(await container.inspect(), dict[str, Any])
        assert_type(await container.usage(), rootless.Usage)
        assert_type(await container.exec(["id"], user=1000), rootless.Completed)
        async for entry in container.logs(follow=True):
            assert_type(entry, rootless.LogEntry)
        async with container.open_exec(["id"], interactive=True) as process:
            assert_type(process, rootless.Process)
            assert_type(await process.stdout.receive_some(), bytes)
            if process.stdin is not None:
                await process.stdin.send_all(b"")
        async with container.attach(input=True) as process:
            assert_type(await process.communicate(), rootless.Completed)
    async with engine.open_run("debian:12") as process:
        assert_type(process.container, rootless.Container)

    assert_type(await engine.images.pull("debian:12"), rootless.Image)
    assert_type(await engine.images.push("x:1", format="oci"), list[rootless.Pushed])
    assert_type(await engine.images.list(), list[rootless.Image])
    assert_type(await engine.containers.list(all=True), list[rootless.Container])
    assert_type(await engine.containers.create("debian:12", name="x"), rootless.Container)
    async for event in engine.events():
        assert_type(event, rootless.Event)
    try:
        await engine.containers.get("x")
    except rootless.CommandFailed as exc:
        assert_type(exc.result, rootless.Completed)
    except rootless.RootlessError as exc:
        assert_type((exc.message, exc.reference), tuple[str, str])


async def main() -> None:
    async with rootless.open_engine(Path("/store")) as engine:
        assert_type(engine, rootless.Engine)
        assert_type(engine.root, str)
