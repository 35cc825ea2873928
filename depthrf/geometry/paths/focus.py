"""What a set of photos looks at: the common focus, which way is up, and how far the cameras are spread."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from depthrf.geometry.camera import Array, View

_PRIOR = 0.003  # weight of the cameras' mean up beside their x axes: about that of a hand's roll of three degrees


@dataclass(frozen=True)
class Subject:
    """What a film is about. focus: (3,) world point to look at. up: (3,) unit vector."""

    focus: Array
    up: Array


def subject_of(views: Sequence[View], *, distance: float | None = None) -> Subject:
    """The photos' common focus and the vertical.

    Args:
        views: At least one posed view.
        distance: Typical depth in the middle of the photos, where it is known. A focus that is much nearer or farther,
            as that of nearly parallel axes may be, is moved to this distance.
    """
    focus = focus_point(views)
    if distance is not None:
        centre = np.stack([v.centre for v in views]).mean(0)
        found = float(np.linalg.norm(focus - centre))
        if not 0.4 * distance < found < 1.6 * distance:
            forwards = np.stack([v.cam_from_world[2, :3] for v in views])
            focus = centre + distance * _unit(forwards.mean(0), forwards[0])
    return Subject(focus, vertical(views))


def focus_point(views: Sequence[View]) -> Array:
    """The point nearest to all optical axes (sum of distances, so a few strays do not matter), (3,).

    Where the axes leave it open, as parallel ones do, it lies two spreads ahead of the cameras.
    """
    centres = np.stack([v.centre for v in views])
    forwards = np.stack([v.cam_from_world[2, :3] for v in views])
    spread = spread_of(centres) or 1.0
    guess = centres.mean(0) + 2.0 * spread * _unit(forwards.mean(0), forwards[0])
    across = np.eye(3) - forwards[:, :, None] * forwards[:, None, :]
    point, weights = guess, np.ones(len(views))
    for _ in range(20):
        pull = 1e-3 * weights.sum()
        matrix = (weights[:, None, None] * across).sum(0) + pull * np.eye(3)
        right = (weights[:, None] * np.einsum("nij,nj->ni", across, centres)).sum(0) + pull * guess
        point = np.linalg.solve(matrix, right)
        distance = np.linalg.norm(np.einsum("nij,nj->ni", across, point - centres), axis=1)
        weights = spread / np.maximum(distance, 0.02 * spread)
    return np.asarray(point)


def mean_up(views: Sequence[View]) -> Array:
    """Unit mean of the cameras' up directions in the world, (3,); one camera's where they cancel."""
    ups = np.stack([-v.cam_from_world[1, :3] for v in views])
    return _unit(ups.mean(0), ups[0])


def vertical(views: Sequence[View]) -> Array:
    """The world's up, (3,), a unit vector: at right angles to the cameras' x axes, which people hold level.

    Where those leave it open, as they do when all photos look the same way, it is as near to :func:`mean_up` as can
    be. Photos that were not held level count less the more they disagree.
    """
    rights = np.stack([v.cam_from_world[0, :3] for v in views])
    prior = mean_up(views)
    up, weights = prior, np.ones(len(views))
    for _ in range(10):
        matrix = np.einsum("n,ni,nj->ij", weights, rights, rights) + _PRIOR * weights.sum() * np.eye(3)
        up = _unit(np.linalg.solve(matrix, _PRIOR * weights.sum() * prior), prior)
        weights = 1.0 / np.maximum(np.abs(rights @ up), 0.02)
    return up if up @ prior > 0.5 else prior


def spread_of(centres: Array) -> float:
    """Root mean square distance from the centroid; 0 where all are at one place, rounding apart."""
    spread = float(np.sqrt(((centres - centres.mean(0)) ** 2).sum(1).mean()))
    return spread if spread > 1e-9 * np.abs(centres).max() else 0.0


def medoid(views: Sequence[View], focus: Array) -> View:
    """The most central view: the nearest to all others among those that look towards ``focus``."""
    ordered = sorted(views, key=lambda v: v.name)
    towards = [v for v in ordered if v.cam_from_world[2, :3] @ (focus - v.centre) > 0] or ordered
    centres = np.stack([v.centre for v in ordered])
    return min(towards, key=lambda v: float(np.linalg.norm(centres - v.centre, axis=1).sum()))


def upright_frame(up: Array, towards: Array, otherwise: Array) -> Array:
    """Rows x, y, z: z is ``up``, x is as near to ``towards`` as it can be, (3, 3)."""
    for direction in (towards, otherwise, *np.eye(3)):
        x = direction - (direction @ up) * up
        if np.linalg.norm(x) > 1e-6 * np.linalg.norm(direction):
            break
    x = x / np.linalg.norm(x)
    return np.stack([x, np.cross(up, x), up])


def _unit(vector: Array, otherwise: Array) -> Array:
    length = float(np.linalg.norm(vector))
    return vector / length if length > 1e-3 else otherwise
