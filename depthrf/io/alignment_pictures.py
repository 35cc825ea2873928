"""The picture of how a photo's monocular depth was aligned."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from depthrf.geometry.camera import DepthPrior, SparseDepths
from depthrf.io.images import read_rgb
from depthrf.io.overlays import ColourScale, Panel, Picture, dots, grid

_RESIDUAL, _SIGMA = 0.2, 0.2


def draw_alignment(
    photo: Path, prediction: NDArray[np.float32], aligned: DepthPrior, keypoints: SparseDepths, heading: str
) -> Picture:
    """The photo with residuals at its keypoints, aligned depth with the keypoints in the same colours, and sigma.

    Args:
        photo: The undistorted photo.
        prediction: (H, W) network output, shown where nothing could be aligned; nan = unknown.
        aligned: Depth and sigma (H, W), all 0 for a photo without alignment.
        keypoints: Of the photo.
        heading: Name, grade and numbers.
    """
    rgb = read_rgb(photo)
    if not (aligned.depth > 0).any():
        known = prediction[np.isfinite(prediction)]
        low, high = np.percentile(known, [1, 99]) if known.size else (0.0, 1.0)
        raw = ColourScale(float(low), max(float(high), float(low) + 1e-6), "viridis")
        keypoint_scale = ColourScale.of_depth(keypoints.depth)
        marked = dots(rgb, keypoints.xy, keypoints.depth, keypoint_scale)
        panels = [
            Panel("keypoint depth", marked, keypoint_scale, "units"),
            Panel("prediction, not aligned", raw.paint(prediction), raw),
        ]
        return grid(panels, heading=heading)
    height, width = aligned.depth.shape
    column = np.clip(keypoints.xy[:, 0].astype(np.int64), 0, width - 1)
    row = np.clip(keypoints.xy[:, 1].astype(np.int64), 0, height - 1)
    at = aligned.depth[row, column]
    residual = np.where(at > 0, at / keypoints.depth - 1.0, np.nan)
    scale, signed = ColourScale.of_depth(aligned.depth), ColourScale(-_RESIDUAL, _RESIDUAL, "signed")
    sigma = ColourScale(0.0, _SIGMA, "magma")
    relative = np.where(aligned.depth > 0, aligned.sigma / np.where(aligned.depth > 0, aligned.depth, 1.0), np.nan)
    painted = scale.paint(aligned.depth)
    panels = [
        Panel("aligned depth / keypoint depth - 1", dots(rgb, keypoints.xy, residual, signed), signed),
        Panel("aligned depth", painted, scale, "units"),
        Panel("keypoints on it, same colours", dots(painted, keypoints.xy, keypoints.depth, scale), scale, "units"),
        Panel("sigma as a share of depth", sigma.paint(relative), sigma),
    ]
    return grid(panels, heading=heading)
