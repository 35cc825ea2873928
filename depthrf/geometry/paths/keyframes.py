"""Paths through given poses: keyframes, which a smooth curve joins, or the frames themselves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.interpolate import CubicSpline, PchipInterpolator
from scipy.spatial.transform import Rotation, RotationSpline

from depthrf.geometry.camera import Array
from depthrf.geometry.paths.route import POINTS, Route
from depthrf.geometry.pose_curve import PoseCurve

_OVERLAP = 3  # keyframes repeated on both sides of a closed path, which make its rotations close smoothly


@dataclass(frozen=True)
class Keyframe:
    """A pose on a path. time: seconds from the start; None: at constant speed. fov: vertical field of view, degrees;
    None: the photos'."""

    cam_from_world: Array  # (4, 4)
    time: float | None = None
    fov: float | None = None

    @property
    def centre(self) -> Array:
        return -self.cam_from_world[:3, :3].T @ self.cam_from_world[:3, 3]


def through_frames(frames: Sequence[Keyframe], fps: float) -> Route:
    """The route that passes the given frames, at least one, one after the other at ``fps``."""
    return Route(_curve(frames), np.arange(len(frames)) / fps, _fovs(frames))


def through_keyframes(keyframes: Sequence[Keyframe], unit: float, *, loop: bool = False) -> Route:
    """The smooth route through at least one keyframe: cubic splines of position and rotation.

    Where all keyframes have times the route passes them then, else at constant speed.

    Args:
        keyframes: In order; times, where all have one, ascend.
        unit: The distance that counts as much as a turn of one radian (:func:`route.length_unit`).
        loop: Go on from the last keyframe to the first; not where they have times.
    """
    timed = all(k.time is not None for k in keyframes)
    curve = _curve(keyframes, closed=loop and not timed and len(keyframes) > 2)
    if len(keyframes) == 1:
        return Route(curve, None, _fovs(keyframes))
    fovs = _fovs(keyframes)
    if timed:
        knots = np.array([k.time for k in keyframes], dtype=np.float64)
    else:
        # Centripetal (Yuksel et al. 2011): no loops nor overshoot where keyframes lie close together.
        knots = np.concatenate([[0.0], np.cumsum(np.sqrt(np.maximum(np.diff(curve.arc_length(unit)), 1e-9)))])
    at = np.linspace(knots[0], knots[-1], max(POINTS, 40 * len(keyframes)))
    positions = _spline(knots, curve.positions, closed=curve.closed)(at)
    dense = PoseCurve(positions, _rotations(knots, curve.rotations, at, closed=curve.closed), curve.closed)
    if fovs is not None:
        tangents = np.tan(np.deg2rad(np.append(fovs, fovs[0])[: len(knots)]) / 2.0)
        fovs = 2.0 * np.rad2deg(np.arctan(np.exp(PchipInterpolator(knots, np.log(tangents))(at))))
    return Route(dense, at - at[0] if timed else None, fovs)


def _curve(keyframes: Sequence[Keyframe], *, closed: bool = False) -> PoseCurve:
    rotations = np.stack([k.cam_from_world[:3, :3] for k in keyframes])
    return PoseCurve.through(np.stack([k.centre for k in keyframes]), rotations, closed=closed)


def _fovs(keyframes: Sequence[Keyframe]) -> Array | None:
    """Every keyframe's field of view, (n,), as that of the nearest before or after that has one; None: none has."""
    known = [(index, k.fov) for index, k in enumerate(keyframes) if k.fov is not None]
    if not known:
        return None
    indices, values = zip(*known, strict=True)
    return np.asarray(np.interp(np.arange(len(keyframes)), indices, values))


def _spline(knots: Array, values: Array, *, closed: bool) -> CubicSpline:
    return CubicSpline(knots, values, bc_type="periodic" if closed else "natural")


def _rotations(knots: Array, rotations: Rotation, at: Array, *, closed: bool) -> Rotation:
    """Rotations (m) at parameters ``at``, smooth in angular acceleration."""
    if closed:
        overlap, length = min(_OVERLAP, len(knots) - 1), knots[-1] - knots[0]
        before, after = slice(-1 - overlap, -1), slice(1, 1 + overlap)
        rotations = Rotation.concatenate([rotations[before], rotations, rotations[after]])
        knots = np.concatenate([knots[before] - length, knots, knots[after] + length])
    return RotationSpline(knots, rotations)(at)
