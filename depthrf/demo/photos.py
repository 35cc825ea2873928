"""The demo scene on disk: photos with EXIF as a phone writes it, held-out photos, and the true poses and depth."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from depthrf.demo.room import FOCAL_35MM, demo_views, render, room_scene
from depthrf.geometry.camera import View
from depthrf.geometry.transforms import opengl_of_cam_from_world
from depthrf.io.photos.exif import camera_exif
from depthrf.io.photos.images import write_jpeg, write_png
from depthrf.io.poses.transforms_json import intrinsics
from depthrf.storage import write_json

MAKE, MODEL = "depthrf", "demo room"


@dataclass(frozen=True)
class DemoFiles:
    """What :func:`write_demo` wrote."""

    photos: Path  # folder of training photos: all that a reconstruction may see
    held_out: Path  # folder of photos in between
    transforms: Path  # true poses of both, metres; train_filenames and test_filenames
    depth: Path  # folder of true z-depth, <stem>.png, uint16 millimetres


def write_demo(
    folder: Path,
    *,
    num_train: int = 20,
    num_test: int = 4,
    width: int = 640,
    height: int = 480,
    seed: int = 0,
    on_step: Callable[[int, int], None] = lambda done, total: None,
) -> DemoFiles:
    """Renders the room into ``folder``. The same arguments give the same files.

    Args:
        folder: Where photos and ground truth go.
        num_train, num_test: Numbers of training and of held-out photos.
        width, height: Size of the photos in pixels.
        seed: Decides the room.
        on_step: Called with the steps done and the steps in all. The first step builds the room, each other one
            renders a photo.
    """
    train, test = demo_views(num_train, num_test, width, height)
    total = 1 + len(train) + len(test)
    truth = folder / "ground_truth"
    files = DemoFiles(folder / "photos", folder / "held_out", truth / "transforms.json", truth / "depth")
    exif = camera_exif(MAKE, MODEL, FOCAL_35MM)
    on_step(0, total)
    scene = room_scene(seed)
    on_step(1, total)
    for i, view in enumerate([*train, *test]):
        rgb, depth = render(scene, view)
        write_jpeg((files.photos if i < len(train) else files.held_out) / view.name, rgb, exif)
        write_png(files.depth / f"{view.stem}.png", np.round(depth * 1000.0).astype(np.uint16))
        on_step(i + 2, total)
    write_json(files.transforms, _transforms(train, test))
    return files


def _transforms(train: list[View], test: list[View]) -> dict[str, Any]:
    """nerfstudio's format: OpenGL camera-to-world, paths relative to the file."""
    train_names = [f"../photos/{v.name}" for v in train]
    test_names = [f"../held_out/{v.name}" for v in test]
    return {
        "camera_model": "OPENCV",
        **intrinsics(train[0].camera),
        "train_filenames": train_names,
        "test_filenames": test_names,
        "frames": [
            {
                "file_path": name,
                "depth_file_path": f"depth/{view.stem}.png",
                "transform_matrix": opengl_of_cam_from_world(view.cam_from_world),
            }
            for name, view in zip([*train_names, *test_names], [*train, *test], strict=True)
        ],
    }
