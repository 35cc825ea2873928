"""How good a rendered view is: colour against a photo, depth against a reference."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

Image = NDArray[np.uint8]

_SSIM_WINDOW = 11  # pixels: Wang et al. 2004, a Gaussian of sigma 1.5


@dataclass(frozen=True)
class ColorScores:
    """psnr in dB; psnr_exposure_fit is that after a least-squares gain per channel; ssim in [-1, 1]."""

    psnr: float
    psnr_exposure_fit: float
    ssim: float


@dataclass(frozen=True)
class DepthScores:
    """Errors of z-depth where the reference is valid, in its unit; delta1 and coverage are shares of pixels."""

    depth_abs_rel: float
    depth_rmse: float
    depth_median_abs_error: float
    depth_delta1: float
    depth_coverage: float


def color_scores(rendered: Image, photo: Image, used: NDArray[np.bool_] | None = None) -> ColorScores:
    """Scores of two uint8 images (H, W, 3) over the pixels ``used`` (H, W); None means all.

    SSIM counts windows that contain used pixels only. If there is no such window, it counts the windows around used
    pixels, with the photo's own pixels filled in for the others.
    """
    from torchmetrics.functional.image import structural_similarity_index_measure

    x, y = rendered.astype(np.float64) / 255.0, photo.astype(np.float64) / 255.0
    counted = np.ones(x.shape[:2], dtype=bool) if used is None or not used.any() else used
    gain = (x * y)[counted].sum(0) / np.maximum((x * x)[counted].sum(0), 1e-12)
    pasted = np.where(counted[..., None], x, y)
    tensors = [torch.from_numpy(a).permute(2, 0, 1)[None].float() for a in (pasted, y)]
    _, ssim = structural_similarity_index_measure(tensors[0], tensors[1], data_range=1.0, return_full_image=True)
    x, y = x[counted], y[counted]
    clear = counted & _windows_within(counted)
    ssim_used = float(ssim[0].mean(0).numpy()[clear if clear.any() else counted].mean())
    return ColorScores(psnr(x, y), psnr(np.clip(gain * x, 0.0, 1.0), y), ssim_used)


def _windows_within(used: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """(H, W): the pixels whose SSIM window holds only ``used`` pixels of the image."""
    left_out = torch.from_numpy(~used)[None].float()
    touched = torch.nn.functional.max_pool2d(left_out, _SSIM_WINDOW, stride=1, padding=_SSIM_WINDOW // 2)
    return np.asarray(touched[0].numpy() == 0, dtype=bool)


def psnr(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    """-10 log10 of the mean squared error of values in [0, 1]; 100 dB at most, for equal images."""
    return float(-10.0 * np.log10(max(float(np.mean((x - y) ** 2)), 1e-10)))


def depth_scores(depth: NDArray[np.floating], reference: NDArray[np.floating]) -> DepthScores | None:
    """Scores of z-depth maps (H, W) in the same unit; reference 0 = unknown. None if nothing is known."""
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
