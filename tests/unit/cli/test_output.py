"""Tables, words for sizes and spans, filters, and text that must not drive the terminal."""

import io
import sys

import pytest

from rootless.cli import output
from rootless.errors import UsageError

HEADERS = {"ID": "CONTAINER ID", "Names": "NAMES", "Tag": "TAG", "Label": lambda key: key.upper()}
ROWS = [
    {"ID": "0123456789ab", "Names": "web", "Tag": "x", "Label": {"a": "1"}.get},
    {"ID": "ba9876543210", "Names": "a_long_name_indeed", "Tag": "latest", "Label": {"a": "2"}.get},
]


class Terminal(io.TextIOWrapper):
    def isatty(self):
        return True


def printed(monkeypatch, *, terminal=False, **options):
    stream = (Terminal if terminal else io.TextIOWrapper)(io.BytesIO(), encoding="utf-8")
    monkeypatch.setattr(sys, "stdout", stream)
    output.print_rows(options.pop("rows", ROWS), headers=HEADERS, columns=("ID", "Tag", "Names"), **options)
    stream.flush()
    return stream.buffer.getvalue().decode("utf-8", "surrogateescape")


def test_table_has_dockers_spacing(monkeypatch):
    assert printed(monkeypatch) == (
        "CONTAINER ID   TAG       NAMES\n"
        "0123456789ab   x         web\n"
        "ba9876543210   latest    a_long_name_indeed\n"
    )


def test_table_template_has_a_header_of_its_own(monkeypatch):
    assert printed(monkeypatch, form=r"table {{.Names}}\t{{.Label `a`}}\t{{.ID}}") == (
        "NAMES                A         CONTAINER ID\n"
        "web                  1         0123456789ab\n"
        "a_long_name_indeed   2         ba9876543210\n"
    )


def test_plain_template_is_not_aligned(monkeypatch):
    assert printed(monkeypatch, form=r"{{.Names}}\t{{.Tag}}") == "web\tx\na_long_name_indeed\tlatest\n"


def test_json_is_one_object_a_line_without_methods(monkeypatch):
    text = printed(monkeypatch, form="json")
    assert text.splitlines()[0] == '{"ID":"0123456789ab","Names":"web","Tag":"x"}'


def test_quiet_prints_one_field_unless_a_format_is_given(monkeypatch):
    assert printed(monkeypatch, quiet="ID") == "0123456789ab\nba9876543210\n"
    assert printed(monkeypatch, quiet="ID", form="{{.Tag}}") == "x\nlatest\n"


def test_no_rows_leave_the_titles(monkeypatch):
    assert printed(monkeypatch, rows=[]) == "CONTAINER ID   TAG       NAMES\n"


def test_hostile_name_cannot_make_a_row_or_a_cell(monkeypatch):
    evil = [{"ID": "1", "Names": "a\tb\nc", "Tag": "t", "Label": lambda key: "x\ty"}]
    assert printed(monkeypatch, rows=evil).count("\n") == 2
    text = printed(monkeypatch, rows=evil, form=r"table {{.Names}}\t{{.Label `a`}}")
    assert text.splitlines()[1] == r"a\tb\nc   x\ty"


def test_hostile_escape_sequence_is_shown_on_a_terminal_and_kept_in_a_pipe(monkeypatch):
    evil = [{"ID": "1", "Names": "\x1b]0;pwned\x07\udcff", "Tag": "t"}]
    assert "\x1b" not in printed(monkeypatch, rows=evil, terminal=True)
    assert r"\x1b]0;pwned\x07\udcff" in printed(monkeypatch, rows=evil, terminal=True)
    assert "\x1b]0;pwned\x07\udcff" in printed(monkeypatch, rows=evil)


def test_hostile_number_of_tabs_does_not_overflow_the_stack():
    assert output.align("x\t" * 5000).startswith("x         x")


def test_lone_surrogate_that_is_no_byte_is_replaced():
    assert output.encode("\ud800a") == b"?a"
    assert output.encode("\udcffa") == b"\xffa"


def test_align_treats_runs_of_lines_apart():
    # Go: a line without the cell ends the column
    assert output.align("aaaaaaaaaaaa\tb\nplain\nc\td\n") == "aaaaaaaaaaaa   b\nplain\nc         d\n"


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0B"),
        (999, "999B"),
        (1000, "1kB"),
        (77_800_000, "77.8MB"),
        (117_000_000, "117MB"),
        (1_234_567_890, "1.23GB"),
        (999_900, "1000kB"),
        (10**27, "1000YB"),
    ],
)
def test_size_in_words(size, text):
    assert output.human_size(size) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.4, "Less than a second"),
        (1, "1 second"),
        (59.9, "59 seconds"),
        (60, "About a minute"),
        (119, "About a minute"),
        (120, "2 minutes"),
        (3600, "About an hour"),
        (5400, "2 hours"),
        (47 * 3600, "47 hours"),
        (48 * 3600, "2 days"),
        (13 * 86400, "13 days"),
        (14 * 86400, "2 weeks"),
        (60 * 86400, "2 months"),
        (729 * 86400, "24 months"),
        (730 * 86400, "2 years"),
    ],
)
def test_span_in_words(seconds, text):
    assert output.human_duration(seconds) == text


def test_age_of_the_future_is_now():
    assert output.human_age(5, 0) == "Less than a second ago"


@pytest.mark.parametrize(
    ("text", "width", "cut"), [("abc", 3, "abc"), ("abcd", 3, "ab…"), ("abcd", 1, "a"), ("", 0, "")]
)
def test_ellipsis(text, width, cut):
    assert output.ellipsis(text, width) == cut


def test_filters_collect_values_by_name():
    assert output.parse_filters(["label=a=b", "Label=c", "id=1"], known=("id", "label")) == {
        "label": ["a=b", "c"],
        "id": ["1"],
    }


@pytest.mark.parametrize("text", ["label", "color=red", ""])
def test_bad_filter_is_a_usage_error(text):
    with pytest.raises(UsageError):
        output.parse_filters([text], known=("id", "label"))


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0B"), (1023, "1023B"), (1536, "1.5KiB"), (1 << 30, "1GiB"), (7985721344, "7.437GiB")],
)
def test_binary_sizes_have_four_digits(size: int, text: str) -> None:
    assert output.human_binary_size(size) == text
