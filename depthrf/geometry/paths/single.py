"""Ways about the most central photo: a spiral before it, and a dolly into the scene."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from depthrf.geometry.camera import Array, View
from depthrf.geometry.paths.focus import Subject, medoid, spread_of
from depthrf.geometry.paths.route import POINTS, Route, looking_at

_DEEPEST = 0.35  # of the way to the focus that a dolly goes
_SIDEWAYS = 0.12  # of that distance to the side, which shows parallax
_WIDEST, _NARROWEST = 0.25, 0.03  # radius of a spiral, of the distance to the focus


def spiral(views: Sequence[View], subject: Subject, reach: float = 1.0, *, loop: bool = False) -> Route:
    """Two turns before the most central photo, nearer and farther by turns, looking at the focus.

    The path of LLFF (Mildenhall et al. 2019) for photos that face one way: its radii are those of the cameras.

    Args:
        views: At least one posed view.
        subject: The focus and the vertical.
        reach: Factor of the radii.
        loop: Not used: the way is closed.
    """
    middle = medoid(views, subject.focus)
    axes, distance = _axes(middle, subject, views)
    offsets = (np.stack([v.centre for v in views]) - middle.centre) @ axes.T
    radii = np.clip(np.quantile(np.abs(offsets), 0.8, axis=0), _NARROWEST * distance, _WIDEST * distance)
    turns = np.arange(POINTS) / POINTS * 4.0 * np.pi
    local = np.stack([np.cos(turns), np.sin(turns), 0.5 * np.sin(turns / 2.0)], 1) * (reach * radii)
    return looking_at(middle.centre + local @ axes, _ahead(middle, subject, distance), subject.up, closed=True)


def dolly(views: Sequence[View], subject: Subject, reach: float = 1.0, *, loop: bool = False) -> Route:
    """From the most central photo in towards the focus, past one side, so that near things move against far ones.

    Args:
        views: At least one posed view.
        subject: The focus and the vertical.
        reach: Factor of the way; 1 goes a third of the distance in.
        loop: Not used: the way has two ends.
    """
    middle = medoid(views, subject.focus)
    axes, distance = _axes(middle, subject, views)
    at = np.linspace(0.0, 1.0, POINTS)
    ahead, aside = reach * _DEEPEST * distance * at, reach * _SIDEWAYS * distance * np.sin(np.pi * at)
    local = np.stack([aside, np.zeros(POINTS), ahead], 1)
    return looking_at(middle.centre + local @ axes, _ahead(middle, subject, distance), subject.up, closed=False)


def _axes(view: View, subject: Subject, views: Sequence[View]) -> tuple[Array, float]:
    """Rows right, down, forward of the camera as it looks at the focus, (3, 3), and the distance to it.

    The distance is not 0 where the camera is at the focus, but a little of the spread of all ``views``.
    """
    offset = subject.focus - view.centre
    spread = spread_of(np.stack([v.centre for v in views])) or 1.0
    distance = max(float(np.linalg.norm(offset)), 1e-3 * spread)
    if offset @ view.cam_from_world[2, :3] <= 0:
        return view.cam_from_world[:3, :3], distance
    forward = offset / distance
    right = np.cross(forward, subject.up)
    if np.linalg.norm(right) < 1e-3:
        return view.cam_from_world[:3, :3], distance
    right /= np.linalg.norm(right)
    return np.stack([right, np.cross(forward, right), forward]), distance


def _ahead(view: View, subject: Subject, distance: float) -> Array:
    """The focus; where it lies behind the camera, the point as far ahead."""
    ahead = (subject.focus - view.centre) @ view.cam_from_world[2, :3] > 0
    return subject.focus if ahead else view.centre + distance * view.cam_from_world[2, :3]
