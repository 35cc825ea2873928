"""Lens distortion: where a ray meets the photo as it was taken, before undistortion.

Notation: a ray in camera axes meets the z = 1 plane at (x, y), at the distance r from the optical axis. Its angle with
the axis is theta = atan(r). A lens moves (x, y) by the coefficients k (radial), p (tangential) and s (thin prism).

Source: COLMAP ``src/colmap/sensor/models.h``; parameter order is COLMAP's. Pixel origin at the corner.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from depthrf.errors import DepthrfError
from depthrf.geometry.lens import Lens

Array = NDArray[np.float64]

_TINY = 1e-12


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


def _division(x: Array, y: Array, coefficients: Sequence[float]) -> tuple[Array, Array]:
    """The model is (x, y) = (u, v) / (1 + k |u, v|^2) of the photo's (u, v); this is its inverse (a quadratic)."""
    (k,) = coefficients
    factor = 2.0 / (1.0 + np.sqrt(np.maximum(1.0 - 4.0 * k * (x * x + y * y), 0.0)))
    return x * factor, y * factor


def _field_of_view(x: Array, y: Array, coefficients: Sequence[float]) -> tuple[Array, Array]:
    """Devernay and Faugeras 2001, eq. 13: the photo's radius is atan(2 r tan(omega / 2)) / omega."""
    (omega,) = coefficients
    if abs(omega) < 1e-6:
        return x, y
    r = np.hypot(x, y)
    slope = 2.0 * np.tan(0.5 * omega)
    factor = np.where(r > _TINY, np.arctan(r * slope) / np.maximum(r * omega, _TINY * omega), slope / omega)
    return x * factor, y * factor


def _unified(x: Array, y: Array, coefficients: Sequence[float]) -> tuple[Array, Array]:
    """The enhanced unified camera model (Khomutenko et al. 2016, eq. 10) at z = 1."""
    alpha, beta = coefficients
    factor = 1.0 / (alpha * np.sqrt(beta * (x * x + y * y) + 1.0) + 1.0 - alpha)
    return x * factor, y * factor


def _equidistant(x: Array, y: Array) -> tuple[Array, Array]:
    """The ideal fisheye lens: the photo's radius is the angle theta."""
    r = np.hypot(x, y)
    factor = np.where(r > _TINY, np.arctan(r) / np.maximum(r, _TINY), 1.0)
    return x * factor, y * factor


def _fisheye(x: Array, y: Array, coefficients: Sequence[float]) -> tuple[Array, Array]:
    return _radial(*_equidistant(x, y), coefficients)


def _thin_prism_fisheye(x: Array, y: Array, coefficients: Sequence[float]) -> tuple[Array, Array]:
    k1, k2, p1, p2, k3, k4, s1, s2 = coefficients
    u, v = _equidistant(x, y)
    r2 = u * u + v * v
    factor = 1.0 + k1 * r2 + k2 * r2**2 + k3 * r2**3 + k4 * r2**4
    du = 2 * p1 * u * v + p2 * (r2 + 2 * u * u) + s1 * r2
    dv = 2 * p2 * u * v + p1 * (r2 + 2 * v * v) + s2 * r2
    return u * factor + du, v * factor + dv


def _radial_tangential_thin_prism_fisheye(x: Array, y: Array, coefficients: Sequence[float]) -> tuple[Array, Array]:
    u, v = _radial(*_equidistant(x, y), coefficients[:6])
    p0, p1, s0, s1, s2, s3 = coefficients[6:]
    r2 = u * u + v * v
    du = p0 * (r2 + 2 * u * u) + 2 * p1 * u * v + s0 * r2 + s1 * r2**2
    dv = p1 * (r2 + 2 * v * v) + 2 * p0 * u * v + s2 * r2 + s3 * r2**2
    return u + du, v + dv


# Distortion of (x, y) on the z = 1 plane, by model.
_DISTORTIONS: dict[str, Callable[[Array, Array, Sequence[float]], tuple[Array, Array]]] = {
    "SIMPLE_PINHOLE": _radial,
    "PINHOLE": _radial,
    "SIMPLE_RADIAL": _radial,
    "RADIAL": _radial,
    "OPENCV": _brown,
    "FULL_OPENCV": _brown,
    "FOV": _field_of_view,
    "SIMPLE_DIVISION": _division,
    "DIVISION": _division,
    "EUCM": _unified,
    "SIMPLE_FISHEYE": _fisheye,
    "FISHEYE": _fisheye,
    "SIMPLE_RADIAL_FISHEYE": _fisheye,
    "RADIAL_FISHEYE": _fisheye,
    "OPENCV_FISHEYE": _fisheye,
    "THIN_PRISM_FISHEYE": _thin_prism_fisheye,
    "RAD_TAN_THIN_PRISM_FISHEYE": _radial_tangential_thin_prism_fisheye,
}


def project_through(lens: Lens, directions: Array) -> Array:
    """Pixels of the photo as taken where rays in camera axes with z = 1 meet it. (..., 3) -> (..., 2).

    Raises:
        DepthrfError: The lens model is not known here.
    """
    if lens.model not in _DISTORTIONS:
        raise DepthrfError(f"Camera model {lens.model} is not supported; known: {', '.join(_DISTORTIONS)}")
    x, y = _DISTORTIONS[lens.model](directions[..., 0], directions[..., 1], lens.distortion)
    return np.stack([lens.fx * x + lens.cx, lens.fy * y + lens.cy], axis=-1)


def directions_through(lens: Lens, xy: Array) -> Array:
    """Rays in camera axes with z = 1 of positions in the photo as taken: the inverse of :func:`project_through`.

    Newton's method from the ray of the same lens without distortion; nan where it does not converge, as beyond the
    angle up to which a lens model is one to one.

    Args:
        lens: Of the photo.
        xy: (..., 2) pixels.

    Returns:
        (..., 3).
    """
    xy = np.asarray(xy, dtype=np.float64)
    rays = lens.pinhole.directions(xy)
    if lens.is_fisheye:  # its radius is the angle
        angle = np.minimum(np.hypot(rays[..., 0], rays[..., 1]), 1.5)
        rays[..., :2] *= np.where(angle > _TINY, np.tan(angle) / np.maximum(angle, _TINY), 1.0)[..., None]
    step = 1e-6
    with np.errstate(all="ignore"):
        for _ in range(30):
            missed = xy - project_through(lens, rays)
            slopes = [
                (project_through(lens, rays + side) - project_through(lens, rays - side)) / (2 * step)
                for side in (np.array([step, 0.0, 0.0]), np.array([0.0, step, 0.0]))
            ]
            (a, c), (b, d) = np.moveaxis(slopes[0], -1, 0), np.moveaxis(slopes[1], -1, 0)
            determinant = a * d - b * c
            rays[..., 0] += (d * missed[..., 0] - b * missed[..., 1]) / determinant
            rays[..., 1] += (a * missed[..., 1] - c * missed[..., 0]) / determinant
        met = np.abs(project_through(lens, rays) - xy).max(-1) < 1e-3
        # Where a model folds the photo over, rays of the other side or of beyond the fold meet the pixel as well.
        same_side = np.sum(rays[..., :2] * (lens.pinhole.directions(xy)[..., :2]), axis=-1) >= 0
        rays[~(met & same_side & (determinant > 0))] = np.nan
    return rays
