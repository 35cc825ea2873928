"""Reads and writes ``transforms.json``: nerfstudio's, instant-ngp's and Blender's (NeRF synthetic) camera files.

Poses there are camera-to-world with OpenGL axes; intrinsics are global or per frame, either in pixels (``fl_x``,
``cx``, ``w``, ...) or as ``camera_angle_x`` in radians. https://docs.nerf.studio/quickstart/data_conventions.html
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from depthrf.errors import UsageError
from depthrf.geometry.camera import Camera, View
from depthrf.geometry.lens import Lens
from depthrf.geometry.transforms import cam_from_world_of_opengl, opengl_of_cam_from_world
from depthrf.workspace import read_json, write_json

_ENDINGS = ("", ".png", ".jpg", ".jpeg", ".JPG", ".PNG")
_ORTHONORMAL_TOLERANCE = 1e-2


@dataclass(frozen=True)
class PosedPhoto:
    """One photo's given camera. ``name`` is its path as the file gives it, without a leading ``./``."""

    name: str
    camera: Lens
    cam_from_world: NDArray[np.float64]  # (4, 4)


@dataclass(frozen=True)
class GivenPoses:
    """Poses from outside. ``train`` is None where the source does not split its photos."""

    photos: list[PosedPhoto]
    train: frozenset[str] | None
    test: frozenset[str]


def read_transforms(path: Path, sizes: Mapping[str, tuple[int, int]] | None = None) -> GivenPoses:
    """Reads a transforms.json.

    Args:
        path: The file.
        sizes: (width, height) by photo stem, for files that tell no image size and have no image beside them.

    Raises:
        UsageError: A field is missing, or a pose is not a rotation and translation; the message names the frame.
    """
    content = read_json(path)
    frames = content.get("frames")
    if not isinstance(frames, list) or not frames:
        raise UsageError(f"{path} has no frames; expected a transforms.json with a list `frames`.")
    photos = [_photo(path, content, frame, index, sizes or {}) for index, frame in enumerate(frames)]
    train = _names(content, "train_filenames")
    test = _names(content, "test_filenames") or _names(content, "val_filenames")
    return GivenPoses(photos, train or None, test)


def _names(content: Mapping[str, Any], key: str) -> frozenset[str]:
    return frozenset(_plain(name) for name in content.get(key) or ())


def _plain(name: str) -> str:
    return PurePosixPath(str(name).replace("\\", "/")).as_posix()


def _photo(
    path: Path, content: Mapping[str, Any], frame: Any, index: int, sizes: Mapping[str, tuple[int, int]]
) -> PosedPhoto:
    if not isinstance(frame, dict) or "file_path" not in frame or "transform_matrix" not in frame:
        raise UsageError(f"{path}: frame {index} lacks file_path or transform_matrix.")
    name = _plain(frame["file_path"])
    where = f"{path}: frame {name}"
    pose = cam_from_world_of_opengl(_checked_pose(frame["transform_matrix"], where))
    try:
        camera = _camera({**content, **frame}, name, path, where, sizes)
    except (TypeError, ValueError) as e:
        raise UsageError(f"{where}: the intrinsics are not numbers ({e}).") from e
    return PosedPhoto(name, camera, pose)


def _checked_pose(matrix: Any, where: str) -> NDArray[np.float64]:
    """(4, 4) with an exact rotation; a matrix that is no rigid transform raises."""
    try:
        pose = np.array(matrix, dtype=np.float64)
    except (TypeError, ValueError):
        pose = np.zeros(0)
    if pose.shape == (3, 4):
        pose = np.vstack([pose, [0.0, 0.0, 0.0, 1.0]])
    if pose.shape != (4, 4) or not np.isfinite(pose).all():
        raise UsageError(f"{where}: transform_matrix should be 4x4 finite numbers.")
    rotation = pose[:3, :3]
    off = float(np.abs(rotation @ rotation.T - np.eye(3)).max())
    if off > _ORTHONORMAL_TOLERANCE:
        raise UsageError(
            f"{where}: the rotation part of transform_matrix is not orthonormal (off by {off:.2g}); "
            "expected a rigid camera-to-world transform without scale."
        )
    if np.linalg.det(rotation) < 0:
        raise UsageError(
            f"{where}: transform_matrix mirrors the scene (determinant -1); expected a right-handed "
            "camera-to-world transform with OpenGL axes (x right, y up, z backward)."
        )
    u, _, vt = np.linalg.svd(rotation)
    pose[:3, :3] = u @ vt
    return pose


