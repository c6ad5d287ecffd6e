"""Give a container its network: choose the driver, start it, write the files that name hosts. Ring 1.

Called by the monitor while the container's init waits.
"""

from __future__ import annotations

import os

from layers.contexts import suppress
from rootless.errors import HostUnsupported, RootlessError
from rootless.network import files
from rootless.network.driver import Attachment, DriverUnusable, NetTarget, find_driver

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rootless.engine.records import Container
    from rootless.model.host import HostFacts, Modes
    from rootless.model.spec import ContainerSpec
    from rootless.paths import Paths

HOST_RESOLV_CONF = "/etc/resolv.conf"
NET_FILES = ("hosts", "resolv.conf", "hostname")
"""Files in the container's directory that are bound into its /etc; rewritten in place at each start."""


def driver_candidates(spec: ContainerSpec, modes: Modes, facts: HostFacts) -> list[str]:
    """Return the drivers to try in order; only where nobody asked for one by name there are several.

    All candidates agree on whether the container has a network namespace of its own. Pure.
    """
    if spec.network.driver:
        return [spec.network.driver]
    if modes.network == "host":
        return ["host"]
    installed = [name for name in ("pasta", "slirp4netns") if getattr(facts, name)]
    return [modes.network, *(name for name in installed if name != modes.network)]


def has_own_namespace(candidates: Sequence[str]) -> bool:
    return find_driver(candidates[0]).facts.own_namespace


def attach(
    container: Container,
    candidates: Sequence[str],
    *,
    pid: int,
    facts: HostFacts,
    run_dir: str,
    notice: Callable[[str], None],
) -> tuple[str, Attachment]:
    """Connect the namespace of `pid` and write the container's hosts and resolv.conf.

    Returns:
        (name of the driver that works, the attachment).
    Raises:
        RootlessError: no candidate works; the error is the first one's.
    """
    network = container.spec.network
    first_error: RootlessError | None = None
    for name in candidates:
        driver = find_driver(name)
        if network.ports and driver.facts.discards_ports:
            notice(driver.facts.discards_ports)
        try:
            attachment = driver.start(
                NetTarget(pid),
                ports=network.ports,
                options=network.options,
                run_dir=run_dir,
                program=_program(name, driver.facts.program, facts),
            )
        except DriverUnusable as exc:
            first_error = first_error or exc
            continue
        for line in attachment.notices:
            notice(line)
        write_files(container, attachment, shares_host=name == "host")
        return name, attachment
    assert first_error is not None, "there is at least one candidate"
    raise first_error


def write_files(container: Container, attachment: Attachment | None, *, shares_host: bool) -> None:
    """Write hosts, resolv.conf and hostname in place: they may be bound into the container already."""
    spec, network = container.spec, container.spec.network
    texts = {
        "hostname": files.hostname_text(spec.hostname),
        "hosts": files.hosts_text(
            hostname=spec.hostname,
            name=spec.name,
            addresses=attachment.addresses if attachment else (),
            extra_hosts=network.extra_hosts if attachment else (),
            host_gateway=attachment.host_gateway if attachment else "",
        ),
        "resolv.conf": files.resolv_conf_text(
            _read_host_resolv_conf(),
            resolver=attachment.resolver if attachment else "",
            shares_host=shares_host,
            dns=network.dns,
            search=network.dns_search,
            options=network.dns_options,
        ),
    }
    for name, text in texts.items():
        with open(container.path(name), "w", encoding="utf-8", errors="surrogateescape") as file:
            file.write(text)


def _read_host_resolv_conf() -> str:
    try:
        with open(HOST_RESOLV_CONF, encoding="utf-8", errors="replace") as file:
            return file.read(files.MAX_HOST_FILE_BYTES)
    except OSError:
        return ""  # a host without a resolver still runs containers


def _program(name: str, program: str, facts: HostFacts) -> str:
    """Return the path of a driver's helper, "" for a driver without one.

    Raises:
        HostUnsupported: it was asked for by name and is not there.
    """
    if not program:
        return ""
    path: str = getattr(facts, program)
    if not path:
        raise HostUnsupported(
            f"cannot use the network driver {name}: no {program} here, or /dev/net/tun does not open",
            hint="`rootless doctor` says what is missing; --network none or host work without",
            reference="network-driver-missing",
        )
    return path


def make_run_dir(paths: Paths, container: Container) -> str:
    """Make and return the node-local directory of a container for sockets of its helpers.

    Raises:
        HostUnsupported: there is no place for it.
    """
    paths.ensure()  # a logout may have removed all of it since the last run
    path = run_directory(paths, container)
    os.makedirs(path, mode=0o700, exist_ok=True)
    return path


def remove_run_dir(paths: Paths, container_id: str) -> None:
    """Remove that directory with what a killed helper left in it; idempotent, also beside another remover."""
    path = _run_directory(paths, container_id)
    with suppress(FileNotFoundError):
        for name in os.listdir(path):
            os.unlink(os.path.join(path, name))
        os.rmdir(path)


def run_directory(paths: Paths, container: Container) -> str:
    """Return the path of that directory."""
    return _run_directory(paths, container.spec.id)


def _run_directory(paths: Paths, container_id: str) -> str:
    return os.path.join(paths.store_run, "run", container_id[:24])  # short: sun_path has 108 bytes
