"""The grammars of -v, --mount and --tmpfs, and how they meet the volumes of the image. Pure; ring 1.

Docker's: docker/cli opts/mount.go, moby volume/mounts/linux_parser.go. Windows paths are not understood.
A colon in a path of -v is written `\\:`; a comma in a value of --mount is quoted as in CSV.
"""

from __future__ import annotations

import os

from rootless.cli.args import bad_value, parse_bool
from rootless.cli.values import parse_size
from rootless.errors import UsageError
from rootless.model.names import check_name, new_id
from rootless.model.spec import ANONYMOUS, Mount

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

_PROPAGATION = frozenset(("private", "rprivate", "shared", "rshared", "slave", "rslave"))
_NO_EFFECT = frozenset(("z", "Z", "consistent", "cached", "delegated"))
"""SELinux labels, which no unprivileged process can set, and hints for macOS: taken, without effect."""
_ATIME = ("atime", "noatime", "diratime", "nodiratime", "relatime", "norelatime", "strictatime")
_TMPFS_FLAGS = frozenset(
    ("rw", "exec", "noexec", "suid", "nosuid", "dev", "nodev", "sync", "async", "dirsync", *_ATIME)
)
_TMPFS_VALUES = frozenset(("size", "mode", "uid", "gid", "nr_inodes", "nr_blocks"))
_MOUNT_KEYS = {
    "src": "source",
    "dst": "target",
    "destination": "target",
    "ro": "readonly",
}
_VOLUME_HINT = "write /HOST/PATH:/TARGET[:ro], NAME:/TARGET or /TARGET"


def parse_volume(text: str, *, cwd: str) -> Mount:
    """Return one -v: SOURCE:TARGET[:OPTIONS], or TARGET for an anonymous volume.

    Args:
        cwd: absolute; sources that begin with "." are relative to it.
    Raises:
        UsageError: names the option, the text and the reason.
    """
    fields = _split_colons(text)
    if len(fields) > 3 or not all(fields):
        raise bad_value("--volume", text, "not a volume", hint=_VOLUME_HINT)
    if len(fields) == 1:
        return anonymous_volume(_target(fields[0], option="--volume", text=text))
    source, target, options = fields[0], fields[1], fields[2] if len(fields) == 3 else ""
    target = _target(target, option="--volume", text=text)
    kind, source = _source(source, cwd=cwd, text=text)
    read_only, propagation, rest = _volume_options(options, kind=kind, text=text)
    return Mount(
        kind=kind,
        source=source,
        target=target,
        read_only=read_only,
        propagation=propagation,
        options=rest,
        create_source=kind == "bind",
    )


def parse_mount(text: str, *, cwd: str) -> Mount:
    """Return one --mount: type=bind|volume|tmpfs and key=value pairs, in CSV.

    Raises:
        UsageError: names the option, the text and the reason.
    """
    fields = _mount_fields(text)
    kind = fields.pop("type", "volume")
    if kind not in ("bind", "volume", "tmpfs"):
        raise bad_value("--mount", text, f"unknown type `{kind}`", hint="type is bind, volume or tmpfs")
    if "target" not in fields:
        raise bad_value("--mount", text, "target is required", hint="add target=/PATH")
    target = _target(fields.pop("target"), option="--mount", text=text)
    read_only = _boolean(fields.pop("readonly", "false"), text=text)
    source = fields.pop("source", "")
    if kind == "tmpfs":
        mount = _tmpfs_mount(fields, source, target=target, text=text)
    elif kind == "bind":
        mount = _bind_mount(fields, source, target=target, text=text, cwd=cwd)
    else:
        mount = _volume_mount(fields, source, target=target, text=text)
    if fields:
        key = next(iter(fields))
        raise bad_value("--mount", text, f"unexpected key `{key}` for type={kind}")
    return mount.replace(read_only=read_only)


def parse_tmpfs(text: str) -> Mount:
    """Return one --tmpfs: TARGET[:OPTIONS], options as mount(8) names them for tmpfs."""
    target, _, options = text.partition(":")
    words = [word for word in options.split(",") if word]
    for word in words:
        name, equals, _ = word.partition("=")
        if name not in (_TMPFS_VALUES if equals else _TMPFS_FLAGS | {"ro"}):
            raise bad_value("--tmpfs", text, f"unknown option `{word}`")
    return Mount(
        kind="tmpfs",
        target=_target(target, option="--tmpfs", text=text),
        read_only="ro" in words,
        options=tuple(word for word in words if word not in ("ro", "rw")),
    )


def anonymous_volume(target: str) -> Mount:
    return Mount(kind="volume", source=new_id(), target=target, options=(ANONYMOUS,))


def parse_volumes_from(text: str) -> tuple[str, bool]:
    """Return (container, read-only) of one --volumes-from: CONTAINER[:ro|rw]."""
    query, _, modes = text.partition(":")
    words = set(modes.split(",")) - _NO_EFFECT - {""}
    if not query or words - {"ro", "rw"} or len(words) > 1:
        raise bad_value("--volumes-from", text, "not a container", hint="write CONTAINER, or CONTAINER:ro")
    return query, words == {"ro"}


def inherited_mounts(mounts: Iterable[Mount], *, read_only: bool) -> list[Mount]:
    """Return the mounts that --volumes-from takes over: binds and volumes, which are not filled again."""
    return [
        mount.replace(
            read_only=mount.read_only or read_only,
            options=mount.options if "nocopy" in mount.options else (*mount.options, "nocopy"),
        )
        if mount.kind == "volume"
        else mount.replace(read_only=mount.read_only or read_only)
        for mount in mounts
        if mount.kind != "tmpfs"
    ]


