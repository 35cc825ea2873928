"""A tour past all photos."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from depthrf.geometry.camera import View
from depthrf.geometry.paths.focus import Subject
from depthrf.geometry.paths.ordering import is_ring, order_views
from depthrf.geometry.paths.route import Route, length_unit
from depthrf.geometry.pose_curve import PoseCurve

_POINTS_PER_VIEW = 40


def tour(views: Sequence[View], subject: Subject, reach: float = 1.0, *, loop: bool = False) -> Route:
    """Past all views by a short way, smoothed.

    Args:
        views: At least one posed view.
        subject: Not used: the photos say where to look.
        reach: How far the way is smoothed: the standard deviation, in typical steps from view to view. 0 passes every
            camera.
        loop: Go round the views where they form a ring.
    """
    ordered = [views[i] for i in order_views(views)]
    curve = PoseCurve.through(
        np.stack([v.centre for v in ordered]),
        np.stack([v.cam_from_world[:3, :3] for v in ordered]),
        closed=loop and len(ordered) > 2 and is_ring(ordered),
    )
    at = curve.arc_length(length_unit(views))
    if at[-1] < 1e-9:
        return Route(PoseCurve(curve.positions[:1], curve.rotations[:1], closed=False))
    steps = np.diff(at)
    dense = np.linspace(0.0, at[-1], max(_POINTS_PER_VIEW * len(ordered), 200))
    sigma = reach * float(np.median(steps[steps > 1e-9])) / dense[1]
    return Route(curve.sampled(at, dense).smoothed(sigma))
