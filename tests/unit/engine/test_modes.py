import pytest

from rootless.engine import modes, remedies
from rootless.errors import HostUnsupported, UsageError
from rootless.model.host import HostFacts, IdRange
from rootless.runtime import restrictions

RANGE = IdRange(start=100000, count=65536)


def facts(**changes) -> HostFacts:
    full = {
        "uid": 1001,
        "gid": 1002,
        "user": "ada",
        "newuidmap": "/usr/bin/newuidmap",
        "newgidmap": "/usr/bin/newgidmap",
        "subuids": (RANGE,),
        "subgids": (RANGE,),
        "fuse_overlayfs": "/usr/bin/fuse-overlayfs",
        "pasta": "/usr/bin/pasta",
        "slirp4netns": "/usr/bin/slirp4netns",
    }
    return HostFacts(**(full | changes))


def test_choose_fully_equipped_host_has_no_notices():
    chosen = modes.choose(facts())
    assert (chosen.identity, chosen.storage, chosen.network) == ("ranges", "overlay", "pasta")
    assert chosen.notices == ()


def test_ranges_mapping_continues_without_holes_and_round_trips():
    mapping = modes.ranges_mapping(
        1001, 1002, (IdRange(start=5000, count=10), IdRange(start=200000, count=100)), (RANGE,)
    )
    assert mapping.uids == ((0, 1001, 1), (1, 5000, 10), (11, 200000, 100))
    assert mapping.gids == ((0, 1002, 1), (1, 100000, 65536))
    assert mapping.key.startswith("ranges-")
    assert type(mapping).from_json(mapping.to_json()) == mapping


def test_ranges_mapping_key_depends_on_the_ids_alone():
    one = modes.ranges_mapping(1, 1, (RANGE,), (RANGE,))
    assert one.key == modes.ranges_mapping(1, 1, [RANGE], [RANGE]).key
    assert one.key != modes.ranges_mapping(1, 1, (IdRange(start=100001, count=65536),), (RANGE,)).key
    assert one.key != modes.ranges_mapping(2, 1, (RANGE,), (RANGE,)).key


def test_ranges_mapping_range_with_the_own_id_is_left_out():
    mapping = modes.ranges_mapping(100005, 1, (RANGE, IdRange(start=900000, count=5)), (RANGE,))
    assert mapping.uids == ((0, 100005, 1), (1, 900000, 5))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"subuids": ()}, "user ada has no subordinate ids"),
        ({"subgids": ()}, "user ada has no subordinate ids"),
        ({"newuidmap": ""}, "newuidmap cannot be used: not installed"),
        (
            {"newgidmap": "", "reasons": {"newgidmap": "it is on a nosuid mount"}},
            "newgidmap cannot be used: it is",
        ),
    ],
)
def test_choose_without_ranges_is_single_and_says_why(changes, words):
    chosen = modes.choose(facts(**changes))
    assert chosen.identity == "single"
    assert chosen.mapping.uids == ((0, 1001, 1),)
    assert chosen.mapping.gids == ((0, 1002, 1),)
    assert chosen.mapping.key == "single"
    assert words in chosen.notices[0]


def test_choose_few_ids_says_so():
    chosen = modes.choose(facts(subuids=(IdRange(start=100000, count=1000),)))
    assert chosen.notices == ("containers have the ids 0 to 1000 only: images may need up to 65535",)


def test_choose_single_on_request_has_no_notice():
    chosen = modes.choose(facts(), userns="single")
    assert (chosen.identity, chosen.notices) == ("single", ())


def test_choose_ranges_on_request_that_are_missing_is_unsupported():
    with pytest.raises(HostUnsupported, match="no subordinate ids") as caught:
        modes.choose(facts(subuids=()), userns="ranges")
    assert "doctor" in caught.value.hint


def test_choose_storage_falls_back_in_order():
    overlay = {"overlay": "mount: Operation not permitted"}
    assert modes.choose(facts(**overlay)).storage == "fuse-overlayfs"
    assert modes.choose(facts(**overlay, fuse_overlayfs="")).storage == "copy"
    assert modes.choose(facts(**overlay, xattrs=False)).storage == "copy"
    assert "Operation not permitted" in modes.choose(facts(**overlay)).notices[0]


