"""How sharp and how well exposed a photo is, from a small copy of it. Pure."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

_FINE, _COARSE = 0.6, 2.0  # standard deviations in pixels of the two extra blurs
_DIRECTIONS = 6
_EDGE_SHARE = 0.06  # of the pixels, the strongest edges, are measured
_RIDGE = 0.97  # of the gradient around it
_MIN_EDGES = 30  # of one direction
_SHARP_QUANTILE = 0.75  # a photo is as sharp as its sharper edges: the background may be out of focus
_MIN_CONTRAST = 2.0  # grey levels per pixel; weaker edges are noise
_DARK, _BRIGHT = 8, 250  # grey levels at and beyond which nothing can be told apart


@dataclass(frozen=True)
class Quality:
    """Measurements of a photo.

    blur_px: Standard deviation of the blur at edges, pixels of the small copy; nan where it shows no edges. dark,
    bright: Shares of pixels that are too dark or too bright to show detail. brightness: log2 of the mean linear
    intensity (stops).
    """

    blur_px: float
    dark: float
    bright: float
    brightness: float


def measure_quality(rgb: NDArray[np.uint8]) -> Quality:
    """Measures a photo (H, W, 3), sRGB, best at about 800 pixels."""
    grey = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)
    linear = np.square(grey.astype(np.float32) / 255.0)  # the sRGB curve, roughly
    return Quality(
        blur_px=blur_px(grey),
        dark=float((grey <= _DARK).mean()),
        bright=float((rgb.max(axis=2) >= _BRIGHT).mean()),
        brightness=float(np.log2(max(float(linear.mean()), 1e-5))),
    )


def blur_px(grey: NDArray[np.uint8]) -> float:
    """Standard deviation of the blur of a photo's edges (H, W), in pixels, in the direction in which it is worst.

    A step edge blurred by sigma has a gradient of 1 / sqrt(sigma^2 + s^2) after another blur by s. The ratio of two
    such gradients tells sigma, whatever the edge's contrast (Zhuo and Sim, Defocus map estimation from a single image,
    2011, eq. 4). Only the strongest edges are measured, so a photo of a plain wall is not taken for a blurred one.
    Motion blurs only the edges across its direction, so each direction is measured by itself.

    Returns:
        nan where there are too few edges to tell.
    """
    fine, _, _ = _gradient(grey, _FINE)
    coarse, gx, gy = _gradient(grey, _COARSE)
    threshold = max(float(np.quantile(coarse, 1.0 - _EDGE_SHARE)), _MIN_CONTRAST)
    ridge = coarse >= _RIDGE * cv2.dilate(coarse, np.ones((3, 3), np.uint8))  # beside an edge the ratio is lower
    edge = (coarse >= threshold) & ridge
    ratio2 = np.square(fine[edge] / coarse[edge])
    # ratio^2 = (sigma^2 + coarse^2) / (sigma^2 + fine^2); at most (coarse / fine)^2, at least 1
    variance = (_COARSE**2 - ratio2 * _FINE**2) / np.maximum(ratio2 - 1.0, 1e-3)
    sigma = np.sqrt(np.clip(variance, 0.0, 400.0))
    direction = np.floor(np.arctan2(gy[edge], gx[edge]) / np.pi * _DIRECTIONS).astype(int) % _DIRECTIONS
    of_direction = [sigma[direction == d] for d in range(_DIRECTIONS)]
    measured = [float(np.quantile(s, 1.0 - _SHARP_QUANTILE)) for s in of_direction if len(s) >= _MIN_EDGES]
    return max(measured) if measured else float("nan")


def _gradient(
    grey: NDArray[np.uint8], sigma: float
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """Magnitude and components (H, W) of the gradient after a Gaussian blur, grey levels per pixel."""
    smooth = cv2.GaussianBlur(grey.astype(np.float32), (0, 0), sigma)
    gx = cv2.Sobel(smooth, cv2.CV_32F, 1, 0, ksize=1, scale=0.5)
    gy = cv2.Sobel(smooth, cv2.CV_32F, 0, 1, ksize=1, scale=0.5)
    return np.hypot(gx, gy), gx, gy
