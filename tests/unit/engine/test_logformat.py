"""The two forms of a log: exact, and readable by others."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rootless.engine import logformat
from rootless.engine.logformat import (
    FORMATS,
    encode_attributes,
    encode_cri,
    encode_json,
    parse_cri,
    parse_json,
)

STAMP = "2026-01-02T03:04:05.000000006Z"
TEXTS = (
    st.lists(
        st.one_of(
            st.binary(max_size=40),
            st.text(max_size=40).map(lambda t: t.encode("utf-8", "replace")),
            st.sampled_from((b"\n", b'\\n"', b"\\", b"\\udc0a", b"\r\n", b"\xe2\x80\xa8")),
        )
    )
    .map(b"".join)
    .filter(bool)
)


def entries(form, text, stream="stdout", attributes=b""):
    lines = form.encode(text, stream, STAMP.encode(), attributes)
    assert lines.endswith(b"\n")
    return form.parse(lines[:-1].split(b"\n"))


@pytest.mark.parametrize("driver", FORMATS)
@given(text=TEXTS)
def test_every_byte_comes_back_one_entry_a_line(driver, text):
    found = entries(FORMATS[driver], text)
    assert [entry[2] for entry in found] == text.splitlines(keepends=True) or b"".join(
        e[2] for e in found
    ) == text
    assert len(found) == text.count(b"\n") + (not text.endswith(b"\n"))
    assert {entry[:2] for entry in found} == {(STAMP, "stdout")}


@given(text=TEXTS)
def test_json_is_what_the_standard_library_reads(text):
    lines = encode_json(text, "stderr", STAMP.encode(), b"")
    for line in lines.decode().splitlines() if text.isascii() else lines.split(b"\n")[:-1]:
        assert set(json.loads(line)) == {"log", "stream", "time"}


def test_json_entry_is_dockers():
    assert (
        encode_json(b'say "h\xc3\xa4"\t\n', "stdout", STAMP.encode(), b"")
        == ('{"log":"say \\"hä\\"\\t\\n","stream":"stdout","time":"' + STAMP + '"}\n').encode()
    )


def test_bytes_that_are_no_text_are_lone_surrogates():
    line = encode_json(b"\xff\x00", "stdout", STAMP.encode(), b"")
    assert line.startswith(b'{"log":"\\udcff\\u0000",')
    assert parse_json([line])[0][2] == b"\xff\x00"


def test_attributes_come_back():
    attributes = {"tag": 'web "1"', "com.example": "ä"}
    (entry,) = entries(FORMATS["json-file"], b"x\n", attributes=encode_attributes(attributes))
    assert entry[3] == attributes
    assert encode_attributes({}) == b""


def test_cri_lines_say_whether_they_are_whole():
    assert encode_cri(b"one\n\ntwo", "stderr", STAMP.encode()) == (
        f"{STAMP} stderr F one\n{STAMP} stderr F \n{STAMP} stderr P two\n".encode()
    )


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"x",
        b"2026 stdout F",
        f"{STAMP} stdin F x".encode(),
        f"{STAMP} stdout X x".encode(),
        b"nowhen stdout F x",
        b"\xff" * 9,
    ],
)
def test_damaged_cri_line_is_no_entry(line):
    assert parse_cri([line]) == []


def test_cri_tags_of_later_versions_are_passed_over():
    assert parse_cri([f"{STAMP} stdout F:more x y".encode()]) == [(STAMP, "stdout", b"x y\n", {})]


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'{"log":1}',
        b"\xff",
        b"[" * 100000,
        b'{"log":"a","stream":"stdout"}',
        b'{"log":"half',
        b'{"log":"a","stream":[],"time":"t"}',
        b'{"log":"a","stream":"stdout","time":1}',
    ],
)
def test_damaged_json_line_is_no_entry(line):
    assert parse_json([line]) == []
    whole = b'{"log":"a","stream":"stdout","time":"t"}'
    assert parse_json([whole, line, whole]) == [("t", "stdout", b"a", {})] * 2


@pytest.mark.parametrize("more", ['"attrs":3', '"attrs":null', '"newer":{}'])
def test_json_of_other_writers_is_read(more):
    line = f'{{"log":"a\\ud800","stream":"stdout","time":"t",{more}}}'.encode()
    assert parse_json([line]) == [("t", "stdout", b"a?", {})]


def test_two_entries_on_a_line_are_a_damaged_line():
    whole = b'{"log":"a","stream":"stdout","time":"t"}'
    assert parse_json([whole + b"," + whole, whole]) == [("t", "stdout", b"a", {})]


def test_a_driver_without_a_form_keeps_nothing():
    assert set(logformat.FORMATS) == {"json-file", "k8s-file"}
