"""The ladder and the order of mapper runs."""

from __future__ import annotations

import pytest

from depthrf.sfm.recipes import GLOBAL, INCREMENTAL, features_named, ladder, mapper_runs


def test_runs_differ_in_settings_or_seed_and_begin_with_the_defaults() -> None:
    runs = mapper_runs(18, 5)
    assert runs[0] == (INCREMENTAL[0], 5)
    assert runs[4] == (GLOBAL, 5)
    assert all(seed != 5 for _, seed in runs[5:])
    assert len(set(runs)) == len(runs) == 13
    assert len(mapper_runs(50, 0)) == 5


@pytest.mark.parametrize("num_photos", [3, 18, 100])
def test_later_rungs_are_dearer_and_rarer(num_photos: int) -> None:
    rungs = ladder(num_photos, 1234)
    assert [r.features.guided for r in rungs] == [False, True, True, False]
    assert [r.features.max_image_size for r in rungs] == [1234, 1234, 1234, 3200]
    assert rungs[0].below == rungs[-1].below == 1.0
    assert rungs[1].below >= rungs[2].below
    assert all(features_named(r.features.name, 1234) == r.features for r in rungs)
