"""System call numbers by machine, imported only for the machine that is asked for. Ring 1.

Facts of the ABI; what to do with a call is decided in `runtime.seccomp`.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType

_ALIASES = {"amd64": "x86_64", "arm64": "aarch64"}


def canonical(machine: str = "") -> str:
    """Return the kernel's name of a machine; "" is this one, "amd64" and "arm64" are understood."""
    name = machine or os.uname().machine
    return _ALIASES.get(name, name)


def load(machine: str = "") -> ModuleType:
    """Return the table module of a machine ("" is this one): NUMBERS (name → number) and AUDIT_ARCH.

    Raises:
        LookupError: there is no table for that machine.
    """
    name = canonical(machine)
    if name == "x86_64":
        from rootless.linux.abi import x86_64

        return x86_64
    if name == "aarch64":
        from rootless.linux.abi import aarch64

        return aarch64
    raise LookupError(f"no table of system calls for {name}")
