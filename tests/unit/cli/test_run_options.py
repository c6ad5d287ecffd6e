"""The merge of a command line with its image, as Docker does it."""

from types import SimpleNamespace

import pytest

from rootless.cli import run_options
from rootless.cli.run_options import TABLE, Caller, spec_from_options
from rootless.errors import RootlessError, UsageError
from rootless.model.spec import Mount, Port, Ulimit

ID = "0123456789ab" + "0" * 52
FILES = {
    "vars": "# comment\nA=from file\n\n  B = x\nHOST_ONLY\nNOT_SET\nQ='quoted' # kept\r\n".replace(
        "B = x", "B=x"
    ),
    "labels": "from=file\n",
}


def image(**changes):
    fields = {
        "cmd": ("sh",),
        "entrypoint": None,
        "env": ("PATH=/image/bin", "A=image"),
        "exposed_ports": (),
        "healthcheck": None,
        "labels": {},
        "stop_signal": "",
        "user": "",
        "volumes": (),
        "workdir": "",
    }
    return SimpleNamespace(**(fields | changes))


MOUNTS = {
    "id-of-data": (
        Mount(kind="volume", source="v", target="/v"),
        Mount(kind="volume", source="f" * 64, target="/anon", options=("anonymous",)),
        Mount(kind="bind", source="/src", target="/b", read_only=True, propagation="rslave"),
        Mount(kind="tmpfs", target="/t"),
    ),
    "id-of-other": (Mount(kind="volume", source="o", target="/v"),),
}


def spec(*words, config=None, name="web"):
    return spec_from_options(
        TABLE.parse(words),
        image="debian",
        image_config=config or image(),
        image_id="sha256:" + "a" * 64,
        layers=("sha256:" + "b" * 64,),
        id=ID,
        name=name,
        caller=Caller(
            environment={"HOST_ONLY": "from host", "USER": "me"},
            cwd="/home/me/project",
            hostname="workstation",
            read_file=FILES.__getitem__,
            find_container=lambda query: f"id-of-{query}",
            hostname_of=lambda id: f"host-{id}",
            mounts_of=MOUNTS.__getitem__,
        ),
        now_ns=7,
    )


def complaint(*words, **options):
    with pytest.raises(UsageError) as caught:
        spec(*words, **options)
    assert caught.value.exit_code == 125
    return caught.value.message


def env_of(*words, **options):
    return dict(entry.split("=", 1) for entry in spec(*words, **options).process.env)


def test_defaults_are_dockers():
    plain = spec("debian")
    assert plain.process.argv == ("sh",)
    assert plain.process.cwd == "/"
    assert plain.process.umask == 0o022
    assert plain.hostname == "0123456789ab"
    assert (plain.stop_signal, plain.stop_timeout_s, plain.shm_size_bytes) == (15, 10, 64 << 20)
    assert (plain.created_ns, plain.name, plain.image) == (7, "web", "debian")
    assert not any((plain.auto_remove, plain.detached, plain.init, plain.read_only))
    assert plain.network.driver == ""


@pytest.mark.parametrize(
    ("words", "entrypoint", "cmd", "argv", "length"),
    [
        (["i"], None, ("sh",), ("sh",), 0),
        (["i"], ("/e", "-x"), ("c",), ("/e", "-x", "c"), 2),
        (["i", "ls", "-l"], ("/e",), ("c",), ("/e", "ls", "-l"), 1),
        (["--entrypoint", "/n", "i"], ("/e",), ("c",), ("/n",), 1),
        (["--entrypoint", "/n", "i", "a"], ("/e",), ("c",), ("/n", "a"), 1),
        (["--entrypoint", "", "i", "a"], ("/e",), ("c",), ("a",), 0),
        (["--entrypoint", "two words", "i"], None, None, ("two words",), 1),
    ],
)
def test_entrypoint_and_command_combine_as_in_docker(words, entrypoint, cmd, argv, length):
    made = spec(*words, config=image(entrypoint=entrypoint, cmd=cmd))
    assert made.process.argv == argv
    assert made.entrypoint_length == length


