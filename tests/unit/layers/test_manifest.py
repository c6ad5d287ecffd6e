from __future__ import annotations

import json
from typing import Any

import pytest

from layers import media
from layers.digest import Digest, digest_bytes
from layers.errors import (
    InvalidManifest,
    InvalidPlatform,
    LayersError,
    NoMatchingPlatform,
    UnknownMediaType,
)
from layers.manifest import (
    MAX_LAYERS,
    MAX_MANIFEST_BYTES,
    Descriptor,
    ImageSearch,
    Platform,
    chain_ids,
    check_consistency,
    check_is_image,
    choose_platform,
    find_media_type,
    parse_config,
    parse_index,
    parse_manifest,
)
from layers.platforms import amd64_level
from tests.helpers.blobs import as_json, config_json, describe, manifest_json

HEX = "a" * 64
DIGEST = "sha256:" + HEX
LINUX = Platform("linux", "amd64")


def manifest_document(**changes: Any) -> dict[str, Any]:
    layer = {"mediaType": media.OCI_LAYER_GZIP, "digest": DIGEST, "size": 5}
    config = {"mediaType": media.OCI_CONFIG, "digest": DIGEST, "size": 7}
    document: dict[str, Any] = {
        "schemaVersion": 2,
        "mediaType": media.OCI_MANIFEST,
        "config": config,
        "layers": [layer],
    }
    document.update(changes)
    return {name: value for name, value in document.items() if value != "absent"}


def index_of(*entries: dict[str, Any], media_type: str = media.OCI_INDEX, **changes: Any) -> bytes:
    document = {"schemaVersion": 2, "mediaType": media_type, "manifests": list(entries), **changes}
    return as_json({name: value for name, value in document.items() if value != "absent"})


def entry(platform: str | None, number: int = 0, **changes: Any) -> dict[str, Any]:
    result: dict[str, Any] = {
        "mediaType": media.OCI_MANIFEST,
        "digest": f"sha256:{number:064x}",
        "size": 1,
    }
    if platform:
        result["platform"] = dict(zip(("os", "architecture", "variant"), platform.split("/"), strict=False))
    return result | changes


# Manifests


def test_manifest_of_oci_and_docker() -> None:
    manifest = parse_manifest(as_json(manifest_document()), media.OCI_MANIFEST)
    assert manifest.config.digest == DIGEST
    assert [layer.size for layer in manifest.layers] == [5]
    assert manifest.size == 12
    docker = manifest_document(mediaType=media.DOCKER_MANIFEST)
    assert parse_manifest(as_json(docker), media.DOCKER_MANIFEST).media_type == media.DOCKER_MANIFEST


def test_manifest_oci_media_type_may_be_missing() -> None:
    parse_manifest(as_json(manifest_document(mediaType="absent")), media.OCI_MANIFEST)


def test_manifest_docker_media_type_must_be_there() -> None:
    with pytest.raises(InvalidManifest, match="`mediaType` is missing"):
        parse_manifest(as_json(manifest_document(mediaType="absent")), media.DOCKER_MANIFEST)


@pytest.mark.parametrize("name", ["manifests", "Manifests", "MANIFESTS", "fsLayers"])
def test_manifest_that_is_also_an_index_is_refused(name: str) -> None:  # CVE-2021-41190
    document = as_json(manifest_document(**{name: []}))
    with pytest.raises(InvalidManifest, match="cannot be told apart"):
        parse_manifest(document, media.OCI_MANIFEST)
    without_type = as_json(manifest_document(**{name: [], "mediaType": "absent"}))
    with pytest.raises(InvalidManifest):
        find_media_type(without_type)


@pytest.mark.parametrize("name", ["layers", "Layers", "config", "fsLayers"])
def test_index_that_is_also_a_manifest_is_refused(name: str) -> None:  # CVE-2021-41190
    with pytest.raises(InvalidManifest, match="cannot be told apart"):
        parse_index(index_of(**{name: []}), media.OCI_INDEX)


