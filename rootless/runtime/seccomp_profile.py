"""Seccomp profiles in Docker's JSON format (`--security-opt seccomp=FILE`). Imported only when one is given.

The format is that of moby's profiles and of runtime-spec config-linux.md §Seccomp: defaultAction,
defaultErrnoRet, syscalls[] with names, action, errnoRet, args[], includes and excludes {caps, arches,
minKernel}. Differences from libseccomp, all to the strict side: of several rules of one call that match, the
strictest decides, whatever their order (libseccomp lets an unconditional one win); sub-architectures of
archMap (32-bit programs) stay refused; a key or a comparison that is not understood is an error, never
ignored. Names that this machine's table lacks are skipped: profiles list the calls of all architectures.
"""

from __future__ import annotations

import errno
import os

from rootless.errors import UsageError, os_error_text
from rootless.linux import abi, bpf
from rootless.linux.bpf import Condition, Rule, errno_action
from rootless.runtime import caps, seccomp

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

MAX_BYTES = 1 << 20
"""moby's default profile has 20 KB; a larger file than this is not a profile."""
_ARCHES = {"x86_64": ("amd64", "SCMP_ARCH_X86_64"), "aarch64": ("arm64", "SCMP_ARCH_AARCH64")}
_OPS = {
    "SCMP_CMP_NE": bpf.NE,
    "SCMP_CMP_LT": bpf.LT,
    "SCMP_CMP_LE": bpf.LE,
    "SCMP_CMP_EQ": bpf.EQ,
    "SCMP_CMP_GE": bpf.GE,
    "SCMP_CMP_GT": bpf.GT,
    "SCMP_CMP_MASKED_EQ": bpf.MASKED_EQ,
}
_ACTIONS = {
    "SCMP_ACT_KILL_PROCESS": bpf.KILL_PROCESS,
    "SCMP_ACT_KILL": bpf.KILL_THREAD,
    "SCMP_ACT_KILL_THREAD": bpf.KILL_THREAD,
    "SCMP_ACT_TRAP": bpf.TRAP,
    "SCMP_ACT_LOG": bpf.LOG,
    "SCMP_ACT_ALLOW": bpf.ALLOW,
}
_STRICTNESS = (bpf.KILL_PROCESS, bpf.KILL_THREAD, bpf.TRAP)
_INT_ARGUMENTS = frozenset(
    (
        *(("clone", 0), ("ioctl", 0), ("ioctl", 1), ("personality", 0), ("prctl", 0), ("unshare", 0)),
        *(("socket", 0), ("socket", 1), ("socket", 2), ("socketpair", 0), ("setns", 1), ("ptrace", 0)),
    )
)
"""Arguments of which the kernel uses 32 bits: comparing 64 could be evaded (CVE-2019-10063)."""
_TOP_KEYS = {"defaultAction", "defaultErrnoRet", "archMap", "architectures", "syscalls", "flags", "comment"}
_RULE_KEYS = {"name", "names", "action", "args", "comment", "includes", "excludes", "errnoRet"}
_FILTER_KEYS = {"caps", "arches", "minKernel"}


class ProfileError(UsageError):
    """A seccomp profile cannot be used."""

    reference = "seccomp-profile"


def compile_profile(path: str, capabilities: int, machine: str = "") -> bytes:
    """Read a profile and compile it for this machine and this set of capabilities; b"" for an empty one.

    Raises:
        ProfileError: the file cannot be read or says something that has no meaning here.
        HostUnsupported: this machine has no table of calls.
    """
    return compile_json(_read(path), capabilities, machine, origin=path)


def compile_json(data: Any, capabilities: int, machine: str = "", *, origin: str = "profile") -> bytes:
    """Compile a parsed profile; see compile_profile."""
    seccomp.load_abi(machine)
    try:
        loader = _Loader(capabilities, abi.canonical(machine))
        return loader.compile(data)
    except (ValueError, TypeError, KeyError, AttributeError) as exc:
        raise ProfileError(
            f"cannot use the seccomp profile: {exc}",
            on=origin,
            hint="the format is that of https://github.com/moby/profiles, seccomp/default.json",
        ) from exc


