"""The pure function from the options of `run` and `create` to a ContainerSpec. Ring 1.

The option table is `cli.run_table`; the grammars of single values are in `cli.values`, `cli.mount_options`
and `cli.network_options`. Image defaults are merged as Docker does (moby daemon/create.go).
"""

from __future__ import annotations

import os

from rootless.cli import (
    foreground,
    health_options,
    limit_options,
    log_options,
    mount_options,
    network_options,
    run_unsupported,
    values,
)
from rootless.cli.args import bad_value
from rootless.cli.run_table import PROCESS_OPTIONS, PULL_OPTIONS, TABLE
from rootless.errors import UsageError, os_error_text
from rootless.model.names import check_name
from rootless.model.spec import ContainerSpec, Mount, Process, Security

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from layers.config import ImageConfig
    from rootless.cli.args import Parsed

__all__ = [
    "PROCESS_OPTIONS",
    "PULL_OPTIONS",
    "TABLE",
    "Caller",
    "attached_streams",
    "check_conflicts",
    "detach_keys",
    "environment_changes",
    "read_option_file",
    "spec_from_options",
]

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""Docker's, for images that set none (moby pkg/system)."""
_MAX_ENV_FILE_BYTES = 16 << 20


class Caller:
    """What a command line means depends on who wrote it: their environment, directory, host and files."""

    __slots__ = ("cwd", "environment", "find_container", "hostname", "hostname_of", "mounts_of", "read_file")

    def __init__(
        self,
        *,
        environment: Mapping[str, str],
        cwd: str,
        hostname: str,
        read_file: Callable[[str], str],
        find_container: Callable[[str], str],
        hostname_of: Callable[[str], str],
        mounts_of: Callable[[str], tuple[Mount, ...]],
    ) -> None:
        self.environment = environment
        self.cwd = cwd
        self.hostname = hostname
        self.read_file = read_file
        self.find_container = find_container
        self.hostname_of = hostname_of
        self.mounts_of = mounts_of

    @classmethod
    def here(
        cls,
        *,
        find_container: Callable[[str], str],
        hostname_of: Callable[[str], str],
        mounts_of: Callable[[str], tuple[Mount, ...]] = lambda _: (),
    ) -> Caller:
        """Describe this process.

        Args:
            find_container: makes a full id of a name or prefix.
            hostname_of, mounts_of: tell the hostname and the mounts of a container by its full id.
        """
        return cls(
            environment=os.environ,
            cwd=os.readlink("/proc/self/cwd"),  # getcwd fails in a directory that was removed
            hostname=os.uname().nodename,
            read_file=read_option_file,
            find_container=find_container,
            hostname_of=hostname_of,
            mounts_of=mounts_of,
        )


def spec_from_options(
    parsed: Parsed,
    *,
    image: str,
    image_config: ImageConfig,
    image_id: str,
    layers: tuple[str, ...],
    id: str,
    name: str,
    caller: Caller,
    now_ns: int,
) -> ContainerSpec:
    """Merge a command line with the defaults of its image.

    Args:
        image: the reference as the user wrote it.
        layers: chain ids, bottom first.
        name: of the container; the value of --name or a generated one.
    Raises:
        UsageError: names the option, its value and the reason.
    """
    check_conflicts(parsed)
    network = network_options.parse_network(parsed, image_config, find_container=caller.find_container)
    hostname = network_options.parse_hostname(
        parsed, network, hostname=caller.hostname, hostname_of=caller.hostname_of
    )
    hostname = hostname or id[:12]
    entrypoint, command = _command(parsed, image_config)
    return ContainerSpec(
        id=id,
        name=check_name(name),
        image=image,
        image_id=image_id,
        layers=layers,
        process=_process(parsed, image_config, caller=caller, argv=entrypoint + command, hostname=hostname),
        entrypoint_length=len(entrypoint),
        hostname=hostname,
        mounts=_mounts(parsed, image_config, caller=caller),
        devices=tuple(map(values.parse_device, parsed.texts("device"))),
        security=_security(parsed, caller=caller),
        network=network,
        restart=values.parse_restart(parsed.text("restart")),
        healthcheck=health_options.parse_healthcheck(parsed, image_config),
        log=log_options.parse_log(parsed),
        limits=limit_options.parse_limits(parsed, online=os.cpu_count() or 1),
        read_only=parsed.flag("read-only"),
        shm_size_bytes=_shm_size(parsed),
        init=parsed.flag("init"),
        auto_remove=parsed.flag("rm"),
        detached=parsed.flag("detach"),
        stop_signal=_stop_signal(parsed, image_config),
        stop_timeout_s=_stop_timeout(parsed),
        labels=_labels(parsed, image_config, caller=caller),
        storage=parsed.text("storage"),
        ipc=_shared(parsed, "ipc"),
        uts=_shared(parsed, "uts"),
        created_ns=now_ns,
    )