def test_media_type_that_contradicts_is_refused() -> None:  # CVE-2021-41190
    with pytest.raises(InvalidManifest, match=r"`mediaType` is .*but it came as"):
        parse_manifest(as_json(manifest_document()), media.DOCKER_MANIFEST)
    with pytest.raises(InvalidManifest, match=r"`mediaType` is .*but it came as"):
        parse_index(index_of(), media.DOCKER_LIST)
    with pytest.raises(InvalidManifest, match="but it came as"):
        find_media_type(as_json(manifest_document()), media.OCI_INDEX)


def test_find_media_type_believes_declaration_then_document_then_shape() -> None:
    plain = as_json(manifest_document(mediaType="absent"))
    assert find_media_type(plain, media.OCI_MANIFEST + "; charset=utf-8") == media.OCI_MANIFEST
    assert find_media_type(as_json(manifest_document()), "text/plain") == media.OCI_MANIFEST
    assert find_media_type(plain) == media.OCI_MANIFEST
    assert find_media_type(index_of(mediaType="absent")) == media.OCI_INDEX


def test_find_media_type_of_something_else_is_unknown() -> None:
    with pytest.raises(UnknownMediaType):
        find_media_type(as_json({"schemaVersion": 2, "mediaType": "text/html"}))


@pytest.mark.parametrize(
    ("document", "media_type"),
    [
        ({"schemaVersion": 1, "fsLayers": [], "history": []}, ""),
        ({"schemaVersion": 1, "fsLayers": []}, media.DOCKER_SCHEMA1_SIGNED),
        ({"schemaVersion": 1, "fsLayers": []}, media.DOCKER_MANIFEST),
    ],
)
def test_schema_1_is_refused_with_a_remedy(document: dict[str, Any], media_type: str) -> None:
    for read in (find_media_type, parse_manifest):
        with pytest.raises(UnknownMediaType, match="schema 1") as caught:
            read(as_json(document), media_type)
        assert "push it again" in caught.value.hint


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"schemaVersion": "absent"}, "`schemaVersion` is not 2"),
        ({"schemaVersion": 3}, "`schemaVersion` is not 2"),
        ({"schemaVersion": "2"}, "`schemaVersion` is not 2"),
        ({"schemaVersion": 2.0}, "`schemaVersion` is not 2"),
        ({"schemaVersion": True}, "`schemaVersion` is not 2"),
        ({"mediaType": 7}, "`mediaType` is not a string"),
        ({"config": "absent"}, "`config` is missing"),
        ({"config": None}, "`config` is missing"),
        ({"config": []}, "`config` is not an object"),
        ({"config": {}}, "invalid manifest.config: `mediaType` is missing"),
        ({"layers": "absent"}, "`layers` is missing"),
        ({"layers": {}}, "`layers` is not an array"),
        ({"layers": [1]}, r"`layers\[0\]` is not an object"),
        ({"layers": [{"mediaType": "a/b", "size": 1}]}, r"manifest.layers\[0\]: `digest` is missing"),
        ({"layers": [{"mediaType": "a/b", "size": 1, "digest": 5}]}, "`digest` is not a string"),
        (
            {"layers": [{"mediaType": "a/b", "size": 1, "digest": "sha256:../../x"}]},
            r"manifest.layers\[0\]: `digest`: invalid digest",
        ),
        ({"layers": [{"mediaType": "a/b", "size": -1, "digest": DIGEST}]}, "`size` is out of range"),
        ({"layers": [{"mediaType": "a/b", "size": 1 << 63, "digest": DIGEST}]}, "out of range"),
        ({"layers": [{"mediaType": "a/b", "size": 1.5, "digest": DIGEST}]}, "`size` is not an integer"),
        ({"layers": [{"mediaType": "a/b", "size": True, "digest": DIGEST}]}, "`size` is not an integer"),
        ({"layers": [{"mediaType": "a/b", "size": "1", "digest": DIGEST}]}, "`size` is not an integer"),
        ({"layers": [{"mediaType": "", "size": 1, "digest": DIGEST}]}, "`mediaType` is empty or too long"),
        ({"annotations": []}, "`annotations` is not an object"),
        ({"annotations": {"a": 1}}, "manifest.annotations: `a` is not a string"),
        ({"subject": 1}, "`subject` is not an object"),
    ],
)
def test_manifest_with_a_wrong_field_is_named(changes: dict[str, Any], complaint: str) -> None:
    with pytest.raises(InvalidManifest, match=complaint):
        parse_manifest(as_json(manifest_document(**changes)), media.OCI_MANIFEST)


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (b"", "Expecting value"),
        (b"<html>", "Expecting value"),
        (b"null", "not a JSON object"),
        (b"[]", "not a JSON object"),
        (b"\xff\xfe{\x00}\x00", "not UTF-8"),
        (b"\xef\xbb\xbf{}", "BOM"),
        (b'{"a": 1, "a": 2}', "'a' occurs twice"),
        (b'{"a": NaN}', "NaN is not JSON"),
        (b'{"a": -Infinity}', "-Infinity is not JSON"),
        (b'{"a": ' + b"9" * 5000 + b"}", "digits"),
        (b'{"a": "\\ud800"}', "not UTF-8"),
        (b'{"\\udfff": 1}', "not UTF-8"),
        (b'{"a":' * 500 + b"1" + b"}" * 500, "nested more than"),
        (b"[" * 200_000, "nested too deeply"),
        (b'{"a":' * 100_000, "nested too deeply"),
        (b"{}" + b" " * MAX_MANIFEST_BYTES, "more than 4194304"),
        (b"{} {}", "Extra data"),
    ],
)
def test_bytes_that_are_no_document_are_refused(data: bytes, complaint: str) -> None:
    for read in (
        parse_config,
        find_media_type,
        lambda d: parse_index(d, media.OCI_INDEX),
        lambda d: parse_manifest(d, media.OCI_MANIFEST),
    ):
        with pytest.raises(InvalidManifest, match=complaint):
            read(data)


