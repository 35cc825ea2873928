"""The presets of ``depthrf bench`` are files, and what is given on the command line is put over them."""

from __future__ import annotations

import pytest

from depthrf import pipeline
from depthrf.bench import presets
from depthrf.errors import UsageError


def test_each_kind_of_field_has_a_preset() -> None:
    assert presets.names() == ["hash", "mlp"]
    for name in presets.names():
        options = presets.load(name, {}, "nothing given")
        assert options.model.field.kind == name
        assert (options.model.spacing, options.model.background) == ("linear", "white")
        assert options.optimiser.pixels.recast.share == 0.0


def test_they_are_no_pipelines() -> None:
    assert not set(presets.names()) & set(pipeline.presets())


def test_given_values_are_put_over_the_preset() -> None:
    options = presets.load("hash", {"optimiser": {"steps": "7"}}, "the command line")
    assert (options.optimiser.steps, options.optimiser.batch_rays) == (7, 8192)


@pytest.mark.parametrize(
    ("name", "scales", "given", "expected"),
    [
        ("hash", 1, {}, False),
        ("hash", 2, {}, True),
        ("hash", 2, {"model": {"field": {"antialias": False}}}, False),
        ("mlp", 2, {}, False),
    ],
)
def test_a_hash_grid_that_is_scored_at_several_sizes_has_anti_aliasing(
    name: str, scales: int, given: dict[str, object], expected: bool
) -> None:
    assert presets.load(name, {"scales": scales, **given}, "test").model.field.antialias is expected


@pytest.mark.parametrize(
    ("name", "given", "words"),
    [
        ("cube", {}, "--field should be one of hash, mlp; found 'cube'"),
        ("hash", {"scales": "abc"}, "'scales' in test should be int, found 'abc'"),
        ("hash", {"scales": {"x": 1}}, "'scales' in test should be int"),
        ("hash", {"model": {"widht": 1}}, "Unknown key 'widht'"),
    ],
)
def test_wrong_presets_and_values_are_told(name: str, given: dict[str, object], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        presets.load(name, given, "test")