def check_conflicts(parsed: Parsed) -> None:
    """Refuse options that contradict each other, before anything is pulled.

    Raises:
        UsageError: names both.
    """
    network_options.check_conflicts(parsed)
    if parsed.text("name"):  # docker: an empty one is none
        check_name(parsed.text("name"))
    values.parse_detach_keys(parsed.text("detach-keys"))
    if values.parse_restart(parsed.text("restart")).name != "no" and parsed.flag("rm"):
        raise UsageError("conflicting options: --restart and --rm", hint="leave one of them out")
    if parsed.given("attach") and parsed.flag("detach"):
        raise UsageError("conflicting options: --attach and --detach", hint="leave one of them out")
    attached_streams(parsed)
    health_options.check_conflicts(parsed)
    log_options.parse_log(parsed)
    limit_options.parse_limits(parsed, online=os.cpu_count() or 1)
    run_unsupported.check(parsed)


def attached_streams(parsed: Parsed) -> frozenset[str]:
    """Return what -a names of "stdin", "stdout" and "stderr"; all of them without -a.

    Raises:
        UsageError: it names something else.
    """
    words = frozenset(word.lower() for word in parsed.texts("attach"))
    for word in words - foreground.ALL_STREAMS:
        raise bad_value("--attach", word, "not a stream", hint="write stdin, stdout or stderr")
    return words or foreground.ALL_STREAMS


def detach_keys(parsed: Parsed) -> bytes:
    """Return the key sequence that detaches, b"" for none."""
    if parsed.given("detach-keys"):
        return values.parse_detach_keys(parsed.text("detach-keys"))
    return values.default_detach_keys()


def environment_changes(parsed: Parsed, *, caller: Caller) -> list[tuple[str, str | None]]:
    """Return what --env-file and -e say, in the order in which they apply; None unsets a variable."""
    changes = []
    for path in parsed.texts("env-file"):
        entries = values.parse_env_file(caller.read_file(path), path=path)
        pairs = values.expand_env(entries, environment=caller.environment, option="--env-file")
        changes += [pair for pair in pairs if pair[1] is not None]
    return changes + values.expand_env(parsed.texts("env"), environment=caller.environment, option="--env")


def read_option_file(path: str) -> str:
    """Read a file that an option names; "-" is not special.

    Raises:
        UsageError: it cannot be read, is not UTF-8, or larger than any real one.
    """
    try:
        with open(path, encoding="utf-8") as file:
            text = file.read(_MAX_ENV_FILE_BYTES + 1)
    except OSError as exc:
        raise UsageError(f"cannot read a file that an option names: {os_error_text(exc)}", on=path) from exc
    except UnicodeDecodeError as exc:
        raise UsageError("cannot read a file that an option names: it is not UTF-8", on=path) from exc
    if len(text) > _MAX_ENV_FILE_BYTES:
        raise UsageError("cannot read a file that an option names: it has more than 16 MiB", on=path)
    return text


def _command(parsed: Parsed, config: ImageConfig) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return (entrypoint, command); a new entrypoint drops the image's command, for it belongs to the old."""
    command = parsed.positionals[1:]
    if parsed.given("entrypoint"):
        text = parsed.text("entrypoint")
        entrypoint: tuple[str, ...] = (text,) if text else ()
    else:
        entrypoint = config.entrypoint or ()
        command = command or config.cmd or ()
    if not entrypoint + command:
        raise UsageError(
            "no command specified",
            on=parsed.positionals[0],
            hint="the image has no default command; write one after the image",
        )
    return entrypoint, command


def _process(
    parsed: Parsed, config: ImageConfig, *, caller: Caller, argv: tuple[str, ...], hostname: str
) -> Process:
    cwd = parsed.text("workdir") or config.workdir or "/"
    if not cwd.startswith("/"):
        raise bad_value("--workdir", cwd, "not an absolute path")
    return Process(
        argv=argv,
        env=_environment(parsed, config, caller=caller, hostname=hostname),
        cwd="/" + os.path.normpath(cwd).lstrip("/"),
        user=parsed.text("user") or config.user,
        groups=parsed.texts("group-add"),
        tty=parsed.flag("tty"),
        stdin=parsed.flag("interactive"),
        umask=values.parse_umask(parsed.text("umask")) if parsed.given("umask") else 0o022,
        ulimits=tuple(map(values.parse_ulimit, parsed.texts("ulimit"))),
    )


