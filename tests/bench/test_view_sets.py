"""Sets of training views by name, and tables of scores that have a spread."""

from __future__ import annotations

from io import StringIO

import numpy as np
import pytest
from rich.console import Console

from depthrf.bench import presets, published, tables
from depthrf.bench.protocol import Cell, Result, ScaleScore
from depthrf.bench.view_sets import STANDARD_8, num_ids, view_sets
from depthrf.errors import UsageError


def test_counts_lists_and_names() -> None:
    found = view_sets(["3", "26+86+2", "standard-8"], 100, 0)
    assert [s.ids for s in found] == [(0, 1, 2), (26, 86, 2), STANDARD_8]
    assert [s.group for s in found] == ["3", "26+86+2", "standard-8"]
    assert [num_ids(s.group) for s in found] == [3, 3, 8]
    assert len({s.name for s in found}) == 3


def test_long_lists_have_short_names() -> None:
    one, other = (view_sets(["+".join(map(str, ids))], 100, 0)[0] for ids in (range(50), range(50, 100)))
    assert one.name != other.name
    assert len(one.name) < 30


def test_draws_are_different_views_and_follow_from_the_seed() -> None:
    draws = [s.ids for s in view_sets(["random-6x10"], 100, 0)]
    assert len(set(draws)) == 10
    assert all(len(set(ids)) == 6 and max(ids) < 100 for ids in draws)
    assert [s.ids for s in view_sets(["random-6x3"], 100, 0)] == draws[:3]
    assert [s.ids for s in view_sets(["random-6x10"], 100, 1)] != draws


def test_draws_prefer_no_view() -> None:
    drawn = np.concatenate([s.ids for s in view_sets(["random-3x1000"], 10, 0)])
    counts = np.bincount(drawn, minlength=10)
    assert np.abs(counts - 300).max() < 60  # four standard deviations


@pytest.mark.parametrize("text", ["0", "", "-3", "3.5", "1+", "random-0x3", "random-3", "standard-9", "3;6"])
def test_what_is_no_set_is_told(text: str) -> None:
    with pytest.raises(UsageError, match="--views takes numbers of views"):
        view_sets([text], 100, 0)


def test_protocols_are_put_over_the_field_and_below_what_is_given() -> None:
    assert presets.protocols() == ["random", "standard-8"]
    options = presets.load("hash", {}, "test", protocol="standard-8")
    assert (options.views, options.size, options.test_every) == (("standard-8",), 400, 8)
    assert options.model.background == "white"
    assert options.model.field.view_degree == 4  # the field's own
    given = presets.load("hash", {"size": 64, "optimiser": {"steps": 7}}, "test", protocol="random")
    assert (given.size, given.optimiser.steps, given.model.field.width) == (64, 7, 64)
    assert len(view_sets(given.views, 100, given.seed)) == 20
    with pytest.raises(UsageError, match="--protocol should be one of random, standard-8; found 'x'"):
        presets.load("hash", {}, "test", protocol="x")


def result(views: str, group: str, loss: str, psnr: float) -> Result:
    settings = {
        "optimiser": {"batch_rays": 64},
        "model": {"field": {"kind": "hash"}, "rays_across": 1},
        "test_every": 8,
        "seed": 0,
    }
    cell = Cell(views, group, loss, "single")
    return Result(cell, ["r_0"], 25, [ScaleScore(100, psnr, 0.5)], 1, 1, 1.0, 1.0, 1, "cpu", settings)


def printed(results: list[Result]) -> str:
    text = StringIO()
    Console(file=text, width=250).print(tables.loss_table("lego", results))
    return text.getvalue()


def test_the_gain_is_that_on_the_same_views_and_its_spread_their_own() -> None:
    """Scores 10 and 20 without depth, 13 and 25 with it: gains of 3 and 5."""
    psnr = {"none": (10.0, 20.0), "cdf": (13.0, 25.0)}
    results = [
        result(f"random-3-0{i}", "random-3x2", loss, p) for loss, both in psnr.items() for i, p in enumerate(both)
    ]
    text = printed(results)
    assert "15.00 ± 7.07" in text
    assert "19.00 ± 8.49" in text
    assert "+4.00 ± 1.41" in text
    assert "+6.08" in text  # published: 17.73 to 23.81
    assert "17.73" in text


def test_views_by_number_have_no_published_depth_losses() -> None:
    assert published.lego_psnr("cdf", "3") == published.lego_psnr("cdf", "random-3x10") == 23.81
    assert published.lego_psnr("cdf", "26+86+2") is None
    assert published.lego_psnr("cdf", "standard-8") is None
    text = printed([result("standard-8", "standard-8", "none", 20.0)])
    assert "DietNeRF, fine-tuned" in text
    assert "24.30" in text


def test_the_notes_tell_the_protocol_of_the_published_numbers_that_are_shown() -> None:
    def told(*groups: str) -> list[str]:
        lines = tables.notes("lego", [result(group, group, "cdf", 20.0) for group in groups])
        return [line for line in lines if line.startswith("published")]

    assert told("standard-8") == ["published: standard-8: 400x400, 25 test views"]
    assert told("3", "8") == [
        "published: 400x400, 200 test views, 50000 steps of 8192 rays",
        "published: 8: 400x400, 200 test views",
    ]
    assert told("26+86+2") == []
