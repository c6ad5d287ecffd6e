"""Assemble seccomp filters: a table of rules per system call becomes classic BPF. Pure, ring 1.

Says nothing about which calls are dangerous (`runtime.seccomp`) and installs nothing (`linux.calls`).

The program checks the architecture, then finds the number by binary search over runs of numbers that
share an outcome: about seven comparisons for any call. Outside argument checks it only loads `nr` and
`arch`, jumps and returns, so that Linux 5.11 and newer answer what is always allowed from a bitmap.

Rules of a call are tried in order, the first whose conditions all hold decides; when none does, or the
call has no rules, the default does.
Spec: linux/seccomp.h, linux/filter.h, kernel: Documentation/userspace-api/seccomp_filter.rst.
"""

from __future__ import annotations

import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    Instruction = tuple[int, int, int, int]
    """(code, jt, jf, k) of struct sock_filter."""
    Rules = Mapping[int, Sequence["Rule"]]

ALLOW = 0x7FFF0000
LOG = 0x7FFC0000
TRACE = 0x7FF00000
USER_NOTIF = 0x7FC00000
TRAP = 0x00030000
KILL_THREAD = 0x00000000
KILL_PROCESS = 0x80000000
_ERRNO = 0x00050000

EQ, NE, LT, LE, GT, GE, MASKED_EQ = "==", "!=", "<", "<=", ">", ">=", "&=="

MAX_INSTRUCTIONS = 4096
"""BPF_MAXINSNS, linux/bpf_common.h."""
X32_SYSCALL_BIT = 0x40000000
"""asm/unistd.h: numbers of the x32 ABI on x86-64, which shares AUDIT_ARCH_X86_64 with the native one."""

_LOAD = 0x20  # BPF_LD | BPF_W | BPF_ABS
_AND = 0x54  # BPF_ALU | BPF_AND | BPF_K
_JUMP = 0x05  # BPF_JMP | BPF_JA
_JEQ = 0x15
_JGT = 0x25
_JGE = 0x35
_RETURN = 0x06
_NR, _ARCH, _ARGS = 0, 4, 16  # offsets in struct seccomp_data
_FAR = 255
"""jt and jf are bytes; farther targets need BPF_JA."""


class Condition:
    """One comparison of an argument.

    Attributes:
        index: 0 to 5.
        op: EQ, NE, LT, LE, GT, GE (unsigned) or MASKED_EQ (argument & mask == value).
        wide: compare all 64 bits. False looks at the low 32 only, which is right where the kernel takes an
            int: with 64 bits, `ioctl(fd, TIOCSTI | 1 << 32)` would pass and the kernel would then drop the
            high half (CVE-2019-10063).
    """

    __slots__ = ("index", "mask", "op", "value", "wide")

    def __init__(self, index: int, op: str, value: int, *, mask: int = 0, wide: bool = False) -> None:
        if not 0 <= index <= 5:
            raise ValueError(f"argument index out of range: {index}")
        if op not in (EQ, NE, LT, LE, GT, GE, MASKED_EQ):
            raise ValueError(f"unknown comparison: {op}")
        width = 64 if wide else 32
        if not 0 <= value < 1 << width or not 0 <= mask < 1 << width:
            raise ValueError(f"value or mask does not fit {width} bits")
        self.index = index
        self.op = op
        self.value = value
        self.mask = mask
        self.wide = wide


class Rule:
    """An action for a call whose arguments meet all conditions; without conditions, for every such call."""

    __slots__ = ("action", "conditions")

    def __init__(self, action: int, conditions: Sequence[Condition] = ()) -> None:
        self.action = action
        self.conditions = tuple(conditions)


def errno_action(number: int) -> int:
    """Return the action that makes the call fail with this errno."""
    if not 0 <= number <= 4095:  # MAX_ERRNO of the kernel; larger values would be cut silently
        raise ValueError(f"errno out of range: {number}")
    return _ERRNO | number


def assemble(
    rules: Rules, *, audit_arch: int, default: int, unknown: int, newest: int, foreign: int
) -> bytes:
    """Compile a filter to struct sock_filter[].

    Args:
        rules: rules by system call number.
        audit_arch: the only architecture whose numbers `rules` holds.
        default: action of numbers up to `newest` without a matching rule.
        unknown: action of numbers above `newest`.
        foreign: action of calls made through another architecture's entry (i386 on x86-64, 32-bit ARM on
            arm64) and of x32's numbers: other numbers mean other calls there.
    Returns:
        8 bytes per instruction, at most 4096 of them.
    Raises:
        ValueError: the rules need a longer program, or a number is out of range.
    """
    spans = _spans(rules, default=default, unknown=unknown, newest=newest, foreign=foreign)
    body = _search(spans)
    program = [
        (_LOAD, 0, 0, _ARCH),
        (_JEQ, 1, 0, audit_arch),
        (_RETURN, 0, 0, foreign),
        (_LOAD, 0, 0, _NR),
        *body,
    ]
    if len(program) > MAX_INSTRUCTIONS:
        raise ValueError(f"filter too long: {len(program)} instructions, {MAX_INSTRUCTIONS} is the most")
    flat = [part for instruction in program for part in instruction]
    return struct.pack("=" + "HBBI" * len(program), *flat)


