"""Volumes on the command line: what is made, listed, refused and pruned."""

import json
import os

import pytest

from rootless.cli import inspect, volume_create, volume_ls, volume_prune, volume_rm
from rootless.engine import volume_removal, volumes
from rootless.engine.volumes import Volume
from rootless.errors import NotFound, RootlessError, StateConflict, UsageError
from rootless.model import lifecycle
from rootless.model.spec import Mount

ANONYMOUS = "ab" * 32


@pytest.fixture
def make(store):
    def make(name, **fields):
        return volumes.create(store.paths, Volume(name=name, created_ns=1_000_000_000, **fields))

    return make


@pytest.fixture
def some(store, make):
    """Volumes `used`, `spare` (tier=front) and an anonymous one; a stopped container mounts the first."""
    make("used")
    make("spare", labels=("tier=front",))
    make(ANONYMOUS, anonymous=True)
    mount = Mount(kind="volume", source="used", target="/data")
    store.add("owner", mounts=(mount,), state={"status": lifecycle.EXITED})


def names(store):
    return [volume.name for volume in volumes.load_all(store.paths)]


def test_volume_is_made_once_and_named(store, capfd):
    assert volume_create.main(["--label", "a=b", "data"], store.options) == 0
    path = os.path.join(volumes.data_directory(store.paths, "data"), "file")
    with open(path, "w"):
        pass
    assert volume_create.main(["data"], store.options) == 0
    assert capfd.readouterr().out == "data\ndata\n"
    assert os.path.exists(path)
    assert volumes.load(store.paths, "data").labels == ("a=b",)


def test_volume_without_a_name_is_anonymous(store, capfd):
    volume_create.main([], store.options)
    name = capfd.readouterr().out.strip()
    assert len(name) == 64
    assert volumes.load(store.paths, name).anonymous


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["x"], "only .* is allowed"),
        (["-d", "nfs", "data"], "no such driver"),
        (["../escape"], "only .* is allowed"),
        (["-o", "type=tmpfs", "data"], "each container would have one of its own"),
        (["-o", "type=nfs", "-o", "o=addr=1", "data"], "an ordinary user cannot mount it"),
        (["-o", "size=1g", "data"], "not supported"),
        (["-o", "type=none", "-o", "device=/x", "data"], "only binds are possible"),
        (["-o", "o=bind", "-o", "device=x", "data"], "a bind needs a source"),
    ],
)
def test_volume_that_cannot_be_had_is_refused(store, words, message):
    with pytest.raises(UsageError, match=message):
        volume_create.main(words, store.options)
    assert names(store) == []


def test_bind_gives_a_directory_of_the_host_another_name(store, capfd):
    words = ["-o", "type=none", "-o", "o=bind", "-o", "device=/srv/x"]
    volume_create.main([*words, "data"], store.options)
    assert volumes.data_directory(store.paths, "data") == "/srv/x"
    assert volume_create.main(["data"], store.options) == 0
    with pytest.raises(StateConflict, match="it exists, with other options"):
        volume_create.main(["-o", "o=bind", "-o", "device=/other", "data"], store.options)


@pytest.mark.parametrize(
    ("filters", "shown"),
    [
        ([], [ANONYMOUS, "spare", "used"]),
        (["dangling=true"], [ANONYMOUS, "spare"]),
        (["dangling=0"], ["used"]),
        (["name=s"], ["spare", "used"]),
        (["name=par", "name=sed"], ["spare", "used"]),
        (["label=tier"], ["spare"]),
        (["label=tier=back"], []),
        (["label!=tier", "dangling=true"], [ANONYMOUS]),
        (["label=com.docker.volume.anonymous"], [ANONYMOUS]),
        (["driver=local", "name=used"], ["used"]),
        (["driver=nfs"], []),
    ],
)
def test_filters_of_ls(store, some, capfd, filters, shown):
    words = [word for text in filters for word in ("-f", text)]
    assert volume_ls.main(["-q", *words], store.options) == 0
    assert capfd.readouterr().out.split() == shown


def test_ls_has_dockers_columns_and_fields(store, some, capfd):
    volume_ls.main(["-f", "name=spare"], store.options)
    assert capfd.readouterr().out == "DRIVER    VOLUME NAME\nlocal     spare\n"
    volume_ls.main(["-f", "name=spare", "--format", '{{.Mountpoint}} {{.Label "tier"}}'], store.options)
    assert capfd.readouterr().out == f"{store.paths.volumes}/spare/_data front\n"


@pytest.mark.parametrize("words", [["-f", "dangling=maybe"], ["-f", "colour=red"], ["x"]])
def test_wrong_words_of_ls_are_refused(store, words):
    with pytest.raises(UsageError):
        volume_ls.main(words, store.options)


def test_inspect_has_dockers_shape(store, some, capfd):
    assert inspect.main(["--type", "volume", "spare"], store.options) == 0
    assert json.loads(capfd.readouterr().out) == [
        {
            "CreatedAt": "1970-01-01T00:00:01Z",
            "Driver": "local",
            "Labels": {"tier": "front"},
            "Mountpoint": f"{store.paths.volumes}/spare/_data",
            "Name": "spare",
            "Options": None,
            "Scope": "local",
        }
    ]


