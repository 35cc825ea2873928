"""Adjusts given poses to the photos by bundle adjustment. Runs in the child process."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from depthrf.geometry.transforms import Similarity, rotation_angle_deg
from depthrf.sfm._pycolmap import pycolmap
from depthrf.sfm.models import placed_images, pose_of

Array = NDArray[np.float64]

_MIN_POINTS = 20  # of a photo whose pose may move


def adjust(model: pycolmap.Reconstruction, *, refine_intrinsics: bool) -> None:
    """Moves poses and points of a triangulated model to the least robust reprojection error, in place.

    The world stays where it was: afterwards the cameras are laid over the given ones by a similarity, so that metres
    stay metres on average. Photos with few points keep their pose relative to the others.
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
    u, _, vt = np.linalg.svd(np.einsum("nji,njk->ik", given[:, :3, :3], refined[:, :3, :3]))
    rotation = u @ np.diag([1.0, 1.0, np.linalg.det(u @ vt)]) @ vt
    target, source = (-np.einsum("nji,nj->ni", p[:, :3, :3], p[:, :3, 3]) for p in (given, refined))
    source = source @ rotation.T
    centred = source - source.mean(0)
    spread = float((centred**2).sum())
    scale = float((centred * (target - target.mean(0))).sum()) / spread if spread > 0 else 1.0
    return Similarity(scale, rotation, target.mean(0) - scale * source.mean(0))


def moved(before: pycolmap.Reconstruction, after: pycolmap.Reconstruction) -> tuple[float, float]:
    """Median change of the photos' poses: degrees, and share of the extent of their centres."""
    poses = {image.name: pose_of(image) for image in placed_images(before)}
    pairs = [(poses[image.name], pose_of(image)) for image in placed_images(after)]
    angles = [float(rotation_angle_deg(a[:3, :3], b[:3, :3])) for a, b in pairs]
    centres = np.array([[-p[:3, :3].T @ p[:3, 3] for p in pair] for pair in pairs])
    extent = float(np.linalg.norm(np.ptp(centres[:, 0], axis=0))) or 1.0
    return float(np.median(angles)), float(np.median(np.linalg.norm(centres[:, 1] - centres[:, 0], axis=1))) / extent
