"""The image config: what to run in an image, and the diff ids of its layers. Pure; ring 1.

Spec: image-spec config.md. Docker's schema 2 config is the same document.
"""

from __future__ import annotations

from layers import document, jsontext
from layers.digest import Digest, digest_bytes
from layers.platforms import Platform
from layers.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any

    from layers.document import Fields


class HistoryEntry(Record):
    """One step of how an image was made.

    Attributes:
        created: RFC 3339 text as written, "" if absent.
        empty_layer: the step made no layer (ENV, CMD, …).
    """

    __slots__ = ("author", "comment", "created", "created_by", "empty_layer")
    created: str
    created_by: str
    author: str
    comment: str
    empty_layer: bool

    def __init__(
        self, *, created: str, created_by: str, author: str, comment: str, empty_layer: bool
    ) -> None:
        self._fill(
            created=created, created_by=created_by, author=author, comment=comment, empty_layer=empty_layer
        )


class Healthcheck(Record):
    """HEALTHCHECK of an image. Times are nanoseconds; 0 leaves the choice to the engine.

    Attributes:
        test: () leaves it to the engine, ("NONE",) switches checks off; else ("CMD", argv…) or
            ("CMD-SHELL", text).
    """

    __slots__ = ("interval_ns", "retries", "start_interval_ns", "start_period_ns", "test", "timeout_ns")
    test: tuple[str, ...]
    interval_ns: int
    timeout_ns: int
    retries: int
    start_period_ns: int
    start_interval_ns: int

    def __init__(self, fields: Fields) -> None:
        self._fill(
            test=_without_nul(fields, "Test", fields.texts("Test")),
            interval_ns=_number(fields, "Interval"),
            timeout_ns=_number(fields, "Timeout"),
            retries=_number(fields, "Retries"),
            start_period_ns=_number(fields, "StartPeriod"),
            start_interval_ns=_number(fields, "StartInterval"),
        )


class ImageConfig(Record):
    """The parsed config of an image.

    Attributes:
        platform, architecture, os, variant: "" where the image does not say.
        created: RFC 3339 text as written, "" if absent.
        env: "NAME=value" strings. entrypoint, cmd, shell: None if absent, which is not the same as ().
        workdir, volumes: absolute and without "..", whatever the image says (CVE-2022-23648).
        exposed_ports: "80/tcp" as written.
        healthcheck: Docker's extension of the document; None if absent.
        diff_ids: digests of the uncompressed layers, bottom first.
        raw: the whole document, with what has no attribute here; do not change it.
    """

    __slots__ = (
        "architecture",
        "author",
        "cmd",
        "created",
        "diff_ids",
        "entrypoint",
        "env",
        "exposed_ports",
        "healthcheck",
        "history",
        "labels",
        "on_build",
        "os",
        "raw",
        "shell",
        "stop_signal",
        "user",
        "variant",
        "volumes",
        "workdir",
    )
    architecture: str
    author: str
    cmd: tuple[str, ...] | None
    created: str
    diff_ids: tuple[Digest, ...]
    entrypoint: tuple[str, ...] | None
    env: tuple[str, ...]
    exposed_ports: tuple[str, ...]
    healthcheck: Healthcheck | None
    history: tuple[HistoryEntry, ...]
    labels: dict[str, str]
    on_build: tuple[str, ...]
    os: str
    raw: dict[str, Any]
    shell: tuple[str, ...] | None
    stop_signal: str
    user: str
    variant: str
    volumes: tuple[str, ...]
    workdir: str

    def __init__(self, fields: Fields) -> None:
        run = fields.child("config") or document.Fields({}, "config.config")
        rootfs = fields.child("rootfs")
        if rootfs is None:
            fields.fail("rootfs", "is missing")
        if rootfs.text("type", default="layers") != "layers":
            rootfs.fail("type", "is not `layers`")
        self._fill(
            architecture=fields.text("architecture", default=""),
            os=fields.text("os", default=""),
            variant=fields.text("variant", default=""),
            author=fields.text("author", default=""),
            created=fields.text("created", default=""),
            diff_ids=rootfs.digests("diff_ids") if "diff_ids" in rootfs.data else (),
            history=tuple(map(_history_entry, fields.children("history"))),
            env=_without_nul(run, "Env", run.texts("Env")),
            entrypoint=_command(run, "Entrypoint"),
            cmd=_command(run, "Cmd"),
            shell=_command(run, "Shell"),
            user=_without_nul(run, "User", (run.text("User", default=""),))[0],
            workdir=_rooted(run, "WorkingDir", run.text("WorkingDir", default="")),
            volumes=tuple(_rooted(run, "Volumes", path) for path in _names(run, "Volumes")),
            exposed_ports=tuple(_names(run, "ExposedPorts")),
            labels=run.text_map("Labels"),
            stop_signal=run.text("StopSignal", default=""),
            on_build=run.texts("OnBuild"),
            healthcheck=_healthcheck(run.child("Healthcheck")),
            raw=fields.data,
        )

    @property
    def platform(self) -> Platform:
        return Platform(self.os, self.architecture, self.variant)

    def layer_history(self) -> list[HistoryEntry | None]:
        """Return the step that made each layer, bottom first.

        History is a courtesy: some builders write none, or too little. Then all are None.
        """
        made = [entry for entry in self.history if not entry.empty_layer]
        return list(made) if len(made) == len(self.diff_ids) else [None] * len(self.diff_ids)