def test_manifest_with_too_many_layers_is_refused() -> None:
    layers = [manifest_document()["layers"][0]] * (MAX_LAYERS + 1)
    with pytest.raises(InvalidManifest, match="1001 entries"):
        parse_manifest(as_json(manifest_document(layers=layers)), media.OCI_MANIFEST)


def test_foreign_layer_urls_are_not_even_kept() -> None:  # CVE-2020-15157
    layer = {
        "mediaType": media.DOCKER_FOREIGN_GZIP,
        "digest": DIGEST,
        "size": 5,
        "urls": ["https://evil.example/layer", 5],
    }
    manifest = parse_manifest(as_json(manifest_document(layers=[layer])), media.OCI_MANIFEST)
    assert "evil" not in repr(manifest)


def test_descriptor_survives_a_round_trip_through_json() -> None:
    descriptor = Descriptor(
        media_type=media.OCI_MANIFEST,
        digest=Digest(DIGEST),
        size=3,
        annotations={"a": "b"},
        platform=Platform("linux", "arm", "v6"),
        artifact_type="x/y",
    )
    index = parse_index(index_of(descriptor.to_json()), media.OCI_INDEX)
    assert index.manifests == (descriptor,)
    assert hash(index.manifests[0]) == hash(descriptor)


# Images


def test_artifact_that_is_no_image_is_refused() -> None:
    chart = {"mediaType": "application/vnd.cncf.helm.config.v1+json", "digest": DIGEST, "size": 1}
    manifest = parse_manifest(as_json(manifest_document(config=chart)), media.OCI_MANIFEST)
    with pytest.raises(UnknownMediaType, match="not a container image"):
        check_is_image(manifest)


def test_image_with_unknown_layer_is_refused() -> None:
    layer = {"mediaType": "application/x-tar", "digest": DIGEST, "size": 1}
    manifest = parse_manifest(as_json(manifest_document(layers=[layer])), media.OCI_MANIFEST)
    with pytest.raises(UnknownMediaType):
        check_is_image(manifest)


@pytest.mark.parametrize("count", [0, 2])
def test_config_with_another_number_of_layers_is_refused(count: int) -> None:
    manifest = parse_manifest(as_json(manifest_document()), media.OCI_MANIFEST)
    config = parse_config(config_json(*[DIGEST] * count))
    with pytest.raises(InvalidManifest, match=f"has 1 layers, its config has {count} diff_ids"):
        check_consistency(manifest, config)


