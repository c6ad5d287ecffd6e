"""What the drivers with a user-space IP stack need of the host: a program and /dev/net/tun. Ring 1."""

from __future__ import annotations

import os

from rootless.errors import os_error_text
from rootless.network.driver import DriverUnusable

DEVICE = "/dev/net/tun"


def check_tun_driver(program: str, *, name: str, package: str) -> None:
    """Check that a tap device can be had and the program is there.

    Raises:
        DriverUnusable: one of them is missing; the hint says how to get it.
    """
    if not program or not os.access(program, os.X_OK):
        raise DriverUnusable(
            f"cannot use the network driver {name}: the program is not installed",
            on=program or None,
            hint=f"have an administrator install the package {package}, or use --network host or none",
        )
    try:
        os.close(os.open(DEVICE, os.O_RDWR | os.O_CLOEXEC))
    except OSError as exc:
        raise DriverUnusable(
            f"cannot use the network driver {name}: {os_error_text(exc)}",
            on=DEVICE,
            hint="have an administrator run: modprobe tun && chmod 666 /dev/net/tun\n"
            "inside a container: start the outer one with --device /dev/net/tun",
        ) from exc