def merge_mounts(
    user: Iterable[Mount], image_volumes: Iterable[str], *, inherited: Iterable[Mount] = ()
) -> tuple[Mount, ...]:
    """Return the user's mounts, the inherited ones and anonymous volumes for the image's VOLUMEs.

    Of two with one target the first kind counts; of the inherited ones the last.

    Raises:
        UsageError: two of the user's have one target.
    """
    mounts: dict[str, Mount] = {}
    for mount in user:
        if mount.target in mounts:
            raise UsageError(f"duplicate mount point: {mount.target}", hint="mount one thing there")
        mounts[mount.target] = mount
    mounts = {mount.target: mount for mount in inherited} | mounts
    for target in image_volumes:
        if target not in mounts and target != "/":
            mounts[target] = anonymous_volume(target)
    return tuple(mounts.values())


def _split_colons(text: str) -> list[str]:
    if "\\:" not in text or "\0" in text:
        return text.split(":")
    return [part.replace("\0", ":") for part in text.replace("\\:", "\0").split(":")]


def _target(path: str, *, option: str, text: str) -> str:
    if not path.startswith("/") or "\0" in path:
        raise bad_value(option, text, f"the target `{path}` is not an absolute path")
    clean = "/" + os.path.normpath(path).lstrip("/")  # POSIX keeps a leading "//"
    if clean == "/":
        raise bad_value(option, text, "the target cannot be `/`")
    return clean


def _source(source: str, *, cwd: str, text: str) -> tuple[str, str]:
    if source.startswith((".", "/")) and "\0" not in source:
        return "bind", os.path.normpath(os.path.join(cwd, source))
    try:
        return "volume", check_name(source)
    except UsageError as exc:
        raise bad_value(
            "--volume",
            text,
            f"`{source}` is neither a path nor a volume name",
            hint=f"for a directory of this host write ./{source}",
        ) from exc


def _volume_options(options: str, *, kind: str, text: str) -> tuple[bool, str, tuple[str, ...]]:
    """Return (read_only, propagation, further options)."""
    words = [word for word in options.split(",") if word not in _NO_EFFECT] if options else []
    access = [word for word in words if word in ("ro", "rw")]
    propagation = [word for word in words if word in _PROPAGATION]
    rest = tuple(word for word in words if word not in ("ro", "rw") and word not in _PROPAGATION)
    allowed = ("nocopy",) if kind == "volume" else ()
    unknown = [word for word in rest if word not in allowed]
    if unknown or len(access) > 1 or len(propagation) > 1 or (propagation and kind == "volume"):
        wrong = unknown or propagation or access
        raise bad_value(
            "--volume",
            text,
            f"`{','.join(wrong)}` is not possible for a {kind}",
            hint="options: ro, rw, z, Z, nocopy (volumes), [r]private, [r]shared, [r]slave (binds)",
        )
    return "ro" in access, propagation[0] if propagation else "rprivate", rest


def _mount_fields(text: str) -> dict[str, str]:
    fields: dict[str, str] = {}
    for field in _split_csv(text):
        key, equals, value = field.partition("=")
        key = key.strip().lower()
        key = _MOUNT_KEYS.get(key, key)
        if not equals:
            if key not in ("readonly", "volume-nocopy"):
                raise bad_value("--mount", text, f"`{field}` must be a key=value pair")
            value = "true"
        fields[key] = value.strip() if key == "type" else value
    return fields


def _split_csv(text: str) -> list[str]:
    if '"' not in text:
        return text.split(",")
    import csv  # only quotes need it

    try:
        return next(csv.reader([text], strict=True))
    except (csv.Error, StopIteration):
        raise bad_value("--mount", text, "the quotes do not match") from None


def _boolean(word: str, *, text: str) -> bool:
    value = parse_bool(word)
    if value is None:
        raise bad_value("--mount", text, f"`{word}` is not a boolean", hint="write true or false")
    return value


def _tmpfs_mount(fields: dict[str, str], source: str, *, target: str, text: str) -> Mount:
    if source:
        raise bad_value("--mount", text, "a tmpfs has no source")
    options = []
    if "tmpfs-size" in fields:
        options.append(f"size={parse_size(fields.pop('tmpfs-size'), option='tmpfs-size')}")
    if "tmpfs-mode" in fields:
        mode = fields.pop("tmpfs-mode")
        if not mode or set(mode) - set("01234567") or len(mode) > 5:
            raise bad_value("--mount", text, f"tmpfs-mode `{mode}` is not an octal number")
        options.append(f"mode={mode}")
    return Mount(kind="tmpfs", target=target, options=tuple(options))


def _bind_mount(fields: dict[str, str], source: str, *, target: str, text: str, cwd: str) -> Mount:
    if not source.startswith((".", "/")) or "\0" in source:
        raise bad_value("--mount", text, "a bind needs source=/PATH or source=./PATH")
    fields.pop("consistency", None)
    propagation = fields.pop("bind-propagation", "rprivate")
    if propagation not in _PROPAGATION:
        raise bad_value("--mount", text, f"no such propagation: {propagation}")
    path = os.path.normpath(os.path.join(cwd, source))
    return Mount(kind="bind", source=path, target=target, propagation=propagation)


def _volume_mount(fields: dict[str, str], source: str, *, target: str, text: str) -> Mount:
    options = ("nocopy",) if _boolean(fields.pop("volume-nocopy", "false"), text=text) else ()
    if not source:
        return anonymous_volume(target).replace(options=(ANONYMOUS, *options))
    try:
        check_name(source)
    except UsageError as exc:
        raise bad_value(
            "--mount", text, f"`{source}` is not a volume name", hint="for a host path add type=bind"
        ) from exc
    return Mount(kind="volume", source=source, target=target, options=options)
