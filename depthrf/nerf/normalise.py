"""The normalising similarity of a scene, and the depth range of its rays."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from depthrf.geometry.camera import View
from depthrf.geometry.transforms import Similarity
from depthrf.nerf.rays.batch import Bounds

Array = NDArray[np.float64]


def normalising_similarity(views: list[View], points: Array) -> Similarity:
    """``normalised_from_scene``: puts all cameras and nearly all points (P, 3) into the unit ball.

    Contraction (``coord.contract``) leaves the unit ball as it is, so what the photos show keeps the field's full
    resolution. Only the farthest 5 % of the points may lie outside.
    """
    centres = np.stack([v.centre for v in views])
    seen = np.concatenate([points, centres]) if len(points) else centres
    low, high = np.quantile(seen, [0.02, 0.98], axis=0)
    centre = 0.5 * (low + high)
    radius = max(
        float(np.quantile(np.linalg.norm(seen - centre, axis=1), 0.95)),
        float(np.linalg.norm(centres - centre, axis=1).max()),
        1e-9,
    )
    scale = 1.0 / radius
    return Similarity(scale, np.eye(3), -scale * centre)


def normalise_view(view: View, normalised_from_scene: Similarity) -> View:
    """The view in the normalised scene, where z-depths are ``scale`` times those of the scene."""
    return replace(view, cam_from_world=normalised_from_scene.apply_to_pose(view.cam_from_world))


def depth_bounds(depths: Array) -> Bounds:
    """Depth range that holds all known z-depths (N,) of the normalised scene with a margin.

    The near bound keeps rays away from the cameras, where a few views cannot rule out fog. The far bound leaves room
    for surfaces without keypoints.
    """
    if len(depths) == 0:
        return Bounds(0.05, 8.0)
    nearest, farthest = np.quantile(depths, [0.002, 0.998])
    return Bounds(float(max(0.5 * nearest, 1e-3)), float(2.0 * farthest))
