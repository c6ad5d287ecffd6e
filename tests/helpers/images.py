"""Make OCI images for tests, with nothing but the standard library: layers from calls, layouts on disk.

    layer = Layer().directory("etc").file("etc/motd", b"hello\n").whiteout("etc/issue")
    Layout(path).image("latest", [layer, Layer().file("a", b"1")], compression="zstd", config={"Cmd": ["id"]})

A writer that shares no code with the product, so that a mistake cannot cancel itself out.
As a program it makes the cached images: `python -m tests.helpers.images {busybox|shell|debian|postgres} …`.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import platform
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

ARCHITECTURE = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
CONFIG = "application/vnd.oci.image.config.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"
PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
EPOCH = 1_700_000_000

PASSWD = """\
root:x:0:0:root:/root:/bin/sh
daemon:x:1:1:daemon:/usr/sbin:/bin/false
app:x:1000:1000:An application:/home/app:/bin/sh
nobody:x:65534:65534:nobody:/nonexistent:/bin/false
"""
GROUP = """\
root:x:0:
daemon:x:1:
app:x:1000:
extra:x:2000:app
nogroup:x:65534:
"""


class Layer:
    """A layer tar under construction; names are written as given, hostile ones too."""

    def __init__(self, *, format: int = tarfile.PAX_FORMAT) -> None:
        self._buffer = io.BytesIO()
        self._tar = tarfile.open(fileobj=self._buffer, mode="w", format=format, errors="surrogateescape")

    def add(self, name: str, kind: bytes, *, data: bytes = b"", **fields: Any) -> Self:
        """Append one member; `fields` are attributes of TarInfo (mode, uid, linkname, pax_headers…)."""
        info = tarfile.TarInfo(name)
        info.type = kind
        info.mtime = EPOCH
        info.size = len(data)
        for key, value in fields.items():
            setattr(info, key, value)
        self._tar.addfile(info, io.BytesIO(data))
        return self

    def file(self, name: str, data: bytes = b"", *, mode: int = 0o644, **fields: Any) -> Self:
        return self.add(name, tarfile.REGTYPE, data=data, mode=mode, **fields)

    def directory(self, name: str, *, mode: int = 0o755, **fields: Any) -> Self:
        return self.add(name, tarfile.DIRTYPE, mode=mode, **fields)

    def symlink(self, name: str, target: str, **fields: Any) -> Self:
        return self.add(name, tarfile.SYMTYPE, linkname=target, mode=0o777, **fields)

    def hardlink(self, name: str, target: str, **fields: Any) -> Self:
        return self.add(name, tarfile.LNKTYPE, linkname=target, **fields)

    def fifo(self, name: str, **fields: Any) -> Self:
        return self.add(name, tarfile.FIFOTYPE, **fields)

    def device(self, name: str, major: int, minor: int, *, block: bool = False, **fields: Any) -> Self:
        kind = tarfile.BLKTYPE if block else tarfile.CHRTYPE
        return self.add(name, kind, devmajor=major, devminor=minor, **fields)

    def whiteout(self, name: str) -> Self:
        directory, _, base = name.rpartition("/")
        return self.file(f"{directory}/.wh.{base}" if directory else f".wh.{base}")

    def opaque(self, directory: str) -> Self:
        return self.file(f"{directory}/.wh..wh..opq" if directory else ".wh..wh..opq")

    def copy(self, source: str | os.PathLike[str], name: str, *, mode: int = 0o755) -> Self:
        """Append a regular file of this machine."""
        return self.file(name, Path(source).read_bytes(), mode=mode)

    def bytes(self) -> bytes:
        """Close the tar (idempotent) and return it, uncompressed."""
        self._tar.close()
        return self._buffer.getvalue()


def digest(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def compress(data: bytes, compression: str) -> bytes:
    """Compress with "none", "gzip" or "zstd"; equal input gives equal output."""
    if compression == "none":
        return data
    if compression == "gzip":
        return gzip.compress(data, 6, mtime=0)
    if compression == "zstd":
        from backports import zstd

        return zstd.compress(data)
    raise ValueError(compression)


class Layout:
    """An OCI image layout on disk: image-spec, image-layout.md."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        (self.path / "blobs/sha256").mkdir(parents=True, exist_ok=True)
        (self.path / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
        if not (self.path / "index.json").exists():
            self._write_index([])

    def blob(self, data: bytes, media_type: str, **fields: Any) -> dict[str, Any]:
        """Store bytes and return their descriptor."""
        name = digest(data)
        self.blob_path(name).write_bytes(data)
        return {"mediaType": media_type, "digest": name, "size": len(data), **fields}

    def blob_path(self, name: str) -> Path:
        return self.path / "blobs/sha256" / name.removeprefix("sha256:")

    def json_blob(self, value: object, media_type: str, **fields: Any) -> dict[str, Any]:
        return self.blob(json.dumps(value).encode(), media_type, **fields)

    def layer(self, content: Layer | bytes, compression: str = "gzip") -> tuple[dict[str, Any], str]:
        """Store a layer; return its descriptor and its diff id."""
        plain = content.bytes() if isinstance(content, Layer) else content
        suffix = "" if compression == "none" else f"+{compression}"
        return self.blob(compress(plain, compression), LAYER + suffix), digest(plain)

    def manifest(
        self,
        layers: Iterable[Layer | bytes],
        *,
        compression: str = "gzip",
        config: Mapping[str, Any] | None = None,
        architecture: str = ARCHITECTURE,
        variant: str = "",
    ) -> dict[str, Any]:
        """Store an image without naming it; return the descriptor of its manifest, with its platform."""
        stored = [self.layer(content, compression) for content in layers]
        return self.manifest_of(
            [descriptor for descriptor, _ in stored],
            [diff_id for _, diff_id in stored],
            config=config,
            architecture=architecture,
            variant=variant,
        )

    def manifest_of(
        self,
        layers: Sequence[Mapping[str, Any]],
        diff_ids: Sequence[str],
        *,
        config: Mapping[str, Any] | None = None,
        architecture: str = ARCHITECTURE,
        variant: str = "",
    ) -> dict[str, Any]:
        """Like `manifest`, for layers that are stored already, or that lie about themselves."""
        where = {"os": "linux", "architecture": architecture} | ({"variant": variant} if variant else {})
        whole = {
            "created": "2024-01-01T00:00:00Z",
            **where,
            "config": {"Env": [PATH], **(config or {})},
            "rootfs": {"type": "layers", "diff_ids": list(diff_ids)},
            "history": [{"created_by": f"layer {n}"} for n in range(len(layers))],
        }
        manifest = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": self.json_blob(whole, CONFIG),
            "layers": list(layers),
        }
        return self.json_blob(manifest, MANIFEST, platform=where)

    def image(self, tag: str, layers: Iterable[Layer | bytes], **options: Any) -> dict[str, Any]:
        """Store and name an image; return the descriptor of its manifest."""
        return self.tag(tag, self.manifest(layers, **options))

    def index(self, tag: str, manifests: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Store and name an index of several platforms."""
        value = {"schemaVersion": 2, "mediaType": INDEX, "manifests": list(manifests)}
        return self.tag(tag, self.json_blob(value, INDEX))

    def tag(self, tag: str, descriptor: dict[str, Any]) -> dict[str, Any]:
        name = "org.opencontainers.image.ref.name"
        index = json.loads((self.path / "index.json").read_text())
        others = [m for m in index["manifests"] if m.get("annotations", {}).get(name) != tag]
        self._write_index([*others, {**descriptor, "annotations": {name: tag}}])
        return descriptor

    def push(self, tag: str, destination: str) -> str:
        """Copy an image to a registry without TLS ("127.0.0.1:5000/name:tag") and return that name."""
        copy(f"oci:{self.path}:{tag}", f"docker://{destination}")
        return destination

    def _write_index(self, manifests: list[dict[str, Any]]) -> None:
        value = {"schemaVersion": 2, "mediaType": INDEX, "manifests": manifests}
        (self.path / "index.json").write_text(json.dumps(value))


def copy(source: str, destination: str, *options: str) -> None:
    """Copy an image with skopeo, all platforms, bit by bit; `options` are more of `skopeo copy`."""
    command = ["skopeo", "--insecure-policy", "copy", "--quiet", "--all", "--preserve-digests"]
    command += ["--src-tls-verify=false", "--dest-tls-verify=false", *options, source, destination]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL, timeout=300)


def base_files(layer: Layer) -> Layer:
    """Append what every image of ours has: users, groups, /tmp and a home."""
    layer.directory("etc").file("etc/passwd", PASSWD.encode()).file("etc/group", GROUP.encode())
    layer.file("etc/shadow", b"root:*::0:::::\n", mode=0o640, gid=42)
    layer.directory("root", mode=0o700).directory("home").directory("home/app", uid=1000, gid=1000)
    return layer.directory("tmp", mode=0o1777).directory("var").directory("var/tmp", mode=0o1777)


def busybox_layer() -> Layer:
    """Return a whole userland: the static busybox of this machine, one link per applet."""
    program = shutil.which("busybox")
    if program is None:
        raise FileNotFoundError("busybox")
    names = subprocess.run([program, "--list"], capture_output=True, text=True, check=True).stdout.split()
    layer = base_files(Layer().directory("bin")).copy(program, "bin/busybox").directory("usr")
    for link, target in (("sbin", "bin"), ("usr/bin", "../bin"), ("usr/sbin", "../bin")):
        layer.symlink(link, target)
    for library in libraries(program):
        layer.copy(os.path.realpath(library), library.lstrip("/"))
    for name in names:
        if name != "busybox":
            layer.symlink(f"bin/{name}", "busybox")
    return layer


SHELL_PROGRAMS = ("sh", "cat", "id", "ls", "uname", "env", "sleep", "hostname", "true")


def shell_layer() -> Layer:
    """Return this machine's own shell, a few programs, and the shared libraries that they need."""
    layer = base_files(Layer().directory("bin").directory("usr")).symlink("usr/bin", "../bin")
    copied: set[str] = set()
    for name in SHELL_PROGRAMS:
        program = shutil.which(name)
        if program is None:
            continue
        layer.copy(os.path.realpath(program), f"bin/{name}")
        for library in libraries(program):
            if library not in copied:
                layer.copy(os.path.realpath(library), library.lstrip("/"))
                copied.add(library)
    return layer


def libraries(program: str) -> list[str]:
    """Return the paths of the shared objects and the interpreter of a program, as ldd(1) names them."""
    result = subprocess.run(["ldd", program], capture_output=True, text=True, check=False)
    words = (word for line in result.stdout.splitlines() for word in line.split())
    return sorted({word for word in words if word.startswith("/")})


DEBIAN_CONFIGS = {
    "debian": {"Cmd": ["bash"]},
    "postgres": {
        "User": "postgres",
        "Env": [
            PATH.replace("=", "=/usr/lib/postgresql/15/bin:"),
            "PGDATA=/var/lib/postgresql/data",
            "PGHOST=/tmp",
        ],
        "Cmd": ["sh", "-c", '[ -e "$PGDATA" ] || initdb --auth=trust; exec postgres -k /tmp -c jit=off'],
        "StopSignal": "SIGINT",  # as PostgreSQL names it, "fast shutdown"
    },
}


def debian_layout(kind: str, tar: str, path: str) -> None:
    """Make the layout of a one-layer image from the tar that mmdebstrap wrote."""
    Layout(path).image("12", [Path(tar).read_bytes()], config=DEBIAN_CONFIGS[kind])


def main(argv: Sequence[str]) -> int:
    kind, *arguments = argv
    if kind in DEBIAN_CONFIGS:
        debian_layout(kind, *arguments)
    elif kind in ("busybox", "shell"):
        content = busybox_layer() if kind == "busybox" else shell_layer()
        Layout(arguments[0]).image("latest", [content], config={"Cmd": ["sh"]})
    else:
        raise SystemExit(f"unknown image: {kind}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
