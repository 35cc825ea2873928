"""The camera of a film: the photos' own, at an even size of no more pixels than theirs; which photos it is near."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from depthrf.geometry.camera import Camera, View
from depthrf.geometry.transforms import rotation_angle_deg
from depthrf.io.camera_paths.path_file import focal_of, fov_of
from depthrf.io.encoding import even_size


def film_camera(photos: Sequence[View], max_side: int, size: tuple[int, int] | None = None) -> Camera:
    """The camera of most photos, scaled down to ``max_side`` pixels and never up, at an even size.

    Args:
        photos: At least one view.
        max_side: Longer side wanted, pixels.
        size: (width, height) whose proportions a path file asks for. The field of view is kept vertically and the
            principal point is then in the middle.
    """
    (width, height), _ = Counter((v.camera.width, v.camera.height) for v in photos).most_common(1)[0]
    camera = next(v.camera for v in photos if (v.camera.width, v.camera.height) == (width, height))
    if size is not None:
        scale = min(1.0, max(width, height) / max(size))
        wide, high = max(2, round(size[0] * scale)), max(2, round(size[1] * scale))
        focal = focal_of(fov_of(camera.fy, camera.height), high)
        camera = Camera(wide, high, focal, focal, wide / 2, high / 2)
    camera = camera.fitted(max_side)
    return camera.resized(*even_size(max(2, camera.width), max(2, camera.height)))


def with_fov(camera: Camera, fov: float) -> Camera:
    """The camera with another vertical field of view, degrees."""
    zoom = focal_of(fov, camera.height) / camera.fy
    return replace(camera, fx=zoom * camera.fx, fy=zoom * camera.fy)


def nearest_photos(view: View, photos: Sequence[View]) -> NDArray[np.int64]:
    """All photos, those taken most nearly from there in that direction first, as indices; half a turn counts as the
    cameras' extent."""
    centres = np.stack([p.centre for p in photos])
    extent = float(np.linalg.norm(np.ptp(centres, axis=0))) or 1.0
    turns = rotation_angle_deg(np.stack([p.cam_from_world[:3, :3] for p in photos]), view.cam_from_world[:3, :3])
    return np.argsort(np.linalg.norm(centres - view.centre, axis=1) / extent + turns / 180.0, kind="stable")
