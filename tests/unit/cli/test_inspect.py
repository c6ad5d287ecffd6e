"""`inspect` of containers and images, in Docker's shapes."""

import json
import os

import pytest

from layers.store.directory import ImageLayout
from rootless.cli import inspect
from rootless.engine import describe
from rootless.errors import RootlessError, UsageError
from rootless.interface.store import find_object
from rootless.model import lifecycle
from rootless.model.policy import Healthcheck, Limits, LogConfig, RestartPolicy
from rootless.model.spec import Device, Mount, Network, Port, Process, Security, Ulimit

PORT = {"host_ip": "127.0.0.1", "host_port": 8080, "container_port": 80, "protocol": "tcp"}


@pytest.fixture
def web(store):
    return store.running(
        "web",
        pid=os.getpid(),
        id="ab" * 32,
        process=Process(
            argv=("/e", "a", "b"),
            env=("A=1",),
            user="7",
            tty=True,
            ulimits=(Ulimit(name="core", soft=0, hard=0),),
        ),
        labels=("tier=front",),
        mounts=(
            Mount(kind="bind", source="/src", target="/dst", read_only=True, propagation="rslave"),
            Mount(kind="volume", source="data", target="/data", options=("nocopy",)),
            Mount(kind="volume", source="f" * 64, target="/anon", options=("anonymous",)),
            Mount(kind="tmpfs", target="/tmp", options=("size=1m",)),
        ),
        devices=(Device(source="/dev/a", target="/dev/b"),),
        security=Security(cap_add=("NET_ADMIN",), no_new_privileges=True, seccomp="unconfined"),
        network=Network(ports=(Port(container_port=80, host_port=8080),)),
        state={"ports": (PORT,), "storage": "overlay"},
    )


def test_network_settings_have_the_addresses_of_a_running_container(store):
    container = store.running("web", pid=os.getpid(), state={"network": "pasta", "ports": (PORT,)})
    shown = describe.container_json(store.paths, container, addresses=("10.0.0.2", "fd00::2"))
    settings = shown["NetworkSettings"]
    assert settings["IPAddress"] == "10.0.0.2"
    assert settings["Networks"] == {"pasta": {"IPAddress": "10.0.0.2", "GlobalIPv6Address": "fd00::2"}}
    assert settings["Ports"] == {"80/tcp": [{"HostIp": "127.0.0.1", "HostPort": "8080"}]}


def test_network_settings_of_a_container_that_has_ended_are_empty(store, capfd):
    store.add("old", state={"status": lifecycle.EXITED, "network": "pasta", "ports": (PORT,)})
    (shown,) = inspected(store, capfd, "old")
    assert shown["NetworkSettings"]["Ports"] == {}
    assert shown["NetworkSettings"]["IPAddress"] == ""
    assert list(shown["NetworkSettings"]["Networks"]) == ["pasta"]


def test_stop_signal_has_a_name(store, capfd):
    store.add("a", stop_signal=2)
    store.add("b", stop_signal=37)
    assert [shown["Config"]["StopSignal"] for shown in inspected(store, capfd, "a", "b")] == ["SIGINT", "37"]


def inspected(store, capfd, *words):
    assert inspect.main(list(words), store.options) == 0
    return json.loads(capfd.readouterr().out)


def test_container_has_dockers_shape(store, web, capfd):
    (shown,) = inspected(store, capfd, "web")
    assert shown["Id"] == "ab" * 32
    assert shown["Name"] == "/web"
    assert (shown["Path"], shown["Args"]) == ("/e", ["a", "b"])
    assert shown["Created"] == "1970-01-01T00:00:01.000000000Z"
    assert shown["State"] == {
        "Status": "running",
        "Running": True,
        "Paused": False,
        "Restarting": False,
        "OOMKilled": False,
        "Dead": False,
        "Pid": os.getpid(),
        "ExitCode": 0,
        "Error": "",
        "StartedAt": "1970-01-01T00:00:01.000000000Z",
        "FinishedAt": "0001-01-01T00:00:00Z",
    }
    assert shown["Config"]["Entrypoint"] == ["/e"]
    assert shown["Config"]["Cmd"] == ["a", "b"]
    assert shown["Config"]["Labels"] == {"tier": "front"}
    assert shown["Config"]["Hostname"] == "abababababab"
    assert shown["NetworkSettings"]["Ports"] == {"80/tcp": [{"HostIp": "127.0.0.1", "HostPort": "8080"}]}
    assert shown["Driver"] == "overlay"


