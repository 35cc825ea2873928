"""Adjusts given poses to the photos by bundle adjustment. Runs in the child process."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from depthrf.geometry.transforms import Similarity, invert_rigid, rotation_angle_deg
from depthrf.sfm.child._pycolmap import pycolmap
from depthrf.sfm.child.models import placed_images, pose_of

Array = NDArray[np.float64]

_MIN_POINTS = 20  # of a photo whose pose may move


def adjust(model: pycolmap.Reconstruction, *, refine_intrinsics: bool) -> None:
    """Bundle adjustment of poses and points of a triangulated model, with a robust loss, in place.

    The world stays where it was: afterwards a similarity lays the cameras over the given ones, so that metres stay
    metres on average. Photos with fewer than 20 points keep their pose relative to the others.
    """
    images = placed_images(model)
    given = np.stack([pose_of(image) for image in images])
    options = pycolmap.BundleAdjustmentOptions()
    options.print_summary = False
    options.refine_focal_length = options.refine_extra_params = refine_intrinsics
    options.ceres.loss_function_type = pycolmap.LossFunctionType.SOFT_L1
    options.ceres.solver_options.num_threads = 1  # with more, equal seeds give different models
    config = pycolmap.BundleAdjustmentConfig()
    for image in images:
        config.add_image(image.image_id)
        if image.num_points3D < _MIN_POINTS:
            config.set_constant_rig_from_world_pose(image.frame_id)
    config.fix_gauge(pycolmap.BundleAdjustmentGauge.TWO_CAMS_FROM_WORLD)
    pycolmap.create_default_bundle_adjuster(options, config, model).solve()
    back = _given_from_refined(given, np.stack([pose_of(image) for image in images]))
    model.transform(pycolmap.Sim3d(back.scale, pycolmap.Rotation3d(back.rotation), back.translation))


def _given_from_refined(given: Array, refined: Array) -> Similarity:
    """The similarity that lays poses (N, 4, 4) over others: rotation from their rotations, the rest from their centres.

    Centres alone would leave the rotation about the line of a straight camera path open.
    """
    differences = np.swapaxes(given[:, :3, :3], 1, 2) @ refined[:, :3, :3]
    rotation = Rotation.from_matrix(differences).mean().as_matrix()
    target, source = _centres(given), _centres(refined) @ rotation.T
    centred = source - source.mean(0)
    variance = float((centred**2).sum())
    scale = float((centred * (target - target.mean(0))).sum()) / variance if variance > 0 else 1.0
    return Similarity(scale, rotation, target.mean(0) - scale * source.mean(0))


def _centres(cam_from_world: Array) -> Array:
    """Camera centres (N, 3) of poses (N, 4, 4)."""
    return np.asarray(invert_rigid(cam_from_world)[:, :3, 3])


def moved(before: pycolmap.Reconstruction, after: pycolmap.Reconstruction) -> tuple[float, float]:
    """Median change of the photos' poses: degrees, and share of the extent of their centres."""
    poses = {image.name: pose_of(image) for image in placed_images(before)}
    images = placed_images(after)
    old, new = np.stack([poses[image.name] for image in images]), np.stack([pose_of(image) for image in images])
    angles = rotation_angle_deg(old[:, :3, :3], new[:, :3, :3])
    ways = np.linalg.norm(_centres(new) - _centres(old), axis=1)
    extent = float(np.linalg.norm(np.ptp(_centres(old), axis=0))) or 1.0
    return float(np.median(angles)), float(np.median(ways)) / extent
