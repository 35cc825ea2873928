"""pycolmap reconstructions in depthrf's terms. Runs in the child process."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from depthrf.geometry.camera import Camera
from depthrf.geometry.lens import Lens
from depthrf.sfm.child._pycolmap import pycolmap
from depthrf.sfm.child.features import Pair
from depthrf.sfm.judging.selfcheck import PlacedPhoto, RayPair

Array = NDArray[np.float64]


def lens_of(camera: pycolmap.Camera) -> Lens:
    return Lens(camera.model_name, camera.width, camera.height, tuple(float(p) for p in camera.params))


def camera_of(lens: Lens) -> pycolmap.Camera:
    return pycolmap.Camera(model=lens.model, width=lens.width, height=lens.height, params=list(lens.params))


_LEAST_DISTORTION = 1e-7
"""Just above what COLMAP takes for none (1e-8); it moves no pixel by more than a thousandth."""


def undistortable(camera: pycolmap.Camera) -> pycolmap.Camera:
    """The same camera, of a model with which COLMAP's undistorter does what it should.

    It copies a photo and its camera where all distortion parameters are 0. That leaves models that are not PINHOLE but
    say the same, and a fisheye lens, whose lines are bent all the same.
    """
    lens = lens_of(camera)
    if lens.is_undistorted or (camera.is_undistorted() and not lens.is_fisheye):
        plain = Lens("PINHOLE", lens.width, lens.height, (lens.fx, lens.fy, lens.cx, lens.cy))
    elif camera.is_undistorted():
        params = (lens.fx, lens.fy, lens.cx, lens.cy, _LEAST_DISTORTION, 0.0, 0.0, 0.0)
        plain = Lens("OPENCV_FISHEYE", lens.width, lens.height, params)
    else:
        return camera
    replaced = camera_of(plain)
    replaced.camera_id = camera.camera_id
    return replaced


def adjust_keeping_focal(model: pycolmap.Reconstruction) -> None:
    """Bundle adjustment of poses, points and distortion, on one thread so that it repeats; focal lengths are kept."""
    options = pycolmap.BundleAdjustmentOptions(refine_focal_length=False, print_summary=False)
    options.ceres.use_gpu = False
    options.ceres.solver_options.num_threads = 1
    options.ceres.solver_options.max_num_iterations = 50
    options.ceres.solver_options.function_tolerance = 1e-6
    pycolmap.bundle_adjustment(model, options)


def pinhole_of(camera: pycolmap.Camera) -> Camera:
    """A camera that came out of undistortion."""
    assert camera.model_name == "PINHOLE", camera
    return lens_of(camera).pinhole


def pose_of(image: pycolmap.Image) -> Array:
    """``cam_from_world`` (4, 4)."""
    return np.vstack([image.cam_from_world().matrix(), [0.0, 0.0, 0.0, 1.0]])


def placed_images(model: pycolmap.Reconstruction) -> list[pycolmap.Image]:
    """Registered images by name."""
    return sorted((model.images[i] for i in model.reg_image_ids()), key=lambda image: image.name)


def placed_photos(model: pycolmap.Reconstruction) -> dict[str, PlacedPhoto]:
    return {i.name: PlacedPhoto(pose_of(i), lens_of(i.camera), i.num_points3D) for i in placed_images(model)}


def ray_pairs(model: pycolmap.Reconstruction, pairs: Sequence[Pair], keypoints: Mapping[str, Array]) -> list[RayPair]:
    """Matches between placed photos with the model's lens distortion removed."""
    rays = {i.name: np.asarray(i.camera.cam_from_img(keypoints[i.name])) for i in placed_images(model)}
    return [
        RayPair(p.first, p.second, p.matches, rays[p.first][p.matches[:, 0]], rays[p.second][p.matches[:, 1]])
        for p in pairs
        if p.first in rays and p.second in rays
    ]


def posed_model(
    database: Path, poses: Mapping[str, Array], cameras: Mapping[int, pycolmap.Camera] | None = None
) -> pycolmap.Reconstruction:
    """The photos of a database that have poses, with their keypoints and without points.

    Args:
        database: Its cameras are used unless ``cameras`` gives one for their id.
        poses: ``cam_from_world`` (4, 4) by photo name.
        cameras: By id.
    """
    model = pycolmap.Reconstruction()
    with pycolmap.Database.open(database) as opened:
        for camera in opened.read_all_cameras():
            model.add_camera_with_trivial_rig((cameras or {}).get(camera.camera_id, camera))
        for image in sorted(opened.read_all_images(), key=lambda i: i.image_id):
            if image.name not in poses:
                continue
            keypoints = np.asarray(opened.read_keypoints(image.image_id), dtype=np.float64)[:, :2]
            posed = pycolmap.Image(
                name=image.name, keypoints=keypoints, camera_id=image.camera_id, image_id=image.image_id
            )
            model.add_image_with_trivial_frame(posed, pycolmap.Rigid3d(poses[image.name][:3]))
    return model


def remove_photos(model: pycolmap.Reconstruction, names: set[str]) -> None:
    for image in placed_images(model):
        if image.name in names:
            model.deregister_frame(image.frame_id)


def focal_of(model: pycolmap.Reconstruction) -> float:
    """Mean focal length over placed photos, pixels."""
    focals = [lens_of(i.camera).focal for i in placed_images(model)]
    return float(np.mean(focals)) if focals else 0.0
