"""Projection, pixel convention and resizing of pinhole cameras."""

from __future__ import annotations

import numpy as np
import pytest

from depthrf.geometry.camera import Camera, View
from depthrf.geometry.transforms import look_at

CAMERA = Camera(64, 48, 70.0, 65.0, 31.0, 25.0)


def test_directions_invert_project() -> None:
    rng = np.random.default_rng(0)
    xy = rng.uniform(0, 48, (5, 7, 2))
    depth = rng.uniform(0.1, 9, (5, 7, 1))
    np.testing.assert_allclose(CAMERA.project(CAMERA.directions(xy) * depth), xy, atol=1e-10)


def test_ray_parameter_is_z_depth() -> None:
    directions = CAMERA.directions(CAMERA.pixel_centres())
    np.testing.assert_array_equal(directions[..., 2], 1.0)


def test_first_pixel_centre_is_half() -> None:
    centres = CAMERA.pixel_centres()
    assert centres.shape == (48, 64, 2)
    np.testing.assert_array_equal(centres[0, 0], [0.5, 0.5])
    np.testing.assert_array_equal(centres[-1, -1], [63.5, 47.5])


def test_projection_matches_the_calibration_matrix() -> None:
    point = np.array([0.3, -0.2, 2.0])
    homogeneous = CAMERA.matrix @ point
    np.testing.assert_allclose(CAMERA.project(point), homogeneous[:2] / homogeneous[2])


def test_points_behind_the_camera_have_no_pixel() -> None:
    assert np.isnan(CAMERA.project(np.array([[0.0, 0.0, -1.0], [0.0, 0.0, 0.0]]))).all()


def test_resizing_scales_pixels() -> None:
    point = np.array([0.3, -0.2, 2.0])
    resized = CAMERA.resized(32, 96)
    np.testing.assert_allclose(resized.project(point), CAMERA.project(point) * [0.5, 2.0])
    assert CAMERA.resized(32, 24).resized(64, 48) == CAMERA


@pytest.mark.parametrize(("max_side", "size"), [(32, (32, 24)), (64, (64, 48)), (1000, (64, 48))])
def test_fitted_never_enlarges(max_side: int, size: tuple[int, int]) -> None:
    fitted = CAMERA.fitted(max_side)
    assert (fitted.width, fitted.height) == size


def test_view_centre_is_the_origin_of_its_camera() -> None:
    view = View("sub/a.b.jpg", CAMERA, look_at(np.array([1.0, 2.0, 3.0]), np.zeros(3), np.array([0.0, 0.0, 1.0])))
    np.testing.assert_allclose(view.centre, [1.0, 2.0, 3.0])
    np.testing.assert_allclose(view.world_from_cam[:3, 3], [1.0, 2.0, 3.0])
    assert view.stem == "a.b"
