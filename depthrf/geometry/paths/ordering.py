"""The order in which a tour visits photos."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from depthrf.geometry.camera import Array, View
from depthrf.geometry.paths.focus import spread_of
from depthrf.geometry.paths.route import TURN_WEIGHT
from depthrf.geometry.transforms import rotation_angle_deg


def order_views(views: Sequence[View]) -> list[int]:
    """A short open tour through all views, as indices: nearest neighbour, then 2-opt, in position and direction."""
    by_name = sorted(range(len(views)), key=lambda i: views[i].name)
    costs = _distances([views[i] for i in by_name])
    starts = [_nearest_neighbour(costs, start) for start in range(len(views))]
    starts.sort(key=lambda tour: _length(costs, tour))
    tour = min((_two_opt(costs, t) for t in starts[:6]), key=lambda t: _length(costs, t))
    if tour[0] > tour[-1]:
        tour = tour[::-1]
    return [by_name[i] for i in tour]


def is_ring(ordered: Sequence[View]) -> bool:
    """Whether the last view of a tour is about as near to its first as neighbours on it are."""
    costs = _distances(ordered)
    return bool(costs[-1, 0] <= 1.5 * np.diag(costs, 1).max())


def _distances(views: Sequence[View]) -> Array:
    """Cost of going from view to view, (n, n): distance in spreads, and the turn."""
    centres = np.stack([v.centre for v in views])
    rotations = np.stack([v.cam_from_world[:3, :3] for v in views])
    turns = np.deg2rad(rotation_angle_deg(rotations[:, None], rotations[None]))
    return np.asarray(
        np.linalg.norm(centres[:, None] - centres, axis=-1) / (spread_of(centres) or 1.0) + TURN_WEIGHT * turns
    )


def _length(costs: Array, route: list[int]) -> float:
    return float(costs[route[:-1], route[1:]].sum())


def _nearest_neighbour(costs: Array, start: int) -> list[int]:
    route, left = [start], np.ones(len(costs), bool)
    left[start] = False
    while left.any():
        route.append(int(np.argmin(np.where(left, costs[route[-1]], np.inf))))
        left[route[-1]] = False
    return route


def _two_opt(costs: Array, route: list[int]) -> list[int]:
    """Reverses stretches of an open route while that shortens it."""
    n, better = len(route), True
    while better:
        better = False
        for i in range(n - 1):
            for j in range(i + 1, n):
                before = after = 0.0
                if i > 0:
                    before, after = before + costs[route[i - 1], route[i]], after + costs[route[i - 1], route[j]]
                if j < n - 1:
                    before, after = before + costs[route[j], route[j + 1]], after + costs[route[i], route[j + 1]]
                if after < before - 1e-9:
                    route = [*route[:i], *route[i : j + 1][::-1], *route[j + 1 :]]
                    better = True
    return route
