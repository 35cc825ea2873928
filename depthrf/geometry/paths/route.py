"""The way of a camera through the scene, before it is cut into frames."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from depthrf.geometry.camera import Array, View
from depthrf.geometry.paths.focus import spread_of
from depthrf.geometry.pose_curve import PoseCurve
from depthrf.geometry.transforms import look_at

POINTS = 400  # of a curve given by a formula: enough that straight pieces between them do not show
TURN_WEIGHT = 0.6  # how much a turn of one radian counts, in units of the cameras' spread


@dataclass(frozen=True)
class Route:
    """Dense points of a curve of poses.

    curve: n poses, world to camera, positions in the world. at: (n,) seconds at which each is passed; None: at
    constant speed. fov: (n,) vertical field of view in degrees; None: the photos'. cuts: neighbours are different
    shots, so frames lie on points and not between them.
    """

    curve: PoseCurve
    at: Array | None = None
    fov: Array | None = None
    cuts: bool = False


def looking_at(centres: Array, target: Array, up: Array, *, closed: bool) -> Route:
    """The route of a camera that passes ``centres`` (n, 3) and always looks at ``target`` (3,)."""
    rotations = np.stack([look_at(c, target, up)[:3, :3] for c in centres])
    return Route(PoseCurve.through(centres, rotations, closed=closed))


def length_unit(views: Sequence[View]) -> float:
    """The distance that counts as much as a turn of one radian when speed is measured."""
    return (spread_of(np.stack([v.centre for v in views])) or 1.0) / TURN_WEIGHT
