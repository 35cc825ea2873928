"""Camera paths for videos: smooth, at constant speed, and near the cameras, where the model knows what it shows.

A path is a list of ``cam_from_world`` (4, 4). Paths do not depend on the order of the views nor on the scene's frame
and scale: lengths are measured in the cameras' own spread, up is the mean of the cameras' up.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from depthrf.errors import UsageError
from depthrf.geometry.camera import Array, View
from depthrf.geometry.quaternions import PoseCurve
from depthrf.geometry.transforms import look_at, rigid, rotation_angle_deg

_TURN_WEIGHT = 0.6  # how much a turn of one radian counts, in units of the cameras' spread
_FULL_CIRCLE = np.deg2rad(130.0)  # half the arc from which on cameras surround the focus


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


def tour(views: Sequence[View], num_frames: int, *, smoothness: float = 1.0, loop: bool = False) -> list[Array]:
    """A tour past all views at constant speed.

    Args:
        views: At least one posed view.
        num_frames: Frames wanted.
        smoothness: Standard deviation of the smoothing, in typical steps from view to view; 0 passes every camera.
        loop: End where it starts: round the views where they form a ring, else back along the same way.
    """
    ordered = [views[i] for i in order_views(views)]
    if loop and len(ordered) > 2 and not _is_ring(ordered):
        ordered = ordered + ordered[-2:0:-1]
    curve = PoseCurve.through(
        np.stack([v.centre for v in ordered]), np.stack([v.cam_from_world[:3, :3] for v in ordered]), closed=loop
    )
    unit = (_spread(np.stack([v.centre for v in views])) or 1.0) / _TURN_WEIGHT
    at = curve.arc_length(unit)
    steps = np.diff(at)
    if at[-1] < 1e-9:
        return [ordered[0].cam_from_world.copy() for _ in range(num_frames)]
    dense = np.linspace(0.0, at[-1], max(4 * num_frames, 40 * len(ordered)))
    sigma = smoothness * float(np.median(steps[steps > 1e-9])) / dense[1]
    curve = curve.sampled(at, dense).smoothed(sigma)
    at = curve.arc_length(unit)
    frames = curve.sampled(at, np.linspace(0.0, at[-1], num_frames, endpoint=not loop))
    return [rigid(r, -r @ p) for r, p in zip(frames.rotations(), frames.positions, strict=True)]


def orbit(views: Sequence[View], num_frames: int, *, focus: Array | None = None) -> list[Array]:
    """A closed orbit through the region of the cameras, always looking at ``focus``.

    In angles about the focus: a full circle where the cameras surround it, else an ellipse within their range; the
    distance follows the cameras'. Cameras that look away from each other have no common focus; they get a looped tour.

    Args:
        focus: (3,) world point; :func:`focus_point` when None.
    """
    views = sorted(views, key=lambda v: v.name)
    focus = focus_point(views) if focus is None else np.asarray(focus, dtype=np.float64)
    centres = np.stack([v.centre for v in views])
    forwards = np.stack([v.cam_from_world[2, :3] for v in views])
    offsets = centres - focus
    radii = np.linalg.norm(offsets, axis=1)
    if not _spread(centres) or radii.min() < 1e-6 * radii.max() or np.mean((offsets * forwards).sum(1) < 0) < 0.5:
        return tour(views, num_frames, loop=True)
    frame = _upright_frame(mean_up(views), offsets.mean(0), forwards[0])
    x, y, z = (offsets / radii[:, None] @ frame.T).T
    azimuth, elevation = np.arctan2(y, x), np.arcsin(np.clip(z, -1.0, 1.0))
    turns = np.arange(num_frames) / num_frames * 2.0 * np.pi
    middle, half = _azimuth_range(azimuth)
    full = half > _FULL_CIRCLE
    azimuths = azimuth[0] + turns if full else middle + 0.9 * half * np.sin(turns)
    # Elevation and distance follow the cameras' at that azimuth: a kernel average, so always within their range.
    gaps = np.angle(np.exp(1j * (azimuths[:, None] - azimuth)))
    exponents = -0.5 * (gaps / max(3.0 * half / len(views), 1e-3)) ** 2
    weights = np.exp(exponents - exponents.max(1, keepdims=True))
    weights /= weights.sum(1, keepdims=True)
    distances = np.exp(weights @ np.log(radii))
    level = weights @ elevation
    scatter = np.sqrt(np.maximum(weights @ elevation**2 - level**2, 0.0).mean())
    elevations = np.clip(level + 0.7 * scatter * np.cos(turns), -1.4, 1.4)
    flat = np.cos(elevations)
    local = np.stack([flat * np.cos(azimuths), flat * np.sin(azimuths), np.sin(elevations)], 1)
    return [look_at(c, focus, frame[2]) for c in focus + distances[:, None] * (local @ frame)]


PATHS: dict[str, Callable[[Sequence[View], int], list[Array]]] = {"tour": tour, "orbit": orbit}


def find_path(name: str) -> Callable[[Sequence[View], int], list[Array]]:
    """The path of that name: (views, num_frames) to ``cam_from_world`` of every frame.

    Raises:
        UsageError: An unknown name.
    """
    if name not in PATHS:
        raise UsageError(f"Unknown camera path {name!r}; known paths: {', '.join(PATHS)}")
    return PATHS[name]


def focus_point(views: Sequence[View]) -> Array:
    """The point nearest to all optical axes (sum of distances, so a few strays do not matter), (3,).

    Where the axes leave it open, as parallel ones do, it lies two spreads ahead of the cameras.
    """
    centres = np.stack([v.centre for v in views])
    forwards = np.stack([v.cam_from_world[2, :3] for v in views])
    spread = _spread(centres) or 1.0
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


def _unit(vector: Array, otherwise: Array) -> Array:
    length = float(np.linalg.norm(vector))
    return vector / length if length > 1e-3 else otherwise


def _spread(centres: Array) -> float:
    """Root mean square distance from the centroid; 0 where all are at one place, rounding apart."""
    spread = float(np.sqrt(((centres - centres.mean(0)) ** 2).sum(1).mean()))
    return spread if spread > 1e-9 * np.abs(centres).max() else 0.0


def _upright_frame(up: Array, towards: Array, otherwise: Array) -> Array:
    """Rows x, y, z: z is ``up``, x is as near to ``towards`` as it can be, (3, 3)."""
    for direction in (towards, otherwise, *np.eye(3)):
        x = direction - (direction @ up) * up
        if np.linalg.norm(x) > 1e-6 * np.linalg.norm(direction):
            break
    x = x / np.linalg.norm(x)
    return np.stack([x, np.cross(up, x), up])


def _azimuth_range(azimuth: Array) -> tuple[float, float]:
    """Middle and half width of the circle's arc that holds all azimuths: all but their largest gap."""
    ordered = np.sort(azimuth)
    gaps = np.diff(ordered, append=ordered[0] + 2.0 * np.pi)
    widest = int(np.argmax(gaps))
    half = np.pi - 0.5 * float(gaps[widest])
    return float(ordered[(widest + 1) % len(ordered)]) + half, half


def _distances(views: Sequence[View]) -> Array:
    """Cost of going from view to view, (n, n): distance in spreads, and the turn."""
    centres = np.stack([v.centre for v in views])
    rotations = np.stack([v.cam_from_world[:3, :3] for v in views])
    turns = np.deg2rad(rotation_angle_deg(rotations[:, None], rotations[None]))
    return np.asarray(
        np.linalg.norm(centres[:, None] - centres, axis=-1) / (_spread(centres) or 1.0) + _TURN_WEIGHT * turns
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


def _is_ring(ordered: Sequence[View]) -> bool:
    costs = _distances(ordered)
    return bool(costs[-1, 0] <= 1.5 * np.diag(costs, 1).max())
