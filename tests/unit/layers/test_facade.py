from __future__ import annotations

import subprocess
import sys

import pytest

import layers


def test_facade_offers_every_name_that_it_lists() -> None:
    assert sorted(layers.__all__) == sorted(layers._MODULES)
    for name in layers.__all__:
        assert getattr(layers, name).__name__ == name
        assert name in dir(layers)


def test_facade_has_no_other_names() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Nonsense'"):
        layers.Nonsense  # noqa: B018


def test_import_of_the_facade_loads_no_module_of_the_library() -> None:
    program = "import sys, layers; print([m for m in sys.modules if m.startswith('layers.')])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
