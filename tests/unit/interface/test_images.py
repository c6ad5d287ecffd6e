"""Images as the Python interface shows them."""

from __future__ import annotations

from rootless.interface import store
from rootless.interface.images import group
from tests.helpers.store import Store


def test_an_image_is_listed_once_with_all_its_names(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    made = Store(str(tmp_path / "store"))
    image_id, _ = made.add_image("docker.io/library/debian:12", "registry.example.com:5000/mine:latest")
    (image,) = group(store.list_images(made.paths))
    assert image.id == image_id
    assert sorted(image.names) == ["debian:12", "registry.example.com:5000/mine:latest"]
    assert (image.created, image.size_bytes, image.labels) == ("2026-01-02T03:04:05Z", 100, {"a": "1"})
