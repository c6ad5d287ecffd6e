"""Containers and images as `inspect` shows them: the JSON shapes of Docker's API. Pure; ring 1.

Shapes: moby api/types/container InspectResponse, api/types/image InspectResponse, API version 1.50. Fields
that have no meaning here are left out rather than invented.
"""

from __future__ import annotations

from rootless.engine import volumes
from rootless.engine.logfile import timestamp
from rootless.model import lifecycle
from rootless.model.spec import ANONYMOUS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from typing import Any

    from layers.config import ImageConfig
    from rootless.engine.records import Container
    from rootless.engine.volumes import Volume
    from rootless.model.policy import Healthcheck, Limits
    from rootless.model.spec import ContainerSpec, Device, Mount, Security
    from rootless.paths import Paths

_OVERLAY_PARTS = {"UpperDir": "upper", "WorkDir": "work", "MergedDir": "rootfs"}

ZERO_TIME = "0001-01-01T00:00:00Z"
"""Go's zero time: "never"."""


def container_json(
    paths: Paths,
    container: Container,
    *,
    addresses: Sequence[str] = (),
    health: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return a container in the shape of `docker inspect`.

    Args:
        addresses: of its network namespace, empty where it does not run or has none of its own.
        health: in Docker's shape, None where it is not checked.
    """
    spec, state = container.spec, container.state
    argv = spec.process.argv
    return {
        "Id": spec.id,
        "Created": timestamp(spec.created_ns),
        "Path": argv[0],
        "Args": list(argv[1:]),
        "State": _state(container) | ({"Health": health} if health else {}),
        "Image": spec.image_id,
        "ResolvConfPath": container.path("resolv.conf"),
        "HostnamePath": container.path("hostname"),
        "HostsPath": container.path("hosts"),
        "LogPath": _log_path(container),
        "Name": "/" + spec.name,
        "RestartCount": state.restart_count,
        "Driver": state.storage or spec.storage,
        "Platform": "linux",
        "HostConfig": _host_config(spec),
        "GraphDriver": _graph_driver(container),
        "Mounts": [_mount(paths, mount) for mount in spec.mounts if mount.kind != "tmpfs"],
        "Config": _config(spec),
        "NetworkSettings": _network_settings(container, addresses),
    }


def image_json(
    config: ImageConfig,
    *,
    image_id: str,
    repo_tags: Iterable[str],
    repo_digests: Iterable[str],
    size_bytes: int,
) -> dict[str, Any]:
    """Return an image in the shape of `docker inspect`.

    Args:
        repo_tags: familiar names, "debian:12". repo_digests: "debian@sha256:…".
    """
    raw_config = config.raw.get("config")
    history = config.history
    shown = {
        "Id": image_id,
        "RepoTags": list(repo_tags),
        "RepoDigests": list(repo_digests),
        "Comment": history[-1].comment if history else "",
        "Created": config.created or ZERO_TIME,
        "Author": config.author,
        "Config": raw_config if isinstance(raw_config, dict) else {},
        "Architecture": config.architecture,
        "Os": config.os,
        "Size": size_bytes,
        "RootFS": {"Type": "layers", "Layers": [str(digest) for digest in config.diff_ids]},
    }
    return {**shown, "Variant": config.variant} if config.variant else shown


def volume_json(paths: Paths, volume: Volume) -> dict[str, Any]:
    """Return a volume in the shape of `docker volume inspect`."""
    return {
        "CreatedAt": timestamp(volume.created_ns)[:19] + "Z",
        "Driver": "local",
        "Labels": volume_labels(volume) or None,
        "Mountpoint": volumes.data_directory(paths, volume.name),
        "Name": volume.name,
        "Options": label_map(volume.options) or None,
        "Scope": "local",
    }


def volume_labels(volume: Volume) -> dict[str, str]:
    """Return the labels of a volume; Docker marks anonymous ones with a label, and scripts look for it."""
    mark = {"com.docker.volume.anonymous": ""} if volume.anonymous else {}
    return label_map(volume.labels) | mark


def port_bindings(ports: Iterable[Any]) -> dict[str, list[dict[str, str]]]:
    """Return {"80/tcp": [{"HostIp", "HostPort"}]} of the ports in a state record."""
    bindings: dict[str, list[dict[str, str]]] = {}
    for port in ports:
        key = f"{port['container_port']}/{port.get('protocol', 'tcp')}"
        binding = {"HostIp": port.get("host_ip") or "0.0.0.0", "HostPort": str(port["host_port"])}  # noqa: S104
        bindings.setdefault(key, []).append(binding)
    return bindings


def label_map(labels: Iterable[str]) -> dict[str, str]:
    """Return name → value of "name=value" strings."""
    pairs = (label.partition("=") for label in labels)
    return {name: value for name, _, value in pairs}


def _log_path(container: Container) -> str:
    from rootless.engine.logformat import FORMATS  # not for those who print labels only

    log = FORMATS.get(container.spec.log.driver)
    return container.path(log.file_name) if log else ""


def _state(container: Container) -> dict[str, Any]:
    state = container.state
    return {
        "Status": state.status,
        "Running": state.status in lifecycle.MINDED,  # Docker's: paused and restarting ones too
        "Paused": state.status == lifecycle.PAUSED,
        "Restarting": state.status == lifecycle.RESTARTING,
        "OOMKilled": state.oom_killed,
        "Dead": state.status == lifecycle.DEAD,
        "Pid": state.pid if state.status in lifecycle.ALIVE else 0,
        "ExitCode": state.exit_code,
        "Error": state.error,
        "StartedAt": _moment(state.started_ns),
        "FinishedAt": _moment(state.finished_ns),
    }


def has_addresses(container: Container) -> bool:
    """Tell whether a container has a network of its own that can be looked at now."""
    state = container.state
    return state.status in lifecycle.ALIVE and state.network not in ("host", "container", "none")


def _network_settings(container: Container, addresses: Sequence[str]) -> dict[str, Any]:
    state = container.state
    address = next((a for a in addresses if ":" not in a), "")
    ipv6 = next((a for a in addresses if ":" in a), "")
    endpoint = {"IPAddress": address, "GlobalIPv6Address": ipv6}
    network = state.network or container.spec.network.driver
    return {
        "Ports": port_bindings(state.ports) if state.status in lifecycle.ALIVE else {},
        **endpoint,
        "Networks": {} if network in ("", "container") else {network: endpoint},
    }


def signal_name(number: int) -> str:
    """Return "SIGTERM" for 15."""
    import signal  # not for those who print names only

    try:
        return signal.Signals(number).name
    except ValueError:
        return str(number)  # a real-time signal


def _moment(time_ns: int) -> str:
    return timestamp(time_ns) if time_ns else ZERO_TIME


def _config(spec: ContainerSpec) -> dict[str, Any]:
    process = spec.process
    entrypoint = list(process.argv[: spec.entrypoint_length])
    watched = not spec.detached
    return {
        "Hostname": spec.hostname,
        "Domainname": "",
        "User": process.user,
        "AttachStdin": watched and process.stdin,
        "AttachStdout": watched,
        "AttachStderr": watched,
        "Tty": process.tty,
        "OpenStdin": process.stdin,
        "StdinOnce": watched and process.stdin,
        "Env": list(process.env),
        "Cmd": list(process.argv[spec.entrypoint_length :]),
        "Image": spec.image,
        "Volumes": {m.target: {} for m in spec.mounts if m.is_anonymous} or None,
        "WorkingDir": process.cwd,
        "Entrypoint": entrypoint or None,
        "Labels": label_map(spec.labels),
        "StopSignal": signal_name(spec.stop_signal),
        "StopTimeout": spec.stop_timeout_s,
        **({"Healthcheck": healthcheck_json(spec.healthcheck)} if spec.healthcheck.test else {}),
    }


def _host_config(spec: ContainerSpec) -> dict[str, Any]:
    security, network = spec.security, spec.network
    mode = f"container:{network.container}" if network.container else network.driver or "default"
    return {
        "Binds": [_bind(mount) for mount in spec.mounts if _is_bind(mount)] or None,
        "LogConfig": {"Type": spec.log.driver, "Config": label_map(spec.log.options)},
        "NetworkMode": mode,
        "PortBindings": port_bindings(port.to_json() for port in network.ports),
        "RestartPolicy": {"Name": spec.restart.name, "MaximumRetryCount": spec.restart.max_retries},
        "AutoRemove": spec.auto_remove,
        "CapAdd": list(security.cap_add) or None,
        "CapDrop": list(security.cap_drop) or None,
        "Dns": list(network.dns),
        "DnsOptions": list(network.dns_options),
        "DnsSearch": list(network.dns_search),
        "ExtraHosts": list(network.extra_hosts) or None,
        "GroupAdd": list(spec.process.groups) or None,
        "IpcMode": spec.ipc or "private",
        "UTSMode": spec.uts,
        "PidMode": "",
        "Privileged": security.privileged,
        "ReadonlyRootfs": spec.read_only,
        "SecurityOpt": _security_options(security) or None,
        "Tmpfs": {m.target: ",".join(m.options) for m in spec.mounts if m.kind == "tmpfs"},
        "ShmSize": spec.shm_size_bytes,
        "Init": spec.init,
        "Devices": [_device(device) for device in spec.devices],
        "Ulimits": [{"Name": u.name, "Hard": u.hard, "Soft": u.soft} for u in spec.process.ulimits],
        **_limits(spec.limits),
    }


def _limits(limits: Limits) -> dict[str, Any]:
    """Return what was asked for; what of it is enforced is told at the start."""
    return {
        "Memory": limits.memory_bytes,
        "MemorySwap": limits.memory_swap_bytes,
        "MemoryReservation": limits.memory_reservation_bytes,
        "NanoCpus": limits.cpus * 1_000_000,
        "CpuShares": limits.cpu_shares,
        "CpusetCpus": limits.cpuset_cpus,
        "PidsLimit": limits.pids or None,
        "OomScoreAdj": limits.oom_score_adj or 0,
    }


def healthcheck_json(check: Healthcheck) -> dict[str, Any]:
    """Return a health check as images and `inspect` write it."""
    return {
        "Test": list(check.test),
        "Interval": check.interval_ns,
        "Timeout": check.timeout_ns,
        "StartPeriod": check.start_period_ns,
        "StartInterval": check.start_interval_ns,
        "Retries": check.retries,
    }


def _graph_driver(container: Container) -> dict[str, Any]:
    """Return where the container's own files are, as far as it was started once."""
    driver = container.state.storage or container.spec.storage
    parts = {"MergedDir": "rootfs"} if driver == "copy" else _OVERLAY_PARTS if driver else {}
    return {"Name": driver, "Data": {name: container.path(part) for name, part in parts.items()}}


def _is_bind(mount: Mount) -> bool:
    return mount.kind != "tmpfs" and not mount.is_anonymous


def _bind(mount: Mount) -> str:
    modes = ["ro"] if mount.read_only else []
    modes += [] if mount.propagation == "rprivate" else [mount.propagation]
    modes += mount.options
    return ":".join([mount.source, mount.target, *([",".join(modes)] if modes else [])])


def _mount(paths: Paths, mount: Mount) -> dict[str, Any]:
    is_volume = mount.kind == "volume"
    named = {"Name": mount.source, "Driver": "local"} if is_volume else {}
    return {
        "Type": mount.kind,
        **named,
        "Source": volumes.data_directory(paths, mount.source) if is_volume else mount.source,
        "Destination": mount.target,
        "Mode": ",".join(o for o in mount.options if o != ANONYMOUS),
        "RW": not mount.read_only,
        "Propagation": "" if is_volume else mount.propagation,
    }


def _device(device: Device) -> dict[str, str]:
    return {
        "PathOnHost": device.source,
        "PathInContainer": device.target,
        "CgroupPermissions": device.permissions,
    }


def _security_options(security: Security) -> Sequence[str]:
    said: Mapping[str, bool] = {
        "no-new-privileges": security.no_new_privileges,
        f"seccomp={security.seccomp}": security.seccomp != "default",
        "systempaths=unconfined": not security.mask_paths,
        "nesting": security.nesting,
    }
    return [option for option, is_set in said.items() if is_set]
