"""`--network slirp4netns`: a user-space TCP/IP stack. Ring 1.

The container is 10.0.2.100 behind a NAT, 10.0.2.2 the way out, 10.0.2.3 answers DNS with the host's
resolvers. Programs inside see the address of who connects to a published port; the host itself is 10.0.2.2.

Reference: https://github.com/rootless-containers/slirp4netns, slirp4netns(1)
"""

from __future__ import annotations

import os

from rootless.errors import RuntimeSetupError, os_error_text
from rootless.network import tun
from rootless.network.addresses import load_addresses
from rootless.network.driver import Attachment, DriverFacts, DriverUnusable, NetTarget, read_options
from rootless.network.helper import Helper, HelperAttachment, remove_file
from rootless.network.ports import format_address, is_loopback

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from rootless.model.spec import Port

RESOLVER = "10.0.2.3"
ADDRESS = "10.0.2.100"
INTERFACE = "eth0"
_API_SOCKET = "slirp4netns.sock"
_API_TIMEOUT_S = 5.0
_ANY = "0.0.0.0"  # noqa: S104  what -p without an address asks for
_MTU = "65520"
"""The largest that it takes; 1500, its default, costs two thirds of the throughput."""


class Slirp4netnsDriver:
    """Starts one slirp4netns for each container."""

    facts = DriverFacts(
        "slirp4netns",
        own_namespace=True,
        publishes=True,
        sees_client_address=True,
        program="slirp4netns",
        needs_tun=True,
        resolver=RESOLVER,
        options={
            "host-loopback": "flag",
            "allow-host-loopback": "flag",  # podman's name for it
            "ipv6": "flag",
            "enable-ipv6": "flag",
            "mtu": "number",
        },
    )

    def start(
        self,
        target: NetTarget,
        *,
        ports: tuple[Port, ...],
        options: tuple[str, ...],
        run_dir: str,
        program: str = "",
    ) -> Attachment:
        values = read_options(options, self.facts)
        tun.check_tun_driver(program, name="slirp4netns", package="slirp4netns")
        notices: tuple[str, ...] = ()
        if not ports:
            helper, life = _run(program, target, values, run_dir=run_dir, api=False)
        else:
            from rootless.network.reserve import reserve  # sockets: 2.4 ms that only -p pays

            with reserve(ports) as reservation:
                ports = reservation.ports
                notices = lossy_udp(ports, values)
                helper, life = _run(program, target, values, run_dir=run_dir, api=True)
                try:
                    reservation.release("udp")  # it binds UDP without SO_REUSEADDR
                    _publish(ports, run_dir=run_dir)
                except BaseException:
                    helper.stop()
                    os.close(life)
                    raise
        host_addresses = load_addresses()
        return HelperAttachment(
            helper,
            life,
            ports=tuple(port.replace(host_ip=port.host_ip or _ANY) for port in ports),
            addresses=load_addresses(target.pid),
            host_gateway=next((a for a in host_addresses if ":" not in a), ""),
            resolver=RESOLVER,
            notices=notices,
        )


DRIVER = Slirp4netnsDriver()


def lossy_udp(ports: tuple[Port, ...], options: Mapping[str, str]) -> tuple[str, ...]:
    """Return what is lost without host-loopback, one line for each port. Pure.

    libslirp drops the answers to what came from 127.0.0.1 along with everything else for 10.0.2.2.

    Raises:
        DriverUnusable: a port on a loopback address, which could never answer.
    """
    if _reaches_host_loopback(options):
        return ()
    lost = [p for p in ports if p.protocol == "udp"]
    for port in lost:
        if is_loopback(port.host_ip):
            raise DriverUnusable(
                f"cannot publish {format_address(port)}/udp: slirp4netns answers nothing to the host's "
                "loopback unless the container may reach that",
                on="slirp4netns",
                hint="use --network pasta, or allow it with --network slirp4netns:host-loopback",
            )
    return tuple(
        f"this host reaches {format_address(p)}/udp by its own address only, not by 127.0.0.1 (slirp4netns)"
        for p in lost
        if not p.host_ip
    )


