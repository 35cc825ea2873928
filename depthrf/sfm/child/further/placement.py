"""Places further photos in a finished model by 2D-3D matches. Runs in the child process.

The parent's side is :mod:`depthrf.sfm.registration`.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from depthrf.geometry.camera import Camera, SparseDepths, View
from depthrf.geometry.uncertainty import depth_sigma
from depthrf.sfm.child._pycolmap import pycolmap
from depthrf.sfm.child.further.matching import NEW, correspondences, match_with_model
from depthrf.sfm.child.further.scene import Scene, read_scene
from depthrf.sfm.child.models import camera_of, lens_of, pinhole_of, placed_images, undistortable
from depthrf.sfm.jobs import RegisterJob, Registration, Reporter
from depthrf.sfm.judging.diagnose import Dropped

Array = NDArray[np.float64]

_MIN_INLIERS = 15
_MIN_INLIER_RATIO = 0.25
_MAX_ERROR_PX = 8.0
_ASPECT_TOLERANCE = 0.01
_JPEG_QUALITY = 98


@dataclass(frozen=True)
class Placed:
    """A photo's camera and pose, and its keypoints (N, 2) that fit them, with the rows (N,) of their points."""

    photo: Path
    camera: pycolmap.Camera
    cam_from_world: Array
    xy: Array
    rows: NDArray[np.int64]


def register(job: RegisterJob, report: Reporter) -> Registration:
    """Child process: features, matches, pose and undistortion of each photo."""
    model = pycolmap.Reconstruction(job.model)
    scene = read_scene(model)
    _, placed, failed = _place(job, model, scene, report)
    views: list[View] = []
    depths: dict[str, SparseDepths] = {}
    for one in placed.values():
        name = one.photo.name
        view = View(name, _undistort(one.photo, job.output / name, one.camera), one.cam_from_world)
        views.append(view)
        depths[name] = _depths(view, one, scene)
    return Registration(views, depths, failed)


def place(
    job: RegisterJob, model: pycolmap.Reconstruction, report: Reporter
) -> tuple[Path, dict[str, Placed], list[Dropped]]:
    """Finds the pose of each photo in the model.

    Returns:
        A copy of the model's database, where the model's photos are named by their ids and the others by keys; the
        photos that were placed, by key; and those that were not.
    """
    return _place(job, model, read_scene(model), report)


def _place(
    job: RegisterJob, model: pycolmap.Reconstruction, scene: Scene, report: Reporter
) -> tuple[Path, dict[str, Placed], list[Dropped]]:
    new = {f"{NEW}{index:05d}{photo.suffix}": photo for index, photo in enumerate(job.photos)}
    cameras = {key: fitting for key, photo in new.items() if (fitting := _cameras(model, photo))}
    failed = [
        Dropped(new[key].name, "its aspect ratio differs from the model's photos")
        for key in new.keys() - cameras.keys()
    ]
    first = {key: fitting[0] for key, fitting in cameras.items()}
    database = match_with_model(job, model, {key: new[key] for key in cameras}, first, report)
    found = correspondences(database, scene)
    result: dict[str, Placed] = {}
    for count, key in enumerate(cameras):
        report("Placing photos", count, len(cameras))
        none = np.zeros((0, 2)), np.zeros(0, dtype=np.int64)
        given = job.poses.get(new[key].name)
        if given is not None:
            result[key] = Placed(new[key], first[key], np.array(given, dtype=np.float64), *none)
            continue
        xy, rows = found.get(key, none)
        placed = _placed(cameras[key], xy, scene.points[rows], job.seed)
        if isinstance(placed, str):
            failed.append(Dropped(new[key].name, placed))
            continue
        camera, cam_from_world, inlier = placed
        result[key] = Placed(new[key], camera, cam_from_world, xy[inlier], rows[inlier])
    report("Placing photos", len(cameras), len(cameras))
    return database, result, sorted(failed, key=lambda d: d.name)


def _cameras(model: pycolmap.Reconstruction, photo: Path) -> list[pycolmap.Camera]:
    """The model's cameras of the photo's size, else those of its aspect ratio, rescaled; the most used ones first."""
    with Image.open(photo) as opened:
        width, height = opened.size
    used = Counter(i.camera_id for i in placed_images(model))
    keys = [key for key, _ in sorted(used.items(), key=lambda item: (-item[1], item[0]))]
    same = [model.cameras[k] for k in keys if (model.cameras[k].width, model.cameras[k].height) == (width, height)]
    lenses = [lens_of(model.cameras[key]) for key in keys]
    return same or [
        camera_of(lens.resized(width, height))
        for lens in lenses
        if abs(lens.width * height / (lens.height * width) - 1.0) < _ASPECT_TOLERANCE
    ]


