"""What commands print: tables with Docker's columns, sizes and ages in words, `--format`, and safe text.

Text of images and containers is untrusted: on a terminal its control characters are escaped (attack:
escape sequences in names, logs and labels); into a pipe it goes byte for byte. Ring 1.
"""

from __future__ import annotations

import sys

from rootless.errors import UsageError, printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from typing import Any

_MIN_CELL = 10
_PADDING = 3
"""Docker's tabwriter settings (cli/command/formatter/formatter.go)."""

_MAX_COLUMNS = 100
"""Further ones stay unaligned: a template may hold any number of tabs, the stack may not."""

_SIZE_UNITS = ("B", "kB", "MB", "GB", "TB", "PB", "EB", "ZB", "YB")
_BINARY_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB", "ZiB", "YiB")
_MINUTE = 60
_HOUR = 60 * _MINUTE
_DAY = 24

FORMAT_HELP = (
    "Format output using a custom template: 'table' (default), 'table TEMPLATE', 'json', or a Go "
    "template 'TEMPLATE'"
)


def write(text: str) -> None:
    """Write text to stdout, escaped when a terminal shows it; BrokenPipeError is left to `_entry`."""
    if sys.stdout is None:  # started with descriptor 1 closed
        return
    write_bytes(encode(safe_text(text) if sys.stdout.isatty() else text))


def write_bytes(data: bytes, *, to_stderr: bool = False) -> None:
    """Write bytes as they are, past the text layer and its locale."""
    stream = sys.stderr if to_stderr else sys.stdout
    if stream is not None:
        stream.flush()
        stream.buffer.write(data)


def encode(text: str) -> bytes:
    """Return UTF-8; bytes that were smuggled in as surrogates (PEP 383) come out as they were."""
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # other lone surrogates, which JSON may hold
        return text.encode("utf-8", "replace")


def safe_text(text: str) -> str:
    """Return text whose control characters are escaped, line by line; tabs stay."""
    return "\n".join("\t".join(map(printable, line.split("\t"))) for line in text.split("\n"))


def print_rows(
    rows: Sequence[Mapping[str, Any]],
    *,
    headers: Mapping[str, Any],
    columns: Sequence[str],
    form: str = "",
    quiet: str = "",
) -> None:
    """Print records as `--format` and `-q` ask.

    Args:
        rows: field → text, or a callable for a method with an argument.
        headers: field → column title, for every field that a template may name.
        columns: fields of the default table.
        form: the value of --format.
        quiet: the only field to print, one a line; it wins over everything but an explicit format.
    """
    if quiet and not form:
        write("".join(f"{row[quiet]}\n" for row in rows))
    else:
        write(rows_text(rows, headers=headers, columns=columns, form=form))


def rows_text(
    rows: Sequence[Mapping[str, Any]],
    *,
    headers: Mapping[str, Any],
    columns: Sequence[str],
    form: str = "",
) -> str:
    """Return records as `--format` asks; arguments as for `print_rows`."""
    if form in ("", "table"):
        return table([[headers[c] for c in columns], *([row[c] for c in columns] for row in rows)])
    if form == "json":
        return "".join(_json_line(row) for row in rows)
    return _templated(rows, headers, form)


def table(rows: Iterable[Sequence[Any]]) -> str:
    """Return rows as lines whose columns align; the first row is usually the titles."""
    return align("".join("\t".join(_cell(cell) for cell in row) + "\n" for row in rows))


def align(text: str) -> str:
    """Align tab-terminated cells as Go's text/tabwriter does with Docker's settings.

    A column is a run of neighbouring lines that have that cell; what follows the last tab is not aligned.
    """
    lines = [line.split("\t") for line in text.split("\n")]
    _align_column(lines, 0, len(lines), 0)
    return "\n".join("".join(line) for line in lines)


def human_size(size_bytes: float) -> str:
    """Return "77.8MB": three digits, decimal units (go-units HumanSizeWithPrecision(size, 3))."""
    value = float(size_bytes)
    unit = 0
    while value >= 1000 and unit < len(_SIZE_UNITS) - 1:
        value /= 1000
        unit += 1
    # 999.9 rounds to 1000, which %.3g would show as 1e+03
    digits = f"{value:.3g}" if value < 999.5 else f"{value:.0f}"
    return digits + _SIZE_UNITS[unit]


