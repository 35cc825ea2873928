"""How well triangulation fixes a point, and with it the depth of each of its observations.

Notation: a point X (3,) is seen by the photos of its track with pixel noise s (standard deviation of each coordinate).
One observation's Jacobian is J = d(pixel)/dX (2, 3); the covariance of the least-squares point is s² (Σ Jᵀ J)⁻¹
(Hartley & Zisserman, Multiple View Geometry, 2nd ed., sec. 5.2.3). Camera poses count as exact.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Index = NDArray[np.int64]

PIXEL_NOISE_FLOOR = 0.5
"""Pixels. Keypoint detection is no better than this, however small a short track's reprojection error is."""


def track_noise(error_px: Array, point: Index, num_points: int, floor: float = PIXEL_NOISE_FLOOR) -> Array:
    """Standard deviation of one pixel coordinate, per point, from its track's reprojection errors.

    A track of n observations leaves 2n - 3 degrees of freedom, so s² = Σ error² / (2n - 3), at least ``floor``².

    Args:
        error_px: (O,) length of each observation's reprojection error, pixels.
        point: (O,) index of the observed point.
        num_points: P.
        floor: Pixels.

    Returns:
        (P,) pixels.
    """
    squared = np.bincount(point, weights=error_px**2, minlength=num_points)
    freedom = 2.0 * np.bincount(point, minlength=num_points) - 3.0
    return np.asarray(np.maximum(floor, np.sqrt(squared / np.maximum(freedom, 1.0))))


def point_covariances(
    points: Array, cam_from_world: Array, focal: Array, view: Index, point: Index, noise_px: Array
) -> Array:
    """Covariance of triangulated points in world coordinates.

    Args:
        points: (P, 3) world coordinates.
        cam_from_world: (V, 4, 4).
        focal: (V, 2) fx, fy, pixels.
        view: (O,) view of each observation.
        point: (O,) point of each observation.
        noise_px: (P,) standard deviation of a pixel coordinate.

    Returns:
        (P, 3, 3), scene units squared; infinite on the diagonal where the track does not fix the point (a single
        observation, parallel rays).
    """
    rotation = cam_from_world[view, :3, :3]
    in_cam = np.einsum("oij,oj->oi", rotation, points[point]) + cam_from_world[view, :3, 3]
    x, y, z = in_cam.T
    fx, fy = focal[view].T
    projection = np.zeros((len(view), 2, 3))
    projection[:, 0, 0] = fx / z
    projection[:, 0, 2] = -fx * x / z**2
    projection[:, 1, 1] = fy / z
    projection[:, 1, 2] = -fy * y / z**2
    jacobian = projection @ rotation
    information = np.zeros((len(points), 3, 3))
    np.add.at(information, point, np.swapaxes(jacobian, 1, 2) @ jacobian)
    return noise_px[:, None, None] ** 2 * _inverse_or_infinite(information)


def _inverse_or_infinite(information: Array) -> Array:
    """Inverse of (P, 3, 3) symmetric matrices; diag(inf) where one is singular to working precision."""
    smallest, largest = np.linalg.eigvalsh(information)[:, [0, 2]].T
    good = smallest > 1e-12 * np.maximum(largest, np.finfo(float).tiny)
    result = np.tile(np.diag([np.inf] * 3), (len(information), 1, 1))
    result[good] = np.linalg.inv(information[good])
    return result


def depth_sigma(covariance: Array, cam_from_world: Array) -> Array:
    """Standard deviation of z-depth of points in the views that see them.

    Args:
        covariance: (..., 3, 3) of the points, world coordinates.
        cam_from_world: (..., 4, 4) of the views.

    Returns:
        (...,) scene units; infinite where the covariance is.
    """
    axis = cam_from_world[..., 2, :3]
    infinite = np.asarray(np.isinf(covariance).any(axis=(-2, -1)))
    finite = np.where(infinite[..., None, None], 0.0, covariance)
    variance = np.einsum("...i,...ij,...j->...", axis, finite, axis)
    return np.asarray(np.where(infinite, np.inf, np.sqrt(np.maximum(variance, 0.0))))
