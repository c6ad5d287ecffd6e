"""Platforms, and which entry of an index fits one. Pure but for `Platform.host`; ring 1.

Spec: image-spec image-index.md "platform"; the order of fallbacks is containerd's (platforms/compare.go).
"""

from __future__ import annotations

import os

from layers import media
from layers.errors import InvalidPlatform, NoMatchingPlatform
from layers.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Self

    from layers.document import Fields
    from layers.manifest import Descriptor, Index

_MACHINES = {  # uname -m → Go's names, which images use
    "x86_64": ("amd64", ""),
    "x86-64": ("amd64", ""),
    "aarch64": ("arm64", ""),
    "armv8l": ("arm", "v8"),
    "armv8b": ("arm", "v8"),
    "armv7l": ("arm", "v7"),
    "armhf": ("arm", "v7"),
    "armv6l": ("arm", "v6"),
    "armel": ("arm", "v6"),
    "armv5tel": ("arm", "v5"),
    "i386": ("386", ""),
    "i486": ("386", ""),
    "i586": ("386", ""),
    "i686": ("386", ""),
    "x86": ("386", ""),
    "loongarch64": ("loong64", ""),
}
_AMD64_LEVELS = (  # x86-64 psABI, "Micro-architecture levels", by the names in /proc/cpuinfo
    ("v2", frozenset(("cx16", "lahf_lm", "popcnt", "sse4_1", "sse4_2", "ssse3"))),
    ("v3", frozenset(("abm", "avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "movbe", "xsave"))),
    ("v4", frozenset(("avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"))),
)
_REFERENCE_TYPE = "vnd.docker.reference.type"  # BuildKit: an attestation, not an image


class Platform(Record):
    """What an image runs on, in Go's vocabulary, normalised: arm64/v8 is arm64, arm is arm/v7.

    Attributes:
        os: "linux", …
        architecture: "amd64", "arm64", "arm", …
        variant: "v6" to "v8" for arm; for amd64 the micro-architecture level, "" is the first.
    """

    __slots__ = ("architecture", "os", "variant")
    os: str
    architecture: str
    variant: str

    def __init__(self, os: str, architecture: str, variant: str = "") -> None:
        architecture, implied = _MACHINES.get(architecture.lower(), (architecture.lower(), ""))
        self._fill(
            os=os.lower(),
            architecture=architecture,
            variant=_normal_variant(architecture, variant.lower() or implied),
        )

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `os/architecture[/variant]`, as --platform takes it; an architecture alone means Linux.

        Raises:
            InvalidPlatform: it is not of that form.
        """
        parts = text.split("/")
        if len(parts) == 1:
            parts.insert(0, "linux")
        if len(parts) > 3 or not all(part and part.isascii() and part.isprintable() for part in parts):
            raise InvalidPlatform("invalid platform: os/architecture[/variant] is needed", on=text[:80])
        return cls(*parts)

    @classmethod
    def host(cls) -> Self:
        """Return this machine's platform, with the highest level that its processor runs."""
        machine = os.uname().machine
        variant = amd64_level(_cpu_flags()) if machine == "x86_64" else ""
        return cls("linux", machine, variant)

    @classmethod
    def from_fields(cls, fields: Fields) -> Self:
        return cls(
            fields.text("os", default=""),
            fields.text("architecture", default=""),
            fields.text("variant", default=""),
        )

    def to_json(self) -> dict[str, str]:
        pairs = (("architecture", self.architecture), ("os", self.os), ("variant", self.variant))
        return {name: value for name, value in pairs if value}

    def __str__(self) -> str:
        return "/".join(filter(None, (self.os, self.architecture, self.variant)))


def choose_platform(index: Index, platform: Platform) -> Descriptor:
    """Return the entry of an index that suits a platform best; it may be an index again.

    Raises:
        NoMatchingPlatform: none does; the message lists what there is.
    """
    images = [entry for entry in index.manifests if _is_image(entry)]
    for wanted in acceptable(platform):
        for entry in images:
            if entry.platform == wanted:
                return entry
    # `skopeo copy` and `umoci` write layouts whose only entry names no platform.
    if len(images) == 1 and images[0].platform is None:
        return images[0]
    there = sorted({str(entry.platform) for entry in images if entry.platform})
    raise NoMatchingPlatform(
        f"cannot choose an image for {platform}: the index has {_listed(there)}",
        hint="choose one with --platform, if this machine can run it" if there else "",
    )


def acceptable(platform: Platform) -> list[Platform]:
    """Return what a platform can run, best first.

    Other architectures that a processor may also run (386 on amd64, arm on arm64) are left out: the
    system call filter lets one ABI pass, so such an image has to be asked for.
    """
    return [Platform(platform.os, platform.architecture, v) for v in _variants(platform)]


def is_native(platform: Platform) -> bool:
    """Tell whether this machine's kernel runs programs of an image by itself; True where the image is mute.

    The level of the processor is left out: it would cost the reading of /proc/cpuinfo.
    """
    here = Platform("linux", os.uname().machine)
    return platform.os in ("", here.os) and platform.architecture in ("", here.architecture)


def amd64_level(flags: Iterable[str]) -> str:
    """Return "", "v2", "v3" or "v4" for the flags of /proc/cpuinfo."""
    have = set(flags)
    level = ""
    for name, needed in _AMD64_LEVELS:
        if not needed <= have:
            break
        level = name
    return level


def _variants(platform: Platform) -> Sequence[str]:
    number = platform.variant.removeprefix("v")
    if platform.architecture == "amd64" and number.isdecimal() and len(number) == 1:
        return [f"v{n}" for n in range(int(number), 1, -1)] + [""]
    if platform.architecture == "arm" and number.isdecimal() and len(number) == 1:
        return [f"v{n}" for n in range(int(number), 4, -1)]
    return [platform.variant, ""] if platform.variant else [""]


def _normal_variant(architecture: str, variant: str) -> str:
    if architecture == "arm":
        variant = variant or "v7"
    if variant.isdecimal():  # "7" for "v7"
        variant = "v" + variant
    if (architecture, variant) in (("arm64", "v8"), ("amd64", "v1")):
        return ""
    return variant


def _is_image(entry: Descriptor) -> bool:
    if not (media.is_manifest(entry.media_type) or media.is_index(entry.media_type)):
        return False
    if _REFERENCE_TYPE in entry.annotations:
        return False
    return entry.platform is None or "unknown" not in (entry.platform.os, entry.platform.architecture)


def _listed(names: Sequence[str]) -> str:
    if not names:
        return "no image"
    shown = ", ".join(names[:12])
    return f"{shown}, and {len(names) - 12} more" if len(names) > 12 else shown


def _cpu_flags() -> list[str]:
    try:
        fd = os.open("/proc/cpuinfo", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return []  # a masked /proc: the first level runs everywhere
    try:
        text = os.read(fd, 8192).decode("ascii", "replace")  # the first processor; all are alike
    finally:
        os.close(fd)
    for line in text.splitlines():
        if line.startswith("flags"):
            return line.partition(":")[2].split()
    return []