def human_binary_size(size_bytes: float) -> str:
    """Return "77.8MiB": four digits, units of 1024 (go-units BytesSize)."""
    value = float(size_bytes)
    unit = 0
    while value >= 1024 and unit < len(_BINARY_UNITS) - 1:
        value /= 1024
        unit += 1
    return f"{value:.4g}" + _BINARY_UNITS[unit]


def human_duration(seconds: float) -> str:
    """Return a span in words, "About an hour" (go-units HumanDuration)."""
    whole = int(seconds)
    if whole < 1:
        return "Less than a second"
    if whole < _MINUTE:
        return "1 second" if whole == 1 else f"{whole} seconds"
    if whole < _HOUR:
        return "About a minute" if whole // _MINUTE == 1 else f"{whole // _MINUTE} minutes"
    hours = int(seconds / _HOUR + 0.5)
    if hours == 1:
        return "About an hour"
    for limit, size, word in (
        (48, 1, "hours"),
        (14 * _DAY, _DAY, "days"),
        (60 * _DAY, 7 * _DAY, "weeks"),
        (730 * _DAY, 30 * _DAY, "months"),
    ):
        if hours < limit:
            return f"{hours // size} {word}"
    return f"{int(seconds / _HOUR) // (365 * _DAY)} years"


def human_age(then_ns: int, now_ns: int) -> str:
    """Return "5 minutes ago" for two moments in nanoseconds."""
    return human_duration(max(now_ns - then_ns, 0) / 1e9) + " ago"


def ellipsis(text: str, width: int) -> str:
    """Cut text to a width; its last place shows that something was cut (Docker's formatter.Ellipsis)."""
    if len(text) <= width:
        return text
    return text[: width - 1] + "…" if width > 1 else text[:width]


def go_quote(text: str) -> str:
    """Return text in double quotes, as Go's strconv.Quote writes it."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(c if c.isprintable() else repr(c)[1:-1] for c in escaped) + '"'


def parse_filters(values: Iterable[str], *, known: Sequence[str]) -> dict[str, list[str]]:
    """Return name → values of repeated `--filter name=value`.

    Raises:
        UsageError: no "=", or a name that is not in `known`.
    """
    filters: dict[str, list[str]] = {}
    for text in values:
        name, equals, value = text.partition("=")
        name = name.strip().lower()
        if not equals:
            raise UsageError(f'invalid argument "{text}" for "--filter": write NAME=VALUE')
        if name not in known:
            raise UsageError(f"invalid filter: {name}", hint="known filters: " + ", ".join(known))
        filters.setdefault(name, []).append(value.strip())
    return filters


def _templated(rows: Sequence[Mapping[str, Any]], headers: Mapping[str, Any], form: str) -> str:
    from rootless.cli.template import Template  # only for those who ask

    is_table = form.startswith("table")
    source = form.removeprefix("table").strip() if is_table else form
    # a shell passes the two characters \t; Docker makes a tab of them, and so on
    template = Template(source.replace("\\t", "\t").replace("\\n", "\n"))
    lines = [template.render(dict(headers))] if is_table else []
    cells = [{k: _one_cell(v) for k, v in row.items()} if is_table else dict(row) for row in rows]
    lines += map(template.render, cells)
    text = "".join(line + "\n" for line in lines)
    return align(text) if is_table else text


def _json_line(row: Mapping[str, Any]) -> str:
    import json

    plain = {key: value for key, value in sorted(row.items()) if not callable(value)}
    return json.dumps(plain, ensure_ascii=False, separators=(",", ":")) + "\n"


def _cell(value: Any) -> str:
    # a tab or newline in a name must not make a cell or a row of its own
    return str(value).replace("\t", "\\t").replace("\n", "\\n")


def _one_cell(value: Any) -> Any:
    if callable(value):
        return lambda *arguments: _cell(value(*arguments))
    return _cell(value) if isinstance(value, str) else value


def _align_column(lines: list[list[str]], start: int, end: int, column: int) -> None:
    if column == _MAX_COLUMNS:
        return
    position = start
    while position < end:
        if len(lines[position]) <= column + 1:
            position += 1
            continue
        stop = position
        while stop < end and len(lines[stop]) > column + 1:
            stop += 1
        width = max(_MIN_CELL, *(len(line[column]) + _PADDING for line in lines[position:stop]))
        for line in lines[position:stop]:
            line[column] = line[column].ljust(width)
        _align_column(lines, position, stop, column + 1)
        position = stop
