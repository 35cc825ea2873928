"""How well triangulation fixes a point, and with it the depth of each of its observations.

Notation: a point X (3,) is seen by the photos of its track with pixel noise s (standard deviation of each coordinate).
One observation's Jacobian is J = d(pixel)/dX (2, 3); the covariance of the least-squares point is s² (Σ Jᵀ J)⁻¹
(Hartley & Zisserman, Multiple View Geometry, 2nd ed., sec. 5.2.3). That takes camera poses as exact. Their errors and
those of the intrinsics are added to s: :func:`pose_noise` measures them by how much the depths disagree that different
pairs of photos give one point.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from depthrf.geometry.transforms import invert_rigid
from depthrf.geometry.two_views import meet

Array = NDArray[np.float64]
Index = NDArray[np.int64]

PIXEL_NOISE_FLOOR = 0.5
"""Pixels. Keypoint detection is no better than this, however small a short track's reprojection error is."""


_MIN_ANGLE = np.deg2rad(2.0)
_MIN_SAMPLES = 30
# More would change the third digit of a percentile, and fill the memory.
_MAX_SAMPLES = 100_000
# Observations whose matrices are held at a time.
_BLOCK = 1 << 16


def pose_noise(rays: Array, cam_from_world: Array, focal: Array, view: Index, point: Index) -> float:
    """Pixel noise, beyond the floor, that explains how much two-view depths of the same point disagree.

    An observation whose point is also seen by photos a and b gets two depths, z_a and z_b. Let s be the noise of every
    pixel coordinate. Let the viewing directions differ by angles t_a and t_b, in directions e_a and e_b across the ray.
    Then z_a / z_b - 1 has the variance (s / f)² (1/t_a² + 1/t_b² + |e_a/t_a - e_b/t_b|²). s is taken at the 68th
    percentile, so that wrong matches do not count. What exceeds the floor comes from poses and intrinsics.

    Args:
        rays: (O, 2) observations on the z = 1 plane.
        cam_from_world: (V, 4, 4).
        focal: (V, 2) fx, fy, pixels.
        view: (O,) view of each observation.
        point: (O,) index of the observed point. Of very many observations, some at equal steps are taken.

    Returns:
        Pixels; 0 where too few points are seen by three photos.
    """
    a, b, own = _triples(point)
    some = slice(None, None, -(-len(own) // _MAX_SAMPLES) or None)
    a, b, own = a[some], b[some], own[some]
    world_from_cam = invert_rigid(cam_from_world)
    centre = world_from_cam[:, :3, 3]
    to_own = world_from_cam[view[own]]
    direction = (to_own[:, :3, :3] @ np.column_stack([rays[own], np.ones(len(own))])[:, :, None])[:, :, 0]
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    depth, angle, across = [], [], []
    for other in (a, b):
        meeting = meet(rays[own], rays[other], cam_from_world[view[other]] @ to_own)
        baseline = centre[view[other]] - centre[view[own]]
        baseline -= (baseline * direction).sum(axis=1, keepdims=True) * direction
        length = np.linalg.norm(baseline, axis=1, keepdims=True)
        depth.append(meeting.depth_first)
        angle.append(np.deg2rad(meeting.angle_deg))
        across.append(baseline / np.maximum(length, np.finfo(float).tiny))
    use = (np.minimum(*angle) >= _MIN_ANGLE) & (np.minimum(*depth) > 0)
    if use.sum() < _MIN_SAMPLES:
        return 0.0
    ratio = depth[0][use] / depth[1][use]
    t_a, t_b = angle[0][use, None], angle[1][use, None]
    e_a, e_b = across[0][use], across[1][use]
    deviation = np.sqrt((1 / t_a**2 + 1 / t_b**2)[:, 0] + ((e_a / t_a - e_b / t_b) ** 2).sum(axis=1))
    noise = np.abs(ratio - 1) / deviation * focal[view[own[use]]].mean(axis=1)
    return float(np.sqrt(max(0.0, np.quantile(noise, 0.683) ** 2 - PIXEL_NOISE_FLOOR**2)))


def _triples(point: Index) -> tuple[Index, Index, Index]:
    """For each observation of a point with three or more: two other observations of the point, and itself."""
    order = np.argsort(point, kind="stable")
    _, first, count = np.unique(point[order], return_index=True, return_counts=True)
    start, length = np.repeat(first, count), np.repeat(count, count)
    place = np.arange(len(point)) - start
    long = length >= 3
    a = (start + (place + 1) % length)[long]
    b = (start + (place + 2) % length)[long]
    return order[a], order[b], order[np.flatnonzero(long)]


def track_noise(error_px: Array, point: Index, num_points: int, of_poses: float = 0.0) -> Array:
    """Standard deviation of one pixel coordinate, per point, from its track's reprojection errors.

    A track of n observations leaves 2n - 3 degrees of freedom, so s² = Σ error² / (2n - 3), at least the floor's
    square. An error of a pose shifts everything that the photo sees, so it does not average out in long tracks. Its
    square therefore counts n/2 times, so that a long track gains no certainty from it over one of two observations.

    Args:
        error_px: (O,) length of each observation's reprojection error, pixels.
        point: (O,) index of the observed point.
        num_points: P.
        of_poses: Pixels (:func:`pose_noise`).

    Returns:
        (P,) pixels.
    """
    length = np.bincount(point, minlength=num_points)
    squared = np.bincount(point, weights=error_px**2, minlength=num_points)
    least = PIXEL_NOISE_FLOOR**2 + of_poses**2 * length / 2.0
    return np.asarray(np.sqrt(np.maximum(least, squared / np.maximum(2.0 * length - 3.0, 1.0))))


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
    information = np.zeros((len(points), 3, 3))
    for first in range(0, len(view), _BLOCK):
        v, p = view[first : first + _BLOCK], point[first : first + _BLOCK]
        rotation = cam_from_world[v, :3, :3]
        x, y, z = (np.einsum("oij,oj->oi", rotation, points[p]) + cam_from_world[v, :3, 3]).T
        fx, fy = focal[v].T
        projection = np.zeros((len(v), 2, 3))
        projection[:, 0, 0] = fx / z
        projection[:, 0, 2] = -fx * x / z**2
        projection[:, 1, 1] = fy / z
        projection[:, 1, 2] = -fy * y / z**2
        jacobian = projection @ rotation
        np.add.at(information, p, np.swapaxes(jacobian, 1, 2) @ jacobian)
    return noise_px[:, None, None] ** 2 * _inverse_or_infinite(information)


def _inverse_or_infinite(information: Array) -> Array:
    """Inverse of (P, 3, 3) symmetric matrices; diag(inf) where one is singular to working precision."""
    eigenvalues = np.linalg.eigvalsh(information)  # ascending
    smallest, largest = eigenvalues[:, 0], eigenvalues[:, 2]
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
