"""Which photos to match with which, and between which depths to look. Plain numpy on the sparse scene."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from depthrf.geometry.camera import SparseDepths, SparseScene, View

Array = NDArray[np.float64]

# Triangulation angle at which a pair matches best: narrower ones measure depth poorly, wider ones look different.
_BEST_ANGLE_DEG = 8.0
_NARROW_DEG, _WIDE_DEG = 4.0, 12.0
_LEAST_ANGLE_DEG = 0.5
# More points than this do not change the order of the neighbours, only the time it takes.
_ENOUGH_POINTS = 1000


@dataclass(frozen=True)
class DepthRange:
    """Nearest and farthest z-depth to look for, scene units."""

    near: float
    far: float


def pair_score(reference: View, other: View, points: Array) -> float:
    """How much ``other`` tells about the depth of ``reference``.

    The sum over sparse points in front of and inside both photos of a bell over the triangulation angle (Yao et al.
    2018, MVSNet, sec. 4.1), less where the other photo shows the point at a lower resolution.

    Args:
        reference: The photo whose depth is wanted.
        other: A candidate.
        points: (P, 3) world coordinates of points that ``reference`` sees.
    """
    inside, depth = _seen(other, points)
    if not inside.any():
        return 0.0
    to_reference, to_other = reference.centre - points[inside], other.centre - points[inside]
    cosine = (to_reference * to_other).sum(1) / (
        np.linalg.norm(to_reference, axis=1) * np.linalg.norm(to_other, axis=1) + 1e-12
    )
    angle = np.rad2deg(np.arccos(np.clip(cosine, -1.0, 1.0)))
    width = np.where(angle < _BEST_ANGLE_DEG, _NARROW_DEG, _WIDE_DEG)
    bell = np.where(angle > _LEAST_ANGLE_DEG, np.exp(-0.5 * ((angle - _BEST_ANGLE_DEG) / width) ** 2), 0.0)
    own_depth = _depth(reference, points[inside])
    resolution = (other.camera.fx / depth[inside]) / (reference.camera.fx / own_depth)
    return float((bell * np.minimum(1.0, resolution) ** 2).sum())


def choose_neighbours(scene: SparseScene, count: int) -> list[list[int]]:
    """For each view the indices of at most ``count`` others, best first.

    Points count as seen wherever they project into the photo: matching finds out about occlusion, and photos with few
    keypoints of their own still find their neighbours.
    """
    chosen = []
    for i, view in enumerate(scene.views):
        inside, _ = _seen(view, scene.points)
        visible = scene.points[inside]
        visible = visible[:: max(1, len(visible) // _ENOUGH_POINTS)]
        scores = np.array([0.0 if j == i else pair_score(view, other, visible) for j, other in enumerate(scene.views)])
        order = np.argsort(-scores, kind="stable")[:count]
        chosen.append([int(j) for j in order if scores[j] > 0])
    return chosen


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


def _seen(view: View, points: Array) -> tuple[NDArray[np.bool_], Array]:
    """Which points project into the photo (P,), and the z-depth of all (P,)."""
    in_cam = points @ view.cam_from_world[:3, :3].T + view.cam_from_world[:3, 3]
    with np.errstate(invalid="ignore"):
        x, y = view.camera.project(in_cam).T
        inside = (in_cam[:, 2] > 0) & (x >= 0) & (x < view.camera.width) & (y >= 0) & (y < view.camera.height)
    return np.asarray(inside), in_cam[:, 2]


def _depth(view: View, points: Array) -> Array:
    return np.asarray(points @ view.cam_from_world[2, :3] + view.cam_from_world[2, 3])