def test_config_with_the_same_number_of_layers_is_consistent() -> None:
    raw = config_json(DIGEST)
    manifest = parse_manifest(
        manifest_json(describe(raw, media.OCI_CONFIG), describe(b"x")), media.OCI_MANIFEST
    )
    check_consistency(manifest, parse_config(raw))


# Config


def test_config_is_read_in_full() -> None:
    document = {
        "architecture": "arm64",
        "os": "linux",
        "variant": "v8",
        "created": "2024-01-02T03:04:05Z",
        "author": "me",
        "config": {
            "Env": ["PATH=/bin", "A=b=c"],
            "Cmd": ["sh"],
            "Entrypoint": None,
            "User": "1000:1000",
            "WorkingDir": "/srv/../app/",
            "Volumes": {"/data": {}, "/b": None},
            "ExposedPorts": {"80/tcp": {}},
            "Labels": {"a": "b", "c": None},
            "StopSignal": "SIGQUIT",
            "Shell": [],
            "Healthcheck": {"Test": ["CMD", "true"], "Interval": 30 * 10**9, "Retries": None},
            "OnBuild": ["RUN x"],
        },
        "rootfs": {"type": "layers", "diff_ids": [DIGEST]},
        "history": [
            {"created_by": "ADD", "created": "2024-01-02T03:04:05Z"},
            {"created_by": "CMD", "empty_layer": True},
        ],
    }
    config = parse_config(as_json(document))
    assert config.platform == Platform("linux", "arm64")
    assert config.env == ("PATH=/bin", "A=b=c")
    assert (config.cmd, config.entrypoint, config.shell) == (("sh",), None, ())
    assert (config.user, config.workdir) == ("1000:1000", "/app")
    assert config.volumes == ("/b", "/data")
    assert config.exposed_ports == ("80/tcp",)
    assert config.labels == {"a": "b"}
    assert config.stop_signal == "SIGQUIT"
    assert config.healthcheck is not None
    assert config.healthcheck.test == ("CMD", "true")
    assert (config.healthcheck.interval_ns, config.healthcheck.start_interval_ns) == (30 * 10**9, 0)
    assert config.on_build == ("RUN x",)
    assert config.diff_ids == (DIGEST,)
    assert [step and step.created_by for step in config.layer_history()] == ["ADD"]
    assert config.raw == document


@pytest.mark.parametrize(
    "healthcheck", [3, {"Test": "curl"}, {"Interval": "30s"}, {"Timeout": -1}, {"Retries": True}]
)
def test_config_healthcheck_that_is_malformed_is_refused(healthcheck: object) -> None:
    with pytest.raises(InvalidManifest, match="Healthcheck"):
        parse_config(config_json(Healthcheck=healthcheck))


def test_config_history_that_does_not_fit_is_left_out() -> None:
    document = json.loads(config_json(DIGEST, DIGEST))
    document["history"] = [{"created_by": "x"}]
    assert parse_config(as_json(document)).layer_history() == [None, None]


@pytest.mark.parametrize(
    ("path", "result"),
    [
        ("/data", "/data"),
        ("data", "/data"),
        ("/../../etc", "/etc"),
        ("../../../../etc/passwd", "/etc/passwd"),
        ("/a/../..", "/"),
        ("//x", "/x"),
    ],
)
def test_config_volume_cannot_climb(path: str, result: str) -> None:  # CVE-2022-23648
    config = parse_config(config_json(Volumes={path: {}}, WorkingDir=path))
    assert config.volumes == (result,)
    assert config.workdir == result


