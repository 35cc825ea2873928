from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from depthrf.geometry.transforms import look_at
from depthrf.geometry.triangulation import triangulate

Array = NDArray[np.float64]
Indices = NDArray[np.int64]

PINHOLE = np.array([[500.0, 480.0, 320.0, 240.0]] * 4)


def poses() -> Array:
    up = np.array([0.0, -1.0, 0.0])
    return np.stack([look_at(np.array([x, 0.2 * x * x, -4.0]), np.zeros(3), up) for x in (-1.5, -0.5, 0.5, 1.5)])


def observe(points: Array, noise: float = 0.0) -> tuple[Indices, Indices, Array]:
    """Every point in every view."""
    in_cam = np.einsum("vij,pj->vpi", poses()[:, :3, :3], points) + poses()[:, None, :3, 3]
    xy = PINHOLE[:, None, :2] * in_cam[..., :2] / in_cam[..., 2:] + PINHOLE[:, None, 2:]
    view, point = (a.reshape(-1) for a in np.indices(xy.shape[:2]))
    return view, point, xy.reshape(-1, 2) + noise * np.random.default_rng(1).normal(size=(len(view), 2))


def test_exact_observations_give_the_points() -> None:
    points = np.random.default_rng(0).uniform(-1, 1, (40, 3))
    found, fixed = triangulate(poses(), PINHOLE, *observe(points), 40)
    assert fixed.all()
    np.testing.assert_allclose(found, points, atol=1e-9)


def test_noisy_observations_give_the_least_squares_point() -> None:
    """No small move of a point lowers its reprojection error."""
    points = np.random.default_rng(0).uniform(-1, 1, (20, 3))
    view, point, xy = observe(points, noise=2.0)
    found, fixed = triangulate(poses(), PINHOLE, view, point, xy, 20)

    def error(candidates: Array) -> Array:
        _, _, again = observe(candidates)
        return np.asarray(np.bincount(point, ((again - xy) ** 2).sum(1)), dtype=np.float64)

    least = error(found)
    for axis in np.eye(3):
        for move in (1e-3, -1e-3):
            assert (error(found + move * axis) > least).all()
    assert fixed.all()


def test_single_and_parallel_rays_fix_nothing() -> None:
    view, point, xy = observe(np.zeros((2, 3)))
    once = (point == 1) | (view == 0)  # the first point is seen by one view only
    _, fixed = triangulate(poses(), PINHOLE, view[once], point[once], xy[once], 3)
    np.testing.assert_array_equal(fixed, [False, True, False])
    same = np.stack([poses()[0]] * 2)
    _, fixed = triangulate(same, PINHOLE[:2], np.array([0, 1]), np.array([0, 0]), np.array([[320.0, 240.0]] * 2), 1)
    assert not fixed[0]


def test_points_behind_a_view_are_not_fixed() -> None:
    points = np.array([[0.0, 0.0, -9.0]])
    _, fixed = triangulate(poses(), PINHOLE, *observe(points), 1)
    assert not fixed[0]
