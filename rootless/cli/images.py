"""`rootless images`: list images."""

from __future__ import annotations

import time
from datetime import datetime
from fnmatch import fnmatchcase

from layers.errors import InvalidReference
from layers.reference import Reference
from rootless.cli import output
from rootless.cli.args import BOOL, LIST, Command, Option
from rootless.cli.filters import boolean, has_label
from rootless.engine import image_lookup
from rootless.interface.store import created_seconds, list_listed
from rootless.model.names import SHORT_ID_LENGTH
from rootless.paths import find_paths

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from rootless._entry import GlobalOptions
    from rootless.cli.args import Parsed
    from rootless.interface.store import Listed

_FILTERS = ("before", "dangling", "label", "reference", "since", "until")
NONE = "<none>"

HEADERS: dict[str, Any] = {
    "Repository": "REPOSITORY",
    "Tag": "TAG",
    "Digest": "DIGEST",
    "ID": "IMAGE ID",
    "CreatedSince": "CREATED",
    "CreatedAt": "CREATED AT",
    "Size": "SIZE",
    "Containers": "CONTAINERS",
    "SharedSize": "SHARED SIZE",
    "UniqueSize": "UNIQUE SIZE",
    "VirtualSize": "VIRTUAL SIZE",
}
COLUMNS = ("Repository", "Tag", "ID", "CreatedSince", "Size")

TABLE = Command(
    "images",
    "[OPTIONS] [REPOSITORY[:TAG]]",
    "List images",
    options=(
        Option(
            "--all", "-a", kind=BOOL, help="Show all images (Docker hides intermediate ones; there are none)"
        ),
        Option("--digests", kind=BOOL, help="Show digests"),
        Option("--filter", "-f", kind=LIST, metavar="filter", help="Filter output based on conditions"),
        Option("--format", help=output.FORMAT_HELP),
        Option("--no-trunc", kind=BOOL, help="Don't truncate output"),
        Option("--quiet", "-q", kind=BOOL, help="Only show image IDs"),
    ),
    max_positionals=1,
    completes="images",
)


def main(argv: list[str], options: GlobalOptions) -> int:
    """Print the images that the options select, in their order."""
    parsed = TABLE.parse(argv)
    images = list_listed(find_paths(options.root))
    filters = output.parse_filters(parsed.texts("filter"), known=_FILTERS)
    if parsed.positionals:
        filters.setdefault("reference", []).append(parsed.positionals[0])
    now_s = time.time()
    rows = [
        row(image, now_s=now_s, truncate=not parsed.flag("no-trunc"), digests=parsed.flag("digests"))
        for image in select(images, filters, now_s=now_s)
    ]
    columns = ("Repository", "Tag", "Digest", *COLUMNS[2:]) if parsed.flag("digests") else COLUMNS
    output.print_rows(
        _unique(rows, parsed),
        headers=HEADERS,
        columns=columns,
        form=parsed.text("format"),
        quiet="ID" if parsed.flag("quiet") else "",
    )
    return 0


def select(images: Sequence[Listed], filters: dict[str, list[str]], *, now_s: float) -> list[Listed]:
    """Return the images that pass every filter; values of one are alternatives, labels must all hold."""
    tests: list[Callable[[Listed], bool]] = []
    for name, values in filters.items():
        if name == "label":
            tests += [lambda image, value=value: has_label(image.labels, value) for value in values]  # type: ignore[misc]
        elif name == "reference":
            tests.append(lambda image, values=values: any(_matches(image, v) for v in values))  # type: ignore[misc]
        elif name == "dangling":
            wanted = [boolean(name, value) for value in values]
            tests.append(lambda image, wanted=wanted: (image.name is None) in wanted)  # type: ignore[misc]
        elif name == "until":
            tests += [_until_test(value, now_s) for value in values]
        else:
            tests += [_age_test(value, images, before=name == "before") for value in values]
    return [image for image in images if all(test(image) for test in tests)]


def row(image: Listed, *, now_s: float, truncate: bool, digests: bool) -> dict[str, Any]:
    """Return what a template or a column can show of one image."""
    reference = image.entry.reference
    created_s = created_seconds(image.created)
    size = output.human_size(image.size_bytes)
    return {
        "Repository": reference.familiar_repository if reference else image.name or NONE,
        "Tag": (reference.tag if reference else None) or NONE,
        "Digest": (image.repo_digest or image.entry.digest) if image.name else NONE,
        "ID": image.image_id.short if truncate else image.image_id,
        "CreatedSince": output.human_age(int(created_s * 1e9), int(now_s * 1e9)) if created_s else "N/A",
        "CreatedAt": datetime.fromtimestamp(created_s).astimezone().strftime("%Y-%m-%d %H:%M:%S %z %Z")
        if created_s
        else "N/A",
        "Size": size,
        "Containers": "N/A",
        "SharedSize": "N/A",
        "UniqueSize": "N/A",
        "VirtualSize": size,
    }


def _unique(rows: list[dict[str, Any]], parsed: Parsed) -> list[dict[str, Any]]:
    """Show an image once where only its id is shown."""
    if parsed.flag("quiet") and not parsed.text("format"):
        return list({row["ID"]: row for row in rows}.values())
    return rows


def _age_key(image: Listed) -> float:
    return created_seconds(image.created)


def _matches(image: Listed, pattern: str) -> bool:
    """Match as `docker images PATTERN`: a repository, a repository with its tag, or a glob of either."""
    reference = image.entry.reference
    if reference is None:
        return False
    try:
        wanted = Reference.parse(pattern)
    except InvalidReference:
        wanted = None
    tagged = ":" in pattern.rpartition("/")[2]
    if wanted is not None and wanted.repository == reference.repository:
        return not tagged or wanted.tag == reference.tag
    names = (
        (reference.familiar, reference.canonical)
        if tagged
        else (
            reference.familiar_repository,
            reference.repository,
        )
    )
    return any(fnmatchcase(name, pattern) for name in names)


def _until_test(text: str, now_s: float) -> Callable[[Listed], bool]:
    from rootless.cli.moments import parse_moment

    limit = parse_moment(text, option="--filter until", now_ns=int(now_s * 1e9)) / 1e9
    return lambda image: _age_key(image) < limit


def _age_test(query: str, images: Sequence[Listed], *, before: bool) -> Callable[[Listed], bool]:
    limit = next((_age_key(image) for image in images if _is_meant(image, query)), None)
    if limit is None:
        raise image_lookup.not_found(query)
    if before:
        return lambda image: _age_key(image) < limit
    return lambda image: _age_key(image) > limit


def _is_meant(image: Listed, query: str) -> bool:
    if len(query) >= SHORT_ID_LENGTH and image.image_id.encoded.startswith(query.removeprefix("sha256:")):
        return True
    try:
        return image.name == Reference.parse(query).canonical
    except InvalidReference:
        return False
