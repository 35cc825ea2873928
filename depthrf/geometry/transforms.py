"""Rigid and similarity transforms, named ``a_from_b``. The only place where OpenCV and OpenGL axes meet."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

_FLIP_YZ = np.diag([1.0, -1.0, -1.0, 1.0])


def invert_rigid(b_from_a: Array) -> Array:
    """Inverse of rigid transforms, (..., 4, 4)."""
    rotation = np.swapaxes(b_from_a[..., :3, :3], -1, -2)
    result = np.zeros_like(b_from_a)
    result[..., :3, :3] = rotation
    result[..., :3, 3] = -(rotation @ b_from_a[..., :3, 3:])[..., 0]
    result[..., 3, 3] = 1.0
    return result


def rigid(rotation: Array, translation: Array) -> Array:
    """(4, 4) from rotation (3, 3) and translation (3,)."""
    result = np.eye(4)
    result[:3, :3] = rotation
    result[:3, 3] = translation
    return result


def cam_from_world_of_opengl(world_from_glcam: Array) -> Array:
    """OpenCV ``cam_from_world`` from OpenGL camera-to-world (x right, y up, z backward), (4, 4)."""
    return invert_rigid(world_from_glcam @ _FLIP_YZ)


def opengl_of_cam_from_world(cam_from_world: Array) -> Array:
    """OpenGL camera-to-world (x right, y up, z backward), as transforms.json stores it, from OpenCV, (4, 4)."""
    return invert_rigid(cam_from_world) @ _FLIP_YZ


def look_at(centre: Array, target: Array, up: Array) -> Array:
    """``cam_from_world`` of a camera at ``centre`` looking at ``target``, ``up`` pointing up in the image, (4, 4)."""
    forward = (target - centre) / np.linalg.norm(target - centre)
    right = np.cross(forward, up)
    right /= np.linalg.norm(right)
    rotation = np.stack([right, np.cross(forward, right), forward])
    return rigid(rotation, -rotation @ centre)


def rotation_angle_deg(rotation_a: Array, rotation_b: Array) -> Array:
    """Angle between rotations (..., 3, 3), degrees."""
    # From the chord |A - B|_F = 2 sqrt(2) sin(angle / 2): accurate for small angles, where arccos(trace) is not.
    chord = np.linalg.norm(rotation_a - rotation_b, axis=(-2, -1)) / (2.0 * np.sqrt(2.0))
    return np.asarray(np.rad2deg(2.0 * np.arcsin(np.clip(chord, 0.0, 1.0))))


@dataclass(frozen=True)
class Similarity:
    """x_a = scale * rotation @ x_b + translation."""

    scale: float
    rotation: Array  # (3, 3)
    translation: Array  # (3,)

    def apply(self, points: Array) -> Array:
        """(..., 3) -> (..., 3)."""
        return self.scale * points @ self.rotation.T + self.translation

    def apply_to_pose(self, cam_from_b: Array) -> Array:
        """The same camera posed in a: rigid ``cam_from_a`` (4, 4); camera coordinates grow by ``scale``."""
        rotation = cam_from_b[:3, :3] @ self.rotation.T
        return rigid(rotation, self.scale * cam_from_b[:3, 3] - rotation @ self.translation)

    def inverse(self) -> Similarity:
        rotation = self.rotation.T
        return Similarity(1.0 / self.scale, rotation, -rotation @ self.translation / self.scale)