@pytest.mark.parametrize("words", [["i"], ["--entrypoint", "", "i"]])
def test_no_command_at_all_is_an_error(words):
    assert complaint(*words, config=image(cmd=() if len(words) == 1 else ("c",))) == "no command specified"


def test_environment_order_is_defaults_image_file_options():
    env = env_of("-t", "--env-file", "vars", "-e", "A=option", "-e", "HOST_ONLY", "-e", "USER=x=y", "i")
    assert env == {
        "PATH": "/image/bin",
        "HOSTNAME": "0123456789ab",
        "TERM": "xterm",
        "A": "option",
        "B": "x",
        "HOST_ONLY": "from host",
        "Q": "'quoted' # kept",
        "USER": "x=y",
    }


def test_environment_name_that_the_caller_lacks_unsets_the_images():
    assert "A" not in env_of("-e", "A", "i")


def test_environment_of_the_caller_does_not_leak():
    assert "USER" not in env_of("i")


def test_hostile_image_environment_without_a_name_or_value_is_left_out():
    env = spec("i", config=image(env=("=x", "NOVALUE", "", "E=", "A=b=c"))).process.env
    assert env[2:] == ("E=", "A=b=c")


def test_path_has_a_default_and_term_needs_a_terminal():
    env = env_of("i", config=image(env=()))
    assert env["PATH"] == "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    assert "TERM" not in env


@pytest.mark.parametrize("text", ["=x", "", "A=\0"])
def test_bad_environment_variable_is_refused(text):
    assert "invalid environment variable" in complaint("-e", text, "i")


def test_env_file_with_a_blank_in_a_name_names_the_line(monkeypatch):
    monkeypatch.setitem(FILES, "bad", "A=1\nB C=2\n")
    assert "on line 2 contains white space" in complaint("--env-file", "bad", "i")


def test_workdir_and_user_come_from_the_option_or_the_image():
    config = image(workdir="/srv", user="www:www")
    assert spec("i", config=config).process.cwd == "/srv"
    assert spec("i", config=config).process.user == "www:www"
    made = spec("-w", "/a/../b", "-u", "7", "--group-add", "audio", "i", config=config)
    assert (made.process.cwd, made.process.user, made.process.groups) == ("/b", "7", ("audio",))
    assert "not an absolute path" in complaint("-w", "a", "i")


def test_image_volumes_become_anonymous_unless_mounted():
    config = image(volumes=("/data", "/cache", "/covered", "/"))
    mounts = spec("-v", "/host:/covered/", "--tmpfs", "/cache", "i", config=config).mounts
    assert [(m.kind, m.target) for m in mounts] == [
        ("bind", "/covered"),
        ("tmpfs", "/cache"),
        ("volume", "/data"),
    ]
    assert len(mounts[2].source) == 64
    assert mounts[2].options == ("anonymous",)


def test_two_mounts_on_one_target_are_refused():
    assert "duplicate mount point: /a" in complaint("-v", "/x:/a", "--tmpfs", "/a/", "i")


def test_security_options_become_values(tmp_path):
    security = spec(
        "--cap-add=net_admin,CAP_SYS_TIME",
        "--cap-drop=ALL",
        "--security-opt=no-new-privileges",
        "--security-opt=seccomp=profiles/x.json",
        "--security-opt=apparmor=unconfined",
        "--security-opt=label:disable",
        "--security-opt=systempaths=unconfined",
        "--security-opt=nesting",
        "i",
    ).security
    assert security.cap_add == ("NET_ADMIN", "SYS_TIME")
    assert security.cap_drop == ("ALL",)
    assert security.no_new_privileges
    assert security.nesting
    assert not security.mask_paths
    assert security.seccomp == "/home/me/project/profiles/x.json"


@pytest.mark.parametrize(
    "text", ["", "x", "no-new-privileges:maybe", "seccomp", "seccomp=", "label", "systempaths=x"]
)
def test_unknown_security_option_is_refused(text):
    assert f'invalid argument "{text}" for "--security-opt"' in complaint("--security-opt", text, "i")


