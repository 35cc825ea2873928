"""Photos of the inside of a box with random textures: poses, depth and points known exactly, and cheap to render."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from depthrf.geometry.camera import Camera, View
from depthrf.geometry.lens import Lens
from depthrf.geometry.transforms import look_at
from depthrf.io.poses.colmap import ColmapImage, ColmapModel
from depthrf.io.poses.colmap_text import write_model
from depthrf.workspace import Workspace, create_workspace

Array = NDArray[np.float64]
CAMERA = Camera(240, 180, 218.0, 218.0, 120.0, 90.0)
_HALF = np.array([2.0, 1.5, 2.5])
_TEXELS = 500


def _texture(rng: np.random.Generator) -> NDArray[np.float32]:
    """Noise of several scales, as real surfaces have, (T, T, 3) in 0..1."""
    image = np.zeros((_TEXELS, _TEXELS, 3), dtype=np.float32)
    for cells, weight in ((6, 1.0), (20, 1.0), (45, 1.0)):
        coarse = rng.uniform(-1, 1, (cells, cells, 3)).astype(np.float32)
        image += weight * cv2.resize(coarse, (_TEXELS, _TEXELS), interpolation=cv2.INTER_CUBIC)
    return np.asarray(np.clip(0.5 + 0.28 * image, 0, 1), dtype=np.float32)


def textures(seed: int = 0) -> list[NDArray[np.float32]]:
    rng = np.random.default_rng(seed)
    return [_texture(rng) for _ in range(6)]


def render(view: View, walls: list[NDArray[np.float32]]) -> tuple[NDArray[np.uint8], Array]:
    """BGR image (H, W, 3) and z-depth (H, W)."""
    world_from_cam = view.world_from_cam
    directions = view.camera.directions(view.camera.pixel_centres()) @ world_from_cam[:3, :3].T
    origin = world_from_cam[:3, 3]
    far = (np.sign(directions) * _HALF - origin) / np.where(directions == 0, 1e-12, directions)
    depth = far.min(-1)  # directions have camera-z = 1
    axis = far.argmin(-1)
    hit = (origin + depth[..., None] * directions) / _HALF * 0.5 + 0.5
    image = np.zeros((*depth.shape, 3), dtype=np.float32)
    for a in range(3):
        u, v = (hit[..., i] * (_TEXELS - 1) for i in range(3) if i != a)
        for side in (0, 1):
            here = (axis == a) & ((directions[..., a] > 0) == bool(side))
            sampled = cv2.remap(walls[2 * a + side], u.astype(np.float32), v.astype(np.float32), cv2.INTER_LINEAR)
            image[here] = sampled[here]
    return np.round(image * 255).astype(np.uint8), depth


def views(count: int, first: float = -0.8, last: float = 0.8) -> list[View]:
    """Cameras on an arc that look into a corner of the box."""
    result = []
    for i, t in enumerate(np.linspace(first, last, count)):
        centre = np.array([1.1 * t, 0.25 * np.sin(3.0 * t), -1.4 + 0.3 * np.cos(4.0 * t)])
        target = np.array([0.5 + 0.3 * t, 0.2, 2.2])
        result.append(View(f"phöto {i}.png", CAMERA, look_at(centre, target, np.array([0.0, -1.0, 0.0]))))
    return result


def write_photos(folder: Path, shot: list[View], seed: int = 0) -> dict[str, Array]:
    """Writes each view's image; z-depths by name."""
    walls = textures(seed)
    folder.mkdir(parents=True, exist_ok=True)
    depths = {}
    for view in shot:
        image, depths[view.name] = render(view, walls)
        cv2.imwrite(str(folder / view.name), image)
    return depths


def make_workspace(root: Path, shot: list[View], *, focal_px: float | None = None, seed: int = 0) -> Workspace:
    """A workspace as the ingest stage leaves it."""
    workspace = create_workspace(root, root.parent / "photos")
    write_photos(workspace.images, shot, seed)
    workspace.photos.write_text(
        json.dumps(
            {
                "photos": [
                    {
                        "source": view.name,
                        "name": view.name,
                        "status": "used",
                        "reason": None,
                        "width": view.camera.width,
                        "height": view.camera.height,
                        "focal_px": focal_px,
                        "camera_key": "test",
                    }
                    for view in shot
                ]
            }
        )
    )
    return workspace


def write_colmap_model(folder: Path, shot: list[View], lens: Lens) -> None:
    """A COLMAP text model with the views' poses and one lens, without points."""
    images = [ColmapImage(v.name, 1, v.cam_from_world, np.zeros((0, 2)), np.zeros(0, dtype=np.int64)) for v in shot]
    nothing = np.zeros((0, 3))
    model = ColmapModel(
        {1: lens},
        dict(enumerate(images, 1)),
        np.zeros(0, dtype=np.int64),
        nothing,
        nothing.astype(np.uint8),
        np.zeros(0),
    )
    write_model(folder, model)
