"""Random commands from several processes at once, some of them killed, and their monitors too.

After each round `ps -a`, the process table, the mounts and what lies on disk must agree; in the end
nothing is left. Every run says its seed: `CHAOS_SEED=N` repeats it, as far as the scheduler lets it.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import threading
from typing import TYPE_CHECKING

import pytest

from tests.helpers.leftovers import helpers_of, stray_files
from tests.helpers.processes import all_processes, ancestors, describe, read, settle, start_of

if TYPE_CHECKING:
    from tests.helpers.product import Product

NAMES = ("red", "green", "blue")
WORKERS = 3
COMMAND_S = 60
SLEEP = f"765{os.getpid()}"
"""Argument by which the processes of the containers are known."""

BUGS = ("Traceback", "[os-error]", "[internal", "cannot run container: ", "damaged")
"""What no command may say, whoever was killed."""


class Chaos:
    """One store, and those who use it without regard for each other."""

    def __init__(self, product: Product, image: str, *, seed: int) -> None:
        self.product = product
        self.image = image
        self.seed = seed
        self.complaints: list[str] = []

    def round(self, number: int, *, commands: int) -> None:
        workers = [
            threading.Thread(target=self.work, args=(random.Random(f"{self.seed}.{number}.{i}"), commands))
            for i in range(WORKERS)
        ]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        assert not self.complaints, f"seed {self.seed}, round {number}:\n" + "\n".join(self.complaints)
        where = f"seed {self.seed}, round {number}"
        settle(self.disagreements, where)
        self.sweep()
        settle(lambda: stray_files(self.product), where)

    def work(self, chance: random.Random, commands: int) -> None:
        for _ in range(commands):
            if chance.random() < 0.1:
                self.kill_a_monitor(chance)
            else:
                self.command(chance)

    def command(self, chance: random.Random) -> None:
        """Run one command; every sixth is killed at some moment."""
        words = self.choose(chance)
        process = self.product.start(*words, start_new_session=True)
        moment = chance.uniform(0.02, 0.4) if chance.random() < 1 / 6 else COMMAND_S
        try:
            out, err = process.communicate(timeout=moment)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate(timeout=COMMAND_S)
            if moment == COMMAND_S:
                self.complaints.append(f"no end: {words}")
            return
        text = (out + err).decode(errors="replace")
        if any(bug in text for bug in BUGS):
            self.complaints.append(f"{words}: {text}")

    def choose(self, chance: random.Random) -> list[str]:
        name = chance.choice(NAMES)
        policy = chance.choice(["no", "always", "on-failure:2", "unless-stopped"])
        program = chance.choice(
            [("sleep", SLEEP), ("sh", "-c", f"sleep {SLEEP} & wait"), ("true",), ("false",)]
        )
        long = [self.image, *program]
        offline = "--network=none"
        choices = [
            ["create", f"--name={name}", offline, f"--restart={policy}", *long],
            ["run", "-d", f"--name={name}", offline, f"--restart={policy}", *long],
            ["run", "-d", f"--name={name}", offline, f"--restart={policy}", *long],
            ["run", "-d", "--rm", f"--name={name}", offline, *long],
            ["run", "--rm", offline, self.image, "true"],
            ["start", name],
            ["start", name],
            ["stop", "-t0", name],
            ["restart", "-t0", name],
            ["kill", name],
            ["pause", name],
            ["unpause", name],
            ["rename", name, chance.choice(NAMES)],
            ["exec", name, "true"],
            ["exec", "-d", name, "sleep", SLEEP],
            ["update", f"--restart={policy}", name],
            ["rm", name],
            ["rm", "-f", name],
            ["ps", "-a"],
        ]
        return chance.choice(choices)

    def kill_a_monitor(self, chance: random.Random) -> None:
        states = self.states()
        if not states:
            return
        state = chance.choice(states)
        try:
            pidfd = os.pidfd_open(int(state["monitor_pid"]))
        except OSError:
            return
        if start_of(int(state["monitor_pid"])) == state["monitor_start"]:
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        os.close(pidfd)

    def states(self) -> list[dict[str, object]]:
        """Return the records as they are on disk."""
        found = []
        for path in (self.product.store / "containers").glob("[!.]*/state.json"):
            try:
                found.append(json.loads(path.read_text()))
            except FileNotFoundError:
                continue
        return found

    def disagreements(self) -> list[str]:
        """Compare what the commands tell with the process table and the disk."""
        product = self.product
        ids = set(product.containers())
        told = json.loads(product.run("inspect", *ids).out) if ids else []
        found = [f"mounted: {point}" for point in product.mounts()]
        running = {c["State"]["Pid"] for c in told if c["State"]["Status"] in ("running", "paused")}
        found += [f"no process {pid}" for pid in running if not start_of(pid)]
        spaces = {pid_namespace(pid) for pid in running}
        inside = {p: pid_namespace(p) in spaces for p in self.programs()}
        found += [
            f"unlisted: {describe(p)} in {pid_namespace(p)}"
            for p, is_listed in inside.items()
            if not is_listed
        ]
        records = self.states()
        minding = {r["monitor_pid"] for r in records if r["status"] in ("running", "paused", "restarting")}
        minding |= {above for program in inside for above in ancestors(program)}  # of exec sessions
        found += [
            f"minds nothing: {describe(p)} in {pid_namespace(p)}"
            for p in helpers_of(product)
            if not ancestors(p) & minding
        ]
        return found and [*found, *(f"{c['Name']} {c['State']}" for c in told)]

    def programs(self) -> list[int]:
        """Return the processes of all containers."""
        mark, ours = SLEEP.encode(), set(helpers_of(self.product))
        return [pid for pid in all_processes() if mark in read(pid, "cmdline") and pid not in ours]

    def sweep(self) -> None:
        """Create a container, and so clear away what killed commands have left."""
        self.product.run("run", "--rm", "--network=none", self.image, "true")

    def finish(self) -> None:
        product = self.product
        product.remove_containers()
        self.sweep()
        assert product.containers() == []
        settle(lambda: stray_files(self.product), f"seed {self.seed}, at the end")
        settle(
            lambda: [*map(describe, helpers_of(self.product) + self.programs())],
            f"seed {self.seed}, left over",
        )


def pid_namespace(pid: int) -> str:
    try:
        return os.readlink(f"/proc/{pid}/ns/pid")
    except OSError:
        return f"of {pid}, unknown"


def play(product: Product, image: str, *, rounds: int, commands: int) -> None:
    seed = int(os.environ.get("CHAOS_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 30)
    print(f"seed {seed}")
    chaos = Chaos(product, image, seed=seed)
    for number in range(rounds):
        chaos.round(number, commands=commands)
    chaos.finish()


def test_chaos(fresh_product: Product, busybox_ref: str) -> None:
    fresh_product.run("pull", "-q", busybox_ref)
    play(fresh_product, busybox_ref, rounds=2, commands=7)


@pytest.mark.slow(sampled=False)
@pytest.mark.timeout(3600)
def test_long_chaos(fresh_product: Product, busybox_ref: str) -> None:
    fresh_product.run("pull", "-q", busybox_ref)
    play(fresh_product, busybox_ref, rounds=int(os.environ.get("CHAOS_ROUNDS", "20")), commands=12)