def test_inspect_without_a_type_finds_volumes_last(store, some, capfd):
    store.add("spare")
    inspect.main(["-f", "{{.Name}}", "spare", "used", ANONYMOUS[:5]], store.options)
    assert capfd.readouterr().out.split() == ["/spare", "used", ANONYMOUS]
    assert inspect.main(["--type", "volume", "owner"], store.options) == 1
    assert "no such volume: owner" in capfd.readouterr().err


def test_beginning_that_means_two_anonymous_volumes_is_told(store, make):
    make(ANONYMOUS, anonymous=True)
    make("ab" + "0" * 62, anonymous=True)
    with pytest.raises(NotFound, match="2 names start with `ab`"):
        volumes.find(store.paths, "ab")
    assert volumes.find(store.paths, "aba").name == ANONYMOUS


@pytest.mark.parametrize("name", ["", ".", "..", "/", "a/b", "../volumes/used", ".gone-x"])
def test_what_is_no_name_is_not_found(store, some, name):
    with pytest.raises(NotFound):
        volumes.find(store.paths, name)


@pytest.mark.parametrize("text", ["", "{", "[]", '"x"', '{"labels": 3}', '{"name": "other"}'])
def test_damaged_record_does_not_hide_the_volume(store, some, capfd, text):
    with open(os.path.join(store.paths.volumes, "spare", "volume.json"), "w") as file:
        file.write(text)
    volume_ls.main(["-q"], store.options)
    assert "spare" in capfd.readouterr().out.split()
    assert inspect.main(["spare"], store.options) == 0


def test_volume_in_use_is_not_removed(store, some, capfd):
    assert volume_rm.main(["used", "spare", "ghost"], store.options) == 1
    out, err = capfd.readouterr()
    assert out == "spare\n"
    assert "in use by container" in err
    assert "no such volume: ghost" in err
    assert names(store) == [ANONYMOUS, "used"]


def test_force_does_not_complain_of_what_is_not_there(store, some, capfd):
    assert volume_rm.main(["-f", "ghost"], store.options) == 0
    assert volume_rm.main(["-f", "used"], store.options) == 1
    assert "in use" in capfd.readouterr().err


def test_prune_takes_anonymous_volumes_that_nobody_uses(store, some, capfd):
    with open(os.path.join(volumes.data_directory(store.paths, ANONYMOUS), "file"), "w") as file:
        file.write("x" * 1500)
    assert volume_prune.main(["-f"], store.options) == 0
    assert capfd.readouterr().out == f"Deleted Volumes:\n{ANONYMOUS}\n\nTotal reclaimed space: 1.5kB\n"
    assert names(store) == ["spare", "used"]
    volume_prune.main(["-f"], store.options)
    assert capfd.readouterr().out == "Total reclaimed space: 0B\n"


@pytest.mark.parametrize(
    ("words", "left"),
    [
        (["-a"], ["used"]),
        (["--filter", "all=true"], ["used"]),
        (["-a", "--filter", "label=tier=front"], [ANONYMOUS, "used"]),
        (["-a", "--filter", "label!=tier"], ["spare", "used"]),
    ],
)
def test_prune_takes_named_ones_only_if_asked(store, some, words, left):
    volume_prune.main(["-f", *words], store.options)
    assert names(store) == left


@pytest.mark.parametrize(("answer", "count"), [("y\n", 2), ("Y", 2), ("n\n", 3), ("\n", 3), ("", 3)])
def test_prune_asks_first(store, some, capfd, tmp_path, monkeypatch, answer, count):
    (tmp_path / "answer").write_text(answer)
    with open(tmp_path / "answer") as file:
        monkeypatch.setattr("sys.stdin", file)
        volume_prune.main([], store.options)
    assert "anonymous local volumes" in capfd.readouterr().out
    assert len(names(store)) == count


def test_anonymous_volume_goes_with_the_last_container_that_mounts_it(store, make):
    make(ANONYMOUS, anonymous=True)
    mount = Mount(kind="volume", source=ANONYMOUS, target="/d", options=("anonymous",))
    first = store.add("first", mounts=(mount,))
    assert volume_removal.hide_anonymous(store.paths, first.spec) == []  # it is still there, as is `second`
    os.rename(first.directory, f"{first.directory}.gone")
    os.rename(f"{first.directory}.gone", os.path.join(store.paths.containers, ".gone-x"))
    assert len(volume_removal.hide_anonymous(store.paths, first.spec)) == 1
    assert names(store) == []


def test_hidden_volume_is_a_leftover_until_it_is_deleted(store, some):
    hidden = volume_removal.hide(store.paths, volumes.load(store.paths, "spare"))
    assert volumes.list_leftovers(store.paths) == [hidden]
    assert "spare" not in names(store)


def test_name_as_long_as_can_be_is_made_and_removed(store, make):
    name = "n" * 255
    make(name)
    volume_rm.main([name], store.options)
    assert names(store) == []
    with pytest.raises(RootlessError):
        volumes.find(store.paths, "n" * 256)
