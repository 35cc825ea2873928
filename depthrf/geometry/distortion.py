"""Lens distortion: where a ray meets the photo as it was taken, before undistortion.

Source: COLMAP ``src/colmap/sensor/models.h``; parameter order is COLMAP's. Pixel origin at the corner.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from depthrf.errors import DepthrfError
from depthrf.geometry.lens import Lens

Array = NDArray[np.float64]


def _radial(x: Array, y: Array, coefficients: Sequence[float]) -> tuple[Array, Array]:
    r2 = x * x + y * y
    factor = 1.0 + sum(k * r2 ** (i + 1) for i, k in enumerate(coefficients))
    return x * factor, y * factor


def _brown(x: Array, y: Array, coefficients: Sequence[float]) -> tuple[Array, Array]:
    k1, k2, p1, p2, k3, k4, k5, k6 = (*coefficients, 0.0, 0.0, 0.0, 0.0)[:8]
    r2 = x * x + y * y
    factor = (1 + k1 * r2 + k2 * r2**2 + k3 * r2**3) / (1 + k4 * r2 + k5 * r2**2 + k6 * r2**3)
    dx = 2 * p1 * x * y + p2 * (r2 + 2 * x * x)
    dy = 2 * p2 * x * y + p1 * (r2 + 2 * y * y)
    return x * factor + dx, y * factor + dy


def _fisheye(x: Array, y: Array, coefficients: Sequence[float]) -> tuple[Array, Array]:
    r = np.hypot(x, y)
    theta = np.arctan(r)
    bent = theta * (1.0 + sum(k * theta ** (2 * i + 2) for i, k in enumerate(coefficients)))
    factor = np.where(r > 1e-12, bent / np.maximum(r, 1e-12), 1.0)
    return x * factor, y * factor


# Distortion of normalised image coordinates, by model.
_DISTORTIONS: dict[str, Callable[[Array, Array, Sequence[float]], tuple[Array, Array]]] = {
    "SIMPLE_PINHOLE": _radial,
    "PINHOLE": _radial,
    "SIMPLE_RADIAL": _radial,
    "RADIAL": _radial,
    "OPENCV": _brown,
    "FULL_OPENCV": _brown,
    "SIMPLE_RADIAL_FISHEYE": _fisheye,
    "RADIAL_FISHEYE": _fisheye,
    "OPENCV_FISHEYE": _fisheye,
}


def project_through(lens: Lens, directions: Array) -> Array:
    """Pixels of the photo as taken where rays in camera axes with z = 1 meet it. (..., 3) -> (..., 2).

    Raises:
        DepthrfError: The lens model is not known here.
    """
    if lens.model not in _DISTORTIONS:
        raise DepthrfError(f"Camera model {lens.model} is not supported; known: {', '.join(_DISTORTIONS)}")
    n = lens.num_focals
    fx, fy = lens.params[0], lens.params[n - 1]
    cx, cy = lens.params[n : n + 2]
    x, y = _DISTORTIONS[lens.model](directions[..., 0], directions[..., 1], lens.distortion)
    return np.stack([fx * x + cx, fy * y + cy], axis=-1)