def test_choose_storage_on_request():
    assert modes.choose(facts(), storage="copy").storage == "copy"
    with pytest.raises(HostUnsupported, match="cannot use the storage overlay: no") as caught:
        modes.choose(facts(overlay="no"), storage="overlay")
    assert caught.value.hint
    with pytest.raises(HostUnsupported, match="/dev/fuse"):
        modes.choose(
            facts(fuse_overlayfs="", reasons={"fuse_overlayfs": "cannot open /dev/fuse"}),
            storage="fuse-overlayfs",
        )


def test_choose_network_falls_back_in_order():
    assert modes.choose(facts(pasta="")).network == "slirp4netns"
    host = modes.choose(facts(pasta="", slirp4netns="", reasons={"pasta": "cannot open /dev/net/tun"}))
    assert host.network == "host"
    assert host.notices == ("containers share the host's network: cannot open /dev/net/tun",)
    assert modes.choose(facts(), network="none").network == "none"


def test_choose_masked_proc_says_so():
    assert "/proc" in modes.choose(facts(proc_mountable=False)).notices[0]


@pytest.mark.parametrize("field", ["userns", "storage"])
def test_choose_unknown_name_is_a_usage_error(field):
    with pytest.raises(UsageError, match="unknown"):
        modes.choose(facts(), **{field: "frob"})


@pytest.mark.parametrize(
    ("restriction", "command"),
    [
        (restrictions.LIMIT, "user.max_user_namespaces=15000"),
        (restrictions.CLONE, "kernel.unprivileged_userns_clone=1"),
        (restrictions.APPARMOR, "profile rootless-python"),
        (restrictions.SECCOMP, "seccomp=unconfined"),
        (restrictions.KERNEL, "CONFIG_USER_NS"),
        (restrictions.UNKNOWN, "dmesg"),
    ],
)
def test_choose_without_user_namespaces_is_unsupported_with_the_command(restriction, command):
    refused = facts(user_namespaces="they are refused", restriction=restriction)
    with pytest.raises(
        HostUnsupported, match="cannot run containers on this host: they are refused"
    ) as caught:
        modes.choose(refused)
    assert command in caught.value.hint


def test_store_modes_exist_without_user_namespaces():
    chosen = modes.store_modes(facts(user_namespaces="refused", restriction="seccomp"))
    assert (chosen.identity, chosen.mapping.mode, chosen.mapping.key) == ("none", "none", "single")
    assert chosen.notices == ("containers cannot run on this host: refused",)


def test_store_modes_elsewhere_are_those_of_containers():
    assert modes.store_modes(facts()) == modes.choose(facts())


# remedies


def test_free_range_is_after_the_highest_in_use():
    assert remedies.free_range(("", "")) == 100000
    assert remedies.free_range(("a:100000:65536\n", "a:100000:65536\nb:165536:65536\n")) == 231072
    assert remedies.free_range(("ldap:2000000000:65536\nbad\n::\na:x:1\n",)) == 100000


def test_add_ranges_quotes_the_user():
    command = remedies.add_ranges("ada", subuid="root:100000:65536\n", subgid="")
    assert command == "sudo usermod --add-subuids 165536-231071 --add-subgids 165536-231071 ada"
    assert "'a b'" in remedies.add_ranges("a b", subuid="", subgid="")


@pytest.mark.parametrize(
    ("os_release", "command"),
    [
        ("ID=debian\n", "sudo apt-get install uidmap"),
        ('ID="rocky"\nID_LIKE="rhel centos fedora"\n', "sudo dnf install shadow-utils"),
        ("ID=frob\nID_LIKE=arch\n", "sudo pacman -S shadow"),
        ("ID=alpine\n", "sudo apk add shadow-uidmap"),
        ("ID=opensuse-leap\n", "sudo zypper install shadow"),
        ("", "install the package that has newuidmap"),
    ],
)
def test_install_names_the_package_of_the_distribution(os_release, command):
    assert remedies.install("newuidmap", remedies.family(os_release)) == command
