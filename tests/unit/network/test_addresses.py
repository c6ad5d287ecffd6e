"""Addresses out of /proc/PID/net, from texts as the kernel writes them."""

from __future__ import annotations

from rootless.network.addresses import parse_fib_trie, parse_if_inet6

FIB_TRIE = """\
Main:
  +-- 0.0.0.0/0 3 0 5
     |-- 0.0.0.0
        /0 universe UNICAST
     +-- 127.0.0.0/8 2 0 2
        +-- 127.0.0.0/31 1 0 0
           |-- 127.0.0.0
              /8 host LOCAL
           |-- 127.0.0.1
              /32 host LOCAL
        |-- 127.255.255.255
           /32 link BROADCAST
     +-- 203.0.113.0/24 2 0 2
        +-- 203.0.113.0/30 2 0 2
           |-- 203.0.113.0
              /24 link UNICAST
              /24 link UNICAST
           |-- 203.0.113.2
              /32 host LOCAL
        |-- 203.0.113.255
           /32 link BROADCAST
Local:
     |-- 203.0.113.2
        /32 host LOCAL
"""

IF_INET6 = """\
20010db8000000000000000000000002 02 40 00 82     eth0
fe8000000000000028539cfffe83ef5a 02 40 20 82     eth0
00000000000000000000000000000001 01 80 10 80       lo
"""


def test_ipv4_addresses_are_the_local_leaves_each_once() -> None:
    assert parse_fib_trie(FIB_TRIE) == ["127.0.0.1", "203.0.113.2"]
    assert parse_fib_trie("") == []


def test_ipv6_addresses_are_the_global_ones() -> None:
    assert parse_if_inet6(IF_INET6) == ["2001:db8::2"]
    assert parse_if_inet6("") == []
