"""Start containers through the runtime's own interface, with no engine: launch.py REQUEST ANSWER.

REQUEST is a file of JSON, which tests/integration/test_runtime.py writes; the answer
{"codes": […], "error": {…} | null, "pid": n} is written to the file ANSWER. The container's output is this
program's. A process of its own, because the runtime forks from a process with one thread.
"""

from __future__ import annotations

import errno
import json
import os
import signal
import sys

from rootless.errors import RootlessError
from rootless.linux import calls, procfs
from rootless.model.host import HostFacts, IdMapping, Modes
from rootless.model.spec import ContainerSpec, Process
from rootless.runtime import join, plan, process_plan, stages


def main() -> None:
    with open(sys.argv[1]) as file:
        request = json.load(file)
    answer: dict[str, object] = {"codes": [], "error": None, "pid": 0}
    if request["old_kernel"]:
        calls.mount_setattr = missing
    for _ in range(request["leak"]):
        os.set_inheritable(os.open("/etc", os.O_RDONLY), True)
    try:
        run(request, answer)
    except RootlessError as exc:
        fields = ("message", "on", "hint", "reference", "exit_code")
        answer["error"] = {name: getattr(exc, name) for name in fields}
    with open(sys.argv[2], "w") as file:
        json.dump(answer, file)


def missing(*args: object, **options: object) -> None:
    """Answer as a kernel before Linux 5.12 does to mount_setattr."""
    raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))


def run(request: dict, answer: dict) -> None:
    mapping = IdMapping.from_json(request["mapping"])
    spec = ContainerSpec.from_json(request["spec"])
    modes = Modes(identity=mapping.mode, mapping=mapping, storage=request["storage"], network="none")
    facts = HostFacts(uid=os.getuid(), gid=os.getgid(), **request["facts"])
    made = plan.make_plan(spec, modes=modes, facts=facts, files=plan.Files(**request["files"]))
    launched = stages.start(made, stdio=(0, 1, 2))
    answer["pid"] = launched.pid
    launched.proceed()
    try:
        for words in request["execs"]:
            guess = IdMapping.from_json(request["exec_mapping"])
            wanted = process_plan.plan_process(Process.from_json(words), spec.security, guess)
            joined = join.start(launched.pid, procfs.start_time(launched.pid), wanted, stdio=(0, 1, 2))
            joined.proceed()
            drain(joined.console_fd)
            answer["codes"].append(wait(joined.pid))
    finally:
        if request["execs"]:
            os.kill(launched.pid, signal.SIGKILL)
    drain(launched.console_fd)
    answer["codes"].append(wait(launched.pid))


def drain(console_fd: int) -> None:
    """Copy a terminal's output until its last user is gone."""
    while console_fd >= 0:
        try:
            data = os.read(console_fd, 4096)
        except OSError:  # EIO: nobody has the other end any more
            return
        os.write(1, data)


def wait(pid: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


if __name__ == "__main__":
    main()
