"""Errors on their way from the agent."""

from __future__ import annotations

import json

import pytest

from rootless import errors
from rootless.interface import wire

KINDS = [
    kind
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, errors.RootlessError)
]


@pytest.mark.parametrize("kind", KINDS)
def test_error_arrives_as_it_was_sent(kind):
    sent = kind("cannot do it", on="it", hint="do something else")
    got = wire.failure_from(json.loads(json.dumps(wire.failure_fields(sent))))
    assert type(got) is kind
    for name in ("message", "on", "hint", "reference", "exit_code"):
        assert getattr(got, name) == getattr(sent, name)


def test_error_of_a_class_that_the_package_does_not_export_arrives_as_its_base():
    class Special(errors.StateConflict):
        pass

    got = wire.failure_from(wire.failure_fields(Special("no", reference="special")))
    assert type(got) is errors.StateConflict
    assert got.reference == "special"


def test_damaged_or_foreign_class_is_a_bug():
    fields = wire.failure_fields(errors.NotFound("no")) | {"kind": "os"}
    assert type(wire.failure_from(fields)) is errors.InternalError
