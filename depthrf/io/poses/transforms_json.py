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
from depthrf.io.dataset_paths import PHOTO, DatasetFiles, plain_name
from depthrf.io.files import parsing
from depthrf.io.naming import shown
from depthrf.io.photos.decoding import UnreadableImageError, stored_size
from depthrf.io.poses.given_poses import (
    GivenPoses,
    PosedPhoto,
    PoseNotFiniteError,
    SizeUnknownError,
    check_unique,
    checked_lens,
    checked_rigid,
    user_json,
)
from depthrf.storage import write_json

# Names of COLMAP's distortion parameters, in its order, in a transforms.json. Those of nerfstudio keep its names.
_DISTORTION = {
    "SIMPLE_PINHOLE": (),
    "PINHOLE": (),
    "SIMPLE_RADIAL": ("k1",),
    "RADIAL": ("k1", "k2"),
    "OPENCV": ("k1", "k2", "p1", "p2"),
    "FULL_OPENCV": ("k1", "k2", "p1", "p2", "k3", "k4", "k5", "k6"),
    "FOV": ("omega",),
    "SIMPLE_DIVISION": ("k",),
    "DIVISION": ("k",),
    "EUCM": ("alpha", "beta"),
    "SIMPLE_FISHEYE": (),
    "FISHEYE": (),
    "SIMPLE_RADIAL_FISHEYE": ("k1",),
    "RADIAL_FISHEYE": ("k1", "k2"),
    "OPENCV_FISHEYE": ("k1", "k2", "k3", "k4"),
    "THIN_PRISM_FISHEYE": ("k1", "k2", "p1", "p2", "k3", "k4", "sx1", "sy1"),
    "RAD_TAN_THIN_PRISM_FISHEYE": ("k0", "k1", "k2", "k3", "k4", "k5", "p0", "p1", "s0", "s1", "s2", "s3"),
}
_PERSPECTIVE = ("OPENCV", "PINHOLE", "SIMPLE_PINHOLE", "SIMPLE_RADIAL", "RADIAL", "PERSPECTIVE")
_ONE_LIST = ("k1", "k2", "k3", "k4", "p1", "p2")  # the order of nerfstudio's ``distortion_params``


def read_transforms(path: Path, sizes: Mapping[str, tuple[int, int]] | None = None) -> GivenPoses:
    """Reads a transforms.json.

    Args:
        path: The file.
        sizes: (width, height) by photo stem, for files that tell no image size and have no image beside them.

    Raises:
        UsageError: A field is missing, a pose is not a rotation and translation, or none is finite; the message names
            the frame.
    """
    with parsing(path, "a transforms.json"):
        content = user_json(path)
        photos: list[PosedPhoto] = []
        lost: list[str] = []
        absent: list[str] = []
        reason: UsageError | None = None
        files = DatasetFiles(path.parent)
        for index, frame in enumerate(frames_of(path, content)):
            try:
                photos.append(_photo(path, content, frame, index, sizes or {}, files))
            except PoseNotFiniteError as e:
                lost.append(plain_name(frame["file_path"]))
                reason = e
            except SizeUnknownError as e:
                absent.append(plain_name(frame["file_path"]))
                reason = e
        if not photos and reason is not None:
            raise reason
        check_unique([photo.name for photo in photos] + lost + absent, path)
        train = _names(path, content, "train_filenames")
        test = _names(path, content, "test_filenames") or _names(path, content, "val_filenames")
        return GivenPoses(photos, train or None, test, tuple(lost), tuple(absent))


