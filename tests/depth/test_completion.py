from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from depthrf.depth.completion import Interpolation, _path_costs, _solve, fill_holes, interpolate
from depthrf.geometry.camera import Camera, DepthPrior, View
from tests.scenes.room import CAMERA, depth_map, views

HOLE = np.s_[24:48, 30:66]
GREY = np.full((CAMERA.height, CAMERA.width, 3), 120, dtype=np.uint8)
GREY_WIDE = np.full((90, 357, 3), 120, dtype=np.uint8)


def prior(view: View, hole: object = HOLE) -> DepthPrior:
    depth = depth_map(view)
    depth[hole] = 0.0  # type: ignore[call-overload]
    return DepthPrior(depth, np.float32(0.003) * depth)


def interpolated(view: View, rgb: np.ndarray = GREY, hole: object = HOLE) -> Interpolation:
    found = interpolate(view, prior(view, hole), rgb)
    assert found is not None
    return found


def test_hole_in_a_plain_surface_is_filled_within_its_sigma() -> None:
    own, *others = views()
    before = prior(own)
    after, new = fill_holes(before, interpolated(own), [interpolated(v) for v in others])
    np.testing.assert_array_equal(after.depth[~new], before.depth[~new])
    np.testing.assert_array_equal(after.sigma[~new], before.sigma[~new])
    inside = np.zeros_like(new)
    inside[HOLE] = True
    assert not new[~inside].any()
    assert new[HOLE].mean() > 0.9
    error = np.abs(after.depth - depth_map(own))[new]
    assert np.median(error / depth_map(own)[new]) < 0.03
    assert (error < 2.0 * after.sigma[new]).mean() > 0.95
    depth, sigma = after.depth[HOLE], after.sigma[HOLE]
    assert sigma[12, 18] / depth[12, 18] > 2.0 * sigma[0, 18] / depth[0, 18]  # farther from what was measured


def test_what_no_other_photo_shows_stays_open() -> None:
    own = views()[0]
    after, new = fill_holes(prior(own), interpolated(own), [])
    assert not new.any()
    np.testing.assert_array_equal(after.depth, prior(own).depth)


def test_what_other_photos_show_in_another_colour_stays_open() -> None:
    own, *others = views()
    blue = GREY.copy()
    blue[HOLE] = (20, 20, 200)
    _, new = fill_holes(prior(own), interpolated(own, blue), [interpolated(v) for v in others])
    assert new.mean() < 0.1 * prior(own).depth[HOLE].size / GREY[..., 0].size


def test_what_another_photo_looks_through_stays_open() -> None:
    own, *others = views()
    near = replace(interpolated(own), q=1.3 * interpolated(own).q)  # as if it all lay before the true surface
    _, new = fill_holes(prior(own), near, [interpolated(v, hole=np.s_[:0]) for v in others])
    assert not new.any()


def test_behind_a_colour_edge_nothing_is_known() -> None:
    view = views()[0]
    edged = GREY.copy()
    edged[HOLE] = (20, 20, 200)
    plain, behind = interpolated(view).sigma, interpolated(view, edged).sigma
    assert np.isfinite(plain[HOLE]).all()
    assert np.isinf(behind[HOLE][4:-4, 4:-4]).all()


def test_photo_without_depth_is_not_interpolated() -> None:
    nothing = np.zeros((CAMERA.height, CAMERA.width), dtype=np.float32)
    assert interpolate(views()[0], DepthPrior(nothing, nothing), GREY) is None


@pytest.mark.parametrize("seed", [0, 1])
def test_solution_is_that_of_the_dense_system(seed: int) -> None:
    rng = np.random.default_rng(seed)
    hold, pull = rng.uniform(0.1, 2.0, (2, 4, 5))
    rows, columns = rng.uniform(0.1, 3.0, (3, 5)), rng.uniform(0.1, 3.0, (4, 4))
    matrix = np.diag(hold.ravel())
    index = np.arange(20).reshape(4, 5)
    for a, b, t in ((index[:-1], index[1:], rows), (index[:, :-1], index[:, 1:], columns)):
        for i, j, w in zip(a.ravel(), b.ravel(), t.ravel(), strict=True):
            matrix[[i, j], [i, j]] += w
            matrix[[i, j], [j, i]] -= w
    expected = np.linalg.solve(matrix, pull.ravel()).reshape(4, 5)
    np.testing.assert_allclose(_solve(hold, rows, columns, pull), expected, rtol=1e-9)


def test_paths_avoid_expensive_steps() -> None:
    known = np.zeros((3, 3), dtype=bool)
    known[0, 0] = True
    rows, columns = np.ones((2, 3)), np.ones((3, 2))
    columns[0, 0] = 100.0
    cost = _path_costs(known, rows, columns)
    np.testing.assert_allclose(cost, [[0, 3, 4], [1, 2, 3], [2, 3, 4]])


def test_filled_depth_lies_in_the_small_pixel_that_contains_it() -> None:
    """At a scale that is not whole, sigma has to come from the cell that the depth is interpolated at."""
    height, width = 90, 357
    camera = Camera(width, height, 300.0, 300.0, width / 2, height / 2)
    own = View("wide.png", camera, np.eye(4))
    small = camera.fitted(160)
    # Every second small column is usable; which column a pixel fell into shows in what is filled.
    usable = np.broadcast_to(np.arange(small.width) % 2 == 0, (small.height, small.width))
    interpolation = Interpolation(
        view=own.with_camera(small),
        known=np.zeros(usable.shape, dtype=bool),
        q=np.ones(usable.shape),
        sigma=np.where(usable, 0.05, np.inf),
        lab=np.zeros((*usable.shape, 3), dtype=np.float32),
    )
    nothing = np.zeros((height, width), dtype=np.float32)
    _, new = fill_holes(DepthPrior(nothing, nothing), interpolation, [interpolation])
    containing = np.floor((np.arange(width) + 0.5) * small.width / width)
    np.testing.assert_array_equal(new[height // 2], containing % 2 == 0)


def test_measured_depth_goes_to_the_small_pixel_that_contains_its_centre() -> None:
    height, width = 90, 357
    camera = Camera(width, height, 300.0, 300.0, width / 2, height / 2)
    small = camera.fitted(160)
    for column in range(0, width, 7):
        depth = np.zeros((height, width), dtype=np.float32)
        depth[height // 2, column] = 2.0
        found = interpolate(View("wide.png", camera, np.eye(4)), DepthPrior(depth, 0.01 * depth), GREY_WIDE)
        assert found is not None
        assert np.flatnonzero(found.known.any(0)).tolist() == [int((column + 0.5) * small.width / width)]
