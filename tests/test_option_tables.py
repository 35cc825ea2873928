"""Rules that all options of all stages and of bench keep."""

from __future__ import annotations

import dataclasses
import typing

import pytest

from depthrf.bench import protocol
from depthrf.cli.flags import each_option
from depthrf.stages.stage import EXTRA, STAGES

Field = dataclasses.Field[typing.Any]
TABLES = {stage: module.Options for stage, module in (STAGES | EXTRA).items()} | {"bench": protocol.Options}


OPTIONS = [option for name, table in TABLES.items() for option in each_option(table, f"{name}.")]


def kinds(hint: object) -> set[object]:
    """The plain types that a hint is made of."""
    inside = typing.get_args(hint)
    return set().union(*map(kinds, inside)) if inside else {hint}


NUMBERS = [(path, field) for path, field, hint in OPTIONS if kinds(hint) & {int, float}]


@pytest.mark.parametrize(("path", "field"), NUMBERS, ids=[path for path, _ in NUMBERS])
def test_every_number_has_least_and_most(path: str, field: Field) -> None:
    least, most = field.metadata["least"], field.metadata["most"]
    assert least is not None
    assert most is not None
    assert least < most
    default = field.default if isinstance(field.default, tuple) else (field.default,)
    assert all(value is None or least <= value <= most for value in default)


@pytest.mark.parametrize(("path", "field"), [(p, f) for p, f, _ in OPTIONS], ids=[p for p, _, _ in OPTIONS])
def test_every_option_says_what_it_is(path: str, field: Field) -> None:
    text = field.metadata["help"]
    assert text
    assert not text.endswith(".")
    assert text[0] == text[0].lower() or text.split()[0].isupper() or text[:2].isupper(), text
    choices = field.metadata["choices"]
    defaults = field.default if isinstance(field.default, tuple) else (field.default,)
    assert not choices or set(defaults) <= set(choices)
