"""`rootless run` in the foreground: exit codes, identity, environment, streams, files of every container."""

from __future__ import annotations

import os
import re
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

from tests.helpers.images import PATH, Layer, Layout, busybox_layer
from tests.helpers.product import QUICK

if TYPE_CHECKING:
    from pathlib import Path

    from tests.helpers.product import Product
    from tests.helpers.registry import Registry


@pytest.fixture(scope="module")
def configured(shared_product: Product, registry: Registry, tmp_path_factory: pytest.TempPathFactory) -> str:
    """An image with an entrypoint, a command, environment and a working directory of its own."""
    layout = Layout(tmp_path_factory.mktemp("configured"))
    config = {
        "Entrypoint": ["echo", "from entrypoint:"],
        "Cmd": ["default", "command"],
        "Env": [PATH, "GREETING=hello", "EMPTY="],
        "WorkingDir": "/var/lib/app",
        "Labels": {"a": "b"},
    }
    layout.image("1", [busybox_layer()], config=config)
    name = layout.push("1", f"{registry.address}/configured:1")
    shared_product.run("pull", "-q", name)
    return name


@pytest.mark.parametrize("code", [0, 1, 7, 125, 255])
def test_own_exit_code_is_passed_on(product: Product, busybox: str, code: int) -> None:
    product.fail(code, *QUICK, busybox, "sh", "-c", f"exit {code}")


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_standard_stream_is_not_taken_for_another(product: Product, busybox: str, closed: str) -> None:
    command = product.argv(*QUICK, "-i", busybox, "sh", "-c", "cat; echo out; echo err >&2; exit 7")
    result = subprocess.run(
        ["sh", "-c", f'exec "$@" {closed}', "sh", *command],
        env=product.env,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    expected = ("" if ">&-" in closed.replace("2>&-", "") else "out\n", "" if "2>&-" in closed else "err\n")
    assert (result.returncode, result.stdout, result.stderr) == (7, *expected)


def test_run_works_in_a_directory_that_was_removed(product: Product, busybox: str) -> None:
    command = product.argv(*QUICK, busybox, "echo", "still here")
    script = 'mkdir "$0/gone"; cd "$0/gone"; rmdir "$0/gone"; exec "$@"'
    result = subprocess.run(
        ["sh", "-c", script, str(product.home), *command],
        env=product.env,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (result.returncode, result.stdout) == (0, "still here\n"), result.stderr


def test_umask_of_the_caller_hides_nothing_from_users_of_the_container(
    product: Product, busybox: str
) -> None:
    command = product.argv(*QUICK, "-v", "kept:/kept", "-u", "1234", busybox, "sh", "-c")
    script = "cat /etc/hosts /etc/resolv.conf /etc/hostname >/dev/null && ls / /kept >/dev/null && umask"
    result = subprocess.run(
        ["sh", "-c", 'umask 077; exec "$@"', "sh", *command, script],
        env=product.env,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (result.returncode, result.stdout) == (0, "0022\n"), result.stderr


def test_death_by_signal_is_128_plus_its_number(product: Product, busybox: str) -> None:
    product.fail(137, *QUICK, "--init", busybox, "sh", "-c", "kill -9 $$")


def test_missing_command_is_127(product: Product, busybox: str) -> None:
    result = product.fail(127, *QUICK, busybox, "no-such-program")
    assert "no-such-program" in result.err
    product.fail(127, *QUICK, busybox, "/no/such/program")


@pytest.mark.parametrize("command", ["/etc/passwd", "/etc"])
def test_command_that_cannot_be_executed_is_126(product: Product, busybox: str, command: str) -> None:
    result = product.fail(126, *QUICK, busybox, command)
    assert command in result.err


@pytest.mark.parametrize(
    "words",
    [
        ("--no-such-option", "IMAGE"),
        ("--shm-size=banana", "IMAGE", "true"),
        ("-v", "relative:target", "IMAGE", "true"),
        ("--pull=never", "127.0.0.1:1/no/such:image", "true"),
        ("Upper", "true"),
        (),
    ],
)
def test_failure_of_the_engine_is_125(product: Product, busybox: str, words: tuple[str, ...]) -> None:
    result = product.fail(125, *QUICK, *(busybox if w == "IMAGE" else w for w in words))
    assert "error: " in result.err
    assert product.containers() == []


def test_image_of_another_platform_is_warned_of_unless_it_was_asked_for(
    product: Product, registry: Registry, tmp_path: Path
) -> None:
    layout = Layout(tmp_path)
    layout.image("1", [busybox_layer()], architecture="s390x")
    name = layout.push("1", f"{registry.address}/foreign:1")
    warning = "WARNING: The requested image's platform (linux/s390x) does not match"
    assert warning in product.run(*QUICK, name, "true").err
    assert "WARNING" not in product.run(*QUICK, "--platform", "linux/s390x", name, "true").err


def test_container_is_root_in_its_own_eyes(product: Product, busybox: str) -> None:
    assert product.run(*QUICK, busybox, "id").out == "uid=0(root) gid=0(root) groups=0(root)\n"


@pytest.mark.needs("subid")
@pytest.mark.parametrize(
    ("user", "shown"),
    [
        ("app", "uid=1000(app) gid=1000(app) groups=1000(app),2000(extra)"),
        ("1000", "uid=1000(app) gid=1000(app) groups=1000(app),2000(extra)"),
        ("app:extra", "uid=1000(app) gid=2000(extra) groups=2000(extra)"),
        ("1000:2000", "uid=1000(app) gid=2000(extra) groups=2000(extra)"),
        ("4242", "uid=4242 gid=0(root) groups=0(root)"),
        ("4242:4343", "uid=4242 gid=4343 groups=4343"),
    ],
)
def test_user_option_is_looked_up_in_the_image(product: Product, busybox: str, user: str, shown: str) -> None:
    assert product.run(*QUICK, "-u", user, busybox, "id").out.strip() == shown


@pytest.mark.parametrize(
    "user", ["nobody-here", "-1", "4294967295", "4294967296", "0:no-such-group", "a:b:c"]
)
def test_user_that_cannot_be_is_refused(product: Product, busybox: str, user: str) -> None:
    result = product.fail(125, *QUICK, f"--user={user}", busybox, "id")
    assert result.out == ""


@pytest.mark.needs("single")
def test_other_user_without_id_ranges_is_a_clear_error_or_emulated(product: Product, busybox: str) -> None:
    result = product.attempt(*QUICK, "-u", "1000", busybox, "id", "-u")
    if result.code:
        assert result.code == 125
        assert "hint:" in result.err
    else:
        assert result.out == "1000\n"


def test_environment_is_the_images_and_nothing_of_the_callers(product: Product, busybox: str) -> None:
    environment = {**product.env, "SECRET_OF_THE_CALLER": "1", "HTTP_PROXY": ""}
    lines = product.run(*QUICK, busybox, "env", env=environment).lines
    names = {line.partition("=")[0] for line in lines}
    assert {"PATH", "HOSTNAME", "HOME"} <= names <= {"PATH", "HOSTNAME", "HOME", "container"}
    assert PATH in lines
    assert "HOME=/root" in lines


def test_environment_options_add_override_and_inherit(product: Product, busybox: str, tmp_path: Path) -> None:
    file = tmp_path / "env"
    file.write_text("# comment\nFROM_FILE=x y\n\nINHERITED_BY_FILE\n")
    words = ("-e", "A=1", "-e", "A=2", "-e", "INHERITED", "-e", "UNSET_ANYWHERE", "--env-file", str(file))
    environment = {**product.env, "INHERITED": "yes", "INHERITED_BY_FILE": "too"}
    lines = product.run(*QUICK, *words, busybox, "env", env=environment).lines
    assert {"A=2", "INHERITED=yes", "FROM_FILE=x y", "INHERITED_BY_FILE=too"} <= set(lines)
    assert "A=1" not in lines
    assert not [line for line in lines if line.startswith("UNSET_ANYWHERE")]


def test_image_defaults_make_the_command(product: Product, configured: str) -> None:
    assert product.run(*QUICK, configured).out == "from entrypoint: default command\n"
    assert product.run(*QUICK, configured, "mine").out == "from entrypoint: mine\n"
    assert product.run(*QUICK, "--entrypoint", "pwd", configured).out == "/var/lib/app\n"
    lines = product.run(*QUICK, "--entrypoint=env", configured).lines
    assert {"GREETING=hello", "EMPTY="} <= set(lines)


def test_empty_entrypoint_drops_that_of_the_image(product: Product, configured: str) -> None:
    assert product.run(*QUICK, "--entrypoint=", configured, "echo", "bare").out == "bare\n"


def test_working_directory_is_made(product: Product, busybox: str) -> None:
    assert product.run(*QUICK, "-w", "/not/there/yet", busybox, "pwd").out == "/not/there/yet\n"
    product.fail(125, *QUICK, "-w", "relative", busybox, "pwd")


def test_stdin_reaches_the_command_only_with_interactive(product: Product, busybox: str) -> None:
    assert product.run(*QUICK, "-i", busybox, "cat", input="one\ntwo").out == "one\ntwo"
    assert product.run(*QUICK, busybox, "cat", input="one\ntwo").out == ""


def test_large_streams_arrive_whole(product: Product, busybox: str) -> None:
    data = os.urandom(1 << 20) * 5
    with product.start(*QUICK, "-i", busybox, "cat", stdin=-1) as process:
        out, err = process.communicate(data, 60)
    assert (process.returncode, out == data, err) == (0, True, b"")


def test_output_and_errors_stay_apart(product: Product, busybox: str) -> None:
    result = product.run(*QUICK, busybox, "sh", "-c", "echo out; echo err >&2")
    assert (result.out, result.err) == ("out\n", "err\n")


def test_reader_that_takes_a_break_misses_nothing(product: Product, busybox: str) -> None:
    """As in `run … | less`: the container has long ended when the reader goes on."""
    script = "seq 1 30000; seq 1 30000 >&2"  # more than a pipe holds, less than all pipes on the way do
    with subprocess.Popen(
        product.argv("run", "--name=paused", "--network=none", busybox, "sh", "-c", script),
        env=product.env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        deadline = time.monotonic() + 20
        while product.run("ps", "-aq", "--filter=status=exited").out == "":
            assert time.monotonic() < deadline, "its end waits for the reader"
            time.sleep(0.05)
        time.sleep(2.5)  # longer than anything waits for output that does not come
        assert process.communicate(timeout=30)[0].count("\n") == 60000
    product.run("rm", "paused")


def test_reader_that_goes_away_does_not_hang_the_run(product: Product, busybox: str) -> None:
    with product.start(*QUICK, busybox, "sh", "-c", "yes | head -c 10000000") as process:
        assert process.stdout
        process.stdout.read(10)
        process.stdout.close()
        process.wait(30)
        process.stderr.close()  # type: ignore[union-attr]
    assert product.containers() == []


def test_hostname_is_the_id_or_what_was_asked_for(product: Product, busybox: str) -> None:
    default = product.run(*QUICK, busybox, "sh", "-c", "hostname; cat /etc/hostname; echo $HOSTNAME").lines
    assert re.fullmatch("[0-9a-f]{12}", default[0])
    assert set(default) == {default[0]}
    asked = product.run(*QUICK, "--hostname", "web.example", busybox, "sh", "-c", "hostname; cat /etc/hosts")
    assert asked.lines[0] == "web.example"
    assert "web.example" in asked.out.partition("\n")[2]


def test_hosts_and_resolver_files_are_written(product: Product, busybox: str) -> None:
    words = ("--add-host=db:10.1.2.3", "--dns=192.0.2.1", "--dns-search=example.org")
    result = product.run(
        *QUICK, *words, busybox, "sh", "-c", "cat /etc/hosts; echo ---; cat /etc/resolv.conf"
    )
    hosts, _, resolver = result.out.partition("---")
    assert re.search(r"^127\.0\.0\.1\s+localhost", hosts, re.MULTILINE)
    assert re.search(r"^10\.1\.2\.3\s+db$", hosts, re.MULTILINE)
    assert "nameserver 192.0.2.1" in resolver
    assert re.search(r"^search example\.org$", resolver, re.MULTILINE)


def test_name_is_unique_while_its_container_exists(product: Product, busybox: str) -> None:
    product.run("run", "--network=none", "--name", "unique", busybox, "true")
    result = product.fail(125, *QUICK, "--name", "unique", busybox, "true")
    assert "unique" in result.err
    product.run("rm", "unique")
    product.run(*QUICK, "--name", "unique", busybox, "true")


def test_rm_leaves_nothing(product: Product, busybox: str) -> None:
    places = [product.store / name for name in ("containers", "names", "volumes")]
    before = [sorted(place.glob("*")) for place in places]  # other tests' named volumes stay
    product.run(*QUICK, "--name", "passing", "-v", "/anonymous", busybox, "touch", "/anonymous/x")
    assert product.containers() == []
    assert [sorted(place.glob("*")) for place in places] == before
    assert product.mounts() == []


def test_init_reaps_orphans_and_is_pid_1(product: Product, busybox: str) -> None:
    script = "test $$ -ne 1; (sleep 0.05 &); sleep 0.3; ps -o stat | grep -c ^Z"
    assert product.fail(1, *QUICK, "--init", busybox, "sh", "-c", script).out == "0\n"


def test_container_sees_its_own_processes_only(product: Product, busybox: str) -> None:
    lines = product.run(*QUICK, busybox, "ps", "-o", "pid").lines
    assert [line.strip() for line in lines] == ["PID", "1"]


def test_umask_and_ulimits_are_set(product: Product, busybox: str) -> None:
    script = "umask; ulimit -n; ulimit -c"
    words = ("--ulimit", "nofile=123:456", "--ulimit", "core=0")
    assert product.run(*QUICK, *words, busybox, "sh", "-c", script).lines == ["0022", "123", "0"]


def test_image_without_a_shell_passwd_or_tmp_runs(
    product: Product, registry: Registry, tmp_path: Path
) -> None:
    import shutil

    program = shutil.which("busybox")
    assert program
    layout = Layout(tmp_path / "bare")
    layout.image("1", [Layer().copy(program, "echo")], config={"Entrypoint": ["/echo"]})
    name = layout.push("1", f"{registry.address}/bare:1")
    assert product.run(*QUICK, "--pull=always", "-q", name, "one", "file").out == "one file\n"


def test_missing_image_is_pulled_and_the_output_of_the_command_stays_clean(
    fresh_product: Product, busybox_ref: str
) -> None:
    result = fresh_product.run(*QUICK, busybox_ref, "echo", "pulled")
    assert result.out == "pulled\n"
    assert fresh_product.run(*QUICK, "--pull=never", busybox_ref, "echo", "kept").out == "kept\n"


def test_real_distribution_runs(product: Product, debian: str) -> None:
    script = "id; cat /etc/os-release; ls -l /etc/shadow; dpkg -l | wc -l"
    result = product.run(*QUICK, debian, "bash", "-c", script)
    assert result.lines[0] == "uid=0(root) gid=0(root) groups=0(root)"
    assert "VERSION_CODENAME=bookworm" in result.lines
    assert int(result.lines[-1]) > 50
