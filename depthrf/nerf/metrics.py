"""How good a rendered view is: colour against a photo, depth against a reference."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

Image = NDArray[np.uint8]


@dataclass(frozen=True)
class ColorScores:
    """psnr in dB; psnr_exposure_fit after one least-squares gain per channel; ssim in [-1, 1]."""

    psnr: float
    psnr_exposure_fit: float
    ssim: float


@dataclass(frozen=True)
class DepthScores:
    """Errors of z-depth where the reference is valid: in the reference's unit, delta1 and coverage as shares."""

    depth_abs_rel: float
    depth_rmse: float
    depth_median_abs_error: float
    depth_delta1: float
    depth_coverage: float


def color_scores(rendered: Image, photo: Image) -> ColorScores:
    """Scores of two uint8 images (H, W, 3)."""
    from torchmetrics.functional.image import structural_similarity_index_measure

    x, y = rendered.astype(np.float64) / 255.0, photo.astype(np.float64) / 255.0
    gain = (x * y).sum((0, 1)) / np.maximum((x * x).sum((0, 1)), 1e-12)
    tensors = [torch.from_numpy(a).permute(2, 0, 1)[None].float() for a in (x, y)]
    ssim = structural_similarity_index_measure(tensors[0], tensors[1], data_range=1.0)
    return ColorScores(psnr(x, y), psnr(np.clip(gain * x, 0.0, 1.0), y), float(ssim))  # type: ignore[arg-type]


def psnr(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    """-10 log10 of the mean squared error of values in [0, 1]; 100 dB at most, for equal images."""
    return float(-10.0 * np.log10(max(float(np.mean((x - y) ** 2)), 1e-10)))


def depth_scores(depth: NDArray[np.floating], reference: NDArray[np.floating]) -> DepthScores | None:
    """Scores of z-depth maps (H, W) of one unit; reference 0 = unknown. None where nothing is known."""
    valid = reference > 0
    if not valid.any():
        return None
    d, r = depth[valid].astype(np.float64), reference[valid].astype(np.float64)
    error = np.abs(d - r)
    ratio = np.maximum(d, 1e-9) / r
    return DepthScores(
        depth_abs_rel=float((error / r).mean()),
        depth_rmse=float(np.sqrt((error**2).mean())),
        depth_median_abs_error=float(np.median(error)),
        depth_delta1=float((np.maximum(ratio, 1.0 / ratio) < 1.25).mean()),
        depth_coverage=float(valid.mean()),
    )
