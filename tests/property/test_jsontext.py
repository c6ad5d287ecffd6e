"""`layers.jsontext` says what json says, value for value and refusal for refusal."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from layers import jsontext
from tests.helpers.product import REPOSITORY

MISTAKE = """
import sys
from layers import jsontext
try:
    jsontext.loads(sys.argv[1])
except ValueError:
    print("refused")
"""

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(VALUES, st.booleans(), st.booleans())
def test_encodes_as_json_does(value: object, compact: bool, sort_keys: bool) -> None:
    separators = (",", ":") if compact else None
    expected = json.dumps(value, separators=separators, sort_keys=sort_keys)
    assert jsontext.dumps(value, compact=compact, sort_keys=sort_keys) == expected


@given(VALUES, st.sampled_from([None, 1, "\t"]))
def test_decodes_what_json_writes(value: object, indent: int | str | None) -> None:
    text = json.dumps(value, indent=indent)
    assert jsontext.loads(text) == value
    assert jsontext.loads(f"\n{text} ".encode()) == value


@given(st.text('{}[]",:\\ntu0123456789.eE+- \n\ufeff', max_size=12))
def test_refuses_what_json_refuses(text: str) -> None:
    try:
        expected = json.loads(text)
    except ValueError:
        with pytest.raises(ValueError, match=r"line \d+ column \d+"):
            jsontext.loads(text)
    else:
        assert jsontext.loads(text) == expected


@pytest.mark.parametrize("text", ['{"a', "", "[1", "{1}", '["\\x"]'])
def test_mistake_is_told_where_nobody_has_imported_json(text: str) -> None:
    """Hazard: the scanner looks for its exception in a module that is not there yet."""
    words = [sys.executable, "-c", MISTAKE, text]
    result = subprocess.run(words, cwd=REPOSITORY, capture_output=True, text=True, timeout=20, check=False)
    assert result.stdout == "refused\n", result.stderr


@pytest.mark.parametrize("value", [{1j}, object(), b"bytes"])
def test_refuses_to_encode_other_types(value: object) -> None:
    with pytest.raises(TypeError, match="not JSON serializable"):
        jsontext.dumps(value)


def test_hooks_see_pairs_and_constants() -> None:
    assert jsontext.loads('{"a": 1, "a": NaN}', object_pairs_hook=list, parse_constant=str.lower) == [
        ("a", 1),
        ("a", "nan"),
    ]
