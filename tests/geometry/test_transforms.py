"""Rigid and similarity transforms against closed forms and round trips."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from depthrf.geometry.transforms import (
    Similarity,
    cam_from_world_of_opengl,
    invert_rigid,
    look_at,
    opengl_of_cam_from_world,
    rigid,
    rotation_angle_deg,
)
from tests.similarity import fit_similarity

Array = NDArray[np.float64]


def random_rotation(rng: np.random.Generator) -> Array:
    q, r = np.linalg.qr(rng.standard_normal((3, 3)))
    q *= np.sign(np.diag(r))
    return np.asarray(q * np.sign(np.linalg.det(q)))


def random_pose(rng: np.random.Generator) -> Array:
    return rigid(random_rotation(rng), rng.standard_normal(3))


def about_z(degrees: float) -> Array:
    c, s = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    return np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])


def test_inverse_of_rigid_is_the_matrix_inverse() -> None:
    rng = np.random.default_rng(0)
    poses = np.stack([random_pose(rng) for _ in range(4)])
    np.testing.assert_allclose(invert_rigid(poses), np.linalg.inv(poses), atol=1e-12)


def test_opengl_round_trip() -> None:
    pose = random_pose(np.random.default_rng(1))
    np.testing.assert_allclose(cam_from_world_of_opengl(opengl_of_cam_from_world(pose)), pose, atol=1e-12)


def test_opengl_camera_looks_along_minus_z_with_y_up() -> None:
    pose = random_pose(np.random.default_rng(2))
    world_from_glcam = opengl_of_cam_from_world(pose)
    in_front = world_from_glcam @ [0.0, 0.0, -2.0, 1.0]
    np.testing.assert_allclose(pose @ in_front, [0.0, 0.0, 2.0, 1.0], atol=1e-12)
    above = world_from_glcam @ [0.0, 1.0, 0.0, 1.0]
    np.testing.assert_allclose(pose @ above, [0.0, -1.0, 0.0, 1.0], atol=1e-12)


def test_look_at_centres_the_target_and_keeps_up_upwards() -> None:
    centre, target, up = np.array([3.0, -1.0, 2.0]), np.array([0.5, 0.2, 0.1]), np.array([0.0, 0.0, 1.0])
    pose = look_at(centre, target, up)
    np.testing.assert_allclose(pose[:3, :3] @ pose[:3, :3].T, np.eye(3), atol=1e-12)
    assert np.linalg.det(pose[:3, :3]) == pytest.approx(1.0)
    np.testing.assert_allclose(pose @ [*target, 1.0], [0, 0, float(np.linalg.norm(target - centre)), 1], atol=1e-12)
    assert (pose[:3, :3] @ up)[1] < 0  # y points down in the image


@pytest.mark.parametrize("degrees", [0.0, 1e-6, 0.5, 90.0, 180.0])
def test_rotation_angle(degrees: float) -> None:
    base = random_rotation(np.random.default_rng(3))
    assert rotation_angle_deg(base @ about_z(degrees), base) == pytest.approx(degrees, rel=1e-6, abs=1e-9)


def test_similarity_fit_is_exact_without_noise() -> None:
    rng = np.random.default_rng(4)
    true = Similarity(2.5, random_rotation(rng), rng.standard_normal(3))
    points = rng.standard_normal((12, 3))
    fitted = fit_similarity(points, true.apply(points))
    assert fitted.scale == pytest.approx(true.scale)
    np.testing.assert_allclose(fitted.rotation, true.rotation, atol=1e-10)
    np.testing.assert_allclose(fitted.translation, true.translation, atol=1e-10)


def test_similarity_fit_never_mirrors() -> None:
    points = np.random.default_rng(5).standard_normal((30, 3))
    assert np.linalg.det(fit_similarity(points, points * [1.0, 1.0, -1.0]).rotation) == pytest.approx(1.0)


def test_similarity_fit_is_a_minimum() -> None:
    rng = np.random.default_rng(6)
    b = rng.standard_normal((20, 3))
    a = 1.7 * b @ random_rotation(rng).T + rng.standard_normal((20, 3)) * 0.2
    fitted = fit_similarity(b, a)
    cost = np.square(fitted.apply(b) - a).sum()
    for _ in range(50):
        near = Similarity(
            fitted.scale * (1 + 1e-3 * rng.standard_normal()),
            fitted.rotation @ about_z(0.1 * rng.standard_normal()),
            fitted.translation + 1e-3 * rng.standard_normal(3),
        )
        assert np.square(near.apply(b) - a).sum() >= cost


def test_similarity_moves_points_and_poses_alike() -> None:
    rng = np.random.default_rng(7)
    a_from_b = Similarity(0.4, random_rotation(rng), rng.standard_normal(3))
    cam_from_b, points = random_pose(rng), rng.standard_normal((9, 3))
    cam_from_a = a_from_b.apply_to_pose(cam_from_b)
    in_cam_b = points @ cam_from_b[:3, :3].T + cam_from_b[:3, 3]
    in_cam_a = a_from_b.apply(points) @ cam_from_a[:3, :3].T + cam_from_a[:3, 3]
    np.testing.assert_allclose(in_cam_a, a_from_b.scale * in_cam_b, atol=1e-12)


def test_similarity_inverse() -> None:
    rng = np.random.default_rng(8)
    similarity = Similarity(3.0, random_rotation(rng), rng.standard_normal(3))
    points = rng.standard_normal((5, 3))
    np.testing.assert_allclose(similarity.inverse().apply(similarity.apply(points)), points, atol=1e-12)
