"""Options of `docker run` that this release does not act upon: taken with a notice, or refused with a reason.

Scripts written for Docker pass them. What a container can do without is taken, and one line says so; what
would make it another container than the one asked for is refused. Ring 1.
"""

from __future__ import annotations

from rootless.cli import log_options
from rootless.cli.args import BOOL, INT, LIST, Option, bad_value
from rootless.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rootless.cli.args import Parsed

LIMIT_OPTIONS = (
    *(Option(f"--{name}", hidden=True) for name in ("kernel-memory", "cpuset-mems", "cgroup-parent")),
    *(
        Option(f"--{name}", kind=INT, hidden=True)
        for name in ("blkio-weight", "cpu-rt-period", "cpu-rt-runtime", "memory-swappiness")
    ),
    *(
        Option(f"--{name}", kind=LIST, hidden=True)
        for name in (
            "blkio-weight-device",
            "device-cgroup-rule",
            "device-read-bps",
            "device-read-iops",
            "device-write-bps",
            "device-write-iops",
        )
    ),
    Option("--oom-kill-disable", kind=BOOL, hidden=True),
)
_UNLIMITED = ("", "0", "-1", "false")

IGNORED_OPTIONS = (
    *(Option(f"--{name}", kind=LIST, hidden=True) for name in ("annotation", "storage-opt")),
    Option("--runtime", hidden=True),
    Option("--volume-driver", hidden=True),
)
SILENT_OPTIONS = (
    Option("--disable-content-trust", kind=BOOL, hidden=True),  # Docker's default
)

FIXED = {
    "cgroupns": (("", "private"), "a container has a cgroup namespace of its own"),
    "isolation": (("", "default"), "there is one way of isolation"),
    "pid": (("", "private"), "a container has its own processes; `rootless exec` enters it"),
    "userns": (("", "host"), "the mode is chosen for the host, see `rootless doctor`"),
}
"""Option → (values that say what is done anyway, the hint for all others)."""

_NETWORKS = "networks with names and addresses come with a later release"
REFUSED = {
    "domainname": "write the whole name with --hostname",
    "gpus": "pass the devices with --device, and the libraries with -v",
    "ip": _NETWORKS,
    "ip6": _NETWORKS,
    "link": "use --network container:NAME, or --add-host",
    "link-local-ip": _NETWORKS,
    "mac-address": _NETWORKS,
    "network-alias": _NETWORKS,
    "sysctl": "it comes with a later release",
    "use-api-socket": "there is no daemon",
}
"""Option → what to do instead."""

OPTIONS = (
    *LIMIT_OPTIONS,
    *IGNORED_OPTIONS,
    *SILENT_OPTIONS,
    *(Option(f"--{name}", hidden=True) for name in FIXED),
    *(Option(f"--{name}", kind=BOOL if name == "use-api-socket" else LIST, hidden=True) for name in REFUSED),
)


def check(parsed: Parsed) -> None:
    """Refuse what would make another container than the one asked for, and limits that are none.

    Raises:
        UsageError: names the option and what to do instead.
    """
    for name, hint in REFUSED.items():
        if parsed.given(name):
            raise UsageError(f"cannot use --{name}: it is not supported", hint=hint)
    for name, (known, hint) in FIXED.items():
        if parsed.text(name) not in known:
            raise bad_value(f"--{name}", parsed.text(name), "not supported", hint=hint)
    if parsed.text("limits") == "require":
        for option in LIMIT_OPTIONS:
            if _limits(parsed, option):
                raise UsageError(
                    f"cannot enforce --{option.key}: it is not supported",
                    hint="leave it out, or leave out --limits=require",
                )


def notices(parsed: Parsed) -> list[str]:
    """Return a line for each group of options that were taken and have no effect."""
    lines = []
    for options, text in (
        (LIMIT_OPTIONS, "not enforced on this container"),
        (IGNORED_OPTIONS, "without effect"),
    ):
        names = [f"--{option.key}" for option in options if _limits(parsed, option)]
        if names:
            lines.append(f"{text}: {', '.join(names)}")
    return lines + log_options.notices(parsed)


def _limits(parsed: Parsed, option: Option) -> bool:
    if not parsed.given(option.key):
        return False
    if option.kind == LIST:
        return True
    if option.kind == BOOL:
        return parsed.flag(option.key)
    return parsed.text(option.key) not in _UNLIMITED
