"""Blur is measured in pixels, whatever the photo shows."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from depthrf.sfm.preflight.photo_quality import blur_px, measure_quality

Grey = NDArray[np.uint8]
Picture = NDArray[np.float32]


def edges(contrast: float = 100.0, share: float = 1.0) -> Picture:
    """Polygons with sharp edges in all directions on a grey ground."""
    rng = np.random.default_rng(0)
    big = np.full((1200, 1600), 120.0, np.float32)
    for _ in range(60):
        centre = rng.uniform([0, 0], [1600 * share, 1200])
        angle = np.sort(rng.uniform(0, 2 * np.pi, 5))
        corners = centre + rng.uniform(60, 160) * np.stack([np.cos(angle), np.sin(angle)], -1)
        cv2.fillPoly(big, [corners.astype(np.int32)], 120.0 + contrast * rng.uniform(-1, 1))
    return np.asarray(cv2.resize(big, (800, 600), interpolation=cv2.INTER_AREA), dtype=np.float32)


def photo(picture: Picture, noise: float = 1.0) -> Grey:
    noisy = picture + np.random.default_rng(1).normal(0, noise, picture.shape)
    return np.clip(noisy, 0, 255).astype(np.uint8)


@pytest.mark.parametrize("contrast", [40.0, 100.0])
@pytest.mark.parametrize("share", [0.15, 1.0])
@pytest.mark.parametrize("sigma", [1.5, 3.0])
def test_blur_is_found_whatever_the_contrast_and_texture(contrast: float, share: float, sigma: float) -> None:
    picture = edges(contrast, share)
    assert blur_px(photo(picture)) < 1.0
    assert blur_px(photo(cv2.GaussianBlur(picture, (0, 0), sigma))) == pytest.approx(sigma, rel=0.3)


def test_motion_blur_counts_though_edges_along_it_stay_sharp() -> None:
    kernel = np.full((1, 15), 1 / 15, np.float32)
    assert blur_px(photo(cv2.filter2D(edges(), -1, kernel))) > 2.5


def test_a_sharp_subject_before_a_blurred_ground_is_sharp() -> None:
    picture = edges()
    blurred = cv2.GaussianBlur(picture, (0, 0), 5.0)
    blurred[:, :400] = picture[:, :400]
    assert blur_px(photo(blurred)) < 1.2


def test_nothing_to_see() -> None:
    assert np.isnan(blur_px(np.full((600, 800), 128, np.uint8)))
    assert np.isnan(blur_px(photo(np.full((600, 800), 128.0), noise=2.0)))


def test_exposure() -> None:
    grey = np.repeat(photo(edges())[..., None], 3, axis=2)
    plain = measure_quality(grey)
    assert (plain.dark, plain.bright) == (0.0, 0.0)
    half = measure_quality((grey * 0.5).astype(np.uint8))
    assert plain.brightness - half.brightness == pytest.approx(2.0, abs=0.15)
    assert measure_quality(np.zeros((60, 80, 3), np.uint8)).dark == 1.0
    assert measure_quality(np.full((60, 80, 3), 255, np.uint8)).bright == 1.0
