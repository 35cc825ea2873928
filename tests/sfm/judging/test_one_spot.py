"""Photos without parallax are told from photos with little."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from depthrf.geometry.transforms import look_at
from depthrf.sfm.judging.one_spot import from_one_spot, turn_error

Array = NDArray[np.float64]
DOWN = np.array([0.0, -1.0, 0.0])


def pairs(centres: list[Array], focal: float, noise: float = 0.0005, depth: float = 4.0) -> list[tuple[Array, Array]]:
    """Matches in units of the longer side, of cameras that look at different points of a cloud."""
    rng = np.random.default_rng(0)
    points = rng.uniform([-3, -2, depth], [3, 2, 2 * depth], (400, 3))
    seen = []
    for i, centre in enumerate(centres):
        pose = look_at(centre, np.array([0.4 * i - 0.8, 0.1 * i, 6.0]), DOWN)
        in_cam = points @ pose[:3, :3].T + pose[:3, 3]
        seen.append(focal * in_cam[:, :2] / in_cam[:, 2:] + noise * rng.standard_normal((400, 2)))
    return [(a, b) for i, a in enumerate(seen) for b in seen[i + 1 :]]


@pytest.mark.parametrize("focal", [0.55, 0.8, 1.7])
def test_turning_on_the_spot_is_found_at_any_focal_length(focal: float) -> None:
    assert from_one_spot(pairs([np.zeros(3)] * 5, focal))


def test_a_wrong_pair_does_not_hide_it() -> None:
    found = pairs([np.zeros(3)] * 5, 0.8)
    wrong = np.random.default_rng(1).uniform(-0.5, 0.5, (20, 2))
    assert from_one_spot([*found, (wrong, wrong[::-1])])


def test_small_steps_are_parallax() -> None:
    steps = [np.array([0.1 * i, 0.0, 0.0]) for i in range(5)]  # a fiftieth of the distance each
    assert not from_one_spot(pairs(steps, 0.8))
    assert not from_one_spot([])


def test_turn_error_of_a_turn_is_zero_and_of_a_shift_its_angle() -> None:
    (turned,) = pairs([np.zeros(3)] * 2, 1.0, noise=0.0)
    assert turn_error(*turned).max() < 1e-12
    first = np.array([[-0.1, 0.0], [0.1, 0.0]])
    np.testing.assert_allclose(turn_error(first, -first * 0.5), turn_error(-first * 0.5, first))
    assert turn_error(np.zeros((0, 2)), np.zeros((0, 2))).shape == (0,)
