"""Reads COLMAP model folders, binary or text, without pycolmap (training and rendering must work where it is absent).

Formats: https://colmap.github.io/format.html. Only the records that depthrf uses are read: cameras, images with their
observations, points. ``rigs`` and ``frames`` of newer models repeat poses that ``images`` still holds.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from depthrf.errors import DepthrfError, UsageError
from depthrf.geometry.camera import Camera, SparseDepths, SparseScene, View
from depthrf.geometry.lens import LENS_MODELS, Lens
from depthrf.geometry.transforms import rigid
from depthrf.geometry.uncertainty import depth_sigma, point_covariances, pose_noise, track_noise
from depthrf.io.files import parsing, read_regular
from depthrf.io.poses.given_poses import GivenPoses, PosedPhoto, checked_lens

T = TypeVar("T")
Array = NDArray[np.float64]

NO_POINT = -1
_MOST_BYTES = 16 * 2**30  # of a file: models of ten thousands of photos stay below
_OTHER_PROPORTIONS = 0.1  # logarithm of a ratio; 4:3 and 3:2 are 0.118 apart


@dataclass(frozen=True)
class ColmapImage:
    """A registered photo: xy (N, 2) pixels of its keypoints and their point ids (N,), -1 where there is no point."""

    name: str
    camera_id: int
    cam_from_world: Array  # (4, 4)
    xy: Array
    point_ids: NDArray[np.int64]


@dataclass(frozen=True)
class ColmapModel:
    """Cameras and images by id; points: ids (P,), xyz (P, 3), rgb (P, 3) uint8, error_px (P,)."""

    cameras: dict[int, Lens]
    images: dict[int, ColmapImage]
    point_ids: NDArray[np.int64]
    xyz: Array
    rgb: NDArray[np.uint8]
    error_px: Array

    def lens_of(self, view: View) -> Lens:
        """The lens that the photo of an undistorted view was taken with.

        A view that is not in the model, a test view or a further photo, has of the model's lenses that of its
        proportions, and among several the one whose focal length is nearest: undistorting changes neither by much.
        """
        for image in self.images.values():
            if image.name == view.name:
                return self.cameras[image.camera_id]
        camera = view.camera

        def unlike(lens: Lens) -> tuple[bool, float]:
            turned = abs(np.log(lens.width * camera.height / (lens.height * camera.width))) > _OTHER_PROPORTIONS
            return turned, abs(float(np.log(lens.focal / lens.width * camera.width / camera.fx)))

        return min((self.cameras[key] for key in sorted(self.cameras)), key=unlike)


def is_model(folder: Path) -> bool:
    """Whether ``folder`` holds a COLMAP model."""
    return any(all((folder / f"{n}{e}").is_file() for n in ("cameras", "images", "points3D")) for e in (".bin", ".txt"))


def read_model(folder: Path) -> ColmapModel:
    """Reads ``cameras``, ``images`` and ``points3D``, ``.bin`` before ``.txt``.

    Raises:
        UsageError: There is no model in the folder.
        DepthrfError: A file is cut off or malformed.
    """
    if not is_model(folder):
        raise UsageError(
            f"{folder} is not a COLMAP model: expected cameras, images and points3D, all as .bin or all as .txt"
        )
    binary = (folder / "cameras.bin").is_file() and (folder / "points3D.bin").is_file()
    ending = ".bin" if binary else ".txt"
    cameras = _read(folder / f"cameras{ending}", _cameras_bin if binary else _cameras_txt)
    images = _read(folder / f"images{ending}", _images_bin if binary else _images_txt)
    ids, xyz, rgb, error = _read(folder / f"points3D{ending}", _points_bin if binary else _points_txt)
    return ColmapModel(cameras, images, ids, xyz, rgb, error)


def read_poses(folder: Path) -> GivenPoses:
    """The poses and intrinsics of the model in ``folder``, by name.

    Raises:
        UsageError: There is no model, it is of no image, or a camera is not a possible one.
        DepthrfError: A file is cut off or malformed.
    """
    model = read_model(folder)
    if not model.images:
        raise UsageError(f"The COLMAP model {folder} has no registered images.")
    with parsing(folder, "a COLMAP model"):
        images = sorted(model.images.values(), key=lambda image: image.name)
        for camera_id in sorted({image.camera_id for image in images}):
            if camera_id not in model.cameras:
                raise UsageError(f"{folder}: its images name camera {camera_id}, which it does not have.")
            checked_lens(model.cameras[camera_id], f"{folder}: camera {camera_id}")
    finite = [i for i in images if np.isfinite(i.cam_from_world).all()]
    if not finite:
        raise UsageError(f"The COLMAP model {folder} has no image whose pose is finite.")
    photos = [PosedPhoto(i.name, model.cameras[i.camera_id], i.cam_from_world) for i in finite]
    lost = tuple(i.name for i in images if not np.isfinite(i.cam_from_world).all())
    return GivenPoses(photos, None, frozenset(), lost)


def read_text_poses(folder: Path) -> tuple[dict[int, Lens], dict[int, ColmapImage]]:
    """Cameras and images, by id, of ``cameras.txt`` and ``images.txt``, which need no points beside them.

    Raises:
        DepthrfError: A file is cut off or malformed.
    """
    return _read(folder / "cameras.txt", _cameras_txt), _read(folder / "images.txt", _images_txt)


def _read(path: Path, parse: Callable[[bytes], T]) -> T:
    try:
        return parse(read_regular(path, _MOST_BYTES))
    except DepthrfError:
        raise
    except OSError as e:
        raise UsageError(f"{path} cannot be read: {e.strerror}.") from e
    except Exception as e:  # whatever a damaged file makes of the parser
        raise DepthrfError(f"{path} is damaged or not in COLMAP's format ({str(e)[:120] or type(e).__name__}).") from e


def _cameras_bin(data: bytes) -> dict[int, Lens]:
    cameras, at = {}, 8
    for _ in range(struct.unpack_from("<Q", data)[0]):
        key, model, width, height = struct.unpack_from("<IiQQ", data, at)
        if model not in LENS_MODELS:
            raise _unknown_model(f"number {model}")
        name, count = LENS_MODELS[model]
        cameras[key] = Lens(name, width, height, struct.unpack_from(f"<{count}d", data, at + 24))
        at += 24 + 8 * count
    return cameras


def _unknown_model(found: str) -> UsageError:
    known = ", ".join(name for name, _ in LENS_MODELS.values())
    return UsageError(
        f"The COLMAP model has a camera of a kind that is not supported: {found}. Expected one of {known}; COLMAP's "
        "image_undistorter makes PINHOLE cameras of any."
    )


OBSERVATION = np.dtype([("xy", "<f8", 2), ("point", "<i8")])


def _images_bin(data: bytes) -> dict[int, ColmapImage]:
    images, at = {}, 8
    for _ in range(struct.unpack_from("<Q", data)[0]):
        key, *pose, camera = struct.unpack_from("<I7dI", data, at)
        end = data.index(b"\0", at + 64)
        name = data[at + 64 : end].decode()
        (count,) = struct.unpack_from("<Q", data, end + 1)
        observed = np.frombuffer(data, OBSERVATION, count, end + 9)
        at = end + 9 + count * OBSERVATION.itemsize
        images[key] = ColmapImage(
            name, camera, _cam_from_world(pose), observed["xy"].copy(), observed["point"].astype(np.int64)
        )
    return images


def _points_bin(data: bytes) -> tuple[NDArray[np.int64], Array, NDArray[np.uint8], Array]:
    rows, at = [], 8
    for _ in range(struct.unpack_from("<Q", data)[0]):
        rows.append(struct.unpack_from("<Q3d3BdQ", data, at))
        at += 51 + 8 * rows[-1][-1]
    return _points([(r[0], r[1:4], r[4:7], r[7]) for r in rows])


def _lines(data: bytes) -> list[str]:
    return [line for line in data.decode().splitlines() if not line.startswith("#")]


def _cameras_txt(data: bytes) -> dict[int, Lens]:
    cameras = {}
    for line in filter(str.strip, _lines(data)):
        key, model, width, height, *params = line.split()
        counts = dict(LENS_MODELS.values())
        if model not in counts:
            raise _unknown_model(model)
        if len(params) != counts[model]:
            raise ValueError(f"{len(params)} parameters of a {model} camera")
        cameras[int(key)] = Lens(model, int(width), int(height), tuple(map(float, params)))
    return cameras


def _images_txt(data: bytes) -> dict[int, ColmapImage]:
    lines = _lines(data)
    while lines and not lines[-1].strip():
        lines.pop()
    if not all(map(_is_observations, lines[1::2])):  # written without the observations' lines
        lines = [part for line in lines if line.strip() for part in (line, "")]
    if len(lines) % 2:  # the last image has no observations: its empty line was stripped
        lines.append("")
    images = {}
    for head, tail in zip(lines[::2], lines[1::2], strict=True):
        key, *pose, camera, name = head.split(maxsplit=9)
        observed = np.array(tail.split(), dtype=np.float64).reshape(-1, 3)
        images[int(key)] = ColmapImage(
            name.strip(),
            int(camera),
            _cam_from_world([float(v) for v in pose]),
            observed[:, :2],
            observed[:, 2].astype(np.int64),
        )
    return images


def _is_observations(line: str) -> bool:
    """Whether a line is one of keypoints (x, y, point id, ...), and not of an image, which has ten fields."""
    return len(line.split()) % 3 == 0


def _points_txt(data: bytes) -> tuple[NDArray[np.int64], Array, NDArray[np.uint8], Array]:
    rows = [line.split()[:8] for line in _lines(data) if line.strip()]
    return _points([(int(r[0]), tuple(map(float, r[1:4])), tuple(map(int, r[4:7])), float(r[7])) for r in rows])


def _points(
    rows: list[tuple[int, tuple[float, ...], tuple[int, ...], float]],
) -> tuple[NDArray[np.int64], Array, NDArray[np.uint8], Array]:
    """Rows (id, xyz, rgb, error) as arrays, by ascending id."""
    rows = sorted(rows, key=lambda row: row[0])
    return (
        np.array([r[0] for r in rows], dtype=np.int64),
        np.array([r[1] for r in rows], dtype=np.float64).reshape(-1, 3),
        np.array([r[2] for r in rows], dtype=np.uint8).reshape(-1, 3),
        np.array([r[3] for r in rows], dtype=np.float64),
    )


def _cam_from_world(pose: list[float]) -> Array:
    """(4, 4) from COLMAP's quaternion (w, x, y, z) and translation."""
    rotation = Rotation.from_quat(pose[:4], scalar_first=True)
    return rigid(rotation.as_matrix(), np.array(pose[4:]))


