"""Simulated hosts: run a command as an ordinary user on a host that lacks something. Needs root.

    with simulated_host("rl-single", without=("fuse", "tun"), filesystems={store: "tmpfs:64m"}) as host:
        result = host.run("python", "-m", "rootless", "doctor")

The host is a private mount namespace, kept by a process that ends with the block, so that several
commands see the same mounts. What `without` may name:

    newuidmap       the programs newuidmap and newgidmap are missing
    newuidmap-suid  they are there, but on a nosuid mount
    fuse, tun       /dev/fuse or /dev/net/tun is missing
    PROGRAM         any other word: that program of /usr/bin, /usr/sbin, /bin or /sbin is missing
    userns          unshare, clone and clone3 refuse new user namespaces, mount refuses everything
                    (the policy of a default Docker container, tests/helpers/deny_userns.py)
    new-privileges  no_new_privs is set: set-id programs give nothing

With `cgroup` the host has cgroup 2 alone, and gives the user a part of it: "own" puts commands into the top
of that part, "leaf" into a cgroup below. Which controllers are there depends on the real host.

`filesystems` mounts something new on a directory, owned by the user: "tmpfs:SIZE", "ramfs" (no xattrs),
"overlay" (a kernel overlay cannot have its upper there), "readonly" (what is there now, read-only), "nosuid".
"""

from __future__ import annotations

import os
import pwd
import shlex
import shutil
import subprocess
import sys
from contextlib import contextmanager

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

REPOSITORY = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
DENY_USERNS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "deny_userns.py")
_DEVICES = ("full", "fuse", "null", "ptmx", "pts", "random", "shm", "tty", "urandom", "zero", "net/tun")
_CGROUP = "/sys/fs/cgroup/rootless-tests-{}"
_REMOVE = "find $c -depth -type d -exec rmdir {} + 2>/dev/null"
_SPECIAL = ("fuse", "new-privileges", "newuidmap", "newuidmap-suid", "tun", "userns")


class Host:
    """A simulated host that is up: `argv` makes a command line, `run` runs one and returns its outcome."""

    def __init__(
        self,
        user: str,
        holder_pid: int,
        *,
        without: Sequence[str],
        env: Mapping[str, str],
        cgroup: str = "",
    ) -> None:
        self.user = user
        self.cgroup = _CGROUP.format(holder_pid) if cgroup else ""
        self._place = {"own": self.cgroup, "leaf": f"{self.cgroup}/leaf"}.get(cgroup, "")
        self._pid = holder_pid
        self._without = without
        self._env = user_environment(user) | dict(env)

    def argv(self, *command: str) -> list[str]:
        prefix = ["nsenter", "-t", str(self._pid), "-m", "--"]
        if self._place:
            prefix += ["sh", "-c", f'echo $$ > {self._place}/cgroup.procs && exec "$@"', "sh"]
        prefix.append("setpriv")
        if "new-privileges" in self._without:
            prefix.append("--no-new-privs")
        prefix += [
            "--reuid",
            self.user,
            "--regid",
            _group(self.user),
            "--init-groups",
            "--inh-caps=-all",
            "--",
        ]
        prefix += ["env", "-i", "-C", REPOSITORY, *(f"{k}={v}" for k, v in self._env.items())]
        if "userns" in self._without:
            prefix += [sys.executable, "-I", DENY_USERNS]
        return [*prefix, *_resolve(command)]

    def run(self, *command: str, timeout: float = 60, **options: object) -> subprocess.CompletedProcess[str]:
        """Run a command; "python" is the interpreter of the tests. Output is captured as text."""
        settings = {"capture_output": True, "text": True, "timeout": timeout, "check": False} | options
        return subprocess.run(self.argv(*command), **settings)  # type: ignore[call-overload,no-any-return]


