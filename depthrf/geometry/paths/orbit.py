"""Closed ways about what the photos look at: along the photos' own distances, or on a sphere."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from depthrf.geometry.camera import Array, View
from depthrf.geometry.paths.focus import Subject, spread_of, upright_frame
from depthrf.geometry.paths.route import POINTS, Route, looking_at
from depthrf.geometry.paths.tour import tour

_FULL_CIRCLE = np.deg2rad(130.0)  # half the arc from which on cameras surround the focus
_STEEPEST = 1.4  # radians of elevation: straight above, a camera that looks at the focus has no upright


def orbit(views: Sequence[View], subject: Subject, reach: float = 1.0, *, loop: bool = False) -> Route:
    """Round the focus through the region of the cameras, always looking at it.

    In angles about the focus: a full circle where the cameras surround it, else an ellipse within their range; the
    distance follows the cameras'. Cameras that look away from each other have no common focus; they get a tour.

    Args:
        views: At least one posed view.
        subject: The focus and the vertical.
        reach: Size of the ellipse; 1 nearly fills the cameras' range. Below 1 nothing is a full circle.
        loop: Not used: an orbit is closed.
    """
    views = sorted(views, key=lambda v: v.name)
    around = _angles(views, subject)
    if around is None:
        return tour(views, subject, loop=True)
    azimuth, elevation, radii, frame = around
    turns = np.arange(POINTS) / POINTS * 2.0 * np.pi
    middle, half = _azimuth_range(azimuth)
    full = half > _FULL_CIRCLE and reach >= 1.0
    wide = 0.9 * half * reach
    azimuths = azimuth[0] + turns if full else middle + wide * np.sin(turns)
    # Elevation and distance follow the cameras' at that azimuth: a kernel average, so always within their range.
    gaps = np.angle(np.exp(1j * (azimuths[:, None] - azimuth)))
    exponents = -0.5 * (gaps / max(3.0 * half / len(views), 1e-3)) ** 2
    weights = np.exp(exponents - exponents.max(1, keepdims=True))
    weights /= weights.sum(1, keepdims=True)
    distances = np.exp(weights @ np.log(radii))
    level = weights @ elevation
    scatter = np.sqrt(np.maximum(weights @ elevation**2 - level**2, 0.0).mean())
    elevations = level + 0.7 * reach * scatter * np.cos(turns)
    return _about(subject, azimuths, elevations, distances, frame)


def sphere(views: Sequence[View], subject: Subject, reach: float = 1.0, *, loop: bool = False) -> Route:
    """Round an object at constant height and distance, on the sphere on which the photos lie in the middle.

    Args:
        views: At least one posed view.
        subject: The focus and the vertical.
        reach: 1 and more: a full circle. Less: that share of it to and fro, in the middle of the photos.
        loop: Not used: the way is closed.
    """
    views = sorted(views, key=lambda v: v.name)
    around = _angles(views, subject)
    if around is None:
        return tour(views, subject, loop=True)
    azimuth, elevation, radii, frame = around
    turns = np.arange(POINTS) / POINTS * 2.0 * np.pi
    middle, _ = _azimuth_range(azimuth)
    azimuths = azimuth[0] + turns if reach >= 1.0 else middle + np.pi * reach * np.sin(turns)
    height, distance = np.median(elevation), np.exp(np.median(np.log(radii)))
    return _about(subject, azimuths, np.full(POINTS, height), np.full(POINTS, distance), frame)


def _angles(views: Sequence[View], subject: Subject) -> tuple[Array, Array, Array, Array] | None:
    """Azimuth, elevation and distance of every camera about the focus, (n,) each, and the frame they are measured in,
    (3, 3); None where the cameras do not look at one focus."""
    centres = np.stack([v.centre for v in views])
    forwards = np.stack([v.cam_from_world[2, :3] for v in views])
    offsets = centres - subject.focus
    radii = np.linalg.norm(offsets, axis=1)
    if not spread_of(centres) or radii.min() < 1e-6 * radii.max() or np.mean((offsets * forwards).sum(1) < 0) < 0.5:
        return None
    frame = upright_frame(subject.up, offsets.mean(0), forwards[0])
    x, y, z = (offsets / radii[:, None] @ frame.T).T
    return np.arctan2(y, x), np.arcsin(np.clip(z, -1.0, 1.0)), radii, frame


def _about(subject: Subject, azimuths: Array, elevations: Array, distances: Array, frame: Array) -> Route:
    elevations = np.clip(elevations, -_STEEPEST, _STEEPEST)
    flat = np.cos(elevations)
    local = np.stack([flat * np.cos(azimuths), flat * np.sin(azimuths), np.sin(elevations)], 1)
    return looking_at(subject.focus + distances[:, None] * (local @ frame), subject.focus, frame[2], closed=True)


def _azimuth_range(azimuth: Array) -> tuple[float, float]:
    """Middle and half width of the circle's arc that holds all azimuths: all but their largest gap."""
    ordered = np.sort(azimuth)
    gaps = np.diff(ordered, append=ordered[0] + 2.0 * np.pi)
    widest = int(np.argmax(gaps))
    half = np.pi - 0.5 * float(gaps[widest])
    return float(ordered[(widest + 1) % len(ordered)]) + half, half