def frames_of(path: Path, content: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The frames of a transforms.json, each with a name and a pose.

    Raises:
        UsageError: There are none, or one lacks a field.
    """
    frames = content.get("frames")
    if not isinstance(frames, list) or not frames:
        raise UsageError(f"{path} has no frames; expected a transforms.json with a list `frames`.")
    for index, frame in enumerate(frames):
        if not isinstance(frame, dict) or "file_path" not in frame or "transform_matrix" not in frame:
            raise UsageError(f"{path}: frame {index} lacks file_path or transform_matrix.")
    return frames


def _names(path: Path, content: Mapping[str, Any], key: str) -> frozenset[str]:
    names = content.get(key) or []
    if not isinstance(names, list):
        raise UsageError(f"{path}: {key} should be a list of names; found {str(names)[:60]!r}.")
    return frozenset(plain_name(name) for name in names)


def _photo(
    path: Path,
    content: Mapping[str, Any],
    frame: Mapping[str, Any],
    index: int,
    sizes: Mapping[str, tuple[int, int]],
    files: DatasetFiles,
) -> PosedPhoto:
    name = plain_name(frame["file_path"])
    where = f"{path}: frame {index} ({shown(name)})"
    pose = cam_from_world_of_opengl(checked_rigid(frame["transform_matrix"], where))
    values = {**content, **frame}
    try:
        width, height = _size(values, str(frame["file_path"]), where, sizes, files)
        camera = _lens(values, width, height, where)
    except (TypeError, ValueError, OverflowError) as e:
        raise UsageError(f"{where}: the intrinsics are not numbers ({e}).") from e
    return PosedPhoto(name, checked_lens(camera, where), pose)


def _size(
    values: Mapping[str, Any], name: str, where: str, sizes: Mapping[str, tuple[int, int]], files: DatasetFiles
) -> tuple[int, int]:
    if values.get("w") is not None and values.get("h") is not None:
        return int(values["w"]), int(values["h"])
    image = files.find(name, PHOTO)
    if image is not None:
        try:
            return stored_size(image)
        except UnreadableImageError as e:
            raise UsageError(f"{where}: {image}: {e}.") from e
    stem = PurePosixPath(plain_name(name)).stem
    if stem in sizes:
        return sizes[stem]
    raise SizeUnknownError(f"{where}: the file gives no image size (w, h) and no such image lies beside it.")


def _lens(values: Mapping[str, Any], width: int, height: int, where: str) -> Lens:
    """The lens of a frame's intrinsics (its own before the file's)."""
    params = values.get("distortion_params")
    if isinstance(params, list):
        values = {**values, **_of_one_list(params, values.get("camera_model"), where)}

    def number(key: str, default: float = 0.0) -> float:
        return float(values.get(key) or default)

    if values.get("fl_x"):
        fx = number("fl_x")
    elif values.get("camera_angle_x"):
        fx = _focal_of_angle(width, values["camera_angle_x"])
    else:
        raise UsageError(f"{where}: no focal length; expected fl_x (pixels) or camera_angle_x (radians).")
    fy = number("fl_y", _focal_of_angle(height, values.get("camera_angle_y")) or fx)
    pinhole = (fx, fy, number("cx", width / 2), number("cy", height / 2))
    model = _model(values, where)
    distortion = tuple(number(key) for key in _DISTORTION[model])
    two_focals = Lens(model, width, height, (*pinhole, *distortion))
    if two_focals.num_focals == 1:
        return Lens(model, width, height, (0.5 * (fx + fy), *pinhole[2:], *distortion))
    return two_focals


def _model(values: Mapping[str, Any], where: str) -> str:
    """COLMAP's name of the lens model: perspective ones as simple as the coefficients that are not 0 allow."""
    model = str(values.get("camera_model") or "OPENCV")
    if values.get("is_fisheye") and model in _PERSPECTIVE:
        model = "OPENCV_FISHEYE"
    if model not in _PERSPECTIVE:
        if model in _DISTORTION:
            return model
        raise UsageError(
            f"{where}: camera_model {model} is not supported; expected one of {', '.join(_DISTORTION)}. "
            "COLMAP's image_undistorter, or cutting panoramas (--panorama cut), makes photos without distortion."
        )
    used = {key for key in ("k1", "k2", "k3", "k4", "k5", "k6", "p1", "p2") if float(values.get(key) or 0.0)}
    if "k4" in used and not used & {"k5", "k6"}:
        raise UsageError(
            f"{where}: k4 is {float(values['k4']):g}; a fourth radial coefficient is only known for OPENCV_FISHEYE "
            "and FULL_OPENCV (camera_model)."
        )
    return "FULL_OPENCV" if used & {"k3", "k4", "k5", "k6"} else "OPENCV" if used else "PINHOLE"


def _of_one_list(params: list[Any], model: Any, where: str) -> dict[str, Any]:
    """nerfstudio's ``distortion_params`` under the names of its other fields."""
    if model == "FISHEYE624" and len(params) == 12:
        names = _DISTORTION["RAD_TAN_THIN_PRISM_FISHEYE"]
        return {"camera_model": "RAD_TAN_THIN_PRISM_FISHEYE", **dict(zip(names, params, strict=True))}
    if len(params) != len(_ONE_LIST):
        raise UsageError(f"{where}: distortion_params should be {len(_ONE_LIST)} numbers; found {len(params)}.")
    return dict(zip(_ONE_LIST, params, strict=True))


def _focal_of_angle(side: int, angle: Any) -> float:
    """Focal length in pixels from the field of view over ``side``, radians; 0 where there is no angle."""
    return 0.5 * side / math.tan(0.5 * float(angle)) if angle else 0.0


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
    """
    frames = [
        {"file_path": p.name, **_lens_fields(p.camera), "transform_matrix": opengl_of_cam_from_world(p.cam_from_world)}
        for p in photos
    ]
    split = {}
    if test:
        split = {"train_filenames": [p.name for p in photos if p.name not in test], "test_filenames": sorted(test)}
    write_json(path, {"tracked": tracked, **split, "frames": frames})


def _lens_fields(lens: Lens) -> dict[str, Any]:
    distortion = dict(zip(_DISTORTION[lens.model], lens.distortion, strict=True))
    return {"camera_model": lens.model, **intrinsics(lens.pinhole), **distortion}


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
        view = View(PurePosixPath(photo.name).name, photo.camera.pinhole, photo.cam_from_world)
        (test if photo.name in given.test else train).append(view)
    return train, test