def test_security_option_can_be_switched_off_again():
    assert not spec("--security-opt=no-new-privileges:false", "i").security.no_new_privileges
    assert spec("--security-opt=seccomp:unconfined", "i").security.seccomp == "unconfined"
    assert spec("--security-opt=seccomp=builtin", "i").security.seccomp == "default"


def test_unknown_capability_is_refused():
    with pytest.raises(RootlessError, match="unknown capability"):
        spec("--cap-add", "FLY", "i")


@pytest.mark.parametrize(
    ("text", "driver", "options"),
    [
        ("", "", ()),
        ("bridge", "", ()),
        ("default", "", ()),
        ("none", "none", ()),
        ("pasta:-t,80", "pasta", ("-t", "80")),
        ("slirp4netns:mtu=1500", "slirp4netns", ("mtu=1500",)),
    ],
)
def test_network_names_a_driver_and_its_options(text, driver, options):
    network = spec(f"--network={text}", "i").network
    assert (network.driver, network.options) == (driver, options)


def test_network_of_another_container_is_resolved_and_excludes_its_settings():
    assert spec("--net", "container:web", "i").network.container == "id-of-web"
    assert "conflicting options: --publish and --network=container:web" in complaint(
        "--net=container:web", "-p", "80", "i"
    )
    assert "--hostname" in complaint("--net=container:web", "-h", "x", "i")


def test_container_with_the_network_of_another_has_its_hostname():
    assert spec("--network", "container:db", "debian").hostname == "host-id-of-db"


def test_namespaces_are_private_or_the_hosts():
    assert (spec("debian").ipc, spec("debian").uts) == ("", "")
    shared = spec("--ipc=host", "--uts=host", "debian")
    assert (shared.ipc, shared.uts, shared.hostname) == ("host", "host", "workstation")
    assert spec("--ipc=private", "debian").ipc == ""
    assert "--ipc" in complaint("--ipc=container:x", "debian")
    assert "--hostname" in complaint("--uts=host", "--hostname=x", "debian")


def test_attach_names_streams_and_excludes_detach():
    def attached(*words):
        return run_options.attached_streams(TABLE.parse(words))

    assert attached("debian") == {"stdin", "stdout", "stderr"}
    assert attached("-a", "STDOUT", "-a", "stdin", "debian") == {"stdin", "stdout"}
    assert "not a stream" in complaint("-a", "all", "debian")
    assert "--detach" in complaint("-d", "-a", "stdout", "debian")


def test_unknown_network_is_refused():
    assert "no such network: blue" in complaint("--network", "blue", "i")


def test_host_network_has_the_hosts_name():
    assert spec("--network=host", "i").hostname == "workstation"


def test_publish_all_adds_exposed_ports_that_are_not_named():
    config = image(exposed_ports=("80/tcp", "53/udp"))
    assert spec("-P", "-p", "8080:80", "--expose", "90-91", "i", config=config).network.ports == (
        Port(container_port=80, host_port=8080),
        Port(container_port=53, protocol="udp"),
        Port(container_port=90),
        Port(container_port=91),
    )
    assert spec("--expose", "90", "i", config=config).network.ports == ()


@pytest.mark.parametrize(
    ("text", "entry"),
    [("db:10.0.0.1", "db:10.0.0.1"), ("db=[::1]", "db:::1"), ("db:host-gateway", "db:host-gateway")],
)
def test_extra_host(text, entry):
    assert spec("--add-host", text, "i").network.extra_hosts == (entry,)


@pytest.mark.parametrize("text", ["db", "db:", ":1", "a b:1", "a:1\nevil 2"])
def test_bad_extra_host_is_refused(text):
    assert "--add-host" in complaint("--add-host", text, "i")


@pytest.mark.parametrize("text", ["-x", "a b", "a/b", "x" * 65, ".", "a\n", "ä"])
def test_bad_hostname_is_refused(text):
    assert "not a host name" in complaint("--hostname", text, "i")


