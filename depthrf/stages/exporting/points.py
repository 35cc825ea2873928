"""The merged depth of all photos as one coloured point cloud."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from depthrf import console
from depthrf.errors import DepthrfError
from depthrf.geometry.camera import View
from depthrf.io.depth.depth_maps import read_prior
from depthrf.io.photos.images import read_rgb
from depthrf.io.point_cloud import write_clean_cloud
from depthrf.stages.exporting.target import Exported, Target

_POINTS_PER_PHOTO = 200_000
"""Pixels read from a photo at most: what more there are fall into the same cells."""
_PIXELS_APART = 3.0
"""Fine enough to keep what the photos show, coarse enough to average their noise."""


def write_points(target: Target) -> Exported:
    """Writes ``points.ply``: points with colours and normals, thinned and without outliers.

    Raises:
        DepthrfError: No photo has depth that is sure enough, or the file cannot be written.
    """
    points, colors, footprints, facing = [], [], [], []
    for view in console.track(target.views, "reading depth"):
        xyz, rgb, depth = _view_points(target, view)
        points.append(target.unit * xyz)
        colors.append(rgb)
        footprints.append(target.unit * depth / view.camera.fx)
        facing.append(view.centre - xyz)
    if not sum(map(len, points)):
        raise DepthrfError(
            f"No depth in {target.workspace.prior_depth} is surer than {target.max_sigma:.0%} of itself. "
            "Give a larger --max-sigma."
        )
    spacing = target.spacing or _PIXELS_APART * float(np.median(np.concatenate(footprints)))
    path = target.folder / "points.ply"
    number = write_clean_cloud(
        path, np.concatenate(points), np.concatenate(colors), np.concatenate(facing), spacing=spacing
    )
    return Exported(path.name, number, f"points, {spacing:.3g} apart")


def _view_points(target: Target, view: View) -> tuple[NDArray[np.float64], NDArray[np.uint8], NDArray[np.float64]]:
    """World points (N, 3), their colours and their z-depth (N,), of the pixels whose depth is sure enough."""
    prior, _ = read_prior(target.workspace.prior_depth / f"{view.stem}.npz")
    rows, columns = np.nonzero((prior.depth > 0) & (prior.sigma <= target.max_sigma * prior.depth))
    every = -(-len(rows) // _POINTS_PER_PHOTO) or 1
    rows, columns = rows[::every], columns[::every]
    depth = prior.depth[rows, columns].astype(np.float64)
    directions = view.camera.directions(np.stack([columns + 0.5, rows + 0.5], axis=-1))
    pose = view.world_from_cam
    xyz = (directions * depth[:, None]) @ pose[:3, :3].T + pose[:3, 3]
    return xyz, read_rgb(target.workspace.undistorted_images / view.name)[rows, columns], depth
