"""Matches of two posed photos: distance from the epipolar lines, and where their rays meet.

Notation: a match is x on the z = 1 plane of the first camera and x' on that of the second. ``second_from_first`` is the
rigid transform (R, t) between them. A point at depths z and z' satisfies z' x' = z R x + t.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Meeting:
    """Where the rays of N matches pass closest to each other: z-depths in both photos and the angle between the rays.

    Depths are nan for parallel rays, negative behind a camera.
    """

    depth_first: Array
    depth_second: Array
    angle_deg: Array


def essential_matrix(second_from_first: Array) -> Array:
    """E = [t]x R, (3, 3), of the rigid transform (4, 4) between two cameras: x'^T E x = 0 for every match.

    E x is the epipolar line of x in the second photo (Hartley and Zisserman, 2nd ed., sec. 9.6).
    """
    x, y, z = second_from_first[:3, 3]
    cross = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    return np.asarray(cross @ second_from_first[:3, :3])


def homogeneous(rays: Array) -> Array:
    """Points on the z = 1 plane, (N, 2), with their third coordinate, (N, 3)."""
    return np.column_stack([rays, np.ones(len(rays))])


def epipolar_error_px(
    rays_first: Array, rays_second: Array, second_from_first: Array, focal_first: float, focal_second: float
) -> Array:
    """Distance of matches from the epipolar lines of a relative pose, the larger of both photos', pixels.

    Args:
        rays_first, rays_second: (N, 2) matches on the z = 1 planes.
        second_from_first: (4, 4) rigid transform between the cameras.
        focal_first, focal_second: Pixels; they scale distances on the z = 1 plane.

    Returns:
        (N,); nan where the cameras coincide and no line is defined.
    """
    essential = essential_matrix(second_from_first)
    first, second = homogeneous(rays_first), homogeneous(rays_second)
    lines_second = first @ essential.T
    lines_first = second @ essential
    product = np.abs(np.einsum("ni,ni->n", second, lines_second))
    with np.errstate(divide="ignore", invalid="ignore"):
        in_first = focal_first * product / np.linalg.norm(lines_first[:, :2], axis=1)
        in_second = focal_second * product / np.linalg.norm(lines_second[:, :2], axis=1)
    return np.asarray(np.maximum(in_first, in_second))


def meet(rays_first: Array, rays_second: Array, second_from_first: Array) -> Meeting:
    """Depths that bring the two rays of each match closest: the least squares of z R x + t - z' x'.

    Args:
        rays_first, rays_second: (N, 2) matches on the z = 1 planes.
        second_from_first: (4, 4) rigid transform between the cameras, or one for each match (N, 4, 4); its
            translation's unit is the depths'.
    """
    a = (second_from_first[..., :3, :3] @ homogeneous(rays_first)[:, :, None])[:, :, 0]
    b = homogeneous(rays_second)
    t = np.broadcast_to(second_from_first[..., :3, 3], a.shape)
    aa, bb, ab = (a * a).sum(axis=1), (b * b).sum(axis=1), (a * b).sum(axis=1)
    at, bt = (a * t).sum(axis=1), (b * t).sum(axis=1)
    sine = np.linalg.norm(np.cross(a, b), axis=1)  # accurate for small angles, where aa * bb - ab² is not
    with np.errstate(divide="ignore", invalid="ignore"):
        depth_first = (ab * bt - bb * at) / sine**2
        depth_second = (aa * bt - ab * at) / sine**2
    parallel = sine == 0
    depth_first[parallel] = depth_second[parallel] = np.nan
    return Meeting(depth_first, depth_second, np.rad2deg(np.arctan2(sine, ab)))