def _spans(
    rules: Rules, *, default: int, unknown: int, newest: int, foreign: int
) -> list[tuple[int, list[Instruction]]]:
    """Cut all numbers into runs of one outcome: [(first number, its code)], ascending, the first from 0."""
    fallback = _return(default)
    beyond = [(newest + 1, _return(unknown)), (X32_SYSCALL_BIT, _return(foreign))]
    if newest + 1 >= X32_SYSCALL_BIT:
        raise ValueError(f"system call number out of range: {newest}")
    spans = [(0, fallback)]
    following = 0
    for number in sorted(rules):
        if not 0 <= number <= newest:
            raise ValueError(f"system call number out of range: {number}")
        if number > following:
            _extend(spans, following, fallback)
        _extend(spans, number, _decide(rules[number], default))
        following = number + 1
    if following <= newest:
        _extend(spans, following, fallback)
    for number, code in beyond:
        _extend(spans, number, code)
    return spans


def _extend(spans: list[tuple[int, list[Instruction]]], number: int, code: list[Instruction]) -> None:
    if spans[-1][0] == number:
        spans.pop()
    if not spans or spans[-1][1] != code:
        spans.append((number, code))


def _search(spans: list[tuple[int, list[Instruction]]]) -> list[Instruction]:
    """Binary search on the accumulator: lower half first, so that only forward jumps are needed."""
    if len(spans) == 1:
        return spans[0][1]
    middle = len(spans) // 2
    lower = _search(spans[:middle])
    return [*_branch(_JGE, spans[middle][0], true=len(lower), false=0), *lower, *_search(spans[middle:])]


def _decide(rules: Sequence[Rule], default: int) -> list[Instruction]:
    """Code that tries the rules in order."""
    code: list[Instruction] = []
    closed = False
    for rule in rules:
        if not rule.conditions:
            closed = True
            code += _return(rule.action)
            break
        block = _return(rule.action)
        for condition in reversed(rule.conditions):
            block = [*_test(condition, miss=len(block)), *block]
        code += block
    return code if closed else [*code, *_return(default)]


def _test(condition: Condition, *, miss: int) -> list[Instruction]:
    """Code that falls through when the condition holds, and else jumps over `miss` further instructions."""
    op, value = condition.op, condition.value
    negated = op in (NE, LT, LE)
    hit, miss = (miss, 0) if negated else (0, miss)
    compare = {NE: _JEQ, LT: _JGE, LE: _JGT, GT: _JGT, GE: _JGE}.get(op, _JEQ)
    low, high = value & 0xFFFFFFFF, value >> 32
    mask = condition.mask if op == MASKED_EQ else None
    offset = _ARGS + 8 * condition.index  # both machines are little-endian: the low half comes first
    tail = [*_load(offset, mask), *_branch(compare, low, true=hit, false=miss)]
    if not condition.wide:
        return tail
    # The high halves differ: decided there. They are equal: the low halves decide.
    equal = _branch(_JEQ, high, true=0, false=len(tail) + miss)
    head = _load(offset + 4, mask if mask is None else mask >> 32)
    if compare == _JEQ:
        return [*head, *equal, *tail]
    above = _branch(_JGT, high, true=len(equal) + len(tail) + hit, false=0)
    return [*head, *above, *equal, *tail]


def _load(offset: int, mask: int | None) -> list[Instruction]:
    load = (_LOAD, 0, 0, offset)
    return [load] if mask is None else [load, (_AND, 0, 0, mask & 0xFFFFFFFF)]


def _branch(code: int, value: int, *, true: int, false: int) -> list[Instruction]:
    """A conditional jump; a distance that a byte cannot hold goes through an unconditional one."""
    if true <= _FAR and false <= _FAR:
        return [(code, true, false, value)]
    # Both ways through a jump of their own: one form is enough for the rare long program.
    return [(code, 0, 1, value), (_JUMP, 0, 0, true + 1), (_JUMP, 0, 0, false)]


def _return(action: int) -> list[Instruction]:
    return [(_RETURN, 0, 0, action)]
