"""`rootless info`: this host, this store and the modes in use, with the fields of `docker info`."""

from __future__ import annotations

import os
import sys

from rootless import __version__
from rootless.cli import output
from rootless.cli.args import Command, Option
from rootless.cli.version import render
from rootless.engine import modes, records
from rootless.errors import RootlessError
from rootless.model import lifecycle
from rootless.paths import find_paths

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from rootless._entry import GlobalOptions
    from rootless.paths import Paths

TABLE = Command(
    "info",
    "[OPTIONS]",
    "Display system-wide information",
    options=(
        Option("--format", "-f", help="Format output using a custom template: 'json', or a Go template"),
    ),
    max_positionals=0,
)
_GIB = 1 << 30


def main(argv: list[str], options: GlobalOptions) -> int:
    parsed = TABLE.parse(argv)
    paths = find_paths(options.root)
    paths.ensure()
    data = describe(paths)
    if parsed.given("format"):
        output.write(render(data, parsed.text("format")))
        return 0
    output.write("".join(f"{label}: {value}\n" for label, value in _rows(data)))
    for warning in data["Warnings"]:
        print(f"WARNING: {output.safe_text(warning)}", file=sys.stderr)
    return 0


def describe(paths: Paths) -> dict[str, Any]:
    """Return everything; works where no container can run."""
    from rootless.runtime import survey

    _, chosen = modes.load_store_modes(paths)
    seen = survey.take_survey(paths.store, paths.run)
    registries, problems = _registries()
    return {
        **_counts(paths),
        "Name": os.uname().nodename,
        "ServerVersion": __version__,
        "Driver": chosen.storage,
        "BackingFilesystem": seen.file_system,
        "Identity": chosen.identity,
        "Network": chosen.network,
        "IdMapping": chosen.mapping.to_json(),
        "CgroupVersion": {"v2": "2", "none": ""}.get(seen.cgroups, "1"),
        "CgroupDriver": "none",
        "SecurityOptions": ["name=rootless"] + (["name=seccomp,profile=builtin"] if seen.seccomp else []),
        "KernelVersion": seen.kernel,
        "OperatingSystem": _pretty_name(seen.distribution),
        "OSType": "linux",
        "Architecture": seen.machine,
        "NCPU": len(os.sched_getaffinity(0)),
        "MemTotal": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "DockerRootDir": paths.store,
        "RunDir": paths.run,
        "FreeBytes": seen.free_bytes,
        "IndexServerAddress": "https://index.docker.io/v1/",
        "RegistryConfig": registries,
        "Warnings": [*chosen.notices, *problems],
    }


def _counts(paths: Paths) -> dict[str, int]:
    from rootless.engine import image_lookup

    statuses = [records.observe(container).state.status for container in records.load_all(paths)]
    running = statuses.count(lifecycle.RUNNING)
    return {
        "Containers": len(statuses),
        "ContainersRunning": running,
        "ContainersPaused": 0,
        "ContainersStopped": len(statuses) - running,
        "Images": len({image.image_id for image in image_lookup.iter_images(paths)}),
    }


def _registries() -> tuple[dict[str, Any], tuple[str, ...]]:
    """Return Docker's RegistryConfig, with what Docker has no words for, and what is wrong with the files."""
    from rootless.registry.registries import Registries
    from rootless.registry.registry_files import load_registries

    try:
        found = load_registries(os.environ)
    except RootlessError as exc:
        found = Registries(warnings=(f"{exc.message} ({exc.on})",))
    indexes = {
        each.prefix: {
            "Name": each.prefix,
            "Mirrors": [mirror.location for mirror in each.mirrors],
            "Secure": not each.insecure,
            "Official": each.prefix == "docker.io",
            "Location": each.location or each.prefix,
            "Blocked": each.blocked,
        }
        for each in found.registries
    }
    return {
        "IndexConfigs": indexes,
        "InsecureRegistryCIDRs": ["127.0.0.0/8", "::1/128"],
        "Mirrors": indexes["docker.io"]["Mirrors"] if "docker.io" in indexes else [],
        "Search": list(found.search),
        "Aliases": len(found.aliases),
        "Files": list(found.files),
    }, found.warnings


def _registry_rows(config: dict[str, Any]) -> list[tuple[str, Any]]:
    indexes = config["IndexConfigs"].values()
    rows = [
        (
            "Registry Mirrors",
            [f"{each['Name']} = {mirror}" for each in indexes for mirror in each["Mirrors"]],
        ),
        (
            "Registry Locations",
            [f"{each['Name']} = {each['Location']}" for each in indexes if each["Location"] != each["Name"]],
        ),
        ("Insecure Registries", [each["Name"] for each in indexes if not each["Secure"]]),
        ("Blocked Registries", [each["Name"] for each in indexes if each["Blocked"]]),
        ("Search Registries", config["Search"]),
        ("Registry Files", config["Files"]),
    ]
    return [(label, ", ".join(values)) for label, values in rows if values]


def _pretty_name(os_release: str) -> str:
    for line in os_release.splitlines():
        if line.startswith("PRETTY_NAME="):
            return line.partition("=")[2].strip("\"'")
    return "Linux"


def _rows(data: dict[str, Any]) -> list[tuple[str, Any]]:
    return [
        ("Containers", data["Containers"]),
        (" Running", data["ContainersRunning"]),
        (" Paused", data["ContainersPaused"]),
        (" Stopped", data["ContainersStopped"]),
        ("Images", data["Images"]),
        ("Server Version", data["ServerVersion"]),
        ("Storage Driver", data["Driver"]),
        (" Backing Filesystem", data["BackingFilesystem"] or "unknown"),
        ("Identity", data["Identity"]),
        ("Network", data["Network"]),
        ("Cgroup Version", data["CgroupVersion"] or "none"),
        ("Security Options", ", ".join(data["SecurityOptions"])),
        ("Kernel Version", data["KernelVersion"]),
        ("Operating System", data["OperatingSystem"]),
        ("OSType", data["OSType"]),
        ("Architecture", data["Architecture"]),
        ("CPUs", data["NCPU"]),
        ("Total Memory", f"{data['MemTotal'] / _GIB:.2f}GiB"),
        ("Name", data["Name"]),
        ("Root Dir", data["DockerRootDir"]),
        ("Run Dir", data["RunDir"]),
        *_registry_rows(data["RegistryConfig"]),
    ]