class _Loader:
    def __init__(self, capabilities: int, machine: str) -> None:
        self._capabilities = capabilities
        self._machine = machine
        self._arch, self._scmp_arch = _ARCHES[machine]
        self._kernel = _kernel_version(os.uname().release)
        self._default_errno = errno.EPERM

    def compile(self, data: Any) -> bytes:
        profile = _object(data, _TOP_KEYS, "profile")
        if not profile.get("defaultAction") and not profile.get("syscalls"):
            return b""
        if profile.get("flags"):
            raise ValueError("flags are not supported")
        self._check_architectures(profile)
        self._default_errno = _errno(profile.get("defaultErrnoRet"), errno.EPERM)
        default = self._action(profile["defaultAction"], self._default_errno)
        table: dict[str, list[Rule]] = {}
        for entry in _list(profile.get("syscalls"), "syscalls"):
            self._add(table, _object(entry, _RULE_KEYS, "rule"))
        for rules in table.values():
            rules.sort(key=lambda rule: _strictness(rule.action))
        return seccomp.assemble(table, self._machine, default=default)

    def _check_architectures(self, profile: dict[str, Any]) -> None:
        listed = _list(profile.get("architectures"), "architectures")
        listed += [entry["architecture"] for entry in _list(profile.get("archMap"), "archMap")]
        if listed and self._scmp_arch not in listed:
            raise ValueError(f"it is not for this machine ({self._scmp_arch})")

    def _add(self, table: dict[str, list[Rule]], entry: dict[str, Any]) -> None:
        names = _list(entry.get("names"), "names") or [entry["name"]]
        includes = _object(entry.get("includes") or {}, _FILTER_KEYS, "includes")
        excludes = _object(entry.get("excludes") or {}, _FILTER_KEYS, "excludes")
        if not self._included(includes) or self._excluded(excludes):
            return
        action = self._action(entry["action"], _errno(entry.get("errnoRet"), self._default_errno))
        arguments = _list(entry.get("args"), "args")
        for name in names:
            conditions = [_condition(name, argument) for argument in arguments]
            table.setdefault(name, []).append(Rule(action, conditions))

    def _included(self, conditions: dict[str, Any]) -> bool:
        arches, wanted = _list(conditions.get("arches"), "arches"), _list(conditions.get("caps"), "caps")
        minimum = conditions.get("minKernel")
        return (
            (not arches or self._arch in arches)
            and all(self._has(name) for name in wanted)
            and (not minimum or self._kernel >= _kernel_version(minimum))
        )

    def _excluded(self, conditions: dict[str, Any]) -> bool:
        arches, refused = _list(conditions.get("arches"), "arches"), _list(conditions.get("caps"), "caps")
        minimum = conditions.get("minKernel")
        return (
            self._arch in arches
            or any(self._has(name) for name in refused)
            or bool(minimum and self._kernel >= _kernel_version(minimum))
        )

    def _has(self, name: str) -> bool:
        return caps.has(self._capabilities, caps.normalize(name))

    def _action(self, name: str, number: int) -> int:
        if name == "SCMP_ACT_ERRNO":
            return errno_action(number)
        if name not in _ACTIONS:  # SCMP_ACT_TRACE and _NOTIFY would need somebody who answers
            raise ValueError(f"action is not supported: {name}")
        return _ACTIONS[name]


def _condition(name: str, argument: Any) -> Condition:
    fields = _object(argument, {"index", "value", "valueTwo", "op"}, "argument")
    operator = fields["op"]
    if operator not in _OPS:
        raise ValueError(f"comparison is not supported: {operator}")
    index, value, second = fields["index"], fields["value"], fields.get("valueTwo") or 0
    if not all(isinstance(number, int) for number in (index, value, second)):
        raise ValueError(f"argument of {name} needs numbers")
    wide = (name, index) not in _INT_ARGUMENTS or max(value, second) >= 1 << 32
    if _OPS[operator] == bpf.MASKED_EQ:  # libseccomp: value is the mask, valueTwo the datum
        return Condition(index, bpf.MASKED_EQ, second, mask=value, wide=wide)
    return Condition(index, _OPS[operator], value, wide=wide)


def _read(path: str) -> Any:
    import json

    try:
        with open(path, "rb") as file:
            text = file.read(MAX_BYTES + 1)
    except OSError as exc:
        raise ProfileError(f"cannot read the seccomp profile: {os_error_text(exc)}", on=path) from exc
    if len(text) > MAX_BYTES:
        raise ProfileError(f"cannot use the seccomp profile: larger than {MAX_BYTES} bytes", on=path)
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as exc:
        raise ProfileError(f"cannot use the seccomp profile: not JSON: {exc}", on=path) from exc


def _strictness(action: int) -> tuple[int, int]:
    if action in _STRICTNESS:
        return _STRICTNESS.index(action), 0
    return (3, 0) if action not in (bpf.LOG, bpf.ALLOW) else (4, bpf.ALLOW - action)


def _errno(value: Any, default: int) -> int:
    return int(default if value is None else value)


def _object(value: Any, known: set[str], what: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"{what} is not an object")
    unknown = set(value) - known
    if unknown:
        raise ValueError(f"unknown key in {what}: {sorted(unknown)[0]}")
    return value


def _list(value: Any, what: str) -> list[Any]:
    if value is None:
        return []
    if not isinstance(value, list):
        raise ValueError(f"{what} is not a list")
    return list(value)


def _kernel_version(text: str) -> tuple[int, int]:
    """Return (major, minor) of a release, "6.18.44-x" or "4.8"."""
    major, _, rest = text.partition(".")
    minor = rest.partition(".")[0].partition("-")[0]
    return int(major), int(minor or 0)
