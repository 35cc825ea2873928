"""Which photos are compared with which: as many as a look at all of them would choose, but never more than a bound."""

from __future__ import annotations

import numpy as np
import pytest

from depthrf.depth.stereo import neighbours
from depthrf.depth.stereo.neighbours import choose_neighbours, compared_with
from depthrf.geometry.camera import SparseScene
from tests.scenes.room import views


def scene(num_photos: int) -> SparseScene:
    """Photos all around the origin, and points near it."""
    points = np.random.default_rng(0).uniform(-1.0, 1.0, (400, 3)) * (1.0, 1.0, 0.3)
    return SparseScene(views(num_photos), points, np.zeros((400, 3), np.uint8), np.zeros(400))


def test_few_photos_are_all_compared() -> None:
    few = neighbours.MOST_COMPARED + 1
    assert compared_with(scene(few)) == [[j for j in range(few) if j != i] for i in range(few)]


def test_of_many_photos_each_is_compared_with_a_bounded_number() -> None:
    for many in (neighbours.MOST_COMPARED + 2, 3 * neighbours.MOST_COMPARED):
        found = compared_with(scene(many))
        assert [len(others) for others in found] == [neighbours.MOST_COMPARED] * many
        assert all(i not in others and others == sorted(set(others)) for i, others in enumerate(found))


def test_the_shortlist_of_many_photos_holds_the_best(monkeypatch: pytest.MonkeyPatch) -> None:
    found = choose_neighbours(scene(80), 6)
    monkeypatch.setattr(neighbours, "_SPARE", 80)
    assert found == choose_neighbours(scene(80), 6)
