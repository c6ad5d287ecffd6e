"""Units and crontab lines: what they run, and how their words are quoted."""

import shlex

import pytest

from rootless.cli import generate_crontab, generate_systemd, invocation
from rootless.cli.generate_systemd import quote
from rootless.errors import NotFound, UsageError

PROGRAM = ["/opt/my tools/rootless", "--root", "/srv/100%"]


@pytest.mark.parametrize(
    ("word", "quoted"),
    [
        ("/usr/bin/x", "/usr/bin/x"),
        ("a b", '"a b"'),
        ('a"b\\', '"a\\"b\\\\"'),
        ("100%", "100%%"),
        ("", '""'),
        ("it's", '"it\'s"'),
    ],
)
def test_word_is_quoted_as_units_need_it(word, quoted):
    assert quote(word) == quoted


def test_word_that_no_unit_can_hold_is_refused():
    with pytest.raises(UsageError, match="control character"):
        quote("a\nExecStart=/bin/evil")


def test_unit_of_the_store_starts_what_policies_keep_up():
    text = generate_systemd.store_unit(PROGRAM, path="/usr/bin:/home/me/$x/bin")
    assert 'ExecStart=-"/opt/my tools/rootless" --root /srv/100%% start --restartable\n' in text
    assert "Environment=PATH=/usr/bin:/home/me/$x/bin\n" in text
    assert "ExecStop" not in text
    assert "WantedBy=default.target" in text


def test_unit_of_a_container_starts_and_stops_it(store, capfd, monkeypatch):
    monkeypatch.setattr("sys.argv", ["-m"])
    store.add("web", stop_timeout_s=25)
    assert generate_systemd.main(["web"], store.options) == 0
    out = capfd.readouterr().out
    assert f"-P -m rootless --root {store.paths.store} start web\n" in out
    assert f"-P -m rootless --root {store.paths.store} stop web\n" in out
    assert "TimeoutStopSec=45\n" in out
    assert "TimeoutStopSec=infinity" in generate_systemd.container_unit([], "x", stop_timeout_s=-1, path="/")


def test_dollar_in_a_command_is_not_a_variable():
    text = generate_systemd.container_unit(["/a/$HOME/rootless"], "web", stop_timeout_s=1, path="/")
    assert "ExecStart=/a/$$HOME/rootless start web" in text


def test_unit_of_an_unknown_container_is_refused(store):
    with pytest.raises(NotFound):
        generate_systemd.main(["ghost"], store.options)


def test_crontab_line_survives_cron_and_the_shell():
    line = generate_crontab.line(PROGRAM, path="/a b:/usr/bin")
    assert line.endswith("\n")
    assert line.startswith("@reboot env ")
    command = line.removeprefix("@reboot ").replace("\\%", "%")
    assert shlex.split(command) == ["env", "PATH=/a b:/usr/bin", *PROGRAM, "start", "--restartable"]
    assert "%" not in line.replace("\\%", "")


def test_script_is_named_by_its_path_and_the_store_only_where_it_was_chosen(store, monkeypatch, tmp_path):
    script = tmp_path / "rootless"
    script.write_text("")
    script.chmod(0o755)
    monkeypatch.setattr("sys.argv", [str(script)])
    assert invocation.words(store.options) == [str(script), "--root", store.paths.store]
    for name in ("ROOTLESS_ROOT", "XDG_DATA_HOME"):
        monkeypatch.delenv(name, raising=False)
    store.options.root = None
    assert invocation.words(store.options) == [str(script)]
