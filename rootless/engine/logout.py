"""Whether this host ends a user's containers when the user logs out. Ring 1; imported for -d only.

systemd-logind can kill what a login session leaves (KillUserProcesses, man 5 logind.conf), and stops a user's
manager, with all that it runs, after the last logout unless the user lingers (man 1 loginctl). A batch system
kills what a job leaves.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_CONF_DIRECTORIES = ("/usr/lib/systemd", "/usr/local/lib/systemd", "/run/systemd", "/etc/systemd")
"""Later ones win."""
_LINGER = "/var/lib/systemd/linger"
_JOBS = (("SLURM_JOB_ID", "Slurm"), ("PBS_JOBID", "PBS"), ("LSB_JOBID", "LSF"))

_TOLD = "the host ends this container when"


class Facts:
    """What decides.

    Attributes:
        job: "Slurm job 7", "" outside of a batch job.
        cgroup: of this process, as /proc/self/cgroup has it for cgroup 2.
        kills_session: logind ends the processes of this user's sessions.
        lingers: the user's manager stays after a logout.
    """

    __slots__ = ("cgroup", "job", "kills_session", "lingers")

    def __init__(self, *, job: str, cgroup: str, kills_session: bool, lingers: bool) -> None:
        self.job = job
        self.cgroup = cgroup
        self.kills_session = kills_session
        self.lingers = lingers


def notice(facts: Facts) -> str:
    """Return what a user should know who starts a container in the background, "" for nothing. Pure."""
    if facts.job:
        return f"{_TOLD} {facts.job} ends"
    parts = facts.cgroup.split("/")
    in_session = any(part.startswith("session-") and part.endswith(".scope") for part in parts)
    in_manager = any(part.startswith("user@") and part.endswith(".service") for part in parts)
    if in_manager and not facts.lingers:
        return f"{_TOLD} you log out; `loginctl enable-linger` keeps it"
    if in_session and facts.kills_session:
        keep = "" if facts.lingers else "`loginctl enable-linger` and "
        return (
            f"{_TOLD} you log out (KillUserProcesses=yes in logind.conf); {keep}"
            "`systemd-run --user --scope rootless …` keep it"
        )
    return ""


def load_facts(*, environment: Mapping[str, str], user: str = "", root: str = "/") -> Facts:
    """Look at this host; what cannot be read counts as not said.

    Args:
        user: name of the present user, looked up where it is "".
        root: where the host's files are, for tests.
    """
    user = user or _user_name()
    settings: dict[str, str] = {}
    for path in conf_files(root):
        settings |= parse_login_section(_read(path))
    job = next((f"{name} job {environment[key]}" for key, name in _JOBS if environment.get(key)), "")
    return Facts(
        job=job,
        cgroup=_own_cgroup(_read(os.path.join(root, "proc/self/cgroup"))),
        kills_session=kills_session(settings, user=user),
        lingers=os.path.exists(os.path.join(root, _LINGER.lstrip("/"), user)),
    )


def conf_files(root: str) -> list[str]:
    """Return the files of logind's configuration, those that win last (man 5 logind.conf).

    One main file counts, and of equally named drop-ins one: that of the directory that wins.
    """
    main, drop_ins = "", {}
    for directory in _CONF_DIRECTORIES:
        base = os.path.join(root, directory.lstrip("/"), "logind.conf")
        main = base if os.path.exists(base) else main
        try:
            names = os.listdir(base + ".d")
        except OSError:
            continue
        drop_ins.update({name: os.path.join(base + ".d", name) for name in names if name.endswith(".conf")})
    return [*([main] if main else []), *(drop_ins[name] for name in sorted(drop_ins))]


def parse_login_section(text: str) -> dict[str, str]:
    """Return the settings of the section [Login] of one file."""
    settings = {}
    section = ""
    for line in text.splitlines():
        line = line.strip()
        if line.startswith("["):
            section = line
        elif section == "[Login]" and "=" in line and not line.startswith(("#", ";")):
            name, _, value = line.partition("=")
            settings[name.strip()] = value.strip()
    return settings


def kills_session(settings: Mapping[str, str], *, user: str) -> bool:
    """Tell whether logind ends what this user's sessions leave."""
    if settings.get("KillUserProcesses", "no").lower() not in ("yes", "true", "on", "1", "y", "t"):
        return False
    only = settings.get("KillOnlyUsers", "").split()
    return user not in settings.get("KillExcludeUsers", "root").split() and (not only or user in only)


def _user_name() -> str:
    import pwd

    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())


def _own_cgroup(text: str) -> str:
    """Return the path on the line of cgroup 2, or of systemd's own hierarchy of version 1."""
    lines: Iterable[list[str]] = (line.split(":", 2) for line in text.splitlines())
    paths = {fields[1]: fields[2] for fields in lines if len(fields) == 3}
    return paths.get("name=systemd") or paths.get("", "")


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""
