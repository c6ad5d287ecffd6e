"""What the engine does for a container while it lives: restart, check, log and limit it.

Parts of `model.spec.ContainerSpec`.
"""

from __future__ import annotations

from rootless.model.value import Value


class RestartPolicy(Value):
    """--restart: what the monitor does once the container has ended.

    Attributes:
        name: "no", "on-failure", "always" or "unless-stopped".
        max_retries: of "on-failure", 0 is without end.
    """

    __slots__ = ("max_retries", "name")

    def __init__(self, *, name: str = "no", max_retries: int = 0) -> None:
        self.name = name
        self.max_retries = max_retries


class Healthcheck(Value):
    """HEALTHCHECK of the image, changed by --health-*. Times in nanoseconds, as images write them.

    Attributes:
        test: () is none; else ("CMD", argv…) or ("CMD-SHELL", text).
        retries: so many failures in a row make it unhealthy.
        start_period_ns: failures in this time after the start do not count.
        start_interval_ns: time between checks in the start period.
    """

    __slots__ = ("interval_ns", "retries", "start_interval_ns", "start_period_ns", "test", "timeout_ns")

    def __init__(
        self,
        *,
        test: tuple[str, ...] = (),
        interval_ns: int = 30_000_000_000,
        timeout_ns: int = 30_000_000_000,
        retries: int = 3,
        start_period_ns: int = 0,
        start_interval_ns: int = 5_000_000_000,
    ) -> None:
        self.test = test
        self.interval_ns = interval_ns
        self.timeout_ns = timeout_ns
        self.retries = retries
        self.start_period_ns = start_period_ns
        self.start_interval_ns = start_interval_ns


class LogConfig(Value):
    """--log-driver and --log-opt.

    Attributes:
        driver: "json-file", "k8s-file" or "none".
        max_size_bytes: a file that has grown to this is rotated, 0 never. max_files: kept, this one included.
        options: all of --log-opt as written, "name=value".
    """

    __slots__ = ("driver", "max_files", "max_size_bytes", "options")

    def __init__(
        self,
        *,
        driver: str = "json-file",
        max_size_bytes: int = 0,
        max_files: int = 1,
        options: tuple[str, ...] = (),
    ) -> None:
        self.driver = driver
        self.max_size_bytes = max_size_bytes
        self.max_files = max_files
        self.options = options


class Limits(Value):
    """What a container may use, as its user asked; 0 and "" are no limit.

    Attributes:
        memory_bytes, memory_reservation_bytes. memory_swap_bytes: memory and swap together, -1 without limit.
        cpus: thousandths of a CPU. cpu_shares: Docker's relative weight, 1024 is one.
        cpuset_cpus: list of CPUs as in man 7 cpuset, "0-2,5".
        pids: number of tasks, -1 without limit.
        oom_score_adj: None leaves it as it is.
        required: --limits=require, a limit that cannot be enforced is an error.
    """

    __slots__ = (
        "cpu_shares",
        "cpus",
        "cpuset_cpus",
        "memory_bytes",
        "memory_reservation_bytes",
        "memory_swap_bytes",
        "oom_score_adj",
        "pids",
        "required",
    )

    def __init__(
        self,
        *,
        memory_bytes: int = 0,
        memory_swap_bytes: int = 0,
        memory_reservation_bytes: int = 0,
        cpus: int = 0,
        cpu_shares: int = 0,
        cpuset_cpus: str = "",
        pids: int = 0,
        oom_score_adj: int | None = None,
        required: bool = False,
    ) -> None:
        self.memory_bytes = memory_bytes
        self.memory_swap_bytes = memory_swap_bytes
        self.memory_reservation_bytes = memory_reservation_bytes
        self.cpus = cpus
        self.cpu_shares = cpu_shares
        self.cpuset_cpus = cpuset_cpus
        self.pids = pids
        self.oom_score_adj = oom_score_adj
        self.required = required


def parse_cpuset(text: str) -> frozenset[int]:
    """Return the numbers in a list of CPUs, "0-2,5" (man 7 cpuset); ValueError for anything else."""
    found: set[int] = set()
    for part in text.split(","):
        first, dash, last = part.partition("-")
        if not _is_number(first) or (dash and not (_is_number(last) and int(first) <= int(last))):
            raise ValueError(f"not a list of CPUs: {text}")
        found.update(range(int(first), int(last or first) + 1))
    return frozenset(found)


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) < 6
