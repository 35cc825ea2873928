"""Pinhole cameras, posed views and sparse scenes.

Conventions of the whole project: OpenCV axes, x right, y down, z forward. ``cam_from_world`` maps world points into
the camera. The pixel origin is the image's corner, so the first pixel's centre is (0.5, 0.5), as in COLMAP. Depth is
z-depth in scene units.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Camera:
    """Pinhole intrinsics in pixels."""

    width: int
    height: int
    fx: float
    fy: float
    cx: float
    cy: float

    @property
    def matrix(self) -> Array:
        """Calibration matrix K, (3, 3)."""
        return np.array([[self.fx, 0.0, self.cx], [0.0, self.fy, self.cy], [0.0, 0.0, 1.0]])

    def resized(self, width: int, height: int) -> Camera:
        """The camera of the same photo resized to ``width`` x ``height`` pixels."""
        sx, sy = width / self.width, height / self.height
        return Camera(width, height, self.fx * sx, self.fy * sy, self.cx * sx, self.cy * sy)

    def fitted(self, max_side: int) -> Camera:
        """The camera scaled down so that its longer side is at most ``max_side`` pixels."""
        scale = max_side / max(self.width, self.height)
        if scale >= 1.0:
            return self
        return self.resized(max(1, round(self.width * scale)), max(1, round(self.height * scale)))

    def turned(self, orientation: int) -> Camera:
        """The camera of the same picture after it was turned upright by its EXIF orientation (1, 3, 6 or 8).

        Raises:
            ValueError: Another orientation, which mirrors: no camera sees that.
        """
        w, h, fx, fy, cx, cy = self.width, self.height, self.fx, self.fy, self.cx, self.cy
        if orientation == 1:
            return self
        if orientation == 3:
            return Camera(w, h, fx, fy, w - cx, h - cy)
        if orientation == 6:  # a quarter turn clockwise
            return Camera(h, w, fy, fx, h - cy, cx)
        if orientation == 8:
            return Camera(h, w, fy, fx, cy, w - cx)
        raise ValueError(f"orientation {orientation} mirrors the picture")

    def directions(self, xy: Array) -> Array:
        """Ray directions in camera axes with z = 1, so that ``t`` along a ray is z-depth. (..., 2) -> (..., 3)."""
        xy = np.asarray(xy, dtype=np.float64)
        x = (xy[..., 0] - self.cx) / self.fx
        y = (xy[..., 1] - self.cy) / self.fy
        return np.stack([x, y, np.ones_like(x)], axis=-1)

    def project(self, points_in_cam: Array) -> Array:
        """Pixels of points in camera axes. (..., 3) -> (..., 2); points with z <= 0 give nan."""
        z = points_in_cam[..., 2]
        z = np.where(z > 0, z, np.nan)
        return np.stack(
            [self.fx * points_in_cam[..., 0] / z + self.cx, self.fy * points_in_cam[..., 1] / z + self.cy], axis=-1
        )

    def pixel_centres(self) -> Array:
        """Centres of all pixels, (H, W, 2) as (x, y); the first is (0.5, 0.5)."""
        x, y = np.meshgrid(np.arange(self.width) + 0.5, np.arange(self.height) + 0.5)
        return np.stack([x, y], axis=-1)


@dataclass(frozen=True)
class View:
    """A photo with its camera and pose. ``name`` is the file name below the image folder."""

    name: str
    camera: Camera
    cam_from_world: Array  # (4, 4)

    @property
    def stem(self) -> str:
        """The name without its ending; per-photo files (depth maps and so on) are called after it."""
        return PurePosixPath(self.name).stem

    @property
    def world_from_cam(self) -> Array:
        """(4, 4)."""
        from depthrf.geometry.transforms import invert_rigid

        return invert_rigid(self.cam_from_world)

    @property
    def centre(self) -> Array:
        """Camera centre in world coordinates, (3,)."""
        return -self.cam_from_world[:3, :3].T @ self.cam_from_world[:3, 3]

    def with_camera(self, camera: Camera) -> View:
        """The same view seen by another camera."""
        return replace(self, camera=camera)


@dataclass(frozen=True)
class SparseDepths:
    """SfM keypoints of one photo that have a 3D point.

    xy: (K, 2) pixels. depth: (K,) z-depth, scene units. error_px: (K,) reprojection error of the observation.
    track_length: (K,) photos that see the point. sigma: (K,) standard deviation of depth, scene units, from the
    reprojection error and the triangulation geometry of the track.
    """

    xy: Array
    depth: Array
    error_px: Array
    track_length: NDArray[np.int64]
    sigma: Array


def containing_pixels(xy: Array) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Row and column of the pixels that contain image positions. (..., 2) -> (...,), (...,)."""
    index = np.floor(xy).astype(np.int64)
    return index[..., 1], index[..., 0]


def surface_normals(points: Array) -> Array:
    """Unit normals (H, W, 3) of the surface that a picture's points (H, W, 3) lie on, towards the camera; zero where
    neighbouring points coincide."""
    # Rows point down and columns right, so that this order turns towards the camera.
    normals = np.cross(np.gradient(points, axis=0), np.gradient(points, axis=1))
    unit: Array = normals / np.maximum(np.linalg.norm(normals, axis=-1, keepdims=True), 1e-300)
    return unit


@dataclass(frozen=True)
class SparseScene:
    """A posed SfM model: views, points (P, 3), colors (P, 3) uint8, error_px (P,), and the keypoints of each view.

    ``depths`` is keyed by view name.
    """

    views: list[View]
    points: Array
    colors: NDArray[np.uint8]
    error_px: Array
    depths: dict[str, SparseDepths] = field(default_factory=dict)


@dataclass(frozen=True)
class DepthPrior:
    """What training reads for one photo: depth and its standard deviation, scene units, float32 (H, W), 0 = none."""

    depth: NDArray[np.float32]
    sigma: NDArray[np.float32]
