"""Maps on coarser and finer grids of the same photo.

Pixel i of n has its centre at (i + 0.5) / n of the photo's side. Every change of resolution keeps to this, so that a
value stays at its place in the photo.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from depthrf.geometry.camera import Camera, containing_pixels
from depthrf.geometry.distortion import project_through
from depthrf.geometry.lens import Lens

Map = NDArray[np.float32]
Array = NDArray[np.float64]


def cells_of(index: NDArray[np.int64], size: int, cells: int) -> NDArray[np.int64]:
    """Which of ``cells`` equal parts of an axis contains the centre of each pixel. (N,) -> (N,).

    Args:
        index: (N,) pixel indices.
        size: Pixels along the axis.
        cells: Parts along the same axis.
    """
    return (2 * index + 1) * cells // (2 * size)


def nearest(values: NDArray[Any], width: int, height: int) -> NDArray[Any]:
    """The map (H, W) on another grid, (height, width): at each new centre the value of the pixel that contains it.

    OpenCV's ``INTER_NEAREST`` looks at the new pixel's corner instead of its centre.
    """
    rows = cells_of(np.arange(height), height, values.shape[0])
    columns = cells_of(np.arange(width), width, values.shape[1])
    return values[rows[:, None], columns]


def every_nth(values: NDArray[Any], step: int) -> NDArray[Any]:
    """Every ``step``-th pixel of a map (H, W, ...) along both axes, from the middle of each block of step x step."""
    top = min(step // 2, values.shape[0] - 1)
    left = min(step // 2, values.shape[1] - 1)
    return values[top::step, left::step]


def to_undistorted(values: Map, camera: Camera, lens: Lens, *, smooth: bool = False) -> Map:
    """Brings a map of the photo as taken onto the undistorted photo's pixel grid.

    z-depth does not change: undistortion keeps the centre and the axis.

    Args:
        values: (h, w) of the same field of view as ``lens``, at any resolution.
        camera: The undistorted camera.
        lens: The camera as it took the photo.
        smooth: Interpolate between pixels, as suits a network's output; else depths are never mixed.

    Returns:
        (camera.height, camera.width). Each the value of the nearest pixel, 0 outside the photo; or when ``smooth``, the
        bilinear mean of the four around it, nan outside the photo and where one of them is nan.
    """
    height, width = values.shape
    xy = project_through(lens, camera.directions(camera.pixel_centres())) * (width / lens.width, height / lens.height)
    row, column = containing_pixels(xy)
    inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
    if smooth:
        return np.where(inside, _bilinear(values, xy), np.float32(np.nan))
    gathered = values[np.clip(row, 0, height - 1), np.clip(column, 0, width - 1)]
    return np.where(inside, gathered, np.float32(0.0))


def _bilinear(values: Map, xy: Array) -> Map:
    """Values between pixel centres, (h, w) at (..., 2) -> (...); those of the border continue outside."""
    height, width = values.shape
    left, top = np.moveaxis(np.floor(xy - 0.5).astype(np.int64), -1, 0)
    x, y = xy[..., 0] - 0.5 - left, xy[..., 1] - 0.5 - top
    total = np.zeros(x.shape)
    for row, column, weight in (
        (top, left, (1 - y) * (1 - x)),
        (top, left + 1, (1 - y) * x),
        (top + 1, left, y * (1 - x)),
        (top + 1, left + 1, y * x),
    ):
        corner = values[np.clip(row, 0, height - 1), np.clip(column, 0, width - 1)]
        total += np.where(weight > 1e-6, corner, 0.0) * weight
    return total.astype(np.float32)
