"""Places further photos in a finished model by 2D-3D matches. Runs in the child process.

The parent's side is :mod:`depthrf.sfm.registration`.
"""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from depthrf.geometry.camera import Camera, SparseDepths, View
from depthrf.geometry.uncertainty import depth_sigma, point_covariances, pose_noise, track_noise
from depthrf.sfm._pycolmap import pycolmap
from depthrf.sfm.diagnose import Dropped
from depthrf.sfm.features import extraction_options, matching_options, read_keypoints, read_pairs
from depthrf.sfm.jobs import RegisterJob, Registration, Report
from depthrf.sfm.models import camera_of, lens_of, placed_images, pose_of
from depthrf.sfm.recipes import features_named

Array = NDArray[np.float64]

_MIN_INLIERS = 15
_MIN_INLIER_RATIO = 0.25
_MAX_ERROR_PX = 8.0
_ASPECT_TOLERANCE = 0.01
_JPEG_QUALITY = 98
_NEW = "new"


@dataclass(frozen=True)
class _Scene:
    """The model as arrays. points (P, 3), covariance (P, 3, 3), length (P,); rows: point id to row.

    observed: for each image id of the model, its keypoints' point ids (N,), -1 where there is none.
    """

    points: Array
    covariance: Array
    length: NDArray[np.int64]
    rows: dict[int, int]
    observed: dict[int, NDArray[np.int64]]


def register(job: RegisterJob, report: Report) -> Registration:
    """Child process: features, matches, pose and undistortion of each photo."""
    model = pycolmap.Reconstruction(job.model)
    scene = _scene(model)
    new = {f"{_NEW}{index:05d}{photo.suffix}": photo for index, photo in enumerate(job.photos)}
    cameras = {key: fitting for key, photo in new.items() if (fitting := _cameras(model, photo))}
    failed = [
        Dropped(new[key].name, "its shape differs from the model's photos") for key in new.keys() - cameras.keys()
    ]
    first = {key: fitting[0] for key, fitting in cameras.items()}
    database = _match(job, model, {key: new[key] for key in cameras}, first, report)
    found = _correspondences(database, scene)
    views: list[View] = []
    depths: dict[str, SparseDepths] = {}
    for count, key in enumerate(cameras):
        report("Placing photos", count, len(cameras))
        name = new[key].name
        xy, rows = found.get(key, (np.zeros((0, 2)), np.zeros(0, dtype=np.int64)))
        placed = _placed(cameras[key], xy, scene.points[rows], job.seed)
        if isinstance(placed, str):
            failed.append(Dropped(name, placed))
            continue
        camera, cam_from_world, inlier = placed
        view = View(name, _undistort(new[key], job.output / name, camera), cam_from_world)
        views.append(view)
        depths[name] = _depths(view, camera, xy[inlier], rows[inlier], scene)
    report("Placing photos", len(cameras), len(cameras))
    return Registration(views, depths, sorted(failed, key=lambda d: d.name))


def _scene(model: pycolmap.Reconstruction) -> _Scene:

    images = placed_images(model)
    ids = sorted(model.points3D)
    rows = {point_id: row for row, point_id in enumerate(ids)}
    points = np.array([model.points3D[i].xyz for i in ids]).reshape(-1, 3)
    observed = {
        i.image_id: np.array([p.point3D_id if p.has_point3D() else -1 for p in i.points2D], dtype=np.int64)
        for i in images
    }
    seen = [(v, rows[p]) for v, i in enumerate(images) for p in observed[i.image_id].tolist() if p >= 0]
    view, point = np.array(seen, dtype=np.int64).reshape(-1, 2).T
    rays = [i.camera.cam_from_img(np.array([p.xy for p in i.points2D if p.has_point3D()])) for i in images]
    poses = np.stack([pose_of(i) for i in images])
    lenses = [lens_of(i.camera) for i in images]
    focal = np.array([[lens.params[0], lens.params[lens.num_focals - 1]] for lens in lenses])
    of_poses = pose_noise(np.concatenate(rays), poses, focal, view, point)
    error = np.array([model.points3D[i].error for i in ids])
    covariance = point_covariances(
        points,
        poses,
        focal,
        view,
        point,
        track_noise(error[point], point, len(ids), of_poses),
    )
    return _Scene(points, covariance, np.bincount(point, minlength=len(ids)), rows, observed)


def _cameras(model: pycolmap.Reconstruction, photo: Path) -> list[pycolmap.Camera]:
    """The model's cameras of the photo's size, or those of its shape rescaled to the size; most used ones first."""
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


