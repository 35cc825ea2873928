"""Reads and writes ``transforms.json``: nerfstudio's, instant-ngp's and Blender's (NeRF synthetic) camera files.

Poses there are camera-to-world with OpenGL axes; intrinsics are global or per frame, either in pixels (``fl_x``,
``cx``, ``w``, ...) or as ``camera_angle_x`` in radians. https://docs.nerf.studio/quickstart/data_conventions.html
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from depthrf.errors import UsageError
from depthrf.geometry.camera import Camera, View
from depthrf.geometry.lens import Lens
from depthrf.geometry.transforms import cam_from_world_of_opengl, opengl_of_cam_from_world
from depthrf.io.given_poses import GivenPoses, PosedPhoto, check_unique, checked_lens, checked_rigid, user_json
from depthrf.io.images import UnreadableImageError, stored_size
from depthrf.workspace import write_json

_ENDINGS = ("", ".png", ".jpg", ".jpeg", ".JPG", ".PNG")


def read_transforms(path: Path, sizes: Mapping[str, tuple[int, int]] | None = None) -> GivenPoses:
    """Reads a transforms.json.

    Args:
        path: The file.
        sizes: (width, height) by photo stem, for files that tell no image size and have no image beside them.

    Raises:
        UsageError: A field is missing, or a pose is not a rotation and translation; the message names the frame.
    """
    content = user_json(path)
    frames = content.get("frames")
    if not isinstance(frames, list) or not frames:
        raise UsageError(f"{path} has no frames; expected a transforms.json with a list `frames`.")
    photos = [_photo(path, content, frame, index, sizes or {}) for index, frame in enumerate(frames)]
    check_unique((photo.name for photo in photos), path)
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
    pose = cam_from_world_of_opengl(checked_rigid(frame["transform_matrix"], where))
    try:
        camera = _camera({**content, **frame}, name, path, where, sizes)
    except (TypeError, ValueError) as e:
        raise UsageError(f"{where}: the intrinsics are not numbers ({e}).") from e
    return PosedPhoto(name, checked_lens(camera, where), pose)


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
        fx = _focal_of_angle(width, values["camera_angle_x"])
    else:
        raise UsageError(f"{where}: no focal length; expected fl_x (pixels) or camera_angle_x (radians).")
    fy = number("fl_y", _focal_of_angle(height, values.get("camera_angle_y")) or fx)
    pinhole = (fx, fy, number("cx", width / 2), number("cy", height / 2))
    k1, k2, k3, k4, p1, p2 = (number(k) for k in ("k1", "k2", "k3", "k4", "p1", "p2"))
    model = values.get("camera_model", "OPENCV")
    if model == "OPENCV_FISHEYE" or values.get("is_fisheye"):
        return Lens("OPENCV_FISHEYE", width, height, (*pinhole, k1, k2, k3, k4))
    if model not in ("OPENCV", "PINHOLE", "SIMPLE_PINHOLE", "SIMPLE_RADIAL", "RADIAL", "PERSPECTIVE"):
        raise UsageError(f"{where}: camera_model {model} is not supported; expected OPENCV, PINHOLE or OPENCV_FISHEYE.")
    if k4:
        raise UsageError(f"{where}: k4 is {k4:g}; a fourth radial coefficient is only supported for OPENCV_FISHEYE.")
    if k3:
        return Lens("FULL_OPENCV", width, height, (*pinhole, k1, k2, p1, p2, k3, 0.0, 0.0, 0.0))
    if k1 or k2 or p1 or p2:
        return Lens("OPENCV", width, height, (*pinhole, k1, k2, p1, p2))
    return Lens("PINHOLE", width, height, pinhole)


def _focal_of_angle(side: int, angle: Any) -> float:
    """Focal length in pixels from the field of view over ``side``, radians; 0 where there is no angle."""
    return 0.5 * side / math.tan(0.5 * float(angle)) if angle else 0.0


def _image_size(folder: Path, name: str, where: str, sizes: Mapping[str, tuple[int, int]]) -> tuple[int, int]:
    image = find_image(folder, name)
    if image is not None:
        try:
            return stored_size(image)
        except UnreadableImageError as e:
            raise UsageError(f"{where}: {image}: {e}.") from e
    stem = PurePosixPath(name).stem
    if stem in sizes:
        return sizes[stem]
    raise UsageError(f"{where}: the file gives no image size (w, h) and no such image lies beside it.")


def find_image(folder: Path, name: str) -> Path | None:
    """The image that a frame's ``file_path`` names; Blender's leave the ending out."""
    return next((path for ending in _ENDINGS if (path := folder / f"{name}{ending}").is_file()), None)


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


def write_given_poses(
    path: Path, photos: Sequence[PosedPhoto], test: Collection[str] = (), *, tracked: bool = False
) -> None:
    """Writes poses with their lens distortion; :func:`read_transforms` gives them back.

    Args:
        path: The file.
        photos: What to write; names are paths relative to the file's folder.
        test: Names of the photos that do not train.
        tracked: The poses come from a device's tracking; kept as the field ``tracked``.

    Raises:
        UsageError: A lens model has no place in a transforms.json.
    """
    frames = [
        {"file_path": p.name, **_lens_fields(p), "transform_matrix": opengl_of_cam_from_world(p.cam_from_world)}
        for p in photos
    ]
    split = {}
    if test:
        split = {"train_filenames": [p.name for p in photos if p.name not in test], "test_filenames": sorted(test)}
    write_json(path, {"tracked": tracked, **split, "frames": frames})


# Names of COLMAP's distortion parameters, in its order.
_DISTORTION = {
    "SIMPLE_PINHOLE": (),
    "PINHOLE": (),
    "SIMPLE_RADIAL": ("k1",),
    "RADIAL": ("k1", "k2"),
    "OPENCV": ("k1", "k2", "p1", "p2"),
    "FULL_OPENCV": ("k1", "k2", "p1", "p2", "k3"),
    "OPENCV_FISHEYE": ("k1", "k2", "k3", "k4"),
    "SIMPLE_RADIAL_FISHEYE": ("k1",),
    "RADIAL_FISHEYE": ("k1", "k2"),
}


def _lens_fields(photo: PosedPhoto) -> dict[str, Any]:
    lens = photo.camera
    names = _DISTORTION.get(lens.model)
    if names is None or any(lens.distortion[len(names) :]):
        raise UsageError(f"The pose of {photo.name} has a {lens.model} lens, which is not supported here.")
    fx, fy = lens.params[0], lens.params[lens.num_focals - 1]
    cx, cy = lens.params[lens.num_focals : lens.num_focals + 2]
    return {
        "camera_model": "OPENCV_FISHEYE" if "FISHEYE" in lens.model else "OPENCV",
        **intrinsics(Camera(lens.width, lens.height, fx, fy, cx, cy)),
        **dict(zip(names, lens.distortion, strict=False)),
    }


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
