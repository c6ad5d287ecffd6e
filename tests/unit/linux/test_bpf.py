"""The assembler against a simulator of classic BPF: the program decides as the table of rules does."""

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rootless.linux import bpf
from rootless.linux.bpf import ALLOW, Condition, Rule, errno_action

NATIVE = 0xC000003E
I386 = 0x40000003
DEFAULT, UNKNOWN, FOREIGN = errno_action(1), errno_action(38), errno_action(95)
OPS = {
    bpf.EQ: lambda a, v, m: a == v,
    bpf.NE: lambda a, v, m: a != v,
    bpf.LT: lambda a, v, m: a < v,
    bpf.LE: lambda a, v, m: a <= v,
    bpf.GT: lambda a, v, m: a > v,
    bpf.GE: lambda a, v, m: a >= v,
    bpf.MASKED_EQ: lambda a, v, m: a & m == v,
}


def run(program: bytes, nr: int, args=(), arch: int = NATIVE) -> tuple[int, int]:
    """Interpret a program as the kernel would; returns (action, instructions executed)."""
    data = struct.pack("<IIQ6Q", nr, arch, 0, *(list(args) + [0] * 6)[:6])
    code = list(struct.iter_unpack("=HBBI", program))
    accumulator = position = steps = 0
    while True:
        op, jt, jf, k = code[position]
        position += 1
        steps += 1
        if op == 0x20:
            assert k % 4 == 0
            assert k + 4 <= len(data)
            accumulator = struct.unpack_from("<I", data, k)[0]
        elif op == 0x54:
            accumulator &= k
        elif op == 0x05:
            position += k
        elif op == 0x06:
            return k, steps
        else:
            taken = {0x15: accumulator == k, 0x25: accumulator > k, 0x35: accumulator >= k}[op]
            position += jt if taken else jf


def expected(rules, newest: int, nr: int, args) -> int:
    if nr >= 0x40000000:
        return FOREIGN
    if nr > newest:
        return UNKNOWN
    for rule in rules.get(nr, ()):
        for c in rule.conditions:
            argument = args[c.index] if c.wide else args[c.index] & 0xFFFFFFFF
            if not OPS[c.op](argument, c.value, c.mask):
                break
        else:
            return rule.action
    return DEFAULT


def assemble(rules, newest: int = 500) -> bytes:
    return bpf.assemble(
        rules, audit_arch=NATIVE, default=DEFAULT, unknown=UNKNOWN, newest=newest, foreign=FOREIGN
    )


INTERESTING = st.sampled_from([0, 1, 8, 0x5412, 0xFFFFFFFF, 1 << 32, (1 << 32) | 0x5412, (1 << 64) - 1])
WORDS = st.one_of(INTERESTING, st.integers(0, (1 << 64) - 1), st.integers(0, 3))


@st.composite
def conditions(draw):
    wide = draw(st.booleans())
    limit = (1 << (64 if wide else 32)) - 1
    op = draw(st.sampled_from(list(OPS)))
    mask = draw(WORDS) & limit if op == bpf.MASKED_EQ else 0
    return Condition(draw(st.integers(0, 5)), op, draw(WORDS) & limit, mask=mask, wide=wide)


actions = st.sampled_from([ALLOW, DEFAULT, errno_action(38), bpf.KILL_PROCESS, bpf.TRAP])
rule_lists = st.lists(st.builds(Rule, actions, st.lists(conditions(), max_size=4)), max_size=4)
tables = st.dictionaries(st.integers(0, 500), rule_lists, max_size=60)


@settings(max_examples=150, deadline=None)
@given(tables, st.data())
def test_assemble_any_table_decides_like_the_table(rules, data):
    program = assemble(rules)
    numbers = set(rules) | {n + d for n in rules for d in (-1, 1) if n + d >= 0} | {0, 500, 501}
    numbers |= {0x3FFFFFFF, 0x40000000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF}
    values = [c.value for rs in rules.values() for r in rs for c in r.conditions] or [0]
    words = st.one_of(WORDS, st.sampled_from(values), st.sampled_from(values).map(lambda v: v ^ (1 << 32)))
    for nr in sorted(numbers):
        args = data.draw(st.tuples(*[words] * 6)) if nr in rules else (0,) * 6
        assert run(program, nr, args)[0] == expected(rules, 500, nr, args)


@given(conditions(), st.tuples(*[WORDS] * 6))
def test_assemble_one_condition_compares_as_unsigned(condition, args):
    rules = {7: [Rule(ALLOW, [condition])]}
    assert run(assemble(rules), 7, args)[0] == expected(rules, 500, 7, args)


def test_assemble_long_rules_jump_farther_than_a_byte():
    long = [Rule(ALLOW, [Condition(0, bpf.EQ, n, wide=True)]) for n in range(200)]
    far = [Rule(ALLOW, [Condition(1, bpf.GT, n, wide=True) for n in range(100)])]
    rules = {10: long, 20: far, 30: [Rule(ALLOW)]}
    program = assemble(rules)
    for nr, args in (
        (10, (0,)),
        (10, (199,)),
        (10, (200,)),
        (20, (0, 99)),
        (20, (0, 100)),
        (30, ()),
        (31, ()),
    ):
        args = (*args, *[0] * (6 - len(args)))
        assert run(program, nr, args)[0] == expected(rules, 500, nr, args)


def test_assemble_more_than_4096_instructions_is_refused():
    rules = {1: [Rule(ALLOW, [Condition(0, bpf.EQ, n, wide=True)]) for n in range(1000)]}
    with pytest.raises(ValueError, match="too long"):
        assemble(rules)


def test_assemble_call_of_another_architecture_is_refused_whatever_its_number():
    program = assemble({n: [Rule(ALLOW)] for n in range(501)})
    assert {run(program, nr, arch=I386)[0] for nr in range(0, 600, 7)} == {FOREIGN}


def test_assemble_x32_number_is_refused():
    program = assemble({n: [Rule(ALLOW)] for n in range(501)})
    assert run(program, 0x40000000 | 59)[0] == FOREIGN


def test_assemble_many_spans_cost_a_logarithm():
    program = assemble({n: [Rule(ALLOW)] for n in range(0, 256, 2)})
    assert max(run(program, nr)[1] for nr in range(600)) <= 4 + 9 + 1


def test_assemble_neighbours_of_one_outcome_merge():
    assert len(assemble({n: [Rule(ALLOW)] for n in range(100)})) // 8 == 4 + 3 + 4


@pytest.mark.parametrize("number", [-1, 501])
def test_assemble_number_out_of_range_is_refused(number):
    with pytest.raises(ValueError, match="out of range"):
        assemble({number: [Rule(ALLOW)]})


def test_condition_values_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="32 bits"):
        Condition(0, bpf.EQ, 1 << 32)
    with pytest.raises(ValueError, match="index"):
        Condition(6, bpf.EQ, 0)


def test_errno_action_too_large_is_refused():
    with pytest.raises(ValueError):
        errno_action(4096)
