"""What to run: the container as its user asked for it, merged with its image's defaults.

Written once to `containers/<id>/spec.json` at creation. What happened since is in state.json
(`model.lifecycle`), how it is done on this host is a plan (`runtime.plan`).
"""

from __future__ import annotations

from rootless.model.policy import Healthcheck, Limits, LogConfig, RestartPolicy
from rootless.model.value import Value

ANONYMOUS = "anonymous"
"""Option of a mount whose volume was made for one container: `rm -v` and --rm remove it."""


class Mount(Value):
    """One entry of -v, --mount or --tmpfs.

    Attributes:
        kind: "bind", "volume" or "tmpfs".
        source: host path (bind), volume name (volume), "" (tmpfs).
        target: absolute path in the container.
        propagation: "private", "rprivate", "shared", "rshared", "slave", "rslave".
        options: further mount options as written, "size=64m", "mode=1777", "nocopy".
        create_source: -v makes a missing host directory, --mount refuses.
    """

    __slots__ = ("create_source", "kind", "options", "propagation", "read_only", "source", "target")

    def __init__(
        self,
        *,
        kind: str,
        target: str,
        source: str = "",
        read_only: bool = False,
        propagation: str = "rprivate",
        options: tuple[str, ...] = (),
        create_source: bool = False,
    ) -> None:
        self.kind = kind
        self.source = source
        self.target = target
        self.read_only = read_only
        self.propagation = propagation
        self.options = options
        self.create_source = create_source

    @property
    def is_anonymous(self) -> bool:
        return ANONYMOUS in self.options


class Port(Value):
    """One published port.

    Attributes:
        host_ip: "" publishes on all addresses.
        host_port: 0 lets the driver choose.
        host_port_last: above host_port: the driver takes the first free one of that range.
        protocol: "tcp" or "udp".
    """

    __slots__ = ("container_port", "host_ip", "host_port", "host_port_last", "protocol")

    def __init__(
        self,
        *,
        container_port: int,
        host_port: int = 0,
        host_port_last: int = 0,
        host_ip: str = "",
        protocol: str = "tcp",
    ) -> None:
        self.container_port = container_port
        self.host_port = host_port
        self.host_port_last = host_port_last
        self.host_ip = host_ip
        self.protocol = protocol


class Ulimit(Value):
    """One --ulimit: a name of getrlimit(2) without RLIMIT_, lower case; -1 is unlimited."""

    __slots__ = ("hard", "name", "soft")

    def __init__(self, *, name: str, soft: int, hard: int) -> None:
        self.name = name
        self.soft = soft
        self.hard = hard


class Device(Value):
    """One --device: a host device node bound into the container."""

    __slots__ = ("permissions", "source", "target")

    def __init__(self, *, source: str, target: str, permissions: str = "rwm") -> None:
        self.source = source
        self.target = target
        self.permissions = permissions


class Security(Value):
    """--cap-add, --cap-drop, --privileged and --security-opt.

    Attributes:
        cap_add, cap_drop: names without CAP_, upper case, or "ALL".
        seccomp: "default", "unconfined", or the absolute path of a profile in Docker's JSON format.
        nesting: allow user namespaces inside, for engines in containers.
        masked_paths, readonly_paths: False with `systempaths=unconfined`.
    """

    __slots__ = (
        "cap_add",
        "cap_drop",
        "mask_paths",
        "nesting",
        "no_new_privileges",
        "privileged",
        "seccomp",
    )

    def __init__(
        self,
        *,
        cap_add: tuple[str, ...] = (),
        cap_drop: tuple[str, ...] = (),
        privileged: bool = False,
        no_new_privileges: bool = False,
        nesting: bool = False,
        seccomp: str = "default",
        mask_paths: bool = True,
    ) -> None:
        self.cap_add = cap_add
        self.cap_drop = cap_drop
        self.privileged = privileged
        self.no_new_privileges = no_new_privileges
        self.nesting = nesting
        self.seccomp = seccomp
        self.mask_paths = mask_paths


class Network(Value):
    """--network and its companions.

    Attributes:
        driver: "" is the best of this host, else "none", "host", "pasta", "slirp4netns", "container".
        options: driver options as written after the colon.
        container: full id, with driver "container".
        dns, dns_search, dns_options, extra_hosts ("name:address"): as in Docker.
    """

    __slots__ = (
        "container",
        "dns",
        "dns_options",
        "dns_search",
        "driver",
        "extra_hosts",
        "options",
        "ports",
    )
    nested = {"ports": Port}  # noqa: RUF012  a constant; ClassVar would import typing

    def __init__(
        self,
        *,
        driver: str = "",
        options: tuple[str, ...] = (),
        container: str = "",
        ports: tuple[Port, ...] = (),
        dns: tuple[str, ...] = (),
        dns_search: tuple[str, ...] = (),
        dns_options: tuple[str, ...] = (),
        extra_hosts: tuple[str, ...] = (),
    ) -> None:
        self.driver = driver
        self.options = options
        self.container = container
        self.ports = ports
        self.dns = dns
        self.dns_search = dns_search
        self.dns_options = dns_options
        self.extra_hosts = extra_hosts


