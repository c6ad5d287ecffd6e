"""`login` and `logout`: who is believed, where it is kept, and that no secret is seen on the way."""

from __future__ import annotations

import base64
import json
import os
import stat
from typing import TYPE_CHECKING

import pytest

from tests.helpers.hostile_registry import HostileRegistry, Reply, Request
from tests.helpers.registry import private_registry

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.helpers.product import Product
    from tests.helpers.registry import Registry

pytestmark = pytest.mark.needs("docker-registry")

BASIC = "Basic " + base64.b64encode(b"jo:word").decode()
HELPER = """\
#!/bin/sh
# what docker-credential-helpers documents, with one file per server
echo "$@" >>"$HOME/helper-arguments"
case $1 in
store) input=$(cat); server=$(echo "$input" | sed 's/.*"ServerURL": *"\\([^"]*\\)".*/\\1/')
       echo "$input" >"$HOME/kept-$(echo "$server" | tr /: __)" ;;
get)   read -r server; file=$HOME/kept-$(echo "$server" | tr /: __)
       [ -e "$file" ] || { echo "credentials not found in native keychain"; exit 1; }
       cat "$file" ;;
erase) read -r server; rm -f "$HOME/kept-$(echo "$server" | tr /: __)" ;;
esac
"""


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    with private_registry(tmp_path_factory.mktemp("private")) as running:
        yield running


def sealed(product: Product) -> Path:
    return product.home / ".config/rootless/auth.sealed"


def key(product: Product) -> Path:
    return product.home / ".local/state/rootless/auth.key"


def log_in(product: Product, address: str, *, password: str = "word") -> None:
    result = product.run("login", "-u", "jo", "--password-stdin", address, input=password + "\n")
    assert result.out == "Login Succeeded\n"
    assert result.err == ""


def write_docker_config(product: Product, **fields: object) -> Path:
    path = product.home / ".docker/config.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(fields))
    return path


def install_helper(product: Product) -> None:
    """Put docker-credential-box first on the PATH of the product."""
    program = product.home / "bin/docker-credential-box"
    program.parent.mkdir()
    program.write_text(HELPER)
    program.chmod(0o755)
    product.env["PATH"] = f"{program.parent}:{product.env['PATH']}"


def test_login_is_verified_kept_and_used(fresh_product: Product, registry: Registry) -> None:
    nothing = f"{registry.address}/nothing:1"
    assert "rootless login " + registry.address in fresh_product.fail(1, "pull", nothing).err
    log_in(fresh_product, registry.address)
    assert fresh_product.run("login", "--get-login", registry.address).out == "jo\n"
    assert "404" in fresh_product.fail(1, "pull", nothing).err  # let in: it just is not there
    again = fresh_product.run("login", registry.address)
    assert again.lines == [
        "Authenticating with existing credentials... [Username: jo]",
        "Login Succeeded",
    ]


def test_kept_login_is_encrypted_and_private(fresh_product: Product, registry: Registry) -> None:
    log_in(fresh_product, registry.address)
    for path in (sealed(fresh_product), key(fresh_product)):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        text = path.read_bytes()
        for secret in (b"word", b"jo:", b'"jo"', registry.address.encode(), base64.b64encode(b"jo:word")):
            assert secret not in text
    names = {path.name for path in sealed(fresh_product).parent.iterdir()}
    assert names == {"auth.sealed"}  # no temporary stays behind


def test_wrong_password_is_refused_and_not_kept(fresh_product: Product, registry: Registry) -> None:
    words = ("login", "-u", "jo", "--password-stdin", registry.address)
    error = fresh_product.fail(1, *words, input="wrong-one").err
    assert "401" in error
    assert "password right?" in error
    assert "wrong-one" not in error
    assert not sealed(fresh_product).exists()
    log_in(fresh_product, registry.address)
    fresh_product.fail(1, *words, input="wrong-one")
    assert fresh_product.run("login", "--get-login", registry.address).out == "jo\n"


def test_password_as_an_argument_is_warned_of(fresh_product: Product, registry: Registry) -> None:
    result = fresh_product.run("login", "-u", "jo", "-p", "word", registry.address)
    assert "--password via the CLI is insecure" in result.err
    assert result.out == "Login Succeeded\n"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--password-stdin",), "must provide --username"),
        (("-u", "jo", "-p", "x", "--password-stdin"), "mutually exclusive"),
        (("-u", "jo"), "non TTY"),
        (("-u", "j:o", "--password-stdin"), "colon"),
        (("-u", "jo", "--password-stdin"), "password is empty"),
    ],
)
def test_command_lines_that_cannot_log_in_are_refused(
    fresh_product: Product, words: tuple[str, ...], said: str
) -> None:
    data = b"x" if "j:o" in words else b""
    assert said in fresh_product.fail(125, "login", *words, "127.0.0.1:1", input=data).err


def test_server_that_is_no_registry_is_refused(fresh_product: Product) -> None:
    assert "invalid registry" in fresh_product.fail(125, "logout", "ubuntu").err
    assert "invalid registry" in fresh_product.fail(125, "logout", "../../x:1").err
    assert "docker.io" in fresh_product.run("logout", "https://index.docker.io/v1/").out


def test_terminal_asks_and_does_not_show_the_password(fresh_product: Product, registry: Registry) -> None:
    with fresh_product.terminal("login", registry.address) as terminal:
        terminal.expect("Username: ")
        terminal.type("jo\n")
        terminal.expect("Password: ")
        terminal.type("word\n")
        code, rest = terminal.wait()
    assert code == 0
    assert "Login Succeeded" in rest
    assert "word" not in rest