def test_container_shows_how_it_was_asked_for(store, web, capfd):
    (shown,) = inspected(store, capfd, "web")
    host = shown["HostConfig"]
    assert host["Binds"] == ["/src:/dst:ro,rslave", "data:/data:nocopy"]
    assert host["Tmpfs"] == {"/tmp": "size=1m"}
    assert host["CapAdd"] == ["NET_ADMIN"]
    assert host["SecurityOpt"] == ["no-new-privileges", "seccomp=unconfined"]
    assert host["PortBindings"] == {"80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "8080"}]}
    assert host["Devices"][0]["PathInContainer"] == "/dev/b"
    assert host["Ulimits"] == [{"Name": "core", "Hard": 0, "Soft": 0}]
    assert host["NetworkMode"] == "default"
    bind, data, anonymous = shown["Mounts"]
    assert (bind["Type"], bind["RW"], bind["Propagation"]) == ("bind", False, "rslave")
    assert data["Name"] == "data"
    assert data["Source"] == os.path.join(store.paths.volumes, "data", "_data")
    assert anonymous["Mode"] == ""


def test_paused_container_runs_and_a_restarting_one_has_no_process(store, capfd):
    pid = os.getpid()
    store.running("frozen", pid=pid, state={"status": lifecycle.PAUSED})
    store.running("again", pid=pid, state={"status": lifecycle.RESTARTING, "restart_count": 3})
    store.add("broken", state={"status": lifecycle.DEAD, "oom_killed": True})
    frozen, again, broken = (shown["State"] for shown in inspected(store, capfd, "frozen", "again", "broken"))
    assert (frozen["Running"], frozen["Paused"], frozen["Pid"]) == (True, True, pid)
    assert (again["Running"], again["Restarting"], again["Pid"]) == (True, True, 0)
    assert (broken["Running"], broken["Dead"], broken["OOMKilled"]) == (False, True, True)
    assert inspected(store, capfd, "again")[0]["RestartCount"] == 3


def test_policies_have_dockers_shapes(store, capfd):
    container = store.running(
        "web",
        pid=os.getpid(),
        restart=RestartPolicy(name="on-failure", max_retries=4),
        healthcheck=Healthcheck(test=("CMD", "true"), retries=2),
        log=LogConfig(driver="k8s-file", options=("max-size=1m",)),
        limits=Limits(memory_bytes=1 << 20, cpus=1500, pids=7),
        state={"storage": "overlay"},
    )
    with open(container.path("health.json"), "w") as file:
        file.write('{"Status": "healthy", "FailingStreak": 0, "Log": []}')
    (shown,) = inspected(store, capfd, "web")
    host = shown["HostConfig"]
    assert host["RestartPolicy"] == {"Name": "on-failure", "MaximumRetryCount": 4}
    assert host["LogConfig"] == {"Type": "k8s-file", "Config": {"max-size": "1m"}}
    assert (host["Memory"], host["NanoCpus"], host["PidsLimit"]) == (1 << 20, 1_500_000_000, 7)
    assert shown["LogPath"] == container.path("log.k8s")
    assert shown["State"]["Health"]["Status"] == "healthy"
    assert shown["Config"]["Healthcheck"]["Test"] == ["CMD", "true"]
    assert shown["Config"]["Healthcheck"]["Retries"] == 2
    assert shown["GraphDriver"]["Name"] == "overlay"
    assert shown["GraphDriver"]["Data"]["UpperDir"] == container.path("upper")


def test_container_without_a_check_has_no_health(store, web, capfd):
    (shown,) = inspected(store, capfd, "web")
    assert "Health" not in shown["State"]
    assert "Healthcheck" not in shown["Config"]


def test_size_counts_what_the_container_wrote(store, web, capfd):
    os.mkdir(web.path("upper"))
    with open(web.path("upper", "file"), "w") as file:
        file.write("x" * 10)
    assert inspected(store, capfd, "--size", "web")[0]["SizeRw"] == 10
    assert "SizeRw" not in inspected(store, capfd, "web")[0]


def test_pid_of_a_container_that_does_not_run_is_zero(store, capfd):
    store.add("old", state={"status": lifecycle.EXITED, "pid": 7, "exit_code": 2, "finished_ns": 1})
    (shown,) = inspected(store, capfd, "old")
    assert (shown["State"]["Pid"], shown["State"]["ExitCode"]) == (0, 2)


def test_format_prints_a_line_for_each(store, web, capfd):
    store.add("old")
    words = ["--format", "{{.Name}} {{.State.Running}} {{json .Config.Labels}}", "web", "old"]
    assert inspect.main(words, store.options) == 0
    assert capfd.readouterr().out == '/web true {"tier":"front"}\n/old false {}\n'


def test_format_walks_ports_as_in_dockers_manual(store, web, capfd):
    form = "{{range $p, $conf := .NetworkSettings.Ports}} {{$p}} -> {{(index $conf 0).HostPort}} {{end}}"
    inspect.main(["-f", form, "web"], store.options)
    assert capfd.readouterr().out == " 80/tcp -> 8080 \n"


def test_format_json_is_one_line(store, web, capfd):
    inspect.main(["-f", "json", "web"], store.options)
    assert json.loads(capfd.readouterr().out)["Name"] == "/web"


def test_bad_format_is_refused_before_anything_is_looked_up(store):
    with pytest.raises(UsageError, match="template"):
        inspect.main(["-f", "{{", "ghost"], store.options)


def test_missing_object_is_told_and_the_rest_is_shown(store, web, capfd):
    assert inspect.main(["ghost", "web"], store.options) == 1
    captured = capfd.readouterr()
    assert "no such object: ghost" in captured.err
    assert [shown["Name"] for shown in json.loads(captured.out)] == ["/web"]
    assert inspect.main(["ghost"], store.options) == 1
    assert json.loads(capfd.readouterr().out) == []


def test_prefix_that_means_two_containers_is_not_looked_up_as_an_image(store, capfd):
    store.add("one", id="aa" + "0" * 62)
    store.add("two", id="ab" + "0" * 62)
    assert inspect.main(["a"], store.options) == 1
    assert "2 ids start with `a`" in capfd.readouterr().err


@pytest.fixture
def debian(store):
    return store.add_image("docker.io/library/debian:12", "localhost:5000/debian:12")


def test_image_has_dockers_shape(store, debian, capfd):
    image_id, digest = debian
    (shown,) = inspected(store, capfd, "debian:12")
    assert shown["Id"] == image_id
    assert sorted(shown["RepoTags"]) == ["debian:12", "localhost:5000/debian:12"]
    assert shown["RepoDigests"] == [f"debian@{digest}"]
    assert (shown["Architecture"], shown["Os"], shown["Size"]) == ("amd64", "linux", 100)
    assert shown["Config"]["Cmd"] == ["bash"]
    assert shown["RootFS"]["Type"] == "layers"
    assert len(shown["RootFS"]["Layers"]) == 1


def test_image_is_found_by_a_prefix_of_its_id(store, debian, capfd):
    image_id, _ = debian
    (shown,) = inspected(store, capfd, image_id[7:15])
    assert shown["Id"] == image_id


def test_type_chooses_between_a_container_and_an_image_of_one_name(store, debian, capfd):
    store.add("debian")
    assert inspected(store, capfd, "debian")[0]["Name"] == "/debian"
    assert inspected(store, capfd, "--type", "image", "debian:12")[0]["Os"] == "linux"
    assert inspect.main(["--type", "container", "debian:12"], store.options) == 1
    assert inspect.main(["--type", "image", "ghost"], store.options) == 1
    assert "no such image: ghost" in capfd.readouterr().err


def test_damaged_image_is_told(store, debian):
    path = ImageLayout(store.paths.store).blob_path(debian[0])
    os.chmod(path, 0o644)
    with open(path, "w") as file:
        file.write("{}")
    with pytest.raises(RootlessError):
        find_object(store.paths, "debian:12")