class Process(Value):
    """One program in a container: the main one, or an exec session.

    Attributes:
        argv: at least one item; argv[0] without "/" is looked up in PATH of `env`, in the container.
        env: "NAME=value" strings, later ones win.
        cwd: absolute path in the container, made if missing.
        user: "" or "user[:group]", names or numbers, looked up in the container's own files.
        groups: --group-add, names or numbers.
        tty: a terminal on stdin, stdout and stderr.
        stdin: keep stdin open (-i).
        rows, columns: first size of the terminal; 0 leaves it to the first resize.
    """

    __slots__ = (
        "argv",
        "columns",
        "cwd",
        "env",
        "groups",
        "rows",
        "stdin",
        "tty",
        "ulimits",
        "umask",
        "user",
    )
    nested = {"ulimits": Ulimit}  # noqa: RUF012

    def __init__(
        self,
        *,
        argv: tuple[str, ...],
        env: tuple[str, ...] = (),
        cwd: str = "/",
        user: str = "",
        groups: tuple[str, ...] = (),
        tty: bool = False,
        stdin: bool = False,
        umask: int = 0o022,
        ulimits: tuple[Ulimit, ...] = (),
        rows: int = 0,
        columns: int = 0,
    ) -> None:
        self.argv = argv
        self.env = env
        self.cwd = cwd
        self.user = user
        self.groups = groups
        self.tty = tty
        self.stdin = stdin
        self.umask = umask
        self.ulimits = ulimits
        self.rows = rows
        self.columns = columns


class ContainerSpec(Value):
    """A container, complete enough to start it on this host at any later time.

    Attributes:
        id: 64 hexadecimal digits.
        image: the reference as the user wrote it.
        image_id: digest of the image's config, "sha256:…".
        layers: chain ids of the image, bottom first: the lower directories of the root file system.
        entrypoint_length: how many of process.argv came from the entrypoint (for ps and inspect).
        stop_signal: number. stop_timeout_s: seconds between stop_signal and SIGKILL.
        storage: "" is the best of this host, else "overlay", "fuse-overlayfs", "copy".
        ipc, uts: "host" shares that namespace with the host, "" is one of its own.
        created_ns: nanoseconds since the epoch.
    """

    __slots__ = (
        "auto_remove",
        "created_ns",
        "detached",
        "devices",
        "entrypoint_length",
        "healthcheck",
        "hostname",
        "id",
        "image",
        "image_id",
        "init",
        "ipc",
        "labels",
        "layers",
        "limits",
        "log",
        "mounts",
        "name",
        "network",
        "process",
        "read_only",
        "restart",
        "security",
        "shm_size_bytes",
        "stop_signal",
        "stop_timeout_s",
        "storage",
        "uts",
    )
    nested = {  # noqa: RUF012
        "process": Process,
        "mounts": Mount,
        "devices": Device,
        "security": Security,
        "network": Network,
        "restart": RestartPolicy,
        "healthcheck": Healthcheck,
        "log": LogConfig,
        "limits": Limits,
    }

    def __init__(
        self,
        *,
        id: str,
        name: str,
        image: str,
        image_id: str,
        layers: tuple[str, ...],
        process: Process,
        entrypoint_length: int = 0,
        hostname: str = "",
        mounts: tuple[Mount, ...] = (),
        devices: tuple[Device, ...] = (),
        security: Security | None = None,
        network: Network | None = None,
        restart: RestartPolicy | None = None,
        healthcheck: Healthcheck | None = None,
        log: LogConfig | None = None,
        limits: Limits | None = None,
        read_only: bool = False,
        shm_size_bytes: int = 64 << 20,
        init: bool = False,
        auto_remove: bool = False,
        detached: bool = False,
        stop_signal: int = 15,
        stop_timeout_s: int = 10,
        labels: tuple[str, ...] = (),
        storage: str = "",
        ipc: str = "",
        uts: str = "",
        created_ns: int = 0,
    ) -> None:
        self.id = id
        self.name = name
        self.image = image
        self.image_id = image_id
        self.layers = layers
        self.process = process
        self.entrypoint_length = entrypoint_length
        self.hostname = hostname or id[:12]
        self.mounts = mounts
        self.devices = devices
        self.security = security or Security()
        self.network = network or Network()
        self.restart = restart or RestartPolicy()
        self.healthcheck = healthcheck or Healthcheck()
        self.log = log or LogConfig()
        self.limits = limits or Limits()
        self.read_only = read_only
        self.shm_size_bytes = shm_size_bytes
        self.init = init
        self.auto_remove = auto_remove
        self.detached = detached
        self.stop_signal = stop_signal
        self.stop_timeout_s = stop_timeout_s
        self.labels = labels
        self.storage = storage
        self.ipc = ipc
        self.uts = uts
        self.created_ns = created_ns