def parse_config(data: bytes) -> ImageConfig:
    """Read an image config.

    Raises:
        InvalidManifest: it is malformed; the message names the field.
    """
    return ImageConfig(document.decode(data, "config"))


def chain_ids(diff_ids: Sequence[Digest]) -> list[Digest]:
    """Name every stack of layers from the bottom up.

    Args:
        diff_ids: digests of the uncompressed layer tars, bottom first; may be empty.
    Returns:
        as many digests; item 0 is diff_ids[0], item i names layers 0 to i applied in order.
    Cost: n-1 hashes of 143-byte strings; no I/O.
    Spec: image-spec config.md "Layer ChainID".
    """
    chain: list[Digest] = []
    for diff_id in diff_ids:
        chain.append(digest_bytes(f"{chain[-1]} {diff_id}".encode()) if chain else diff_id)
    return chain


def config_bytes(raw: dict[str, Any]) -> bytes:
    """Return the canonical bytes of a config that was made here: equal content, equal image id."""
    return jsontext.dumps(raw, compact=True, sort_keys=True).encode()


def _history_entry(fields: Fields) -> HistoryEntry:
    return HistoryEntry(
        created=fields.text("created", default=""),
        created_by=fields.text("created_by", default=""),
        author=fields.text("author", default=""),
        comment=fields.text("comment", default=""),
        empty_layer=fields.flag("empty_layer"),
    )


def _command(run: Fields, name: str) -> tuple[str, ...] | None:
    value = run.data.get(name)
    if value is None:
        return None
    # Docker before 1.13 wrote a lone string where it meant a list of one.
    words = (value,) if isinstance(value, str) else run.texts(name)
    return _without_nul(run, name, words)


def _names(run: Fields, name: str) -> Iterable[str]:
    """Return the keys of an object that Go uses as a set; some old builders wrote an array."""
    if isinstance(run.data.get(name), list):
        return run.texts(name)
    fields = run.child(name)
    return sorted(fields.data) if fields else ()


def _rooted(run: Fields, name: str, path: str) -> str:
    if not path:
        return ""
    parts: list[str] = []
    for part in _without_nul(run, name, (path,))[0].split("/"):
        if part == "..":
            del parts[-1:]
        elif part not in ("", "."):
            parts.append(part)
    return "/" + "/".join(parts)


def _without_nul(run: Fields, name: str, texts: tuple[str, ...]) -> tuple[str, ...]:
    if any("\0" in text for text in texts):  # execve and paths end there
        run.fail(name, "holds a NUL character")
    return texts


def _healthcheck(fields: Fields | None) -> Healthcheck | None:
    return Healthcheck(fields) if fields else None


def _number(fields: Fields, name: str) -> int:
    return 0 if fields.data.get(name) is None else fields.integer(name)
