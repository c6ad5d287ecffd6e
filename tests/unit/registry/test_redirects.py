from __future__ import annotations

import pytest

from rootless.errors import RegistryError
from rootless.registry.redirects import MAX_REDIRECTS, any_inward, keeps_credentials, next_hop

FROM = "https://registry.example.com/v2/a/blobs/x"


def test_storage_service_is_followed() -> None:
    target = "https://storage.example.net/blob?signature=1"
    assert next_hop(target + "#part", visited=[FROM], insecure=False) == target
    assert next_hop("/other", visited=[FROM], insecure=False) == "https://registry.example.com/other"


@pytest.mark.parametrize(
    ("location", "problem"),
    [
        ("http://registry.example.com/x", "plain http"),
        ("http://storage.example.net/x", "plain http"),
        ("file:///etc/passwd", "only http and https"),
        ("gopher://a/", "only http and https"),
        ("", "does not say where"),
        ("https://u:p@a.example/", "user name"),
        ("https://127.0.0.1/x", "this machine"),
        ("https://localhost:8080/x", "this machine"),
        ("https://a.localhost/x", "this machine"),
        ("https://[::1]/x", "this machine"),
        ("https://[::ffff:169.254.169.254]/", "link-local"),
        ("https://169.254.169.254/latest/meta-data", "link-local"),
        ("https://[fe80::1]/x", "link-local"),
        ("https://0.0.0.0/x", "this machine"),
        ("https://2130706433/x", "this machine"),
        ("https://0x7f.1/x", "this machine"),
        ("https://127.1/x", "this machine"),
        ("https://a.example:99999/", "cannot be read"),
        ("https://[zz]/", "cannot be read"),
        ("https://a.example/\x00", "cannot be read"),
        (FROM, "loop"),
    ],
)
def test_redirect_that_no_honest_registry_needs_is_refused(location: str, problem: str) -> None:
    with pytest.raises(RegistryError, match=problem):
        next_hop(location, visited=[FROM], insecure=False)


def test_number_of_redirects_is_bounded() -> None:
    visited = [f"{FROM}{n}" for n in range(MAX_REDIRECTS + 1)]
    with pytest.raises(RegistryError, match="more than"):
        next_hop("/next", visited=visited, insecure=False)


def test_registry_on_loopback_may_redirect_on_loopback_but_not_in_plain_http_elsewhere() -> None:
    visited = ["http://127.0.0.1:5000/v2/a"]
    assert next_hop("http://127.0.0.1:9000/x", visited=visited, insecure=False)
    with pytest.raises(RegistryError, match="plain http on another machine"):
        next_hop("http://storage.example.net/x", visited=visited, insecure=False)


def test_insecure_allows_plain_http_but_no_other_trick() -> None:
    assert next_hop("http://storage.example.net/x", visited=[FROM], insecure=True)
    with pytest.raises(RegistryError):
        next_hop("http://169.254.169.254/", visited=[FROM], insecure=True)


@pytest.mark.parametrize(
    "target",
    [
        "https://registry.example.com:444/x",
        "http://registry.example.com/x",
        "https://registry.example.com.evil.net/x",
        "https://sub.registry.example.com/x",
        "https://storage.example.net/x",
    ],
)
def test_credentials_stay_at_their_origin(target: str) -> None:
    assert not keeps_credentials(FROM, target)
    assert keeps_credentials(FROM, "https://REGISTRY.example.com:443/y")


def test_query_of_a_refused_address_is_not_shown() -> None:
    with pytest.raises(RegistryError) as caught:
        next_hop("http://s.example.net/x?X-Amz-Signature=SECRET", visited=[FROM], insecure=False)
    assert "SECRET" not in caught.value.render()


def test_one_inward_address_is_enough() -> None:
    assert any_inward(["93.184.216.34", "127.0.0.1"])
    assert not any_inward(["93.184.216.34", "10.0.0.1"])  # private networks hold honest storage services