def command(
    program: str, target: NetTarget, options: Mapping[str, str], *, ready: int, life: int, api: bool
) -> list[str]:
    """Return slirp4netns' command line, to run in the target's user namespace. Pure.

    Args:
        ready, life: descriptors that it inherits: it writes to one, and ends when the other hangs up.
        api: listen on a socket in its working directory for the ports to publish.
    """
    argv = [program, "--configure", f"--mtu={options.get('mtu', _MTU)}"]
    argv += [f"--ready-fd={ready}", f"--exit-fd={life}", "--enable-sandbox", "--enable-seccomp"]
    if not _reaches_host_loopback(options):
        argv.append("--disable-host-loopback")
    if "true" in (options.get("ipv6"), options.get("enable-ipv6")):
        argv.append("--enable-ipv6")
    if api:
        argv.append(f"--api-socket={_API_SOCKET}")
    return [*argv, "--netns-type=path", target.netns, INTERFACE]


def _reaches_host_loopback(options: Mapping[str, str]) -> bool:
    return "true" in (options.get("host-loopback"), options.get("allow-host-loopback"))


def _run(
    program: str, target: NetTarget, options: Mapping[str, str], *, run_dir: str, api: bool
) -> tuple[Helper, int]:
    """Start slirp4netns and wait until it is configured; return it and the descriptor that keeps it alive."""
    ready, its_ready = os.pipe2(os.O_CLOEXEC)
    its_life, life = os.pipe2(os.O_CLOEXEC)
    remove_file(os.path.join(run_dir, _API_SOCKET))
    try:
        argv = command(program, target, options, ready=its_ready, life=its_life, api=api)
        # its sandbox wants to be root, and --userns-path brings only its first child there: go in before
        helper = Helper(
            argv, name="slirp4netns", cwd=run_dir, keep=(its_ready, its_life), userns=target.userns
        )
        os.close(its_ready)
        its_ready = -1
        helper.wait_ready(ready)
    except BaseException:
        os.close(life)
        raise
    finally:
        for fd in (ready, its_ready, its_life):
            if fd >= 0:
                os.close(fd)
    return helper, life


def _publish(ports: tuple[Port, ...], *, run_dir: str) -> None:
    """Have the ports forwarded, then take the socket's name away: whoever reached it could publish more
    (CVE-2021-4024 is that hole in another engine).
    """
    # the socket is reached through a descriptor: sun_path holds 107 bytes, container directories are longer
    directory = os.open(run_dir, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for port in ports:
            refusal = _call(f"/proc/self/fd/{directory}/{_API_SOCKET}", _hostfwd(port))
            if refusal:
                raise RuntimeSetupError(
                    f"cannot publish {format_address(port)}/{port.protocol}: slirp4netns refuses: {refusal}",
                    hint="choose another host port or address, or use --network pasta",
                    reference="port",
                )
    finally:
        os.close(directory)
        remove_file(os.path.join(run_dir, _API_SOCKET))


def _hostfwd(port: Port) -> dict[str, object]:
    """Return the request of slirp4netns(1), "API SOCKET"."""
    arguments = {
        "proto": port.protocol,
        "host_addr": port.host_ip or _ANY,
        "host_port": port.host_port,
        "guest_addr": ADDRESS,
        "guest_port": port.container_port,
    }
    return {"execute": "add_hostfwd", "arguments": arguments}


def _call(path: str, request: dict[str, object]) -> str:
    """Send one request; return "" or why it failed. The server takes one for each connection."""
    import json
    import socket

    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(_API_TIMEOUT_S)
            connection.connect(path)
            connection.sendall(json.dumps(request).encode())
            connection.shutdown(socket.SHUT_WR)  # the end of the request
            answer = json.loads(b"".join(iter(lambda: connection.recv(4096), b"")))
        return "" if "return" in answer else str(answer["error"]["desc"])[:200]
    except OSError as exc:
        return os_error_text(exc)
    except (ValueError, KeyError, TypeError) as exc:
        return f"not an answer: {exc}"[:200]
