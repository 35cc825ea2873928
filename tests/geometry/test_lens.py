"""Lenses of COLMAP's models."""

from __future__ import annotations

import numpy as np
import pytest

from depthrf.geometry.camera import Camera
from depthrf.geometry.distortion import project_through
from depthrf.geometry.lens import Lens


def test_parts_of_the_parameters() -> None:
    radial = Lens("SIMPLE_RADIAL", 100, 50, (80.0, 50.0, 25.0, 0.1))
    assert (radial.focal, radial.distortion) == (80.0, (0.1,))
    opencv = Lens("OPENCV", 100, 50, (80.0, 90.0, 50.0, 25.0, 0.1, 0.2, 0.3, 0.4))
    assert (opencv.focal, opencv.distortion) == (85.0, (0.1, 0.2, 0.3, 0.4))
    assert Lens("PINHOLE", 100, 50, (80.0, 90.0, 50.0, 25.0)).distortion == ()


def test_resizing_scales_pixels_and_keeps_distortion() -> None:
    opencv = Lens("OPENCV", 100, 50, (80.0, 90.0, 50.0, 25.0, 0.1, 0.2, 0.3, 0.4))
    assert opencv.resized(200, 25).params == (160.0, 45.0, 100.0, 12.5, 0.1, 0.2, 0.3, 0.4)
    radial = Lens("SIMPLE_RADIAL", 100, 50, (80.0, 50.0, 25.0, 0.1))
    assert radial.resized(50, 25).params == (40.0, 25.0, 12.5, 0.1)


def test_focal_lengths_and_centre_by_name() -> None:
    radial = Lens("SIMPLE_RADIAL", 100, 50, (80.0, 51.0, 24.0, 0.1))
    assert (radial.fx, radial.fy, radial.cx, radial.cy) == (80.0, 80.0, 51.0, 24.0)
    opencv = Lens("OPENCV", 100, 50, (80.0, 90.0, 51.0, 24.0, 0.1, 0.2, 0.3, 0.4))
    assert opencv.pinhole == Camera(100, 50, 80.0, 90.0, 51.0, 24.0)
    assert opencv.with_focal(170.0).params == (160.0, 180.0, 51.0, 24.0, 0.1, 0.2, 0.3, 0.4)


@pytest.mark.parametrize(
    ("model", "params", "undistorted"),
    [
        ("SIMPLE_PINHOLE", (80.0, 50.0, 25.0), True),
        ("OPENCV", (80.0, 90.0, 50.0, 25.0, 0.0, 0.0, 0.0, 0.0), True),
        ("OPENCV", (80.0, 90.0, 50.0, 25.0, 0.0, 0.0, 0.0, 1e-3), False),
        ("OPENCV_FISHEYE", (80.0, 90.0, 50.0, 25.0, 0.0, 0.0, 0.0, 0.0), False),
        ("FISHEYE", (80.0, 90.0, 50.0, 25.0), False),
        ("EUCM", (80.0, 90.0, 50.0, 25.0, 0.0, 1.0), True),
        ("EUCM", (80.0, 90.0, 50.0, 25.0, 0.5, 1.0), False),
    ],
)
def test_undistorted_is_what_bends_no_line(model: str, params: tuple[float, ...], undistorted: bool) -> None:
    """A pinhole camera projects the middle of two rays to the middle of their pixels."""
    lens = Lens(model, 100, 50, params)
    left, right, middle = project_through(lens, np.array([[0.1, 0.3, 1.0], [0.7, 0.3, 1.0], [0.4, 0.3, 1.0]]))
    assert lens.is_undistorted == undistorted
    assert np.allclose(0.5 * (left + right), middle, atol=1e-9) == undistorted
