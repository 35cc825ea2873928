"""Which photos to match or compare with which, and between which depths to look. Plain numpy on the sparse scene."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from depthrf.geometry.camera import SparseDepths, SparseScene, View

Array = NDArray[np.float64]

# Triangulation angle at which a pair matches best: narrower ones measure depth poorly, wider ones look different.
_BEST_ANGLE_DEG = 8.0
_NARROW_DEG, _WIDE_DEG = 4.0, 12.0
_LEAST_ANGLE_DEG = 0.5
# More points than this cost time without changing the order of the neighbours.
_ENOUGH_POINTS = 1000
# Of many photos, a few points choose a shortlist: twice as many as wanted, and some to spare.
_FEW_POINTS, _SPARE = 60, 16

MOST_COMPARED = 24
"""Photos whose depth is compared with that of one, at most."""


@dataclass(frozen=True)
class DepthRange:
    """Nearest and farthest z-depth to look for, scene units."""

    near: float
    far: float


def pair_scores(reference: View, others: Sequence[View], points: Array) -> Array:
    """How useful each of ``others`` is for measuring the depth of ``reference``, (N,).

    The sum over sparse points in front of and inside both photos of a bell over the triangulation angle (Yao et al.
    2018, MVSNet, sec. 4.1), less where the other photo shows the point at a lower resolution.

    Args:
        reference: The photo whose depth is wanted.
        others: Candidates.
        points: (P, 3) world coordinates of points that ``reference`` sees.
    """
    pose = np.stack([view.cam_from_world[:3] for view in others])
    in_cam = points @ pose[:, :, :3].transpose(0, 2, 1) + pose[:, None, :, 3]
    lens = [(c.fx, c.fy, c.cx, c.cy, c.width, c.height) for c in (view.camera for view in others)]
    fx, fy, cx, cy, width, height = np.array(lens, dtype=np.float64).T[:, :, None]
    x, y, depth = np.moveaxis(in_cam, -1, 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        x, y = fx * x / depth + cx, fy * y / depth + cy
    other, point = np.nonzero((depth > 0) & (x >= 0) & (x < width) & (y >= 0) & (y < height))
    centres = np.stack([view.centre for view in others])
    to_reference, to_other = (reference.centre - points)[point], centres[other] - points[point]
    cosine = (to_reference * to_other).sum(1) / (
        np.linalg.norm(to_reference, axis=1) * np.linalg.norm(to_other, axis=1) + 1e-12
    )
    angle = np.rad2deg(np.arccos(np.clip(cosine, -1.0, 1.0)))
    bell_width = np.where(angle < _BEST_ANGLE_DEG, _NARROW_DEG, _WIDE_DEG)
    bell = np.where(angle > _LEAST_ANGLE_DEG, np.exp(-0.5 * ((angle - _BEST_ANGLE_DEG) / bell_width) ** 2), 0.0)
    own_depth = points @ reference.cam_from_world[2, :3] + reference.cam_from_world[2, 3]
    resolution = (fx[other, 0] / depth[other, point]) / (reference.camera.fx / own_depth[point])
    return np.asarray(np.bincount(other, bell * np.minimum(1.0, resolution) ** 2, minlength=len(others)))


def choose_neighbours(scene: SparseScene, count: int) -> list[list[int]]:
    """For each view the indices of at most ``count`` others, best first.

    Points count as seen wherever they project into the photo: matching finds out about occlusion, and photos with few
    keypoints of their own still find their neighbours. Of many others, a few points tell which are worth a closer look.
    """
    chosen = []
    for i, view in enumerate(scene.views):
        visible = _some(scene.points[_seen(view, scene.points)], _ENOUGH_POINTS)
        others = [j for j in range(len(scene.views)) if j != i]
        if len(others) > 2 * count + _SPARE:
            others = sorted(_best(scene.views, view, others, _some(visible, _FEW_POINTS), 2 * count + _SPARE))
        chosen.append(_best(scene.views, view, others, visible, count))
    return chosen


def compared_with(scene: SparseScene) -> list[list[int]]:
    """For each view the indices of the others whose depth is compared with its own: all of few photos.

    Of many, at most :data:`MOST_COMPARED`, so that the time for one photo does not grow with their number.
    """
    if len(scene.views) <= MOST_COMPARED + 1:
        return [[j for j in range(len(scene.views)) if j != i] for i in range(len(scene.views))]
    return [sorted(others) for others in choose_neighbours(scene, MOST_COMPARED)]


def depth_range(sparse: SparseDepths, fallback: DepthRange | None, *, margin: float = 1.4) -> DepthRange | None:
    """Depth range that holds the photo's keypoints with a margin.

    Args:
        sparse: The photo's keypoints.
        fallback: For photos with fewer than ten: the range of all photos.
        margin: Factor on either side; a surface between the keypoints may be nearer or farther than all of them.
    """
    depth = sparse.depth[np.isfinite(sparse.depth) & (sparse.depth > 0)]
    if len(depth) < 10:
        return fallback
    near, far = np.quantile(depth, [0.01, 0.99])
    return DepthRange(float(near / margin), float(far * margin))


def _best(views: Sequence[View], reference: View, others: list[int], points: Array, count: int) -> list[int]:
    """Of the indices ``others``, those with the highest scores above 0, best first; of equals the smaller one first."""
    if not others:
        return []
    scores = pair_scores(reference, [views[j] for j in others], points)
    return [others[k] for k in np.argsort(-scores, kind="stable")[:count] if scores[k] > 0]


def _some(points: Array, number: int) -> Array:
    """At least ``number`` of the points, (P, 3), and less than twice as many; all of fewer."""
    return points[:: max(1, len(points) // number)]


def _seen(view: View, points: Array) -> NDArray[np.bool_]:
    """Which points project into the photo, (P,)."""
    in_cam = points @ view.cam_from_world[:3, :3].T + view.cam_from_world[:3, 3]
    with np.errstate(invalid="ignore"):
        x, y = view.camera.project(in_cam).T
        return np.asarray((in_cam[:, 2] > 0) & (x >= 0) & (x < view.camera.width) & (y >= 0) & (y < view.camera.height))
