"""The densifying pass after mapping: all verified matches triangulated anew, and filtered. Child process only."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from depthrf.sfm.child._pycolmap import pycolmap
from depthrf.sfm.child.models import placed_images
from depthrf.sfm.recipes import Densify
from depthrf.storage import fresh_dir


def densify(
    model: pycolmap.Reconstruction,
    database: Path,
    images: Path,
    work: Path,
    filters: Densify,
    seed: int,
    *,
    refine_intrinsics: bool = False,
    clear: bool = True,
) -> pycolmap.Reconstruction:
    """Triangulates all verified matches anew with the model's poses, two-view tracks included.

    The mapper itself leaves two-view tracks out, since its poses get slightly worse with them. Depth alignment needs as
    many points as it can get. Without ``clear`` the model's points stay, and are seen by further photos.
    """
    options = pycolmap.IncrementalPipelineOptions()
    options.random_seed = seed
    options.num_threads = 1
    options.triangulation.ignore_two_view_tracks = False
    options.triangulation.min_angle = filters.min_angle_deg
    fresh_dir(work)
    model = pycolmap.triangulate_points(model, database, images, work, clear, options, refine_intrinsics)
    filter_points(model, filters)
    return model


def filter_points(model: pycolmap.Reconstruction, filters: Densify) -> None:
    """Deletes points with too little parallax, too large an error, or behind one of their photos."""
    model.update_point_3d_errors()
    poses = {i.image_id: i.cam_from_world().matrix() for i in placed_images(model)}
    for point_id, point in list(model.points3D.items()):
        seen_by = np.stack([poses[key] for key in sorted({e.image_id for e in point.track.elements})])
        two = len(seen_by) == 2
        max_error = filters.max_error_two_views_px if two else filters.max_error_px
        min_angle = filters.min_angle_two_views_deg if two else filters.min_angle_deg
        if point.error > max_error or not _well_seen(point.xyz, seen_by, min_angle):
            model.delete_point3D(point_id)


def _well_seen(xyz: NDArray[np.float64], cam_from_world: NDArray[np.float64], min_angle_deg: float) -> bool:
    """Whether a point (3,) lies in front of its cameras (V, 3, 4), two of which see it at ``min_angle_deg`` or more."""
    in_cam = cam_from_world[:, :, :3] @ xyz + cam_from_world[:, :, 3]
    if len(in_cam) < 2 or (in_cam[:, 2] <= 0).any():
        return False
    rays = np.einsum("vji,vj->vi", cam_from_world[:, :, :3], in_cam)
    rays /= np.linalg.norm(rays, axis=1, keepdims=True)
    return bool((rays @ rays.T).min() <= np.cos(np.deg2rad(min_angle_deg)))
