"""Coloured point clouds: thinning, cleaning and PLY files, by Open3D."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from depthrf.errors import DepthrfError, UsageError
from depthrf.storage import atomic_path

Array = NDArray[np.float64]

_NEIGHBOURS = 16  # that a normal is fitted to
_MOST_CELLS = 2**31 - 1  # along a side, as Open3D counts them


def write_clean_cloud(path: Path, points: Array, colors: NDArray[np.uint8], facing: Array, *, spacing: float) -> int:
    """Writes a binary PLY of the points, thinned to one a cell and without outliers; returns how many are left.

    Args:
        path: The file; its folder is made.
        points: (N, 3).
        colors: (N, 3) RGB.
        facing: (N, 3) from each point to its camera; normals are fitted to neighbours and turned to that side.
        spacing: Side of a cell, in the unit of the points. Points of a cell are averaged, with their colours.

    Raises:
        UsageError: ``spacing`` is too small beside the extent of the points.
        DepthrfError: The file cannot be written.
    """
    import open3d as o3d

    extent = float(np.ptp(points, axis=0).max())
    if extent >= spacing * _MOST_CELLS:
        raise UsageError(f"Points {spacing:g} apart are too close together for a scene {extent:.3g} wide; give more.")

    cloud = o3d.geometry.PointCloud(o3d.utility.Vector3dVector(points))
    cloud.colors = o3d.utility.Vector3dVector(colors / 255.0)
    cloud.normals = o3d.utility.Vector3dVector(facing)  # averaged in a cell as the points are
    cloud = cloud.voxel_down_sample(spacing)
    # A point whose neighbours are, in the mean, farther than usual by two standard deviations belongs to no surface.
    cloud, _ = cloud.remove_statistical_outlier(nb_neighbors=16, std_ratio=2.0)
    cloud.normals = o3d.utility.Vector3dVector(outward_normals(cloud, _NEIGHBOURS))
    with atomic_path(path) as temporary:
        if not o3d.io.write_point_cloud(temporary, cloud):
            raise DepthrfError(f"Cannot write the point cloud {path}. Check that the disk has room.")
    return len(cloud.points)


def outward_normals(cloud: Any, neighbours: int) -> Array:
    """Unit normals (N, 3) of an Open3D cloud, on the side that its present normals point to.

    Args:
        cloud: Its normals hold the directions to the cameras, of any length; they are replaced.
        neighbours: Points that each normal is fitted to.
    """
    import open3d as o3d

    facing = np.asarray(cloud.normals).copy()
    cloud.estimate_normals(o3d.geometry.KDTreeSearchParamKNN(neighbours))
    normals = np.asarray(cloud.normals)
    turned: Array = normals * np.where((normals * facing).sum(1) < 0, -1.0, 1.0)[:, None]
    return turned
