"""A finished model as arrays, for placing further photos in it. Runs in the child process."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from depthrf.geometry.uncertainty import point_covariances, pose_noise, track_noise
from depthrf.sfm.child._pycolmap import pycolmap
from depthrf.sfm.child.models import lens_of, placed_images, pose_of

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Scene:
    """points (P, 3), covariance (P, 3, 3), length (P,); rows: point id to row.

    observed: for each image id of the model, its keypoints' point ids (N,), -1 where there is none.
    """

    points: Array
    covariance: Array
    length: NDArray[np.int64]
    rows: dict[int, int]
    observed: dict[int, NDArray[np.int64]]


def read_scene(model: pycolmap.Reconstruction) -> Scene:
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
    focal = np.array([[lens.fx, lens.fy] for lens in lenses])
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
    return Scene(points, covariance, np.bincount(point, minlength=len(ids)), rows, observed)
