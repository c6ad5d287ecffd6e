"""The worker's request and answers, in the test's own process."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest

from layers import apply
from layers.apply import LayerApplier, Request
from layers.digest import Digest
from layers.errors import DigestMismatch, InvalidDigest, InvalidLayer
from tests.helpers.extraction import umask_zero
from tests.helpers.images import Layer, digest

if TYPE_CHECKING:
    from pathlib import Path

DIGEST = "sha256:" + "a" * 64


def fields(**changes: object) -> dict[str, object]:
    return {"root": "/r", "compression": "gzip", "diff_id": DIGEST, "owners": "recorded", **changes}


def test_request_survives_its_json_form() -> None:
    request = Request(
        "/r\udcff", compression="zstd", diff_id=DIGEST, owners="direct", max_bytes=5, sync=False, control=9
    )
    again = Request.from_json(request.to_json())
    assert all(getattr(request, name) == getattr(again, name) for name in Request.__slots__)


@pytest.mark.parametrize("change", [{"owners": "nobody"}, {"unknown": 1}])
def test_malformed_request_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"owners must be one of|malformed request"):
        Request.from_json(json.dumps(fields(**change)))


@pytest.mark.parametrize("text", ["[]", "{}", "1", "nothing"])
def test_request_that_is_no_object_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        Request.from_json(text)


def test_request_with_a_malformed_digest_is_refused() -> None:
    with pytest.raises(InvalidDigest):
        Request.from_json(json.dumps(fields(diff_id="sha256:../../etc")))


def source(data: bytes) -> int:
    fd = os.memfd_create("layer")
    os.write(fd, data)
    os.lseek(fd, 0, os.SEEK_SET)
    return fd


def run(root: Path, content: bytes, *, diff_id: str = "", max_bytes: int | None = None) -> LayerApplier:
    root.mkdir()
    root_fd, fd = os.open(root, os.O_RDONLY), source(content)
    with umask_zero(), LayerApplier(root_fd, owners="recorded") as applier:
        try:
            applier.extract(
                fd, compression="none", diff_id=Digest(diff_id or digest(content)), max_bytes=max_bytes
            )
        finally:
            os.close(fd)
            os.close(root_fd)
    return applier


def test_result_counts_bytes_and_entries(tmp_path: Path) -> None:
    content = Layer().directory("./").file("a", b"x").bytes()
    applier = run(tmp_path / "r", content)
    assert (applier.plain_bytes, applier.entries, applier.needs_parents) == (len(content), 2, False)


@pytest.mark.parametrize(
    "layer",
    [
        Layer().directory("a"),
        Layer().directory("./").file("a/b"),
        Layer().directory("./").whiteout("a"),
        Layer().directory("./").directory("a").opaque("a"),
        Layer().directory("./").hardlink("a", "b"),
    ],
    ids=["implied-root", "implied-directory", "whiteout", "opaque", "cross-layer-link"],
)
def test_layer_that_depends_on_the_ones_below_says_so(tmp_path: Path, layer: Layer) -> None:
    assert run(tmp_path / "r", layer.bytes()).needs_parents


def test_bytes_behind_the_end_of_the_archive_are_part_of_the_digest(tmp_path: Path) -> None:
    content = Layer().file("a").bytes()
    assert run(tmp_path / "r", content + b"trailing").entries == 1
    with pytest.raises(DigestMismatch):
        run(tmp_path / "s", content + b"trailing", diff_id=digest(content))


def test_bound_on_plain_bytes_is_kept(tmp_path: Path) -> None:
    with pytest.raises(InvalidLayer, match="more than 100 plain bytes"):
        run(tmp_path / "r", Layer().file("a").bytes(), max_bytes=100)


def test_empty_layer_is_a_layer(tmp_path: Path) -> None:
    assert run(tmp_path / "r", bytes(1024)).entries == 0
    assert run(tmp_path / "s", b"").entries == 0


def answer_of(capfd: pytest.CaptureFixture[str], argument: str) -> tuple[int, dict[str, object]]:
    with umask_zero():
        code = apply.main([argument])
    return code, json.loads(capfd.readouterr().out)


def test_failure_of_the_host_is_answered_with_its_errno(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    code, answer = answer_of(capfd, json.dumps(fields(root=str(tmp_path / "absent"))))
    expected = {"ok": False, "kind": "OSError", "errno": 2, "message": "No such file or directory"}
    assert (code, answer) == (1, expected | {"on": str(tmp_path / "absent")})


def test_fault_of_the_layer_is_answered_with_its_kind(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    code, answer = answer_of(capfd, json.dumps(fields(root=str(tmp_path), diff_id="sha256:x")))
    assert (code, answer["kind"]) == (1, "InvalidDigest")


def test_entry_in_an_answer_is_short_and_ascii(capfd: pytest.CaptureFixture[str]) -> None:
    assert apply._shown(b"a\xff\n" + b"x" * 500) == "a\\xff\n" + "x" * 191 + "..."
    apply._answer({"on": "a\n\u2603\udcff"})
    assert capfd.readouterr().out.isascii()
