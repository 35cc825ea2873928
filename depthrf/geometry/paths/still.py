"""The photos' own viewpoints, one after the other."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from depthrf.geometry.camera import View
from depthrf.geometry.paths.focus import Subject
from depthrf.geometry.paths.ordering import order_views
from depthrf.geometry.paths.route import Route
from depthrf.geometry.pose_curve import PoseCurve


def still(views: Sequence[View], subject: Subject, reach: float = 1.0, *, loop: bool = False) -> Route:
    """Every photo's viewpoint for an equal time, in the order of a short tour; the pictures cut from one to the next.

    Args:
        views: At least one posed view.
        subject, reach: Not used.
        loop: Not used: the last picture cuts to the first as any other.
    """
    ordered = [views[i] for i in order_views(views)]
    centres, rotations = np.stack([v.centre for v in ordered]), np.stack([v.cam_from_world[:3, :3] for v in ordered])
    return Route(PoseCurve.through(centres, rotations, closed=False), cuts=True)
