"""Lenses of COLMAP's models."""

from __future__ import annotations

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
