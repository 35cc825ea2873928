"""Epipolar distance and two-view depths against brute force."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from depthrf.geometry.transforms import invert_rigid, look_at
from depthrf.geometry.two_views import epipolar_error_px, meet

Array = NDArray[np.float64]
FOCAL = 500.0
SECOND_FROM_FIRST = look_at(np.array([0.8, 0.1, 0.2]), np.array([0.0, 0.0, 4.0]), np.array([0.0, -1.0, 0.0]))


def rays_of(points: Array, cam_from_world: Array) -> Array:
    in_cam = points @ cam_from_world[:3, :3].T + cam_from_world[:3, 3]
    return np.asarray(in_cam[:, :2] / in_cam[:, 2:])


def test_epipolar_error_is_the_distance_to_the_projected_ray() -> None:
    """Brute force: the nearest of many depths along the first photo's ray, projected into the second photo."""
    rng = np.random.default_rng(2)
    first, second = rng.uniform(-0.2, 0.2, (6, 2)), rng.uniform(-0.2, 0.2, (6, 2))

    def brute(a: Array, b: Array, b_from_a: Array) -> Array:
        inverse_depth = np.linspace(-40, 40, 400001)  # negative depths too: lines, not rays
        homogeneous = (b_from_a[:3, :3] @ [*a, 1.0])[:, None] + b_from_a[:3, 3:] * inverse_depth
        line = FOCAL * homogeneous[:2] / homogeneous[2]
        return np.asarray(np.linalg.norm(line - FOCAL * b[:, None], axis=0).min())

    pose = SECOND_FROM_FIRST
    found = epipolar_error_px(first, second, pose, FOCAL, FOCAL)
    expected = [max(brute(a, b, pose), brute(b, a, invert_rigid(pose))) for a, b in zip(first, second, strict=True)]
    np.testing.assert_allclose(found, expected, rtol=1e-2, atol=0.05)


def test_rays_of_a_point_meet_at_its_depths() -> None:
    points = np.random.default_rng(0).uniform([-1, -1, 2], [1, 1, 6], (20, 3))
    pose = SECOND_FROM_FIRST
    found = meet(rays_of(points, np.eye(4)), rays_of(points, pose), pose)
    np.testing.assert_allclose(found.depth_first, points[:, 2])
    np.testing.assert_allclose(found.depth_second, (points @ pose[:3, :3].T + pose[:3, 3])[:, 2])
    centre = invert_rigid(pose)[:3, 3]
    to_first, to_second = -points, centre - points
    cosine = (to_first * to_second).sum(1) / np.linalg.norm(to_first, axis=1) / np.linalg.norm(to_second, axis=1)
    np.testing.assert_allclose(found.angle_deg, np.rad2deg(np.arccos(cosine)))


def test_skew_rays_meet_where_they_pass_closest() -> None:
    rng = np.random.default_rng(1)
    first, second = rng.uniform(-0.2, 0.2, (8, 2)), rng.uniform(-0.2, 0.2, (8, 2))
    found = meet(first, second, SECOND_FROM_FIRST)

    def gap(shift_first: float, shift_second: float) -> Array:
        in_first = np.column_stack([first, np.ones(8)]) * (found.depth_first + shift_first)[:, None]
        in_second = np.column_stack([second, np.ones(8)]) * (found.depth_second + shift_second)[:, None]
        moved = in_first @ SECOND_FROM_FIRST[:3, :3].T + SECOND_FROM_FIRST[:3, 3]
        return np.asarray(np.linalg.norm(moved - in_second, axis=1))

    for shift in ((1e-3, 0.0), (-1e-3, 0.0), (0.0, 1e-3), (0.0, -1e-3)):
        assert (gap(*shift) >= gap(0.0, 0.0)).all()


def test_points_behind_have_negative_depth_and_parallel_rays_none() -> None:
    points = np.array([[0.1, 0.2, -3.0]])
    found = meet(rays_of(points, np.eye(4)), rays_of(points, SECOND_FROM_FIRST), SECOND_FROM_FIRST)
    assert found.depth_first == pytest.approx(-3.0)
    sideways = np.eye(4)
    sideways[0, 3] = -1.0
    parallel = meet(np.array([[0.1, 0.2]]), np.array([[0.1, 0.2]]), sideways)
    assert np.isnan(parallel.depth_first).all()
    assert parallel.angle_deg == 0.0
    assert meet(np.zeros((0, 2)), np.zeros((0, 2)), sideways).depth_first.shape == (0,)