def _placed(
    cameras: Sequence[pycolmap.Camera], xy: Array, points: Array, seed: int
) -> tuple[pycolmap.Camera, Array, NDArray[np.bool_]] | str:
    """The camera that explains the 2D-3D matches best, its pose and inliers (:func:`_pose`), or why there is none.

    A pose may have as many inliers with a wrong focal length, but their errors are larger.
    """
    best: tuple[float, pycolmap.Camera, Array, NDArray[np.bool_]] | None = None
    reason = ""
    for camera in cameras:
        pose = _pose(camera, xy, points, seed)
        if isinstance(pose, str):
            reason = reason or pose
            continue
        in_cam = points @ pose[0][:3, :3].T + pose[0][:3, 3]
        projected = np.asarray(camera.img_from_cam(in_cam)).reshape(-1, 2)
        error = float(np.median(np.nan_to_num(np.linalg.norm(projected - xy, axis=1), nan=np.inf)))
        if best is None or error < best[0]:
            best = error, camera, *pose
    return reason if best is None else best[1:]


def _pose(camera: pycolmap.Camera, xy: Array, points: Array, seed: int) -> tuple[Array, NDArray[np.bool_]] | str:
    """``cam_from_world`` (4, 4) and inliers (N,) from 2D-3D matches (N, 2), (N, 3), or why there is none."""
    if len(xy) < _MIN_INLIERS:
        return f"only {len(xy)} of its keypoints match points of the model (at least {_MIN_INLIERS} needed)"
    options = pycolmap.AbsolutePoseEstimationOptions()
    options.ransac.random_seed = seed
    options.ransac.max_error = _MAX_ERROR_PX
    found = pycolmap.estimate_and_refine_absolute_pose(xy, points, camera, options)
    inlier = np.zeros(len(xy), dtype=bool) if found is None else np.asarray(found["inlier_mask"], dtype=bool)
    if found is None or inlier.sum() < max(_MIN_INLIERS, _MIN_INLIER_RATIO * len(xy)):
        return f"only {inlier.sum()} of its {len(xy)} matches with points of the model fit one pose"
    cam_from_world = np.vstack([found["cam_from_world"].matrix(), [0.0, 0.0, 0.0, 1.0]])
    in_front = (points @ cam_from_world[:3, :3].T + cam_from_world[:3, 3])[:, 2] > 0
    return cam_from_world, inlier & in_front


def _undistort(photo: Path, output: Path, camera: pycolmap.Camera) -> Camera:
    """Writes the undistorted photo with the PINHOLE camera that the model's own photos of this camera got."""
    camera = undistortable(camera)
    if camera.model_name == "PINHOLE":
        shutil.copyfile(photo, output)
        return pinhole_of(camera)
    bitmap, pinhole = pycolmap.undistort_image(
        pycolmap.UndistortCameraOptions(), pycolmap.Bitmap.read(photo, True), camera
    )
    bitmap.set_jpeg_quality(_JPEG_QUALITY)
    if not bitmap.write(output):
        raise OSError(f"cannot write {output}")
    return pinhole_of(pinhole)


def _depths(view: View, placed: Placed, scene: Scene) -> SparseDepths:
    """Depths of the photo's points (N,) at their undistorted keypoints."""
    rays = np.asarray(placed.camera.cam_from_img(placed.xy)).reshape(-1, 2)
    undistorted = view.camera.project(np.column_stack([rays, np.ones(len(rays))]))
    rows = placed.rows
    in_cam = scene.points[rows] @ view.cam_from_world[:3, :3].T + view.cam_from_world[:3, 3]
    error = np.linalg.norm(view.camera.project(in_cam) - undistorted, axis=1)
    poses = np.broadcast_to(view.cam_from_world, (len(rows), 4, 4))
    sigma = depth_sigma(scene.covariance[rows], poses)
    return SparseDepths(undistorted, in_cam[:, 2], error, scene.length[rows], sigma)
