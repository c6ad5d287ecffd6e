"""Parsers, the diagnosis of refusals, and the cache of facts."""

import errno
import json
import os
import signal

import pytest

from rootless.model.host import HostFacts, IdRange
from rootless.paths import Paths
from rootless.runtime import probe, probing, restrictions, subids, trials
from rootless.runtime.restrictions import Observations


def ranges(*pairs):
    return tuple(IdRange(start=start, count=count) for start, count in pairs)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"ada:100000:65536\nbob:165536:65536\n", ranges((100000, 65536))),
        (b"1001:100000:65536\n", ranges((100000, 65536))),
        (b"ada:100000:10\nada:200000:20\n", ranges((100000, 10), (200000, 20))),
        (b"ada:100000:65536\n1001:100000:65536\n", ranges((100000, 65536))),  # by name and by uid
        (b"ada:100000:10\nada:100005:10\n", ranges((100000, 10))),  # overlap
        (b"adam:1:1\nada:x:1\nada:1\nada:100:0\nada:4294967290:10\n# ada\n\n", ()),
        (b"ada:-5:10\nada:\xff:1\n", ()),
        (b"", ()),
    ],
)
def test_parse_subid_file(text, expected):
    assert subids.parse_subid_file(text, user="ada", uid=1001) == expected


def test_parse_getsubids_output():
    assert subids.parse_getsubids(b"0: ada 100000 65536\n1: ada 300000 10\n") == ranges(
        (100000, 65536), (300000, 10)
    )
    assert subids.parse_getsubids(b"Error fetching ranges\n") == ()


@pytest.mark.parametrize(
    ("text", "expected"),
    [(b"", True), (b"passwd: files sss\n", True), (b"subid: files\n", True), (b"subid:  sss # x\n", False)],
)
def test_uses_files(text, expected):
    assert subids.uses_files(text) is expected


def test_read_ranges_asks_getsubids_where_another_source_is_configured(monkeypatch):
    files = {"/etc/nsswitch.conf": b"subid: sss\n", "/etc/subuid": b"ada:1:1\n", "/etc/subgid": b""}
    monkeypatch.setattr(subids, "_read", files.__getitem__)
    monkeypatch.setattr(subids, "_getsubids", lambda *words: b"0: ada %d 9\n" % len(words))
    assert subids.read_ranges("ada", 1) == (ranges((1, 9)), ranges((2, 9)), False)
    files["/etc/nsswitch.conf"] = b"passwd: sss\n"
    assert subids.read_ranges("ada", 1) == (ranges((1, 1)), (), True)


@pytest.mark.parametrize(
    ("user", "local", "lasting"), [("ada", True, True), ("ada", False, False), ("7", True, False)]
)
def test_missing_ranges_that_a_directory_service_may_have_are_not_cached(monkeypatch, user, local, lasting):
    monkeypatch.setattr(subids, "read_ranges", lambda *_: ((), (), local))
    prober = probing._Prober("/")
    probing._probe_ranges(prober, user, 7, 7)
    assert prober.lasting is lasting
    assert f"user {user} has no subordinate uids" in prober.reasons["subuids"]


def test_helper_that_hangs_is_given_up(monkeypatch, tmp_path):
    monkeypatch.setattr(trials, "DEADLINE_S", 0.05)
    slow = tmp_path / "newuidmap"
    slow.write_text("#!/bin/sh\nexec sleep 60\n")
    slow.chmod(0o755)
    process = trials._start_helper(str(slow), 1, ranges((5, 6)), 7)
    verdict = trials._finish_helper("newuidmap", *process)
    assert "did not end" in verdict.problem
    assert not verdict.lasting
    os.kill(process[0], signal.SIGKILL)
    os.waitpid(process[0], 0)


def test_helper_that_refuses_is_quoted(tmp_path):
    bad = tmp_path / "newuidmap"
    bad.write_text('#!/bin/sh\necho "newuidmap: $*" >&2; exit 1\n')
    bad.chmod(0o755)
    process = trials._start_helper(str(bad), 42, ranges((5, 6), (50, 60)), 7)
    verdict = trials._finish_helper("newuidmap", *process)
    assert verdict.problem == "newuidmap: 42 0 7 1 1 5 6 7 50 60"
    assert verdict.lasting


def test_helper_problem_of_missing_and_plain_programs(tmp_path):
    plain = tmp_path / "newuidmap"
    plain.write_text("")
    assert subids.helper_problem("") == "it is not installed"
    assert "neither the set-user-id bit" in subids.helper_problem(str(plain))


