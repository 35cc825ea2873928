"""One wall, before which photos stand in a row and look at it; nobody has seen the rest of the world."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from depthrf.geometry.camera import Camera, View
from depthrf.geometry.transforms import look_at
from depthrf.geometry.visibility import SeenDepth

UP = np.array([0.0, 0.0, 1.0])
WALL_Y = 4.0
NEAR, FAR = 1.0, 20.0
CAMERA = Camera(64, 48, 50.0, 50.0, 32.0, 24.0)


def depth_of(view: View) -> NDArray[np.float32]:
    """z-depth (H, W) of the wall ``y = WALL_Y``; 0 where a ray does not meet it."""
    directions = view.camera.directions(view.camera.pixel_centres()) @ view.cam_from_world[:3, :3]
    with np.errstate(divide="ignore"):
        depth = (WALL_Y - view.centre[1]) / directions[..., 1]
    return np.where((depth > 0) & (depth < 100.0), depth, 0.0).astype(np.float32)


def views() -> list[View]:
    """Five views side by side."""
    return [
        View(f"{i}.jpg", CAMERA, look_at(np.array([x, -2.0, 0.0]), np.array([0.5 * x, WALL_Y, 0.0]), UP))
        for i, x in enumerate(np.linspace(-1.5, 1.5, 5))
    ]


def photos() -> list[SeenDepth]:
    """The views with the wall's depth and a sigma of a hundredth of it."""
    return [SeenDepth(v, (d := depth_of(v)), np.float32(0.01) * d) for v in views()]
