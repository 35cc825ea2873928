from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from depthrf.depth.completion import Sketch, _cheapest_ways, _solved, completed, sketch
from depthrf.geometry.camera import DepthPrior, View
from tests.depth.scene import CAMERA, depth_map, views

HOLE = np.s_[24:48, 30:66]
GREY = np.full((CAMERA.height, CAMERA.width, 3), 120, dtype=np.uint8)


def prior(view: View, hole: object = HOLE) -> DepthPrior:
    depth = depth_map(view)
    depth[hole] = 0.0  # type: ignore[call-overload]
    return DepthPrior(depth, np.float32(0.003) * depth)


def sketched(view: View, rgb: np.ndarray = GREY, hole: object = HOLE) -> Sketch:
    found = sketch(view, prior(view, hole), rgb)
    assert found is not None
    return found


def test_hole_in_a_plain_surface_is_filled_within_its_sigma():
    own, *others = views()
    before = prior(own)
    after, new = completed(before, sketched(own), [sketched(v) for v in others])
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


def test_what_no_other_photo_shows_stays_open():
    own = views()[0]
    after, new = completed(prior(own), sketched(own), [])
    assert not new.any()
    np.testing.assert_array_equal(after.depth, prior(own).depth)


def test_what_other_photos_show_in_another_colour_stays_open():
    own, *others = views()
    blue = GREY.copy()
    blue[HOLE] = (20, 20, 200)
    _, new = completed(prior(own), sketched(own, blue), [sketched(v) for v in others])
    assert new.mean() < 0.1 * prior(own).depth[HOLE].size / GREY[..., 0].size


def test_what_another_photo_looks_through_stays_open():
    own, *others = views()
    near = replace(sketched(own), q=1.3 * sketched(own).q)  # as if it all lay before the true surface
    _, new = completed(prior(own), near, [sketched(v, hole=np.s_[:0]) for v in others])
    assert not new.any()


def test_behind_a_colour_edge_nothing_is_known():
    view = views()[0]
    edged = GREY.copy()
    edged[HOLE] = (20, 20, 200)
    plain, behind = sketched(view).sigma, sketched(view, edged).sigma
    assert np.isfinite(plain[HOLE]).all()
    assert np.isinf(behind[HOLE][4:-4, 4:-4]).all()


def test_photo_without_depth_has_no_sketch():
    nothing = np.zeros((CAMERA.height, CAMERA.width), dtype=np.float32)
    assert sketch(views()[0], DepthPrior(nothing, nothing), GREY) is None


@pytest.mark.parametrize("seed", [0, 1])
def test_solution_is_that_of_the_dense_system(seed):
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
    np.testing.assert_allclose(_solved(hold, [rows, columns], pull, np.zeros((4, 5))), expected, rtol=1e-3)


def test_ways_go_around_what_is_dear():
    known = np.zeros((3, 3), dtype=bool)
    known[0, 0] = True
    rows, columns = np.ones((2, 3)), np.ones((3, 2))
    columns[0, 0] = 100.0
    cost = _cheapest_ways(known, rows, columns)
    np.testing.assert_allclose(cost, [[0, 3, 4], [1, 2, 3], [2, 3, 4]])
