"""What `ps` shows and which containers it picks."""

import json
import os

import pytest

from rootless.cli import ps
from rootless.engine import image_lookup
from rootless.errors import RootlessError, UsageError
from rootless.model import lifecycle
from rootless.model.policy import Healthcheck
from rootless.model.spec import Mount, Process

SECOND = 1_000_000_000
NOW = 1_000_000 * SECOND


@pytest.fixture
def containers(store):
    return {
        "created": store.add("created", created_ns=1 * SECOND, labels=("tier=front", "x=1")),
        "ended": store.add(
            "ended",
            created_ns=2 * SECOND,
            image="alpine:3",
            state={"status": lifecycle.EXITED, "exit_code": 3, "finished_ns": NOW - 300 * SECOND},
            labels=("tier=back",),
        ),
        "live": store.running("live", pid=os.getpid(), created_ns=3 * SECOND),
    }


def listed(store, capfd, *words):
    assert ps.main(["--format", "{{.Names}}", *words], store.options) == 0
    return capfd.readouterr().out.split()


def test_only_running_containers_are_shown_unless_all_are_asked_for(store, containers, capfd):
    assert listed(store, capfd) == ["live"]
    assert listed(store, capfd, "-a") == ["live", "ended", "created"]


def test_last_and_latest_take_any_state(store, containers, capfd):
    assert listed(store, capfd, "-n", "2") == ["live", "ended"]
    assert listed(store, capfd, "-l") == ["live"]
    assert listed(store, capfd, "-n", "0") == ["live"]


@pytest.mark.parametrize(
    ("filters", "names"),
    [
        (["status=exited"], ["ended"]),
        (["status=exited", "status=running"], ["live", "ended"]),
        (["exited=3"], ["ended"]),
        (["exited=0"], []),
        (["name=ea"], ["created"]),
        (["name=/live"], ["live"]),
        (["name=^live$"], ["live"]),
        (["name=^/ended$"], ["ended"]),
        (["name=^ive"], []),
        (["status=paused"], []),
        (["is-task=false", "status=exited"], ["ended"]),
        (["is-task=true"], []),
        (["health=none", "exited=3"], ["ended"]),
        (["health=healthy"], []),
        (["publish=80"], []),
        (["label=tier"], ["ended", "created"]),
        (["label=tier=front"], ["created"]),
        (["label=tier", "label=x=1"], ["created"]),
        (["ancestor=alpine:3"], ["ended"]),
        (["ancestor=" + "a" * 12], ["live", "ended", "created"]),
        (["before=live"], ["ended", "created"]),
        (["since=created", "status=exited"], ["ended"]),
        (["id=" + b"live".hex()], ["live"]),
    ],
)
def test_filters(store, containers, capfd, filters, names):
    words = [word for text in filters for word in ("-f", text)]
    assert listed(store, capfd, "-a", *words) == names


@pytest.mark.parametrize(
    "text", ["color=red", "status=sleepy", "exited=x", "status", "name=(", "publish=http", "health=ill"]
)
def test_bad_filter_is_a_usage_error(store, containers, text):
    with pytest.raises(UsageError):
        ps.main(["-a", "-f", text], store.options)


def test_filter_by_an_unknown_container_names_it(store, containers):
    with pytest.raises(RootlessError, match="no such container: ghost"):
        ps.main(["-f", "before=ghost"], store.options)


def test_table_of_nothing_has_its_titles(store, capfd):
    assert ps.main([], store.options) == 0
    assert capfd.readouterr().out == (
        "CONTAINER ID   IMAGE     COMMAND   CREATED   STATUS    PORTS     NAMES\n"
    )


def test_quiet_prints_short_ids_and_no_trunc_long_ones(store, containers, capfd):
    ps.main(["-q"], store.options)
    assert capfd.readouterr().out == containers["live"].spec.id[:12] + "\n"
    ps.main(["-q", "--no-trunc"], store.options)
    assert capfd.readouterr().out == containers["live"].spec.id + "\n"


def test_row_of_an_exited_container(containers):
    row = ps.row(containers["ended"], now_ns=NOW, truncate=True)
    assert row["Status"] == "Exited (3) 5 minutes ago"
    assert row["RunningFor"] == "11 days ago"
    assert row["Command"] == "\"sh -c 'sleep 1'\""
    assert row["Ports"] == ""
    assert row["CreatedAt"] == "1970-01-01 00:00:02 +0000 UTC"
    assert row["Label"]("tier") == "back"
    assert row["Label"]("none") == ""


def test_status_of_each_state(containers):
    assert ps.status_text(containers["created"], now_ns=NOW) == "Created"
    assert ps.status_text(containers["live"], now_ns=4 * SECOND) == "Up 3 seconds"


@pytest.mark.parametrize(
    ("status", "text"),
    [
        (lifecycle.PAUSED, "Up 2 minutes (Paused)"),
        (lifecycle.RESTARTING, "Restarting (7) 5 seconds ago"),
        (lifecycle.EXITED, "Exited (7) 5 seconds ago"),
        (lifecycle.DEAD, "Dead"),
        (lifecycle.REMOVING, "Removal In Progress"),
    ],
)
def test_status_of_the_other_states(store, status, text):
    state = {"exit_code": 7, "started_ns": NOW - 125 * SECOND, "finished_ns": NOW - 5 * SECOND}
    container = store.add("x", state={**state, "status": status})
    assert ps.status_text(container, now_ns=NOW) == text


