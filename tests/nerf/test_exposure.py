"""Exposure of photos from what their points show, and what it is between them."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from depthrf.geometry.camera import Camera, View
from depthrf.geometry.transforms import look_at
from depthrf.nerf.exposure import colours_at, exposure_range, gain_at, photo_gains

Array = NDArray[np.float64]
Observations = dict[int, tuple[NDArray[np.int64], Array]]
CAMERA = Camera(64, 48, 50.0, 50.0, 32.0, 24.0)


def observed(gains: Array, *, seed: int = 0, wrong: float = 0.0, reach: int | None = None) -> Observations:
    """Photos of 300 points in random colours. ``wrong``: share of random colours. ``reach``: photo i sees the points
    of a window that it shares only with its neighbours."""
    random = np.random.default_rng(seed)
    albedo = random.uniform(40, 120, (300, 3))
    found: Observations = {}
    for i, gain in enumerate(gains):
        first = 0 if reach is None else i * reach
        ids = np.arange(first, 300 if reach is None else first + 2 * reach)
        colours = albedo[ids] * gain
        bad = random.uniform(size=len(ids)) < wrong
        colours[bad] = random.uniform(20, 230, (int(bad.sum()), 3))
        found[i] = ids, colours
    return found


def true_gains(count: int, seed: int = 1) -> Array:
    log = np.random.default_rng(seed).uniform(-0.3, 0.3, (count, 3))
    return np.asarray(np.exp(log - log.mean(0)))


def test_gains_are_found_exactly_and_their_logarithms_have_mean_zero() -> None:
    gains = true_gains(5)
    found = photo_gains(observed(gains), 5)
    np.testing.assert_allclose(found, gains, rtol=1e-9)
    np.testing.assert_allclose(np.log(found).mean(0), 0.0, atol=1e-12)


def test_a_common_factor_changes_nothing() -> None:
    gains = true_gains(4)
    np.testing.assert_allclose(photo_gains(observed(1.2 * gains), 4), photo_gains(observed(gains), 4), rtol=1e-9)


def test_chains_of_photos_that_share_points_only_with_their_neighbours() -> None:
    gains = true_gains(8)
    np.testing.assert_allclose(photo_gains(observed(gains, reach=30), 8), gains, rtol=1e-8)


def test_a_quarter_of_wrong_matches_does_little() -> None:
    gains = true_gains(6)
    found = photo_gains(observed(gains, wrong=0.25), 6)
    assert np.abs(np.log(found / gains)).max() < 0.02


def test_unrelated_colours_are_no_exposure() -> None:
    random = np.random.default_rng(0)
    photos = {i: (np.arange(60), random.uniform(20, 230, (60, 3))) for i in range(4)}
    assert photo_gains(photos, 4).tolist() == np.ones((4, 3)).tolist()


def test_clipped_and_black_pixels_tell_nothing() -> None:
    gains = true_gains(3)
    photos = observed(gains)
    for ids, colours in photos.values():
        colours[:100] = np.where(ids[:100, None] % 2 == 0, 255.0, 0.0)
    np.testing.assert_allclose(photo_gains(photos, 3), gains, rtol=1e-9)


def test_photos_without_points_keep_their_exposure() -> None:
    assert photo_gains({}, 3).tolist() == np.ones((3, 3)).tolist()
    photos = observed(true_gains(3))
    photos[3] = photos[0][0][:5], photos[0][1][:5]  # too few to tell
    found = photo_gains(photos, 4)
    assert found[3].tolist() == [1.0, 1.0, 1.0]
    np.testing.assert_allclose(found[:3], true_gains(3), rtol=1e-9)
    alone = {0: photos[0]}
    np.testing.assert_allclose(photo_gains(alone, 1), np.ones((1, 3)))


def test_range_is_the_largest_over_the_smallest() -> None:
    assert exposure_range(np.array([[1.0, 1.0, 1.0], [0.5, 0.5, 0.5], [1.5, 1.5, 1.5]])) == pytest.approx(3.0)
    assert exposure_range(np.ones((0, 3))) == 1.0


def test_colours_are_those_of_the_pixel_that_contains_a_position() -> None:
    photo = np.zeros((20, 30, 3), dtype=np.uint8)
    photo[:, 15:] = (200, 100, 50)
    found = colours_at(photo, np.array([[25.2, 10.0], [3.0, 10.0], [1e3, -5.0]]))
    np.testing.assert_allclose(found, [[200, 100, 50], [0, 0, 0], [200, 100, 50]])


def row(positions: list[float]) -> list[View]:
    """Cameras side by side that look the same way."""
    up = np.array([0.0, 0.0, 1.0])
    return [View(f"{x}.png", CAMERA, look_at(np.array([x, -4.0, 0.0]), np.array([x, 0.0, 0.0]), up)) for x in positions]


GAINS = np.array([[0.8] * 3, [1.0] * 3, [1.25] * 3])


def test_a_photos_own_place_has_its_exposure_and_the_middle_that_of_both() -> None:
    photos = row([0.0, 1.0, 2.0])
    np.testing.assert_allclose(gain_at(photos[0], photos, GAINS), GAINS[0], rtol=1e-3)
    (between,) = row([0.5])
    assert 0.87 < float(gain_at(between, photos, GAINS)[0]) < 0.92  # sqrt(0.8) = 0.894


def test_what_is_near_counts_whatever_the_scenes_unit() -> None:
    near, large = (gain_at(row([0.2 * k])[0], row([0.0, 1.0 * k, 2.0 * k]), GAINS) for k in (1.0, 1000.0))
    np.testing.assert_allclose(near, large, rtol=1e-6)


def test_the_direction_counts_as_well() -> None:
    """Two photos from one place, into two directions: a view takes the exposure of the one it looks along with."""
    up, centre = np.array([0.0, 0.0, 1.0]), np.zeros(3)
    left, right, view = (
        View(f"{x}.png", CAMERA, look_at(centre, np.array([x, 5.0, 0.0]), up)) for x in (-4.0, 4.0, 3.0)
    )
    assert float(gain_at(view, [left, right], GAINS[[0, 2]])[0]) > 1.2


def test_few_or_coinciding_photos() -> None:
    photos = row([0.0, 1.0])
    assert gain_at(photos[1], [], np.ones((0, 3))).tolist() == [1.0, 1.0, 1.0]
    assert gain_at(photos[1], photos[:1], GAINS[:1]).tolist() == GAINS[0].tolist()
    same = [photos[0], photos[0]]
    np.testing.assert_allclose(gain_at(photos[1], same, GAINS[[0, 2]]), np.ones(3), rtol=1e-9)