@contextmanager
def simulated_host(
    user: str,
    *,
    without: Sequence[str] = (),
    filesystems: Mapping[str, str] | None = None,
    env: Mapping[str, str] | None = None,
    cgroup: str = "",
) -> Iterator[Host]:
    """Bring a simulated host up; it goes away with the block. See the module's docstring."""
    lines = _setup(user, without, filesystems or {})
    end = ["exec cat"]
    if cgroup:
        lines += _delegate(user)
        end = ["cat; echo 1 > $c/cgroup.kill", f"while [ -d $c ]; do {_REMOVE} || sleep 0.02; done"]
    script = "\n".join(["set -e", *lines, "echo ready", *end])
    holder = subprocess.Popen(
        ["unshare", "--mount", "--propagation", "private", "--", "sh", "-c", script],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert holder.stdin
    assert holder.stdout
    assert holder.stderr
    with holder:
        if holder.stdout.readline() != "ready\n":
            raise RuntimeError(f"cannot simulate the host: {holder.stderr.read()}")
        try:
            yield Host(user, holder.pid, without=without, env=env or {}, cgroup=cgroup)
        finally:
            holder.stdin.close()


def user_environment(user: str) -> dict[str, str]:
    """Return a clean environment for commands of this user, able to import the checkout."""
    return {
        "HOME": pwd.getpwnam(user).pw_dir,
        "USER": user,
        "LOGNAME": user,
        "PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin",
        "LANG": "C.UTF-8",
        "PYTHONPATH": REPOSITORY,
        "PYTHONDONTWRITEBYTECODE": "1",
    }


def as_user(user: str, *command: str, env: Mapping[str, str] | None = None) -> list[str]:
    """Return the command line that runs a command as this user on the host as it is."""
    variables = user_environment(user) | dict(env or {})
    prefix = ["setpriv", "--reuid", user, "--regid", _group(user), "--init-groups", "--inh-caps=-all", "--"]
    prefix += ["env", "-i", "-C", REPOSITORY, *(f"{k}={v}" for k, v in variables.items())]
    return [*prefix, *_resolve(command)]


def _resolve(command: Sequence[str]) -> list[str]:
    return [sys.executable if command[0] == "python" else command[0], *command[1:]]


def _group(user: str) -> str:
    return str(pwd.getpwnam(user).pw_gid)


def _setup(user: str, without: Sequence[str], filesystems: Mapping[str, str]) -> list[str]:
    lines = []
    if {"fuse", "tun"} & set(without):
        lines += _bare_dev({{"fuse": "fuse", "tun": "net/tun"}.get(word, "") for word in without})
    for word in without:
        if word == "newuidmap":
            lines += [*_hide("newuidmap"), *_hide("newgidmap")]
        elif word == "newuidmap-suid":
            lines += [*_nosuid("newuidmap"), *_nosuid("newgidmap")]
        elif word not in _SPECIAL:
            lines += _hide(word)
    for path, kind in filesystems.items():
        lines += _mount(user, shlex.quote(path), kind)
    return lines


def _hide(program: str) -> list[str]:
    """Cover a program with /dev/null: a file nobody may execute counts as missing in every search of PATH."""
    places = {os.path.realpath(f"{d}/{program}") for d in ("/usr/bin", "/usr/sbin", "/bin", "/sbin")}
    return [f"mount --bind /dev/null {shlex.quote(p)}" for p in sorted(places) if os.path.exists(p)]


def _nosuid(program: str) -> list[str]:
    path = shutil.which(program) or f"/usr/bin/{program}"
    return [f"mount --bind {path} {path}", f"mount -o remount,bind,nosuid {path}"]


def _bare_dev(missing: set[str]) -> list[str]:
    left = [d for d in _DEVICES if d not in missing and os.path.exists(f"/dev/{d}")]
    lines = ["new=$(mktemp -d)", "mount -t tmpfs -o mode=755 tmpfs $new", "mkdir $new/net"]
    for name in left:
        if os.path.islink(f"/dev/{name}"):
            lines.append(f"cp -P /dev/{name} $new/{name}")
        elif os.path.isdir(f"/dev/{name}"):
            lines.append(f"mkdir $new/{name}; mount --rbind /dev/{name} $new/{name}")
        else:
            lines.append(f": > $new/{name}; mount --bind /dev/{name} $new/{name}")
    lines += [
        f"ln -s /proc/self/fd{tail} $new/{n}" for n, tail in (("fd", ""), ("stdin", "/0"), ("stdout", "/1"))
    ]
    return [*lines, "mount --rbind $new /dev", "umount -l $new; rmdir $new"]


def _delegate(user: str) -> list[str]:
    return [
        "umount -l -R /sys/fs/cgroup; mount -t cgroup2 none /sys/fs/cgroup",
        f"c={_CGROUP.format('$$')}; mkdir -p $c/leaf; chown -R {user} $c",
    ]


def _mount(user: str, path: str, kind: str) -> list[str]:
    name, _, detail = kind.partition(":")
    make = f"[ -d {path} ] || install -d -o {user} -g {_group(user)} {path}"
    own = f"chown {user}:{_group(user)} {path}; chmod 700 {path}"
    if name == "tmpfs":
        return [make, f"mount -t tmpfs -o size={detail or '64m'} tmpfs {path}", own]
    if name == "ramfs":
        return [make, f"mount -t ramfs ramfs {path}", own]
    if name == "overlay":
        layers = "lowerdir=$s/lower,upperdir=$s/upper,workdir=$s/work"  # hidden below the overlay itself
        scratch = f"s={path}; mount -t tmpfs tmpfs $s; mkdir $s/lower $s/upper $s/work"
        return [make, scratch, f"mount -t overlay -o {layers} overlay {path}", own]
    if name in ("readonly", "nosuid"):
        flag = "ro" if name == "readonly" else name
        return [f"mount --bind {path} {path}", f"mount -o remount,bind,{flag} {path}"]
    raise ValueError(f"unknown kind of file system: {kind}")
