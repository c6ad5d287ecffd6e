"""Which addresses a process's network namespace has, read from outside in /proc/PID/net. Ring 1.

Needs no capability and no helper: the files show the namespace of that process (man 5 proc).
"""

from __future__ import annotations

_LOOPBACK = "127."
_LINK_LOCAL = "169.254."
_IPV6_GLOBAL_SCOPE = "00"


def load_addresses(pid: int | str = "self") -> tuple[str, ...]:
    """Return the addresses of a process's network namespace, IPv4 first; none of loopback.

    A link-local IPv4 address counts where it is the only one: pasta makes one up on a host without uplink.
    """
    ipv4 = [a for a in parse_fib_trie(_read(f"/proc/{pid}/net/fib_trie")) if not a.startswith(_LOOPBACK)]
    ipv6 = parse_if_inet6(_read(f"/proc/{pid}/net/if_inet6"))
    return tuple([a for a in ipv4 if not a.startswith(_LINK_LOCAL)] or ipv4) + tuple(ipv6)


def parse_fib_trie(text: str) -> list[str]:
    """Return the host's own IPv4 addresses, each once, in the order of the table.

    The format is a tree: a leaf is "|-- ADDRESS", followed by one line for each route to it; "/32 host LOCAL"
    marks an address of an interface.
    """
    found: list[str] = []
    leaf = ""
    for line in text.splitlines():
        stripped = line.strip()
        if stripped.startswith("|-- "):
            leaf = stripped[4:]
        elif stripped == "/32 host LOCAL" and leaf not in found:
            found.append(leaf)
    return found


def parse_if_inet6(text: str) -> list[str]:
    """Return the global IPv6 addresses of the namespace."""
    rows = [line.split() for line in text.splitlines()]
    return [_format_ipv6(row[0]) for row in rows if len(row) == 6 and row[3] == _IPV6_GLOBAL_SCOPE]


def _format_ipv6(digits: str) -> str:
    from _socket import AF_INET6, inet_ntop  # `socket` adds 2 ms of enums to a launch that opens none

    return inet_ntop(AF_INET6, bytes.fromhex(digits))


def _read(path: str) -> str:
    try:
        with open(path, encoding="ascii") as file:
            return file.read()
    except OSError:  # no IPv6 in this kernel, or /proc without net: no address is known
        return ""