def test_logout_forgets(fresh_product: Product, registry: Registry) -> None:
    log_in(fresh_product, registry.address)
    assert (
        fresh_product.run("logout", registry.address).out
        == f"Removed login credentials for {registry.address}\n"
    )
    assert fresh_product.run("logout", registry.address).out == f"Not logged in to {registry.address}\n"
    assert "not logged in" in fresh_product.fail(1, "login", "--get-login", registry.address).err


def test_logout_of_all_works_with_a_damaged_file(fresh_product: Product, registry: Registry) -> None:
    log_in(fresh_product, registry.address)
    sealed(fresh_product).write_bytes(b"gAAAA-damaged")
    error = fresh_product.fail(1, "login", "--get-login", registry.address).err
    assert "logout --all" in error
    fresh_product.run("logout", "--all")
    assert not sealed(fresh_product).exists()
    assert not key(fresh_product).exists()
    log_in(fresh_product, registry.address)


def test_lost_key_is_told(fresh_product: Product, registry: Registry) -> None:
    log_in(fresh_product, registry.address)
    key(fresh_product).unlink()
    assert "is missing" in fresh_product.fail(1, "login", "--get-login", registry.address).err


def test_place_that_cannot_be_written_is_told(fresh_product: Product, registry: Registry) -> None:
    (fresh_product.home / ".config").write_text("a file in the way")
    words = ("login", "-u", "jo", "--password-stdin", registry.address)
    error = fresh_product.fail(1, *words, input="word").err
    assert "cannot keep the login" in error
    assert str(sealed(fresh_product)) in error


def test_credential_helper_keeps_the_login(fresh_product: Product, registry: Registry) -> None:
    install_helper(fresh_product)
    config = write_docker_config(fresh_product, credsStore="box")
    before = config.read_bytes()
    log_in(fresh_product, registry.address)
    kept = fresh_product.home / ("kept-" + registry.address.replace(":", "_"))
    assert json.loads(kept.read_text()) == {
        "ServerURL": registry.address,
        "Username": "jo",
        "Secret": "word",
    }
    assert "404" in fresh_product.fail(1, "pull", f"{registry.address}/nothing:1").err
    assert "word" not in (fresh_product.home / "helper-arguments").read_text()
    fresh_product.run("logout", registry.address)
    assert not kept.exists()
    assert config.read_bytes() == before


def test_helper_that_fails_shows_no_secret(fresh_product: Product, registry: Registry) -> None:
    install_helper(fresh_product)
    write_docker_config(fresh_product, credHelpers={registry.address: "box"})
    program = fresh_product.home / "bin/docker-credential-box"
    program.write_text('#!/bin/sh\n[ "$1" = store ] && { cat; cat >&2; exit 3; }\necho "{}"\n')
    error = fresh_product.fail(1, "login", "-u", "jo", "--password-stdin", registry.address, input="word").err
    assert "`docker-credential-box store` failed with exit code 3" in error
    assert "word" not in error


def test_login_goes_before_an_older_one_of_docker(fresh_product: Product, registry: Registry) -> None:
    old = {registry.address: {"auth": base64.b64encode(b"jo:old").decode()}}
    config = write_docker_config(fresh_product, auths=old)
    before = config.read_bytes()
    log_in(fresh_product, registry.address)
    assert "404" in fresh_product.fail(1, "pull", f"{registry.address}/nothing:1").err
    result = fresh_product.run("logout", registry.address)
    assert str(config) in result.err
    assert config.read_bytes() == before


def test_chosen_file_goes_first_and_login_says_so(fresh_product: Product, registry: Registry) -> None:
    chosen = fresh_product.home / "chosen.json"
    chosen.write_text(
        json.dumps({"auths": {registry.address: {"auth": base64.b64encode(b"jo:old").decode()}}})
    )
    fresh_product.env["REGISTRY_AUTH_FILE"] = str(chosen)
    result = fresh_product.run("login", "-u", "jo", "--password-stdin", registry.address, input="word")
    assert f"they are in {chosen}" in result.err
    chosen.write_text("{}")
    assert "404" in fresh_product.fail(1, "pull", f"{registry.address}/nothing:1").err


def test_token_server_decides(fresh_product: Product) -> None:
    with HostileRegistry() as server:

        def registry(request: Request) -> Reply:
            if request.headers.get("authorization") == "Bearer good":
                return Reply(200, b"{}")
            realm = f'Bearer realm="http://{server.address}/token",service="box"'
            return Reply(401, headers={"WWW-Authenticate": realm})

        def token(request: Request) -> Reply:
            right = request.headers.get("authorization") == BASIC
            return Reply(200, b'{"token":"good"}') if right else Reply(401)

        server.on("/v2/", registry)
        server.on("/token", token)
        log_in(fresh_product, server.address)
        asked = next(request for request in server.requests if request.path.startswith("/token"))
        assert "service=box" in asked.path
        assert "account=jo" in asked.path
        assert "scope" not in asked.path
        words = ("login", "-u", "jo", "--password-stdin", server.address)
        assert "401" in fresh_product.fail(1, *words, input="other").err


def test_password_is_not_readable_while_a_login_runs(fresh_product: Product) -> None:
    seen = []
    with HostileRegistry() as server:

        def registry(_: Request) -> Reply:
            for pid in filter(str.isdigit, os.listdir("/proc")):
                try:
                    with open(f"/proc/{pid}/cmdline", "rb") as file:
                        command = file.read()
                except OSError:
                    continue  # it has ended
                if server.address.encode() in command:
                    seen.append(command)
            return Reply(200, b"{}")

        server.on("/v2/", registry)
        log_in(fresh_product, server.address, password="seldom-seen")
    assert seen
    assert all(b"seldom-seen" not in command for command in seen)
