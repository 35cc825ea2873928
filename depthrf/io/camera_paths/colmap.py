"""COLMAP text models as camera paths: ``images.txt`` with ``cameras.txt`` beside it, no points needed.

Images in the order of their ids are keyframes, as editors of Gaussian splats export them, unless the file says in a
comment that they are frames, as those written here do.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

import numpy as np

from depthrf.errors import DepthrfError, UsageError
from depthrf.geometry.lens import Lens
from depthrf.geometry.paths.keyframes import Keyframe
from depthrf.io.camera_paths.path_file import FilmPlan, PathFile, focal_of, fov_of, number
from depthrf.io.poses.colmap import ColmapImage, ColmapModel, read_text_poses
from depthrf.io.poses.colmap_text import write_model
from depthrf.storage import atomic_open

_FRAMES = "# frames of a film at fps "


def recognises(path: Path) -> bool:
    """Whether ``path`` is an ``images.txt`` or a folder with one."""
    return path.name == "images.txt" or (path.is_dir() and (path / "images.txt").is_file())


def read(path: Path) -> PathFile:
    """Reads ``images.txt`` and ``cameras.txt`` of a folder.

    Raises:
        UsageError: One of them is missing or malformed, or there is no image.
    """
    folder = path if path.is_dir() else path.parent
    for name in ("images.txt", "cameras.txt"):
        if not (folder / name).is_file():
            raise UsageError(f"{folder} has no {name}; a path of COLMAP's is images.txt with cameras.txt beside it.")
    try:
        cameras, images = read_text_poses(folder)
    except DepthrfError as e:
        raise UsageError(str(e)) from e
    if not images:
        raise UsageError(f"{folder / 'images.txt'} has no images.")
    keyframes = []
    for _, image in sorted(images.items()):
        if image.camera_id not in cameras:
            raise UsageError(f"{folder / 'images.txt'}: {image.name} has camera {image.camera_id}, which is missing.")
        lens = cameras[image.camera_id]
        keyframes.append(Keyframe(image.cam_from_world, fov=fov_of(lens.fy, lens.height)))
    lens = cameras[next(iter(images.values())).camera_id]
    first = (folder / "images.txt").read_text(encoding="utf-8", errors="replace").partition("\n")[0]
    fps = None
    if first.startswith(_FRAMES):
        with contextlib.suppress(ValueError):
            fps = float(first.removeprefix(_FRAMES))
        fps = number({"fps": fps or 0.0}, "fps", str(folder / "images.txt"), positive=True)
    return PathFile(keyframes, fps is not None, fps, (lens.width, lens.height))


def write(path: Path, plan: FilmPlan) -> None:
    """Writes ``images.txt``, ``cameras.txt`` (PINHOLE) and an empty ``points3D.txt`` into the folder ``path``, or, for
    a path that ends in ``images.txt``, beside it."""
    folder = path.parent if path.name == "images.txt" else path
    width, height = plan.size
    lenses: dict[float, int] = {}
    images = {}
    for index, (pose, fov) in enumerate(zip(plan.cam_from_world, plan.fov, strict=True)):
        camera = lenses.setdefault(focal_of(float(fov), height), len(lenses) + 1)
        name = f"frame_{index:05d}.png"
        images[index + 1] = ColmapImage(name, camera, pose, np.zeros((0, 2)), np.zeros(0, np.int64))
    cameras = {
        key: Lens("PINHOLE", width, height, (focal, focal, width / 2, height / 2)) for focal, key in lenses.items()
    }
    xyz, rgb = np.zeros((0, 3)), np.zeros((0, 3), np.uint8)
    write_model(folder, ColmapModel(cameras, images, np.zeros(0, np.int64), xyz, rgb, np.zeros(0)))
    written = (folder / "images.txt").read_text(encoding="utf-8")
    with atomic_open(folder / "images.txt") as handle:
        handle.write(f"{_FRAMES}{plan.fps:g}\n{written}")
