from __future__ import annotations

import numpy as np
import pytest

from depthrf.geometry.lengths import length_between, weighted_mean


@pytest.mark.parametrize("together", [False, True])
def test_the_deviation_of_a_length_covers_what_is_drawn(together: bool) -> None:
    """Depths that err independently, and depths that err by the same share: neither spreads more than promised."""
    rng = np.random.default_rng(0)
    rays = np.array([[-0.3, 0.1, 1.0], [0.25, 0.2, 1.0]])
    depth, sigma = np.array([2.0, 2.6]), np.array([0.04, 0.052])
    found = length_between(rays, depth, sigma, angle=0.001)
    noise = np.repeat(rng.normal(size=(20_000, 1)), 2, 1) if together else rng.normal(size=(20_000, 2))
    pointed = rays + np.pad(rng.normal(0, 0.001, (20_000, 2, 2)), ((0, 0), (0, 0), (0, 1)))
    points = pointed * (depth + noise * sigma)[..., None]
    drawn = np.linalg.norm(points[:, 1] - points[:, 0], axis=-1)
    assert found.value == pytest.approx(np.linalg.norm(rays[1] * 2.6 - rays[0] * 2.0))
    assert 0.3 * found.deviation < drawn.std() < 1.03 * found.deviation


def test_pointing_alone_gives_a_deviation() -> None:
    """Two points side by side at depth 2, each off by one hundredth of the focal length."""
    rays = np.array([[-0.5, 0.0, 1.0], [0.5, 0.0, 1.0]])
    found = length_between(rays, np.full(2, 2.0), np.zeros(2), angle=0.01)
    assert (found.value, found.deviation) == pytest.approx((2.0, 0.02 * np.sqrt(2)))


def test_a_length_scales_with_the_scene() -> None:
    rays, depth, sigma = np.array([[0.0, 0.0, 1.0], [0.3, -0.2, 1.0]]), np.array([1.0, 1.5]), np.array([0.1, 0.02])
    one = length_between(rays, depth, sigma, angle=0.002)
    ten = length_between(rays, 10 * depth, 10 * sigma, angle=0.002)
    assert (ten.value, ten.deviation) == pytest.approx((10 * one.value, 10 * one.deviation))


def test_points_that_coincide_have_no_length() -> None:
    with pytest.raises(ValueError, match="coincide"):
        length_between(np.array([[0.1, 0.2, 1.0]] * 2), np.ones(2), np.ones(2), angle=0.001)


def test_a_mean_weighs_by_variance() -> None:
    mean = weighted_mean([1.0, 1.003], [0.001, 0.002])
    assert mean.value == pytest.approx(1.0006, rel=1e-4)
    assert mean.deviation == pytest.approx(0.001 * np.sqrt(0.8) * mean.spread, rel=1e-2)
    assert mean.spread == pytest.approx(3 / np.sqrt(5), rel=1e-2)
    one = weighted_mean([0.4], [0.01])
    assert (one.value, one.deviation, one.spread) == pytest.approx((0.4, 0.01, 1.0))


def test_estimates_that_contradict_give_an_uncertain_mean() -> None:
    mean = weighted_mean([1.0, 1.1], [0.001, 0.001])
    assert mean.deviation == pytest.approx(0.05, rel=0.1)
