"""Pictures of what the depth stages made of a photo, for a person to judge."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from depthrf.depth.merging import Source
from depthrf.geometry.camera import DepthPrior
from depthrf.io.images import read_rgb
from depthrf.io.overlays import ColourScale, Panel, Picture, grid, paint_labels

_COLOURS: dict[int, tuple[int, int, int]] = {
    Source.KEYPOINT: (250, 200, 40),
    Source.MONO: (90, 140, 240),
    Source.SENSOR: (40, 170, 90),
    Source.MERGED: (170, 220, 120),
    Source.STEREO: (200, 100, 200),
}
_WIDTH = 400  # pixels a panel


def draw_prediction(photo: Path, values: NDArray[np.float32], kind: str) -> Picture:
    """The photo beside its monocular depth (H, W), nan = unknown, in the network's own numbers."""
    shown = _thinned(values)
    known = shown[np.isfinite(shown)]
    low, high = (float(v) for v in np.percentile(known, [1, 99])) if known.size else (0.0, 1.0)
    scale = ColourScale(low, max(high, low + 1e-6))
    title = f"prediction ({kind.replace('_', ' ')}), not yet fitted"
    return grid([Panel("photo", read_rgb(photo)), Panel(title, scale.paint(shown), scale)], panel_width=_WIDTH)


def draw_prior(photo: Path, prior: DepthPrior, source: NDArray[np.uint8]) -> Picture:
    """The photo, its merged depth, sigma as a share of depth, and each pixel's :class:`Source`."""
    depth, sigma, labels = _thinned(prior.depth), _thinned(prior.sigma), _thinned(source)
    known = depth > 0
    relative = np.where(known, 100.0 * sigma / np.where(known, depth, 1.0), np.nan)
    depth_scale, sigma_scale = ColourScale.of_depth(depth), ColourScale(0.0, 10.0, "magma")
    panels = [
        Panel("photo", read_rgb(photo)),
        Panel(f"depth, {np.mean(prior.depth > 0):.0%} of the pixels", depth_scale.paint(depth), depth_scale, "units"),
        Panel("sigma as a share of depth", sigma_scale.paint(relative), sigma_scale, "%"),
        Panel("source", paint_labels(labels, _COLOURS), names={Source(s).name.lower(): c for s, c in _COLOURS.items()}),
    ]
    return grid(panels, panel_width=_WIDTH, heading=photo.name)


def _thinned(values: NDArray[Any]) -> NDArray[Any]:
    """A large map need not be painted whole to be shown small."""
    every = max(1, values.shape[1] // _WIDTH)
    return values[::every, ::every]
