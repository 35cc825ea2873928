"""The ladder and the order of mapper runs."""

from __future__ import annotations

import pytest

from depthrf.sfm.recipes import (
    GLOBAL,
    GLOBAL_FIRST,
    GLOBAL_OF_MANY,
    INCREMENTAL,
    Features,
    LearnedFeatures,
    features_named,
    ladder,
    mapper_runs,
)


def test_runs_differ_in_settings_or_seed_and_begin_with_the_defaults() -> None:
    runs = mapper_runs(18, 5)
    assert runs[0] == (INCREMENTAL[0], 5)
    assert runs[4] == (GLOBAL, 5)
    assert all(seed != 5 for _, seed in runs[5:])
    assert len(set(runs)) == len(runs) == 13
    assert len(mapper_runs(50, 0)) == 5


def test_of_many_photos_the_global_mapper_is_first() -> None:
    assert mapper_runs(GLOBAL_FIRST, 7)[0] == (INCREMENTAL[0], 7)
    assert mapper_runs(GLOBAL_FIRST + 1, 7) == [(mapper, 7) for mapper in (GLOBAL_OF_MANY, *INCREMENTAL)]


@pytest.mark.parametrize("num_photos", [3, 18, 24])
def test_networks_come_second_and_stand_for_guided_matching(num_photos: int) -> None:
    rungs = ladder(num_photos, 1234)
    assert [r.features.name for r in rungs] == ["affine", "learned", "affine-guided", "plain-guided", "plain"]
    assert [r.features.max_image_size for r in rungs] == [1234, 1234, 1234, 1234, 3200]
    assert [r.substitute for r in rungs] == [False, False, True, True, False]
    assert rungs[0].below == rungs[1].below == rungs[-1].below == 1.0
    assert rungs[2].below >= rungs[3].below
    assert all(features_named(r.features.name, 1234) == r.features for r in rungs)
    assert features_named("learned", 500) == LearnedFeatures("learned", 500, 500)


@pytest.mark.parametrize(("num_photos", "below"), [(26, 1.0), (60, 1.0), (400, 0.95)])
def test_photos_that_chosen_pairs_leave_out_are_matched_with_all_before_anything_else(
    num_photos: int, below: float
) -> None:
    first, again, *others = ladder(num_photos, 1234)
    assert first.features == again.features
    assert not first.thorough
    assert again.thorough
    assert again.below == 1.0
    assert isinstance(again.features, Features)
    assert not again.features.pairing.matches_all(num_photos)
    assert others[-1].thorough
    assert [rung.below for rung in others if not rung.substitute] == [below, below]
