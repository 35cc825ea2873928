"""Depth uncertainty against Monte Carlo triangulation and closed forms."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from depthrf.geometry.camera import Camera
from depthrf.geometry.transforms import look_at
from depthrf.geometry.uncertainty import PIXEL_NOISE_FLOOR, depth_sigma, point_covariances, pose_noise, track_noise

Array = NDArray[np.float64]
CAMERA = Camera(640, 480, 500.0, 480.0, 320.0, 240.0)
UP = np.array([0.0, -1.0, 0.0])


def poses_around(centres: list[list[float]], target: Array) -> Array:
    return np.stack([look_at(np.array(c), target, UP) for c in centres])


def project(poses: Array, points: Array) -> Array:
    """(..., V, 2) pixels of points (..., 3)."""
    in_cam = np.einsum("vij,...j->...vi", poses[:, :3, :3], points) + poses[:, :3, 3]
    return CAMERA.project(in_cam)


def triangulate(poses: Array, xy: Array, start: Array) -> Array:
    """Gauss-Newton triangulation of S samples: xy (S, V, 2) -> (S, 3); derivatives by differences."""
    points = np.tile(start, (len(xy), 1))
    for _ in range(5):
        residual = (xy - project(poses, points)).reshape(len(xy), -1)
        step = 1e-5
        jacobian = np.stack(
            [(project(poses, points + step * e) - project(poses, points - step * e)) / (2 * step) for e in np.eye(3)],
            axis=-1,
        ).reshape(len(xy), -1, 3)
        normal = np.swapaxes(jacobian, 1, 2) @ jacobian
        points += np.linalg.solve(normal, np.swapaxes(jacobian, 1, 2) @ residual[..., None])[..., 0]
    return points


@pytest.mark.parametrize(
    "centres",
    [
        [[-0.3, 0, 0], [0.3, 0, 0]],
        [[-0.3, 0.1, 0], [0.4, 0, 0.2], [0.1, -0.5, -0.3]],
        [[0, 0, -1.0], [0.1, 0.05, 0.5], [-0.1, 0, 0.2], [0.6, 0.6, 0]],
    ],
)
def test_sigma_matches_monte_carlo_triangulation(centres: list[list[float]]) -> None:
    rng = np.random.default_rng(0)
    target = np.array([0.1, -0.2, 5.0])
    poses, noise = poses_around(centres, np.array([0.0, 0.0, 4.0])), 0.7
    exact = project(poses, target)
    samples = triangulate(poses, exact + noise * rng.standard_normal((6000, len(poses), 2)), target)
    n = len(poses)
    covariance = point_covariances(
        target[None],
        poses,
        np.tile([CAMERA.fx, CAMERA.fy], (n, 1)),
        np.arange(n),
        np.zeros(n, dtype=np.int64),
        np.array([noise]),
    )
    np.testing.assert_allclose(np.cov(samples.T), covariance[0], rtol=0.12, atol=2e-2 * np.abs(covariance).max())
    sampled = np.std(np.einsum("vj,sj->sv", poses[:, 2, :3], samples), axis=0)
    np.testing.assert_allclose(depth_sigma(np.repeat(covariance, n, 0), poses), sampled, rtol=0.05)


def test_stereo_closed_form() -> None:
    """Two parallel cameras: sigma_z = z² / (f b) sqrt(2) s on the middle axis far away."""
    baseline, z, noise = 0.2, 10.0, 0.5
    poses = np.tile(np.eye(4), (2, 1, 1))
    poses[0, 0, 3], poses[1, 0, 3] = baseline / 2, -baseline / 2
    focal = np.full((2, 2), 500.0)
    index = np.zeros(2, dtype=np.int64)
    covariance = point_covariances(np.array([[0.0, 0.0, z]]), poses, focal, np.arange(2), index, np.array([noise]))
    expected = z**2 / (500.0 * baseline) * np.sqrt(2.0) * noise
    np.testing.assert_allclose(depth_sigma(covariance, poses[:1]), expected, rtol=1e-3)


def test_more_photos_never_hurt_and_more_noise_scales() -> None:
    poses = poses_around([[-0.3, 0, 0], [0.3, 0, 0], [0, 0.4, 0]], np.array([0.0, 0.0, 4.0]))
    focal, point = np.full((3, 2), 500.0), np.array([[0.2, 0.1, 4.0]])

    def sigma(count: int, noise: float) -> Array:
        covariance = point_covariances(
            point, poses, focal, np.arange(count), np.zeros(count, dtype=np.int64), np.array([noise])
        )
        return depth_sigma(covariance, poses[:1])

    assert sigma(3, 1.0) < sigma(2, 1.0)
    np.testing.assert_allclose(sigma(3, 2.0), 2 * sigma(3, 1.0))


def test_undetermined_points_are_infinitely_uncertain() -> None:
    poses = np.tile(np.eye(4), (2, 1, 1))  # both rays are the same
    focal = np.full((2, 2), 500.0)
    points = np.array([[0.1, 0.0, 3.0], [0.0, 0.1, 2.0], [1.0, 1.0, 1.0]])
    view, point = np.array([0, 1, 0]), np.array([0, 0, 1])
    covariance = point_covariances(points, poses, focal, view, point, np.ones(3))
    assert np.isinf(depth_sigma(covariance, np.tile(np.eye(4), (3, 1, 1)))).all()
    assert len(point_covariances(points[:0], poses, focal, view[:0], point[:0], np.ones(0))) == 0


def test_track_noise_recovers_the_pixel_noise() -> None:
    """Least-squares residuals are smaller than the noise by their degrees of freedom; the estimate undoes that."""
    rng = np.random.default_rng(1)
    poses = poses_around([[-0.5, 0, 0], [0.5, 0, 0], [0, 0.5, 0], [0, -0.5, 0]], np.array([0.0, 0.0, 3.0]))
    target, noise, samples = np.array([0.0, 0.1, 3.0]), 1.3, 4000
    xy = project(poses, target) + noise * rng.standard_normal((samples, 4, 2))
    error = np.linalg.norm(project(poses, triangulate(poses, xy, target)) - xy, axis=-1)
    found = track_noise(error.ravel(), np.repeat(np.arange(samples), 4), samples)
    assert np.sqrt(np.mean(found**2)) == pytest.approx(noise, rel=0.03)


def test_track_noise_has_a_floor() -> None:
    found = track_noise(np.zeros(2), np.zeros(2, dtype=np.int64), 2)
    np.testing.assert_array_equal(found, [0.5, 0.5])


def test_pose_noise_counts_as_much_in_long_tracks_as_in_short_ones() -> None:
    point = np.array([0, 0, *[1] * 8])
    found = track_noise(np.zeros(10), point, 2, of_poses=2.0)
    np.testing.assert_allclose(found**2, [PIXEL_NOISE_FLOOR**2 + 4.0, PIXEL_NOISE_FLOOR**2 + 16.0])


def _observed(
    noise: float, wrong_poses: float = 0.0
) -> tuple[Array, Array, Array, NDArray[np.int64], NDArray[np.int64]]:
    """What five photos see of 400 points, with pixel noise; their poses given with an error of so many radians."""
    rng = np.random.default_rng(2)
    poses = poses_around([[0.4 * i, 0.2 * (i % 2), 0.1 * i] for i in range(5)], np.array([0.8, 0.0, 5.0]))
    points = rng.uniform([-0.5, -1, 4], [2, 1, 6], (400, 3))
    xy = project(poses, points) + noise * rng.standard_normal((400, 5, 2))
    rays = (xy - [CAMERA.cx, CAMERA.cy]) / [CAMERA.fx, CAMERA.fy]
    for pose in poses:
        x, y, z = wrong_poses * rng.standard_normal(3)
        pose[:3] = (np.eye(3) + np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])) @ pose[:3]
    keep = rng.random((400, 5)) < 0.8
    point, view = np.nonzero(keep)
    return rays[keep], poses, np.tile([CAMERA.fx, CAMERA.fy], (5, 1)), view, point


@pytest.mark.parametrize("noise", [0.8, 2.0])
def test_pose_noise_is_what_exceeds_the_floor(noise: float) -> None:
    total = np.hypot(pose_noise(*_observed(noise)), PIXEL_NOISE_FLOOR)
    assert total == pytest.approx(noise, rel=0.15)


def test_wrong_poses_are_noticed_and_right_ones_are_not() -> None:
    assert pose_noise(*_observed(0.3)) == 0.0
    wrong = 0.004  # radians: two pixels
    assert 0.7 < pose_noise(*_observed(0.3, wrong)) / (wrong * CAMERA.fx) < 1.5


def test_wrong_matches_do_not_count() -> None:
    rays, poses, focal, view, point = _observed(0.3)
    rng = np.random.default_rng(3)
    wrong = rng.random(len(rays)) < 0.05
    rays[wrong] += rng.uniform(-0.2, 0.2, (wrong.sum(), 2))
    assert pose_noise(rays, poses, focal, view, point) == 0.0


def test_without_points_in_three_photos_there_is_no_pose_noise() -> None:
    rays, poses, focal, view, point = _observed(2.0)
    two = view < 2
    assert pose_noise(rays[two], poses, focal, view[two], point[two]) == 0.0
    assert pose_noise(np.zeros((0, 2)), poses, focal, np.zeros(0, dtype=int), np.zeros(0, dtype=int)) == 0.0
