"""Whatever a registry sends: a value, or an error of this library, and nothing else."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from hypothesis import given
from hypothesis import strategies as st

from layers import media
from layers.errors import LayersError
from layers.index import ImageIndex
from layers.manifest import (
    Platform,
    chain_ids,
    check_consistency,
    choose_platform,
    find_media_type,
    parse_config,
    parse_index,
    parse_manifest,
)
from tests.helpers.blobs import config_json, describe, manifest_json

if TYPE_CHECKING:
    from collections.abc import Callable

_KEYS = """
    schemaVersion mediaType config layers manifests digest size annotations platform os architecture
    variant subject artifactType urls rootfs diff_ids type history empty_layer created created_by Env Cmd
    Entrypoint User WorkingDir Volumes ExposedPorts Labels StopSignal Shell Healthcheck OnBuild fsLayers
""".split()  # noqa: SIM905  forty quoted words would not fit a screen
_TEXTS = st.sampled_from(
    [*sorted(media.INDEXES | media.MANIFESTS | media.CONFIGS | media.LAYERS), "sha256:" + "a" * 64, "layers"]
)
_json = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(exclude_categories=()))
    | _TEXTS
    | st.just(2),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(_KEYS) | st.text(max_size=5), inner, max_size=8)
    ),
    max_leaves=30,
)
_NAMES = st.sampled_from(_KEYS)


def _all_readers(data: bytes) -> None:
    for media_type in (*sorted(media.MANIFESTS), "", "text/html"):
        _ignore_errors(lambda t=media_type: find_media_type(data, t))
        _ignore_errors(lambda t=media_type: check_consistency(parse_manifest(data, t), parse_config(data)))
    for media_type in sorted(media.INDEXES):
        _ignore_errors(
            lambda t=media_type: choose_platform(parse_index(data, t), Platform("linux", "arm", "v7"))
        )
    _ignore_errors(lambda: repr(chain_ids(parse_config(data).diff_ids)))
    _ignore_errors(lambda: parse_config(data).layer_history())
    _ignore_errors(lambda: ImageIndex.parse(ImageIndex.parse(data).to_bytes()).find_name("x"))


def _ignore_errors(call: Callable[[], Any]) -> None:
    try:
        call()
    except LayersError as exc:
        assert exc.message  # noqa: PT017  the type is the point
        str(exc)


@given(st.binary(max_size=300))
def test_arbitrary_bytes_are_read_or_refused(data: bytes) -> None:
    _all_readers(data)


@given(_json)
def test_arbitrary_json_is_read_or_refused(value: Any) -> None:
    _all_readers(json.dumps(value).encode())


@given(_NAMES, _json, st.sampled_from(("manifest", "config", "index")))
def test_good_document_with_one_field_replaced_is_read_or_refused(name: str, value: Any, kind: str) -> None:
    _all_readers(json.dumps(_replace(json.loads(_GOOD[kind]), name, value)).encode())


@given(st.sampled_from(("manifest", "config", "index")), st.data())
def test_good_document_with_bytes_changed_is_read_or_refused(kind: str, data: st.DataObject) -> None:
    document = bytearray(_GOOD[kind])
    for _ in range(data.draw(st.integers(1, 4))):
        document[data.draw(st.integers(0, len(document) - 1))] = data.draw(st.integers(0, 255))
    _all_readers(bytes(document))


def _replace(tree: Any, name: str, value: Any) -> Any:
    """Replace a key wherever it stands, and add it at the top."""
    if isinstance(tree, list):
        return [_replace(item, name, value) for item in tree]
    if not isinstance(tree, dict):
        return tree
    replaced = {key: value if key == name else _replace(item, name, value) for key, item in tree.items()}
    return {name: value, **replaced}


_CONFIG = config_json("sha256:" + "a" * 64, Env=["A=b"], Cmd=["x"], Volumes={"/a": {}}, Labels={"a": "b"})
_MANIFEST = manifest_json(describe(_CONFIG, media.OCI_CONFIG), describe(b"layer"))
_GOOD = {
    "manifest": _MANIFEST,
    "config": _CONFIG,
    "index": json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": media.OCI_INDEX,
            "manifests": [
                describe(_MANIFEST, media.OCI_MANIFEST, platform=Platform("linux", "arm")).to_json()
            ],
        }
    ).encode(),
}


def test_the_good_documents_are_good() -> None:
    check_consistency(parse_manifest(_MANIFEST, media.OCI_MANIFEST), parse_config(_CONFIG))
    assert choose_platform(parse_index(_GOOD["index"], media.OCI_INDEX), Platform("linux", "arm"))