def test_labels_merge_image_file_and_options():
    config = image(labels={"a": "image", "b": "image"})
    made = spec("--label-file", "labels", "-l", "a=1", "-l", "flag", "i", config=config)
    assert made.labels == ("a=1", "b=image", "from=file", "flag=")


def test_stop_signal_comes_from_the_option_or_the_image():
    config = image(stop_signal="SIGQUIT")
    assert spec("i", config=config).stop_signal == 3
    assert spec("--stop-signal", "int", "--stop-timeout", "-1", "i", config=config).stop_signal == 2
    assert spec("--stop-timeout", "0", "i").stop_timeout_s == 0


def test_hostile_stop_signal_of_an_image_is_named():
    assert "STOPSIGNAL of the image" in complaint("i", config=image(stop_signal="SIGNOPE"))


def test_limits_umask_and_sizes():
    made = spec(
        "--ulimit", "nofile=10:20", "--umask", "077", "--shm-size", "1g", "--device", "/dev/fuse", "i"
    )
    assert made.process.ulimits == (Ulimit(name="nofile", soft=10, hard=20),)
    assert made.process.umask == 0o077
    assert made.shm_size_bytes == 1 << 30
    assert made.devices[0].target == "/dev/fuse"
    assert spec("--shm-size", "0", "i").shm_size_bytes == 64 << 20


@pytest.mark.parametrize("name", ["../x", "a/b", "-x", "x\n", "x"])
def test_hostile_container_name_is_refused(name):
    assert "cannot use the name" in complaint(f"--name={name}", "i")


def test_spec_survives_its_json_form():
    made = spec("-v", "data:/d", "-p", "80", "--ulimit", "core=0", "--device", "/dev/fuse", "-it", "i")
    assert type(made).from_json(made.to_json()) == made


def test_relative_bind_is_made_absolute():
    assert spec("-v", "./src:/src:ro", "i").mounts == (
        Mount(kind="bind", source="/home/me/project/src", target="/src", read_only=True, create_source=True),
    )


def test_option_file_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(UsageError) as caught:
        run_options.read_option_file(str(tmp_path / "none"))
    assert "No such file or directory (ENOENT)" in caught.value.message
    (tmp_path / "latin").write_bytes(b"A=\xff")
    with pytest.raises(UsageError, match="not UTF-8"):
        run_options.read_option_file(str(tmp_path / "latin"))


def inherited(*words, **options):
    return {mount.target: mount for mount in spec(*words, "debian", "sh", **options).mounts}


def test_volumes_from_takes_over_binds_and_volumes():
    mounts = inherited("--volumes-from", "data")
    assert set(mounts) == {"/v", "/anon", "/b"}
    assert mounts["/v"] == Mount(kind="volume", source="v", target="/v", options=("nocopy",))
    assert mounts["/anon"].options == ("anonymous", "nocopy")
    assert mounts["/b"] == MOUNTS["id-of-data"][2]


def test_volumes_from_can_be_read_only_and_never_makes_writable():
    assert all(mount.read_only for mount in inherited("--volumes-from=data:ro").values())
    assert inherited("--volumes-from=data:rw")["/b"].read_only
    assert not inherited("--volumes-from=data:rw,z")["/v"].read_only


def test_of_several_volumes_from_the_last_counts_and_the_users_own_before_all():
    words = ("--volumes-from", "data", "--volumes-from", "other")
    assert inherited(*words)["/v"].source == "o"
    assert inherited(*words, "-v", "mine:/v")["/v"].source == "mine"
    assert inherited(*words, config=image(volumes=("/v", "/w")))["/w"].options == ("anonymous",)
    assert inherited(*words, config=image(volumes=("/v", "/w")))["/v"].source == "o"


@pytest.mark.parametrize("text", ["", ":ro", "data:rx", "data:ro,rw"])
def test_bad_volumes_from_is_refused(text):
    assert "--volumes-from" in complaint("--volumes-from", text, "debian", "sh")