def _match(
    job: RegisterJob,
    model: pycolmap.Reconstruction,
    photos: Mapping[str, Path],
    cameras: Mapping[str, pycolmap.Camera],
    report: Report,
) -> Path:
    """A copy of the model's database with the photos added under their keys and matched with the model's photos.

    The model's photos are renamed to their ids there: pycolmap's list of pairs knows no names with spaces.
    """
    features = features_named(job.features, job.max_image_size)
    database = job.work / "database.db"
    shutil.copyfile(job.database, database)
    with contextlib.closing(sqlite3.connect(database)) as connection:
        connection.execute("update images set name = cast(image_id as text)")
        connection.commit()
    folder = job.work / "images"
    folder.mkdir()
    with pycolmap.Database.open(database) as opened:
        for key in sorted(c.camera_id for c in opened.read_all_cameras()):
            if key in model.cameras:
                camera = camera_of(lens_of(model.cameras[key]))
                camera.camera_id = key
                camera.has_prior_focal_length = True
                opened.update_camera(camera)
    for key, photo in photos.items():
        shutil.copyfile(photo, folder / key)
        reader = pycolmap.ImageReaderOptions()
        camera = cameras[key]
        if camera.camera_id in model.cameras:
            reader.existing_camera_id = camera.camera_id
        else:
            reader.camera_model = camera.model_name
            reader.camera_params = ",".join(repr(float(p)) for p in camera.params)
        pycolmap.import_images(database, folder, pycolmap.CameraMode.SINGLE, [key], reader)
    placed = [i.image_id for i in placed_images(model)]
    total = len(photos) + _count(database, "keypoints")
    with report.watch(database, "keypoints", "Finding keypoints", total):
        pycolmap.extract_features(
            database,
            folder,
            image_names=list(photos),
            extraction_options=extraction_options(features, job.threads),
        )
    list_of_pairs = job.work / "pairs.txt"
    list_of_pairs.write_text("".join(f"{other} {key}\n" for key in photos for other in placed))
    matching, verification = matching_options(features, job.seed, job.threads)
    total = len(photos) * len(placed) + _count(database, "two_view_geometries")
    with report.watch(database, "two_view_geometries", "Matching pairs", total):
        pycolmap.match_image_pairs(
            database, matching, pycolmap.ImportedPairingOptions(match_list_path=list_of_pairs), verification
        )
    return database


def _count(database: Path, table: str) -> int:
    with contextlib.closing(sqlite3.connect(database)) as connection:
        (count,) = connection.execute(f"select count(*) from {table}").fetchone()
    return int(count)


def _correspondences(database: Path, scene: _Scene) -> dict[str, tuple[Array, NDArray[np.int64]]]:
    """For each new photo: keypoints (N, 2) that match model points, and the points' rows (N,).

    Where a keypoint matches several points, the one that most of the model's photos vote for.
    """
    keypoints = read_keypoints(database)
    votes: dict[str, dict[int, Counter[int]]] = {}
    for pair in read_pairs(database):
        first_new, second_new = pair.first.startswith(_NEW), pair.second.startswith(_NEW)
        if first_new == second_new:
            continue
        new, old = (pair.first, pair.second) if first_new else (pair.second, pair.first)
        matches = pair.matches if first_new else pair.matches[:, ::-1]
        observed = scene.observed.get(int(old))
        if observed is None:
            continue
        for keypoint, point in zip(matches[:, 0].tolist(), observed[matches[:, 1]].tolist(), strict=True):
            if point >= 0:
                votes.setdefault(new, {}).setdefault(keypoint, Counter())[scene.rows[point]] += 1
    result = {}
    for new, by_keypoint in votes.items():
        indices = sorted(by_keypoint)
        rows = [min(by_keypoint[k].items(), key=lambda item: (-item[1], item[0]))[0] for k in indices]
        result[new] = keypoints[new][indices], np.array(rows, dtype=np.int64)
    return result


def _placed(
    cameras: Sequence[pycolmap.Camera], xy: Array, points: Array, seed: int
) -> tuple[pycolmap.Camera, Array, NDArray[np.bool_]] | str:
    """The camera that explains the 2D-3D matches best with its pose, as :func:`_pose`, or why there is none.

    With a wrong focal length a pose may have as many inliers; their errors are what is larger.
    """
    best: tuple[float, pycolmap.Camera, Array, NDArray[np.bool_]] | None = None
    reason = ""
    for camera in cameras:
        pose = _pose(camera, xy, points, seed)
        if isinstance(pose, str):
            reason = reason or pose
            continue
        in_cam = points @ pose[0][:3, :3].T + pose[0][:3, 3]
        shown = np.asarray(camera.img_from_cam(in_cam)).reshape(-1, 2)
        error = float(np.median(np.nan_to_num(np.linalg.norm(shown - xy, axis=1), nan=np.inf)))
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
    if camera.model_name == "PINHOLE":
        shutil.copyfile(photo, output)
        return Camera(camera.width, camera.height, *(float(p) for p in camera.params))
    bitmap, pinhole = pycolmap.undistort_image(
        pycolmap.UndistortCameraOptions(), pycolmap.Bitmap.read(photo, True), camera
    )
    bitmap.set_jpeg_quality(_JPEG_QUALITY)
    if not bitmap.write(output):
        raise OSError(f"cannot write {output}")
    return Camera(pinhole.width, pinhole.height, *(float(p) for p in pinhole.params))


def _depths(view: View, camera: pycolmap.Camera, xy: Array, rows: NDArray[np.int64], scene: _Scene) -> SparseDepths:
    """Depths of the inlier points (N,) at their undistorted keypoints; ``xy`` (N, 2) is in the original photo."""
    rays = np.asarray(camera.cam_from_img(xy)).reshape(-1, 2)
    undistorted = view.camera.project(np.column_stack([rays, np.ones(len(rays))]))
    in_cam = scene.points[rows] @ view.cam_from_world[:3, :3].T + view.cam_from_world[:3, 3]
    error = np.linalg.norm(view.camera.project(in_cam) - undistorted, axis=1)
    poses = np.broadcast_to(view.cam_from_world, (len(rows), 4, 4))
    sigma = depth_sigma(scene.covariance[rows], poses)
    return SparseDepths(undistorted, in_cam[:, 2], error, scene.length[rows], sigma)
