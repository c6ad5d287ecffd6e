"""Run a command under a seccomp filter of the product, without a container around it.

Usage: python -m tests.helpers.confined default|nesting|PROFILE.json COMMAND [ARG...]
"""

import os
import sys

from rootless.linux import calls, const
from rootless.model.spec import Security
from rootless.runtime import caps, seccomp


def main() -> None:
    policy, *command = sys.argv[1:]
    nesting = policy == "nesting"
    security = Security(nesting=nesting, seccomp="default" if policy in ("default", "nesting") else policy)
    program = seccomp.compile_filter(security, caps.compute(security))
    calls.prctl(const.PR_SET_NO_NEW_PRIVS, 1)
    calls.seccomp_set_filter(program)
    os.execvp(command[0], command)


if __name__ == "__main__":
    main()
