"""Pictures of what the depth stages made of a photo, for a person to judge."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from depthrf.depth.merging import Source
from depthrf.depth.resampling import every_nth
from depthrf.geometry.camera import DepthPrior, SparseDepths, containing_pixels
from depthrf.io.draw.overlays import ColourScale, Panel, Picture, dots, grid, paint_labels
from depthrf.io.photos.images import read_rgb

_COLOURS: dict[int, tuple[int, int, int]] = {
    Source.KEYPOINT: (250, 200, 40),
    Source.MONO: (90, 140, 240),
    Source.SENSOR: (40, 170, 90),
    Source.MERGED: (170, 220, 120),
    Source.STEREO: (200, 100, 200),
    Source.FILLED: (120, 80, 120),
}
_WIDTH = 400  # pixels a panel
_RESIDUAL = 0.2  # of a keypoint's depth: the strongest colours


def draw_prediction(photo: Path, values: NDArray[np.float32], kind: str) -> Picture:
    """The photo beside its monocular depth (H, W), nan = unknown, in the network's own numbers."""
    small = _thinned(values)
    scale = ColourScale.of_values(small)
    title = f"prediction ({kind.replace('_', ' ')}), not yet fitted"
    return grid([Panel("photo", read_rgb(photo)), Panel(title, scale.paint(small), scale)], panel_width=_WIDTH)


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
        raw = ColourScale.of_values(prediction, "viridis")
        keypoint_scale = ColourScale.of_depth(keypoints.depth)
        marked = dots(rgb, keypoints.xy, keypoints.depth, keypoint_scale)
        panels = [
            Panel("keypoint depth", marked, keypoint_scale, "units"),
            Panel("prediction, not aligned", raw.paint(prediction), raw),
        ]
        return grid(panels, heading=heading)
    height, width = aligned.depth.shape
    row, column = containing_pixels(keypoints.xy)
    at = aligned.depth[row.clip(0, height - 1), column.clip(0, width - 1)]
    residual = np.where(at > 0, at / keypoints.depth - 1.0, np.nan)
    scale, signed = ColourScale.of_depth(aligned.depth), ColourScale(-_RESIDUAL, _RESIDUAL, "signed")
    painted = scale.paint(aligned.depth)
    panels = [
        Panel("aligned depth / keypoint depth - 1", dots(rgb, keypoints.xy, residual, signed), signed),
        Panel("aligned depth", painted, scale, "units"),
        Panel("keypoints on it, same colours", dots(painted, keypoints.xy, keypoints.depth, scale), scale, "units"),
        _sigma_panel(aligned, full=20.0),
    ]
    return grid(panels, heading=heading)


def draw_prior(photo: Path, prior: DepthPrior, source: NDArray[np.uint8]) -> Picture:
    """The photo, its merged depth, sigma as a share of depth, and each pixel's :class:`Source`."""
    names = {Source(s).name.lower(): c for s, c in _COLOURS.items()}
    panels = [*_depth_panels(photo, prior), Panel("source", paint_labels(_thinned(source), _COLOURS), names=names)]
    return grid(panels, panel_width=_WIDTH, heading=photo.name)


def draw_stereo(photo: Path, stereo: DepthPrior) -> Picture:
    """The photo, its depth by stereo (H, W), 0 = a hole, and sigma as a share of depth."""
    return grid(_depth_panels(photo, stereo), panel_width=_WIDTH, heading=photo.name)


def _depth_panels(photo: Path, prior: DepthPrior) -> list[Panel]:
    depth = _thinned(prior.depth)
    scale = ColourScale.of_depth(depth)
    return [
        Panel("photo", read_rgb(photo)),
        Panel(f"depth, {np.mean(prior.depth > 0):.0%} of the pixels", scale.paint(depth), scale, "units"),
        _sigma_panel(DepthPrior(depth, _thinned(prior.sigma)), full=10.0),
    ]


def _thinned(values: NDArray[Any]) -> NDArray[Any]:
    """The map at about the width of a panel: colours need not be worked out for more pixels than are drawn."""
    every = max(1, values.shape[1] // _WIDTH)
    return every_nth(values, every)


def _sigma_panel(prior: DepthPrior, *, full: float) -> Panel:
    """Standard deviation in percent of depth; ``full`` percent and more are brightest."""
    known = prior.depth > 0
    relative = np.where(known, 100.0 * prior.sigma / np.where(known, prior.depth, 1.0), np.nan)
    scale = ColourScale(0.0, full, "magma")
    return Panel("sigma as a share of depth", scale.paint(relative), scale, "%")