def test_config_of_old_builders_is_understood() -> None:
    config = parse_config(config_json(Entrypoint="/init", Volumes=["/a"], Cmd=None))
    assert config.entrypoint == ("/init",)
    assert config.volumes == ("/a",)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"rootfs": None}, "`rootfs` is missing"),
        ({"rootfs": {"type": "squashfs"}}, "`type` is not `layers`"),
        ({"rootfs": {"type": "layers", "diff_ids": ["x"]}}, r"`diff_ids\[0\]`: invalid digest"),
        ({"rootfs": {"type": "layers", "diff_ids": None}}, "`diff_ids` is missing"),
        ({"config": {"Env": "A=b"}}, "`Env` is not an array"),
        ({"config": {"Env": [1]}}, r"config.config: `Env\[0\]` is not a string"),
        ({"config": {"Env": ["A=\0"]}}, "`Env` holds a NUL"),
        ({"config": {"Cmd": 1}}, "`Cmd` is not an array"),
        ({"config": {"User": "a\0b"}}, "`User` holds a NUL"),
        ({"config": {"Volumes": {"/a\0b": {}}}}, "`Volumes` holds a NUL"),
        ({"config": {"Labels": {"a": []}}}, "`a` is not a string"),
        ({"history": [{"empty_layer": "yes"}]}, r"history\[0\]: `empty_layer` is not a boolean"),
        ({"os": 1}, "`os` is not a string"),
    ],
)
def test_config_with_a_wrong_field_is_named(changes: dict[str, Any], complaint: str) -> None:
    document = json.loads(config_json(DIGEST)) | changes
    with pytest.raises(InvalidManifest, match=complaint):
        parse_config(as_json(document))


def test_chain_ids_match_the_specification() -> None:
    a, b, c = (Digest("sha256:" + x * 64) for x in "abc")
    ab = digest_bytes(f"{a} {b}".encode())
    assert chain_ids([]) == []
    assert chain_ids([a]) == [a]
    assert chain_ids([a, b, c]) == [a, ab, digest_bytes(f"{ab} {c}".encode())]


# Platforms


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("linux/amd64", "linux/amd64"),
        ("amd64", "linux/amd64"),
        ("Linux/x86_64", "linux/amd64"),
        ("linux/arm64/v8", "linux/arm64"),
        ("linux/aarch64", "linux/arm64"),
        ("linux/arm", "linux/arm/v7"),
        ("linux/arm/6", "linux/arm/v6"),
        ("linux/armel", "linux/arm/v6"),
        ("linux/amd64/v1", "linux/amd64"),
        ("linux/i686", "linux/386"),
    ],
)
def test_platform_is_normalised(text: str, normal: str) -> None:
    assert str(Platform.parse(text)) == normal


@pytest.mark.parametrize("text", ["", "/", "linux/", "a/b/c/d", "linux/a\n", "linux/ämd64"])
def test_platform_of_another_form_is_refused(text: str) -> None:
    with pytest.raises(InvalidPlatform):
        Platform.parse(text)


def test_platform_of_this_host_is_complete() -> None:
    host = Platform.host()
    assert host.os == "linux"
    assert host.architecture


