"""A route cut into frames: speed, eased ends, loops, level horizon."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from depthrf.geometry.camera import Array
from depthrf.geometry.paths.route import Route
from depthrf.geometry.pose_curve import PoseCurve

_STEEP = 0.1, 0.35  # sine of the angle to the vertical below which a camera's own roll takes over from the horizon


@dataclass(frozen=True)
class Timing:
    """seconds: length of the film; routes with times have their own. ease: seconds of soft start and stop of an open
    route; 0: constant speed. speed: factor of the speed; the film gets as much shorter. loop: end where it starts.
    """

    seconds: float
    fps: float
    ease: float = 0.0
    speed: float = 1.0
    loop: bool = False
    reverse: bool = False


@dataclass(frozen=True)
class CameraPath:
    """The cameras of a film's frames. cam_from_world: (N, 4, 4). fov: (N,) vertical, degrees; None: the photos'."""

    cam_from_world: Array
    fov: Array | None

    def __len__(self) -> int:
        return len(self.cam_from_world)

    @property
    def centres(self) -> Array:
        """(N, 3)."""
        poses = self.cam_from_world
        return np.asarray(-np.einsum("nji,nj->ni", poses[:, :3, :3], poses[:, :3, 3]))

    def part(self, frames: slice) -> CameraPath:
        """Some of the frames."""
        return CameraPath(self.cam_from_world[frames], None if self.fov is None else self.fov[frames])


def frames_of(route: Route, timing: Timing, unit: float, up: Array | None = None) -> CameraPath:
    """Cuts a route into frames.

    Args:
        route: The route.
        timing: Length, speed and direction.
        unit: The distance that counts as much as a turn of one radian when speed is measured.
        up: (3,) unit vector: keep the horizon level, where the camera does not look nearly straight up or down. None:
            the roll is the route's.
    """
    curve, fov = route.curve, route.fov
    points = len(curve.positions)
    if route.cuts or points == 1:
        count = max(2, round(timing.seconds * timing.fps / timing.speed))
        chosen = np.arange(count) * points // count
        frames = PoseCurve(curve.positions[chosen], curve.rotations[chosen], closed=False)
        fov = None if fov is None else fov[chosen]
    else:
        at = curve.arc_length(unit) if route.at is None else route.at
        if at[-1] < 1e-9:  # it stands still
            at = np.arange(points, dtype=np.float64)
        wanted = _lengths(at, timing, timed=route.at is not None, closed=curve.closed)
        frames = curve.sampled(at, wanted)
        fov = None if fov is None else _interpolated_fov(at, fov, wanted)
    rotations = frames.rotations.as_matrix()
    if up is not None:
        rotations = level(rotations, up)
    poses = np.tile(np.eye(4), (len(rotations), 1, 1))
    poses[:, :3, :3] = rotations
    poses[:, :3, 3] = -np.einsum("nij,nj->ni", rotations, frames.positions)
    path = CameraPath(poses, fov)
    return path.part(slice(None, None, -1)) if timing.reverse else path


def level(rotations: Array, up: Array) -> Array:
    """World-to-camera rotations (n, 3, 3) with the roll taken out, so that the horizon is level.

    A camera that looks nearly along ``up`` has no horizon: there its own roll takes over, little by little.
    """
    right, forward = rotations[:, 0], rotations[:, 2]
    horizontal = np.cross(forward, up)
    sine = np.linalg.norm(horizontal, axis=1, keepdims=True)
    weight = np.clip((sine - _STEEP[0]) / (_STEEP[1] - _STEEP[0]), 0.0, 1.0)
    mixed = weight * horizontal / np.maximum(sine, 1e-9) + (1.0 - weight) * right
    mixed -= (mixed * forward).sum(1, keepdims=True) * forward
    length = np.linalg.norm(mixed, axis=1, keepdims=True)
    right = np.where(length > 1e-6, mixed / np.maximum(length, 1e-6), right)
    return np.stack([right, np.cross(forward, right), forward], axis=1)


def _lengths(at: Array, timing: Timing, *, timed: bool, closed: bool) -> Array:
    """Where on the route, in the measure of ``at``, every frame lies."""
    start, end = at[0], at[-1]
    there_and_back = timing.loop and not closed
    seconds = (end - start if timed else timing.seconds) / timing.speed
    if timed and there_and_back:
        seconds *= 2.0
    count = max(2, round(seconds * timing.fps) + (timed and not there_and_back))
    if closed:
        return np.linspace(start, end, count, endpoint=False)
    if there_and_back:
        turn = 2.0 * np.arange(count) / count
        share = 1.0 - np.abs(1.0 - turn)
    else:
        share = np.linspace(0.0, 1.0, count)
    if not timed:
        legs = seconds / 2.0 if there_and_back else seconds
        share = eased(share, min(0.5, timing.ease / legs))
    return np.asarray(start + share * (end - start))


def eased(share: Array, ends: float) -> Array:
    """The part of the way that is gone after a share of the time, both in 0 to 1.

    Args:
        share: (n,).
        ends: Share of the time at both ends, at most 0.5, in which the speed rises and falls (smoothstep).
    """
    if ends <= 0.0:
        return share
    grid = np.linspace(0.0, 1.0, 2001)
    nearest = np.clip(np.minimum(grid, 1.0 - grid) / ends, 0.0, 1.0)
    speed = nearest**2 * (3.0 - 2.0 * nearest)
    gone = np.concatenate([[0.0], np.cumsum(0.5 * (speed[1:] + speed[:-1]))])
    return np.asarray(np.interp(share, grid, gone / gone[-1]))


def _interpolated_fov(at: Array, fov: Array, wanted: Array) -> Array:
    """Field of view at ``wanted``: the size of things changes by equal factors in equal times."""
    tangents = np.log(np.tan(np.deg2rad(fov) / 2.0))
    return np.asarray(2.0 * np.rad2deg(np.arctan(np.exp(np.interp(wanted, at, tangents)))))