def load_scene(folder: Path) -> SparseScene:
    """The undistorted model in ``folder`` as a :class:`SparseScene`, views by name, keypoint depths with their sigma.

    Raises:
        UsageError: There is no model, or its cameras are not PINHOLE or SIMPLE_PINHOLE.
        DepthrfError: A file is cut off or malformed.
    """
    return scene_of(read_model(folder), folder)


def scene_of(model: ColmapModel, folder: Path) -> SparseScene:
    """As :func:`load_scene`, of a model that was read from ``folder``."""
    images = sorted(model.images.values(), key=lambda image: image.name)
    views = [View(i.name, _pinhole(model.cameras[i.camera_id], folder), i.cam_from_world) for i in images]
    return SparseScene(views, model.xyz, model.rgb, model.error_px, _sparse_depths(model, images, views))


def _pinhole(camera: Lens, folder: Path) -> Camera:
    if camera.model in ("PINHOLE", "SIMPLE_PINHOLE"):
        return camera.pinhole
    raise UsageError(f"{folder} has a {camera.model} camera; expected an undistorted model (PINHOLE).")


def _sparse_depths(model: ColmapModel, images: list[ColmapImage], views: list[View]) -> dict[str, SparseDepths]:
    if not views:
        return {}
    seen = [image.point_ids != NO_POINT for image in images]
    view = np.concatenate([np.full(s.sum(), i, dtype=np.int64) for i, s in enumerate(seen)])
    xy = np.concatenate([image.xy[s] for image, s in zip(images, seen, strict=True)])
    points = [np.searchsorted(model.point_ids, i.point_ids[s]) for i, s in zip(images, seen, strict=True)]
    point = np.concatenate(points)
    poses = np.stack([v.cam_from_world for v in views])
    focal = np.array([[v.camera.fx, v.camera.fy] for v in views])
    centre = np.array([[v.camera.cx, v.camera.cy] for v in views])
    # Photo by photo, because a pose for each observation of many photos would fill the memory.
    in_cam = np.concatenate(
        [
            model.xyz[p] @ v.cam_from_world[:3, :3].T + v.cam_from_world[:3, 3]
            for v, p in zip(views, points, strict=True)
        ]
    )
    depth = in_cam[:, 2]
    valid = depth > 0
    view, xy, point, in_cam, depth = view[valid], xy[valid], point[valid], in_cam[valid], depth[valid]
    error = np.linalg.norm(in_cam[:, :2] / depth[:, None] * focal[view] + centre[view] - xy, axis=1)
    of_poses = pose_noise((xy - centre[view]) / focal[view], poses, focal, view, point)
    noise = track_noise(error, point, len(model.xyz), of_poses)
    covariance = point_covariances(model.xyz, poses, focal, view, point, noise)
    length = np.bincount(point, minlength=len(model.xyz))
    return {
        v.name: SparseDepths(
            xy[here],
            depth[here],
            error[here],
            length[point[here]],
            depth_sigma(covariance[point[here]], v.cam_from_world),
        )
        for i, v in enumerate(views)
        for here in [view == i]
    }