def _environment(parsed: Parsed, config: ImageConfig, *, caller: Caller, hostname: str) -> tuple[str, ...]:
    """Docker's order: PATH, HOSTNAME, TERM, then the image's, then the user's; HOME is set at the start."""
    env = {"PATH": DEFAULT_PATH, "HOSTNAME": hostname}
    if parsed.flag("tty"):
        env["TERM"] = "xterm"
    for entry in config.env:
        name, equals, value = entry.partition("=")
        if name and equals:
            env[name] = value
    for name, new in environment_changes(parsed, caller=caller):
        if new is None:
            env.pop(name, None)
        else:
            env[name] = new
    return tuple(f"{name}={value}" for name, value in env.items())


def _mounts(parsed: Parsed, config: ImageConfig, *, caller: Caller) -> tuple[Mount, ...]:
    user = [mount_options.parse_volume(text, cwd=caller.cwd) for text in parsed.texts("volume")]
    user += [mount_options.parse_mount(text, cwd=caller.cwd) for text in parsed.texts("mount")]
    user += map(mount_options.parse_tmpfs, parsed.texts("tmpfs"))
    inherited = []
    for text in parsed.texts("volumes-from"):
        query, read_only = mount_options.parse_volumes_from(text)
        mounts = caller.mounts_of(caller.find_container(query))
        inherited += mount_options.inherited_mounts(mounts, read_only=read_only)
    return mount_options.merge_mounts(user, config.volumes, inherited=inherited)


def _security(parsed: Parsed, *, caller: Caller) -> Security:
    return _security_opts(
        parsed.texts("security-opt"),
        cwd=caller.cwd,
        base=Security(
            cap_add=_capabilities(parsed, "cap-add"),
            cap_drop=_capabilities(parsed, "cap-drop"),
            privileged=parsed.flag("privileged"),
        ),
    )


def _capabilities(parsed: Parsed, option: str) -> tuple[str, ...]:
    names = [name for text in parsed.texts(option) for name in text.split(",")]
    if not names:
        return ()
    from rootless.runtime import caps

    return tuple(map(caps.normalize, names))


def _security_opts(texts: tuple[str, ...], *, cwd: str, base: Security) -> Security:
    for text in texts:
        name, separator, value = text.partition("=")
        if not separator:
            name, separator, value = text.partition(":")  # Docker's older form
        if name == "no-new-privileges" and value in ("", "true", "false"):
            base = base.replace(no_new_privileges=value != "false")
        elif name == "nesting" and value in ("", "true", "false"):
            base = base.replace(nesting=value != "false")
        elif name == "seccomp" and value:
            base = base.replace(seccomp=_seccomp(value, cwd=cwd))
        elif (name, value) in (("systempaths", "unconfined"), ("unmask", "ALL")):
            base = base.replace(mask_paths=False)
        elif not (name in ("apparmor", "label") and value):  # those two need root: taken, without effect
            raise bad_value(
                "--security-opt",
                text,
                "unknown",
                hint="known: no-new-privileges, seccomp=unconfined|FILE, systempaths=unconfined, nesting",
            )
    return base


def _seccomp(value: str, *, cwd: str) -> str:
    if value in ("unconfined", "default"):
        return value
    return "default" if value == "builtin" else os.path.normpath(os.path.join(cwd, value))


def _shm_size(parsed: Parsed) -> int:
    size = values.parse_size(parsed.text("shm-size"), option="--shm-size") if parsed.given("shm-size") else 0
    return size or 64 << 20


def _shared(parsed: Parsed, option: str) -> str:
    """Return "host" where a namespace is shared with the host, "" where it is the container's own."""
    value = parsed.text(option)
    if value in ("", "private", "shareable"):
        return ""
    if value != "host":
        raise bad_value(f"--{option}", value, "not supported", hint="choose private or host")
    return value


def _stop_signal(parsed: Parsed, config: ImageConfig) -> int:
    if parsed.given("stop-signal"):
        return values.parse_signal(parsed.text("stop-signal"), option="--stop-signal")
    if config.stop_signal:
        return values.parse_signal(config.stop_signal, option="STOPSIGNAL of the image")
    return 15


def _stop_timeout(parsed: Parsed) -> int:
    timeout_s = parsed.number("stop-timeout")
    return 10 if timeout_s is None else timeout_s


def _labels(parsed: Parsed, config: ImageConfig, *, caller: Caller) -> tuple[str, ...]:
    entries = []
    for path in parsed.texts("label-file"):
        entries += values.parse_env_file(caller.read_file(path), path=path)
    return values.merge_labels(config.labels, (*entries, *parsed.texts("label")))
