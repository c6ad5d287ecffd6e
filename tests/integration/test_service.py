"""A real service through its life: PostgreSQL with its data in a volume, killed and started again."""

from __future__ import annotations

import os
import signal
import subprocess
from typing import TYPE_CHECKING

from tests.helpers.processes import monitor_pid, record_of, wait_for

if TYPE_CHECKING:
    from tests.helpers.product import Product

VOLUME = ("-v", "data:/var/lib/postgresql")
CHECK = ("--health-cmd=psql -c 'select 1'", "--health-interval=200ms", "--health-retries=300")


def query(product: Product, statement: str) -> str:
    return product.run("exec", "db", "psql", "-qAtc", statement).out.strip()


def healthy(product: Product) -> None:
    product.run("wait", "--condition=healthy", "db", timeout=60)


def kill_while_it_writes(product: Product, *, pid: int, first: int) -> set[int]:
    """Kill a process in the midst of many commits; return the numbers that the database said it had kept."""
    lines = "".join(f"insert into t values ({n}) returning n;\n" for n in range(first, first + 1000))
    words = ("exec", "-i", "db", "psql", "-qAt")
    with product.start(*words, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL) as client:
        assert client.stdin is not None
        assert client.stdout is not None
        client.stdin.write(lines.encode())  # a pipe holds them
        client.stdin.flush()
        kept = [client.stdout.readline() for _ in range(100)]
        os.kill(pid, signal.SIGKILL)
        client.stdin.close()
        kept += client.stdout.readlines()
    assert len(kept) < 1000
    return {int(line) for line in kept}


def test_database_keeps_what_it_promised(product: Product, postgres: str) -> None:
    product.run("run", "-d", "--network=none", "--name=db", *VOLUME, *CHECK, postgres)
    healthy(product)
    query(product, "create table t (n integer primary key)")
    kept = kill_while_it_writes(product, pid=int(str(record_of(product, "db")["pid"])), first=0)
    assert product.run("wait", "db").out == "137\n"
    product.run("start", "db")
    healthy(product)
    kept |= kill_while_it_writes(product, pid=monitor_pid(product, "db"), first=1_000_000)
    wait_for(lambda: record_of(product, "db")["status"] == "exited")
    product.run("restart", "db")
    healthy(product)
    assert kept <= {int(n) for n in query(product, "select n from t").split()}
    product.run("stop", "--time=30", "db")
    assert record_of(product, "db")["exit_code"] == 0
    assert "database system is shut down" in product.run("logs", "--tail=3", "db").err
    product.run("rm", "db")
    product.run("run", "-d", "--network=none", "--name=db", *VOLUME, *CHECK, postgres)
    healthy(product)
    assert kept <= {int(n) for n in query(product, "select n from t").split()}
    assert "was not properly shut down" not in product.run("logs", "db").err