def test_amd64_level_needs_every_flag_of_every_level_below() -> None:
    v2 = ["cx16", "lahf_lm", "popcnt", "sse4_1", "sse4_2", "ssse3"]
    v3 = ["abm", "avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "movbe", "xsave"]
    assert amd64_level([]) == ""
    assert amd64_level(v2) == "v2"
    assert amd64_level(v2 + v3) == "v3"
    assert amd64_level(v3) == ""


@pytest.mark.parametrize(
    ("platform", "there", "chosen"),
    [
        ("linux/amd64", ["linux/arm64", "linux/amd64"], "linux/amd64"),
        ("linux/amd64", ["windows/amd64", "linux/amd64"], "linux/amd64"),
        ("linux/amd64", ["linux/amd64/v2", "linux/amd64"], "linux/amd64"),
        ("linux/amd64", ["linux/amd64/v2"], None),
        ("linux/amd64/v3", ["linux/amd64", "linux/amd64/v2", "linux/amd64/v4"], "linux/amd64/v2"),
        ("linux/amd64/v3", ["linux/amd64"], "linux/amd64"),
        ("linux/arm64", ["linux/arm64/v8"], "linux/arm64"),
        ("linux/arm64", ["linux/arm/v7"], None),
        ("linux/arm/v7", ["linux/arm/v5", "linux/arm/v6", "linux/arm64"], "linux/arm/v6"),
        ("linux/arm/v6", ["linux/arm/v7"], None),
        ("linux/arm/v8", ["linux/arm/v6", "linux/arm/v7"], "linux/arm/v7"),
        ("linux/arm", ["linux/arm/v6", "linux/arm/v7"], "linux/arm/v7"),
        ("linux/386", ["linux/amd64"], None),
        ("linux/riscv64", ["linux/riscv64"], "linux/riscv64"),
    ],
)
def test_choose_platform(platform: str, there: list[str], chosen: str | None) -> None:
    index = parse_index(index_of(*(entry(p, i) for i, p in enumerate(there))), media.OCI_INDEX)
    if chosen is None:
        with pytest.raises(NoMatchingPlatform):
            choose_platform(index, Platform.parse(platform))
    else:
        assert str(choose_platform(index, Platform.parse(platform)).platform) == chosen


def test_choose_platform_passes_over_attestations_and_artifacts() -> None:
    marked = {"annotations": {"vnd.docker.reference.type": "attestation-manifest"}}
    index = parse_index(
        index_of(
            entry("unknown/unknown", 1, **marked),
            entry("linux/amd64", 2, **marked),
            entry("linux/amd64", 3, mediaType="application/vnd.example+json"),
            entry("linux/amd64", 4),
        ),
        media.OCI_INDEX,
    )
    assert choose_platform(index, LINUX).digest.endswith("4")


def test_choose_platform_takes_a_lone_entry_without_platform() -> None:
    assert choose_platform(parse_index(index_of(entry(None, 1)), media.OCI_INDEX), LINUX)
    two = parse_index(index_of(entry(None, 1), entry(None, 2)), media.OCI_INDEX)
    with pytest.raises(NoMatchingPlatform):
        choose_platform(two, LINUX)


def test_no_matching_platform_lists_what_there_is() -> None:
    many = [entry(f"linux/x{i:02}", i) for i in range(20)]
    index = parse_index(index_of(*many), media.OCI_INDEX)
    with pytest.raises(NoMatchingPlatform, match=r"linux/x00, .*, linux/x11, and 8 more") as caught:
        choose_platform(index, LINUX)
    assert "--platform" in caught.value.hint
    with pytest.raises(NoMatchingPlatform, match="the index has no image"):
        choose_platform(parse_index(index_of(), media.OCI_INDEX), LINUX)


# Nested indexes


def nested(depth: int) -> tuple[Descriptor, dict[Digest, bytes]]:
    """Return the outermost of `depth` indexes around one manifest, and all documents."""
    data = as_json(manifest_document())
    descriptor, blobs = describe(data, media.OCI_MANIFEST, platform=LINUX), {digest_bytes(data): data}
    for _ in range(depth):
        data = index_of(descriptor.to_json())
        descriptor = describe(data, media.OCI_INDEX, platform=LINUX)
        blobs[descriptor.digest] = data
    return descriptor, blobs


def run_search(root: Descriptor, blobs: dict[Digest, bytes]) -> ImageSearch:
    search = ImageSearch(root, LINUX)
    while search.wanted:
        search.feed(blobs[search.wanted.digest])
    return search


@pytest.mark.parametrize("depth", [0, 1, 2, 3])
def test_search_follows_indexes_to_the_manifest(depth: int) -> None:
    root, blobs = nested(depth)
    search = run_search(root, blobs)
    assert search.manifest == parse_manifest(as_json(manifest_document()), media.OCI_MANIFEST)
    assert search.chosen
    assert search.chosen.digest == digest_bytes(as_json(manifest_document()))


def test_search_ends_where_indexes_nest_too_deeply() -> None:
    root, blobs = nested(5)
    with pytest.raises(InvalidManifest, match="nested too deeply"):
        run_search(root, blobs)


def test_search_ends_in_a_cycle() -> None:
    data = index_of(entry("linux/amd64", 7, mediaType=media.OCI_INDEX))
    search = ImageSearch(
        Descriptor(media_type=media.OCI_INDEX, digest=Digest(f"sha256:{7:064x}"), size=1), LINUX
    )
    search.feed(data)  # whoever feeds unverified bytes can make a digest name itself
    with pytest.raises(InvalidManifest, match="nested too deeply"):
        search.feed(data)


def test_index_of_ten_thousand_entries_is_read() -> None:
    index = parse_index(index_of(*(entry("linux/s390x", i) for i in range(10_000))), media.OCI_INDEX)
    with pytest.raises(LayersError):
        choose_platform(index, LINUX)
