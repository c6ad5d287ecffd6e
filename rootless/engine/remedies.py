"""What an administrator would run, exactly, to lift a limit of the host. Pure text; imported only to tell.

Used by `engine.modes` (hints of errors) and `rootless doctor`.
"""

from __future__ import annotations

import shlex

from rootless.runtime import restrictions

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

RANGE_SIZE = 65536
_FIRST_FREE = 100000  # SUB_UID_MIN of man 5 login.defs
_LAST_FREE = 600100000  # SUB_UID_MAX

_FAMILIES = {  # ID or ID_LIKE of /etc/os-release → family
    "debian": ("debian", "ubuntu", "linuxmint", "raspbian"),
    "fedora": ("fedora", "rhel", "centos", "rocky", "almalinux", "amzn"),
    "suse": ("suse", "opensuse", "opensuse-leap", "opensuse-tumbleweed", "sles", "sled"),
    "alpine": ("alpine", "postmarketos"),
    "arch": ("arch", "archlinux", "manjaro"),
}
_INSTALL = {
    "debian": "sudo apt-get install {}",
    "fedora": "sudo dnf install {}",
    "suse": "sudo zypper install {}",
    "alpine": "sudo apk add {}",
    "arch": "sudo pacman -S {}",
}
_UIDMAP = {
    "debian": "uidmap",
    "fedora": "shadow-utils",
    "suse": "shadow",
    "alpine": "shadow-uidmap",
    "arch": "shadow",
}
_PACKAGES = {"newuidmap": _UIDMAP, "newgidmap": _UIDMAP, "pasta": dict.fromkeys(_FAMILIES, "passt")}
"""program → family → package, where it is not named like the program."""
_APPARMOR = """\
# for all programs of this interpreter; a virtual environment made with --copies has one of its own
sudo tee /etc/apparmor.d/rootless-python >/dev/null <<'EOF'
abi <abi/4.0>,
include <tunables/global>
profile rootless-python "{executable}" flags=(unconfined) {{
  userns,
}}
EOF
sudo apparmor_parser -r /etc/apparmor.d/rootless-python"""


def family(os_release: str) -> str:
    """Return the distribution's family from the text of /etc/os-release (man 5 os-release), "" if unknown."""
    fields = dict(line.split("=", 1) for line in os_release.splitlines() if "=" in line)
    like = fields.get("ID_LIKE", "").strip("\"'").split()
    for word in (fields.get("ID", "").strip("\"'"), *like):
        for name, members in _FAMILIES.items():
            if word in members:
                return name
    return ""


def install(program: str, distribution: str) -> str:
    """Return the command that installs the package of a program."""
    if distribution not in _INSTALL:
        return f"install the package that has {program}"
    return _INSTALL[distribution].format(_PACKAGES.get(program, {}).get(distribution, program))


def add_ranges(user: str, *, subuid: str, subgid: str) -> str:
    """Return the command that gives a user subordinate ids.

    Args:
        subuid, subgid: texts of /etc/subuid and /etc/subgid; the range proposed is free in both.
    """
    first = free_range((subuid, subgid))
    span = f"{first}-{first + RANGE_SIZE - 1}"
    return f"sudo usermod --add-subuids {span} --add-subgids {span} {shlex.quote(user)}"


def free_range(files: Sequence[str]) -> int:
    """Return the first id of a free range of 65536 ids: after the highest one in use."""
    end = _FIRST_FREE
    for text in files:
        for line in text.splitlines():
            fields = line.strip().split(":")
            if len(fields) == 3 and fields[1].isdigit() and fields[2].isdigit():
                start, count = int(fields[1]), int(fields[2])
                if start <= _LAST_FREE:  # what directory services hand out lies far above
                    end = max(end, start + count)
    return end


def user_namespaces(restriction: str, *, executable: str) -> str:
    """Return what lifts a restriction of user namespaces (a word of `runtime.restrictions`).

    Args:
        executable: the interpreter with symbolic links resolved: AppArmor sees that path.
    """
    commands = {
        restrictions.KERNEL: "boot a kernel built with CONFIG_USER_NS=y",
        restrictions.LIMIT: _sysctl("user.max_user_namespaces", 15000),
        restrictions.COUNT: "end other containers, or raise the limit:\n"
        + _sysctl("user.max_user_namespaces", 60000),
        restrictions.CLONE: _sysctl("kernel.unprivileged_userns_clone", 1),
        restrictions.APPARMOR: _APPARMOR.format(executable=executable),
        restrictions.SECCOMP: "start the outer container with --security-opt seccomp=unconfined\n"
        "(rootless as the outer engine: --security-opt nesting)",
        restrictions.CHROOT: "enter the new root with pivot_root(2) in place of chroot(2)",
        restrictions.UNMAPPED: "map this user's uid and gid in the outer user namespace",
    }
    unknown = "see what the kernel says: sudo dmesg | tail (in a chroot it always refuses them)"
    return commands.get(restriction, unknown)


def cgroups(version: str) -> str:
    """Return what gives users control of their cgroups; `version` as in `linux.cgroups.find_version`."""
    if version == "v2":
        return "sudo systemctl edit user@.service, with [Service] Delegate=cpu cpuset io memory pids"
    return "boot with systemd.unified_cgroup_hierarchy=1"


def device(path: str) -> str:
    """Return what makes /dev/fuse or /dev/net/tun usable for everybody."""
    module = {"/dev/fuse": "fuse", "/dev/net/tun": "tun"}[path]
    return (
        f"sudo modprobe {module} && sudo chmod 666 {path}\n"
        f"inside a container: start the outer one with --device {path}"
    )


def _sysctl(name: str, value: int) -> str:
    path = "/etc/sysctl.d/99-rootless.conf"
    return f"echo {name}={value} | sudo tee -a {path} && sudo sysctl -p {path}"