@pytest.mark.parametrize(
    ("health", "text"),
    [
        ('{"Status": "healthy"}', "Up 3 seconds (healthy)"),
        ('{"Status": "starting"}', "Up 3 seconds (health: starting)"),
        ('{"Status": "unhealthy"}', "Up 3 seconds (unhealthy)"),
        ('{"Sta', "Up 3 seconds"),
        ("", "Up 3 seconds"),
    ],
)
def test_health_stands_beside_the_status(store, capfd, health, text):
    check = Healthcheck(test=("CMD", "true"))
    container = store.running("checked", pid=os.getpid(), healthcheck=check)
    store.running("unchecked", pid=os.getpid())
    if health:
        with open(container.path("health.json"), "w") as file:
            file.write(health)
    assert ps.status_text(container, now_ns=4 * SECOND) == text
    known = "healthy" in health or "starting" in health
    name = json.loads(health)["Status"] if known else "none"
    assert "checked" in listed(store, capfd, "-f", f"health={name}")
    assert ("unchecked" in listed(store, capfd, "-f", f"health={name}")) is not known


@pytest.mark.parametrize("status", [lifecycle.PAUSED, lifecycle.RESTARTING])
def test_paused_and_restarting_containers_are_among_the_running_ones(store, capfd, status):
    store.running("x", pid=os.getpid(), state={"status": status})
    assert listed(store, capfd) == ["x"]
    assert listed(store, capfd, "-f", f"status={status}") == ["x"]
    assert listed(store, capfd, "-f", "status=running") == []


def test_ports_of_a_running_container(store):
    port = {"host_ip": "", "host_port": 8080, "container_port": 80, "protocol": "tcp"}
    container = store.running("web", pid=os.getpid(), state={"ports": (port,)})
    assert ps.row(container, now_ns=NOW, truncate=True)["Ports"] == "0.0.0.0:8080->80/tcp"


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("publish=8080", ["web"]),
        ("publish=8000-9000/tcp", ["web"]),
        ("publish=8080/udp", []),
        ("publish=80", []),
        ("expose=80", ["web"]),
    ],
)
def test_filter_by_port(store, capfd, text, names):
    port = {"host_ip": "", "host_port": 8080, "container_port": 80, "protocol": "tcp"}
    store.running("web", pid=os.getpid(), state={"ports": (port,)})
    store.add("ended", state={"status": lifecycle.EXITED, "ports": (port,)})
    assert listed(store, capfd, "-a", "-f", text) == names


def test_ancestor_is_an_image_by_any_name_and_its_descendants(store, capfd):
    image_id, _ = store.add_image("docker.io/library/debian:12")
    chain = str(image_lookup.find_image(store.paths, "debian:12").chain_ids[0])
    store.add("own", image="debian:12", image_id=image_id)
    store.add("child", image="app", layers=(chain, "sha256:" + "f" * 64), created_ns=2 * SECOND)
    store.add("other", image="alpine")
    assert listed(store, capfd, "-a", "-f", "ancestor=docker.io/library/debian:12") == ["child", "own"]
    assert listed(store, capfd, "-a", "-f", "ancestor=alpine:latest") == []
    assert listed(store, capfd, "-a", "-f", "ancestor=alpine") == ["other"]


def test_hostile_command_stays_in_its_row(store):
    container = store.add("web", process=Process(argv=("a\nb", 'say "hi"', "\x1b[2J")))
    shown = ps.row(container, now_ns=NOW, truncate=False)["Command"]
    assert shown == r'''"a\nb 'say \"hi\"' \x1b[2J"'''


def test_size_counts_what_the_container_wrote(store, capfd):
    container = store.add("web")
    os.makedirs(container.path("upper", "etc"))
    with open(container.path("upper", "etc", "file"), "wb") as file:
        file.truncate(1500)
    ps.main(["-a", "-s"], store.options)
    title, line = capfd.readouterr().out.splitlines()
    assert title.endswith("SIZE")
    assert line.endswith("1.5kB (virtual 1.5kB)")


def test_long_command_and_mounts_are_cut(store):
    container = store.add(
        "web",
        process=Process(argv=("/docker-entrypoint.sh", "nginx", "-g")),
        mounts=(Mount(kind="volume", source="f" * 64, target="/d"), Mount(kind="tmpfs", target="/t")),
    )
    row = ps.row(container, now_ns=NOW, truncate=True)
    assert row["Command"] == '"/docker-entrypoint.…"'
    assert row["Mounts"] == "f" * 14 + "…"
    assert ps.row(container, now_ns=NOW, truncate=False)["Command"] == '"/docker-entrypoint.sh nginx -g"'


def test_json_holds_every_field(store, containers, capfd):
    ps.main(["--format", "json"], store.options)
    row = json.loads(capfd.readouterr().out)
    assert row["Names"] == "live"
    assert set(row) == set(ps.HEADERS) - {"Label"}


def test_every_field_has_a_title(containers):
    assert set(ps.row(containers["live"], now_ns=NOW, truncate=True)) == set(ps.HEADERS)


def test_container_with_a_damaged_record_does_not_hide_the_others(store, containers, capfd):
    with open(containers["ended"].path("spec.json"), "w") as file:
        file.write("{")
    assert sorted(listed(store, capfd, "-a")) == ["created", "ended", "live"]


def test_container_whose_processes_are_gone_is_told_as_exited(store, capfd):
    store.add("lost", state={"status": lifecycle.RUNNING, "pid": 1, "pid_start": 1, "monitor_pid": 1})
    assert listed(store, capfd) == []
    ps.main(["-a", "--format", "{{.Status}}"], store.options)
    assert capfd.readouterr().out.startswith("Exited (137)")