def _camera(values: Mapping[str, Any], name: str, path: Path, where: str, sizes: Mapping[str, tuple[int, int]]) -> Lens:
    """The lens of a frame's intrinsics (its own before the file's)."""
    if "w" in values and "h" in values:
        width, height = int(values["w"]), int(values["h"])
    else:
        width, height = _image_size(path.parent, name, where, sizes)

    def number(key: str, default: float = 0.0) -> float:
        return float(values.get(key) or default)

    if "fl_x" in values:
        fx = number("fl_x")
    elif "camera_angle_x" in values:
        fx = 0.5 * width / math.tan(0.5 * number("camera_angle_x"))
    else:
        raise UsageError(f"{where}: no focal length; expected fl_x (pixels) or camera_angle_x (radians).")
    fy = number("fl_y", fx)
    pinhole = (fx, fy, number("cx", width / 2), number("cy", height / 2))
    if fx <= 0 or fy <= 0:
        raise UsageError(f"{where}: the focal length is {fx}, {fy}; expected positive pixels.")
    k1, k2, k3, k4, p1, p2 = (number(k) for k in ("k1", "k2", "k3", "k4", "p1", "p2"))
    model = values.get("camera_model", "OPENCV")
    if model == "OPENCV_FISHEYE":
        return Lens("OPENCV_FISHEYE", width, height, (*pinhole, k1, k2, k3, k4))
    if model not in ("OPENCV", "PINHOLE", "SIMPLE_PINHOLE", "SIMPLE_RADIAL", "RADIAL", "PERSPECTIVE"):
        raise UsageError(f"{where}: camera_model {model} is not supported; expected OPENCV, PINHOLE or OPENCV_FISHEYE.")
    if k3 or k4:
        return Lens("FULL_OPENCV", width, height, (*pinhole, k1, k2, p1, p2, k3, k4, 0.0, 0.0))
    if k1 or k2 or p1 or p2:
        return Lens("OPENCV", width, height, (*pinhole, k1, k2, p1, p2))
    return Lens("PINHOLE", width, height, pinhole)


def _image_size(folder: Path, name: str, where: str, sizes: Mapping[str, tuple[int, int]]) -> tuple[int, int]:
    from PIL import Image, UnidentifiedImageError

    for ending in _ENDINGS:
        image = folder / f"{name}{ending}"
        if image.is_file():
            try:
                with Image.open(image) as opened:
                    return opened.size
            except UnidentifiedImageError:
                continue
    stem = PurePosixPath(name).stem
    if stem in sizes:
        return sizes[stem]
    raise UsageError(f"{where}: the file gives no image size (w, h) and no such image lies beside it.")


def write_transforms(
    path: Path,
    views: Sequence[View],
    *,
    image_folder: str,
    test_names: Collection[str] = (),
    point_cloud: str | None = None,
) -> None:
    """Writes undistorted views as nerfstudio reads them.

    Args:
        path: The transforms.json.
        views: All views, train and test.
        image_folder: Where the photos lie, relative to the file's folder, with forward slashes.
        test_names: Names of the views that do not train.
        point_cloud: The sparse points' PLY file, relative to the file's folder.
    """
    frames = []
    for view in views:
        frames.append(
            {
                "file_path": f"{image_folder}/{view.name}",
                **intrinsics(view.camera),
                "transform_matrix": opengl_of_cam_from_world(view.cam_from_world),
            }
        )
    paths = {view.name: f"{image_folder}/{view.name}" for view in views}
    content: dict[str, Any] = {"camera_model": "PINHOLE"}
    if point_cloud is not None:
        content["ply_file_path"] = point_cloud
    content["train_filenames"] = [p for name, p in paths.items() if name not in test_names]
    content["val_filenames"] = content["test_filenames"] = [p for name, p in paths.items() if name in test_names]
    write_json(path, {**content, "frames": frames})


def intrinsics(camera: Camera) -> dict[str, float]:
    """Size and pinhole parameters under the names that transforms.json gives them."""
    return {
        "w": camera.width,
        "h": camera.height,
        "fl_x": camera.fx,
        "fl_y": camera.fy,
        "cx": camera.cx,
        "cy": camera.cy,
    }


def load_views(path: Path) -> tuple[list[View], list[View]]:
    """Train and test views of a workspace's transforms.json (PINHOLE cameras); names are file names.

    Raises:
        UsageError: The file is not as :func:`write_transforms` writes it.
    """
    given = read_transforms(path)
    train: list[View] = []
    test: list[View] = []
    for photo in given.photos:
        if photo.camera.model != "PINHOLE":
            raise UsageError(f"{path}: frame {photo.name} has lens distortion; expected undistorted photos.")
        camera = Camera(photo.camera.width, photo.camera.height, *photo.camera.params)
        view = View(PurePosixPath(photo.name).name, camera, photo.cam_from_world)
        (test if photo.name in given.test else train).append(view)
    return train, test
