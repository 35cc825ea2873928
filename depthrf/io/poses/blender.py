"""Reads the scenes of the NeRF synthetic data set (``nerf_synthetic``): views rendered by Blender, poses exact.

A scene folder holds ``transforms_train.json``, ``transforms_test.json`` and RGBA pictures named in them without an
ending. ``<split>_depth/<stem>_depth.png``, where present, is a 16-bit picture of the distance along each pixel's ray in
1/10000 scene units, 0 = background.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from depthrf.errors import DepthrfError, UsageError
from depthrf.geometry.camera import Camera, View
from depthrf.io.photos.decoding import UnreadableImageError
from depthrf.io.photos.images import read_png_uint16, read_rgba
from depthrf.io.poses.given_poses import PosedPhoto
from depthrf.io.poses.transforms_json import read_transforms

NEAR, FAR = 2.0, 6.0  # z-depth range of the published protocol, scene units
BACKGROUNDS = {"white": 1.0, "black": 0.0}
_DEPTH_UNITS = 10000.0


@dataclass(frozen=True)
class BlenderFrame:
    """A posed picture; ``depth`` is the file of its depth, None where there is none."""

    view: View
    image: Path
    depth: Path | None


def read_split(scene: Path, split: str) -> list[BlenderFrame]:
    """The frames of ``transforms_<split>.json`` in the file's order.

    Raises:
        UsageError: There is no such file, a picture is missing, or a camera is no pinhole.
    """
    path = scene / f"transforms_{split}.json"
    if not path.is_file():
        raise UsageError(f"{scene} is not a nerf_synthetic scene: there is no {path.name} in it.")
    return [_frame(scene, split, photo) for photo in read_transforms(path).photos]


def _frame(scene: Path, split: str, photo: PosedPhoto) -> BlenderFrame:
    lens = photo.camera
    if lens.model != "PINHOLE":
        raise UsageError(f"{scene}: frame {photo.name} has lens distortion; rendered views have none.")
    image = next((p for p in (scene / f"{photo.name}.png", scene / photo.name) if p.is_file()), None)
    if image is None:
        raise UsageError(f"{scene}: the picture of frame {photo.name} is missing; expected {scene / photo.name}.png")
    depth = scene / f"{split}_depth" / f"{image.stem}_depth.png"
    view = View(image.name, lens.pinhole, photo.cam_from_world)
    return BlenderFrame(view, image, depth if depth.is_file() else None)


def read_image(frame: BlenderFrame, background: str, camera: Camera | None = None) -> NDArray[np.uint8]:
    """The picture on a background colour (``BACKGROUNDS``), averaged down to the size of ``camera``, (H, W, 3).

    Raises:
        DepthrfError: The file is damaged.
    """
    import cv2

    try:
        rgba = read_rgba(frame.image).astype(np.float32) / 255.0
    except UnreadableImageError as e:
        raise DepthrfError(f"{frame.image}: {e}") from e
    alpha = rgba[..., 3:]
    # Blended before it is averaged: colours of transparent pixels mean nothing.
    rgb = rgba[..., :3] * alpha + BACKGROUNDS[background] * (1.0 - alpha)
    if camera is not None and (camera.width, camera.height) != (rgb.shape[1], rgb.shape[0]):
        rgb = cv2.resize(rgb, (camera.width, camera.height), interpolation=cv2.INTER_AREA)
    return np.asarray((rgb * 255.0).round().clip(0, 255), dtype=np.uint8)


def read_depth(frame: BlenderFrame) -> NDArray[np.float32]:
    """z-depth (H, W) in scene units at the file's size, 0 = unknown; all 0 where the frame has no depth file.

    Raises:
        DepthrfError: The file is no 16-bit PNG or has another shape than the picture.
    """
    camera = frame.view.camera
    if frame.depth is None:
        return np.zeros((camera.height, camera.width), dtype=np.float32)
    raw = read_png_uint16(frame.depth)
    if raw.shape[0] * camera.width != raw.shape[1] * camera.height:
        raise DepthrfError(
            f"{frame.depth} is {raw.shape[1]}x{raw.shape[0]}, its picture {camera.width}x{camera.height}; "
            "expected the same shape."
        )
    own = camera.resized(raw.shape[1], raw.shape[0])
    # The direction through a pixel has z = 1: its length is the ratio of distance to z-depth.
    norm = np.linalg.norm(own.directions(own.pixel_centres()), axis=-1)
    return np.asarray(raw / _DEPTH_UNITS / norm, dtype=np.float32)
