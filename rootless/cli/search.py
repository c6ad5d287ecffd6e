"""`rootless search`: images of Docker Hub, or of another registry."""

from __future__ import annotations

import os

from rootless.cli import foreground, output
from rootless.cli.args import BOOL, INT, LIST, Command, Option
from rootless.cli.filters import boolean
from rootless.cli.login import TLS_VERIFY
from rootless.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from rootless._entry import GlobalOptions
    from rootless.cli.args import Parsed
    from rootless.registry.searching import Found, SearchFilter
    from rootless.registry.settings import RegistrySettings

_FILTERS = ("is-automated", "is-official", "stars")
_MAX_LIMIT = 100
_DESCRIPTION_WIDTH = 45
"""As Docker's formatter/search.go has it."""
HEADERS: dict[str, Any] = {
    "Name": "NAME",
    "Description": "DESCRIPTION",
    "StarCount": "STARS",
    "IsOfficial": "OFFICIAL",
    "IsAutomated": "AUTOMATED",
}
COLUMNS = ("Name", "Description", "StarCount", "IsOfficial")
TAG_HEADERS: dict[str, Any] = {"Name": "NAME", "Tag": "TAG"}

TABLE = Command(
    "search",
    "[OPTIONS] TERM",
    "Search Docker Hub, or the registry of HOST[:PORT]/TERM, for images",
    options=(
        Option("--filter", "-f", kind=LIST, metavar="filter", help="Filter output based on conditions"),
        Option("--format", help=output.FORMAT_HELP),
        Option("--limit", kind=INT, default=25, help="Max number of search results"),
        Option("--list-tags", kind=BOOL, help="List the tags of the repository that TERM names"),
        Option("--no-trunc", kind=BOOL, help="Don't truncate output"),
        TLS_VERIFY,
    ),
    min_positionals=1,
    max_positionals=1,
)


def main(argv: list[str], options: GlobalOptions) -> int:
    """Print what was found, most stars first."""
    parsed = TABLE.parse(argv)
    limit = parsed.number("limit") or 0
    if not 1 <= limit <= _MAX_LIMIT:
        raise UsageError(f"limit {limit} is outside the range of [1, {_MAX_LIMIT}]")
    filters = output.parse_filters(parsed.texts("filter"), known=_FILTERS)
    # the network's side, and not needed for a command line that is wrong
    from rootless.registry.settings import RegistrySettings

    settings = RegistrySettings.of(os.environ, tls_verify=parsed.said("tls-verify"))
    if parsed.flag("list-tags"):
        if filters:
            raise UsageError("filters are not for --list-tags")
        return _print_tags(parsed, settings, limit=limit)
    from rootless.engine.searching import search_blocking

    result = search_blocking(settings, parsed.positionals[0], _search_filter(filters), limit=limit)
    for failure in result.failures:
        foreground.notice(f"passed over {failure.on}: {failure.message}")
    rows = [row(each, truncate=not parsed.flag("no-trunc")) for each in result.found]
    output.print_rows(rows, headers=HEADERS, columns=COLUMNS, form=parsed.text("format"))
    return 0


def row(found: Found, *, truncate: bool) -> dict[str, Any]:
    """Return what a template or a column can show of one repository."""
    text = found.description
    return {
        "Name": found.name,
        "Description": output.ellipsis(text, _DESCRIPTION_WIDTH) if truncate else text,
        "StarCount": str(found.stars),
        "IsOfficial": "[OK]" if found.is_official else "",
        "IsAutomated": "[OK]" if found.is_automated else "",
    }


def _search_filter(filters: dict[str, list[str]]) -> SearchFilter:
    from rootless.registry.searching import SearchFilter

    stars = [_stars(text) for text in filters.get("stars", ())]
    flags = {
        name: boolean(name, filters[name][-1]) if name in filters else None
        for name in ("is-official", "is-automated")
    }
    return SearchFilter(
        stars=max(stars, default=0), is_official=flags["is-official"], is_automated=flags["is-automated"]
    )


def _stars(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise UsageError(f"invalid filter 'stars={text}'", hint="it is the least number of stars")
    return int(text)


def _print_tags(parsed: Parsed, settings: RegistrySettings, *, limit: int) -> int:
    from rootless.engine.searching import tags_blocking

    name, tags = tags_blocking(settings, parsed.positionals[0], limit=limit)
    rows = [{"Name": name, "Tag": tag} for tag in tags]
    output.print_rows(rows, headers=TAG_HEADERS, columns=tuple(TAG_HEADERS), form=parsed.text("format"))
    return 0
