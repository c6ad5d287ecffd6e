import pytest

from rootless.errors import UsageError
from rootless.model.spec import Security
from rootless.runtime import caps

LAST = 40
DOCKER = 0xA80425FB
"""CapBnd of a process in a default Docker container."""


def compute(**fields) -> int:
    return caps.compute(Security(**fields), last=LAST)


def test_compute_default_is_that_of_docker():
    assert compute() == DOCKER


def test_compute_add_and_drop_change_the_default():
    mask = compute(cap_add=("NET_ADMIN",), cap_drop=("MKNOD", "net_raw"))
    assert caps.has(mask, "NET_ADMIN")
    assert not caps.has(mask, "MKNOD")
    assert not caps.has(mask, "NET_RAW")
    assert caps.has(mask, "CHOWN")


def test_compute_drop_all_leaves_what_is_added():
    assert caps.names_of(compute(cap_drop=("ALL",), cap_add=("CAP_CHOWN",))) == ["CHOWN"]
    assert compute(cap_drop=("all",)) == 0


def test_compute_add_all_less_dropped():
    assert compute(cap_add=("ALL",), cap_drop=("SYS_ADMIN",)) == (1 << 41) - 1 & ~(1 << 21)


def test_compute_same_capability_dropped_and_added_is_added():
    assert caps.has(compute(cap_drop=("NET_RAW",), cap_add=("NET_RAW",)), "NET_RAW")


def test_compute_privileged_is_all_that_the_kernel_knows():
    assert caps.compute(Security(privileged=True), last=37) == (1 << 38) - 1


def test_compute_old_kernel_gets_no_unknown_bits():
    assert caps.compute(Security(), last=20) == DOCKER & (1 << 21) - 1
    with pytest.raises(UsageError, match="kernel does not know the capability: BPF"):
        caps.compute(Security(cap_add=("BPF",)), last=37)


@pytest.mark.parametrize("name", ["FROBNICATE", "CAP_", "", "CAP_CAP_CHOWN", "CHOWN,KILL", "ALL\n"])
def test_compute_unknown_name_is_a_usage_error(name):
    with pytest.raises(UsageError, match="unknown capability"):
        compute(cap_add=(name,))
    with pytest.raises(UsageError, match="unknown capability"):
        compute(cap_drop=(name,))


def test_normalize_accepts_every_spelling():
    assert {caps.normalize(n) for n in ("CAP_NET_RAW", "cap_net_raw", "net_raw", "NET_RAW")} == {"NET_RAW"}


def test_names_of_is_the_inverse_of_mask_of():
    assert caps.mask_of(caps.names_of(DOCKER)) == DOCKER


def test_last_capability_is_read_from_the_kernel():
    assert 37 <= caps.last_capability() <= 63