@pytest.mark.parametrize(
    ("seen", "expected"),
    [
        (Observations(number=errno.EINVAL), restrictions.KERNEL),
        (Observations(number=errno.EPERM, supported=False), restrictions.KERNEL),
        (Observations(number=errno.ENOSPC, max_user_namespaces=0), restrictions.LIMIT),
        (Observations(number=errno.ENOSPC, max_user_namespaces=100), restrictions.COUNT),
        (Observations(number=errno.EUSERS, max_user_namespaces=100), restrictions.COUNT),
        (Observations(number=errno.EPERM, unprivileged_userns_clone=0), restrictions.CLONE),
        (Observations(number=errno.EPERM, apparmor_restrict=1), restrictions.APPARMOR),
        (Observations(number=errno.EPERM, apparmor_restrict=1, stage="map"), restrictions.APPARMOR),
        (
            Observations(number=errno.EACCES, apparmor_restrict=1, stage="mount-namespace"),
            restrictions.APPARMOR,
        ),
        (Observations(number=errno.EPERM, apparmor_restrict=1, seccomp=True), restrictions.SECCOMP),
        (Observations(number=errno.EPERM, seccomp=True), restrictions.SECCOMP),
        (Observations(number=errno.EPERM, chroot=True), restrictions.CHROOT),
        (Observations(number=errno.EPERM, mapped=False), restrictions.UNMAPPED),
        (
            Observations(number=errno.EPERM, unprivileged_userns_clone=1, apparmor_restrict=0),
            restrictions.UNKNOWN,
        ),
    ],
)
def test_diagnose_names_the_restriction(seen, expected):
    assert restrictions.diagnose(seen) == expected
    assert restrictions.describe(expected, seen.number)


# the cache


@pytest.fixture
def paths(tmp_path):
    found = Paths(store=str(tmp_path / "store"), run=str(tmp_path / "run"))
    found.ensure()
    return found


class FakeProbe:
    def __init__(self) -> None:
        self.calls = 0
        self.lasting = True

    def __call__(self, store: str) -> probing.Outcome:
        self.calls += 1
        return probing.Outcome(HostFacts(uid=1, gid=self.calls, subuids=ranges((5, 6))), lasting=self.lasting)


@pytest.fixture
def tries(monkeypatch):
    fake = FakeProbe()
    monkeypatch.setattr(probing, "find_facts", fake)
    return fake


def test_load_facts_second_time_comes_from_the_cache(paths, tries):
    first = probe.load_facts(paths)
    assert probe.load_facts(paths) == first
    assert tries.calls == 1


def test_load_facts_fresh_renews_the_cache(paths, tries):
    probe.load_facts(paths)
    assert probe.load_facts(paths, fresh=True).gid == 2
    assert probe.load_facts(paths).gid == 2


def test_load_facts_that_may_change_are_not_cached(paths, tries):
    tries.lasting = False
    probe.load_facts(paths)
    assert not os.path.exists(probe.cache_path(paths))
    probe.load_facts(paths)
    assert tries.calls == 2


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b'{"fingerprint": {}, "facts": {}}', b"\xff"])
def test_load_facts_damaged_cache_is_ignored(paths, tries, content):
    with open(probe.cache_path(paths), "wb") as file:
        file.write(content)
    assert probe.load_facts(paths).gid == 1


def test_load_facts_cache_of_damaged_facts_is_ignored(paths, tries):
    data = {"fingerprint": probe.take_fingerprint(paths), "facts": {"frob": 1}}
    with open(probe.cache_path(paths), "w") as file:
        json.dump(data, file)
    assert probe.load_facts(paths).gid == 1


def test_load_facts_changed_helper_is_noticed(paths, tries, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    probe.load_facts(paths)
    (tmp_path / "pasta").write_text("")
    (tmp_path / "pasta").chmod(0o755)
    probe.load_facts(paths)
    (tmp_path / "pasta").chmod(0o700)
    probe.load_facts(paths)
    assert tries.calls == 3


def test_load_facts_unwritable_run_directory_is_no_failure(paths, tries, monkeypatch):
    def refuse(*_args, **_kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "rename", refuse)
    assert probe.load_facts(paths).gid == 1
    assert [n for n in os.listdir(paths.run) if n.startswith("host-")] == []


def test_fingerprint_is_json(paths):
    taken = probe.take_fingerprint(paths)
    assert json.loads(json.dumps(taken)) == taken


def test_scratch_directory_that_was_left_is_swept_an_hour_later(tmp_path):
    for name, age in ((".probe-1-a", 4000), (".probe-1-b", 60)):
        (tmp_path / name / "work").mkdir(parents=True)
        past = os.stat(tmp_path).st_mtime - age
        os.utime(tmp_path / name, (past, past))
    with probing._Scratch(str(tmp_path)) as scratch:
        assert os.path.isdir(os.path.join(scratch.path, "merged"))
    assert os.listdir(tmp_path) == [".probe-1-b"]


def test_open_problem_wrong_device_is_not_taken_for_the_right_one():
    assert probing.open_problem("/dev/null", probing.FUSE_DEVICE) == (
        "/dev/null is not the device of that name",
        0,
    )
    assert probing.open_problem("/dev/null", os.makedev(1, 3)) == ("", 0)
    assert probing.open_problem("/nonexistent", 0)[1] == errno.ENOENT


def test_child_that_hangs_is_ended_at_the_deadline(monkeypatch):
    monkeypatch.setattr(trials, "DEADLINE_S", 0.05)

    def hang(report):
        report("early", "ok")
        os.read(os.pipe()[0], 1)

    assert trials._in_child(hang) == {"early": "ok"}
