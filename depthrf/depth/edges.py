"""Depth edges: how far neighbouring pixels of one surface may differ, and how doubtful depth is beside an edge."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Map = NDArray[np.float32]

# Tangent of the steepest angle (85 degrees) at which two neighbouring pixels still count as one surface.
_STEEPEST = 12.0


def surface_step(focal_px: float) -> float:
    """Largest depth step between neighbouring pixels of one surface, as a share of depth; 2 % at least, for noise."""
    return max(0.02, _STEEPEST / focal_px)


def edge_sigma(depth: Map, focal_px: float, *, radius: int = 2) -> Map:
    """Doubt beside depth edges: a quarter of the step within ``radius`` pixels, in the unit of ``depth``. (H, W)."""
    kernel = np.ones((2 * radius + 1, 2 * radius + 1), dtype=np.uint8)
    farthest = cv2.dilate(depth, kernel)
    nearest = cv2.erode(np.where(depth > 0, depth, np.float32(np.inf)), kernel)
    step = np.where(depth > 0, farthest - nearest, 0.0)
    return np.asarray(0.25 * np.maximum(step - radius * surface_step(focal_px) * depth, 0.0), dtype=np.float32)
