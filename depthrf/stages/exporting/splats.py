"""Gaussian splats on the field's surfaces: to walk through in a splat viewer, or to start a splat training from."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from depthrf import console
from depthrf.errors import DepthrfError
from depthrf.io.gaussians import Gaussians, write_gaussians, write_spz
from depthrf.io.point_cloud import outward_normals
from depthrf.stages.exporting.surfaces import RenderedPhoto
from depthrf.stages.exporting.target import Exported, Target

_SPREAD = 0.6  # standard deviation along the surface in distances between splats: neighbours overlap without holes
_THICKNESS = 0.1  # across the surface
_OPACITY = 0.95
_PIXELS_APART = 1.0  # of the rendered pictures
_NEIGHBOURS = 12  # that a normal is fitted to


def write_splats(target: Target, photos: list[RenderedPhoto]) -> Exported:
    """Writes ``splats.ply`` and, where gsply is installed, ``splats.spz``.

    Raises:
        DepthrfError: There is no surface that the photos bear out.
    """
    found = surface_gaussians(photos, target.unit, target.spacing)
    if not len(found.centres):
        raise DepthrfError("There is no surface that the photos bear out, so there are no splats.")
    write_gaussians(target.folder / "splats.ply", found)
    try:
        write_spz(target.folder / "splats.spz", found)
    except ImportError:
        console.note("  also as SPZ, a tenth as large, with: pip install 'depthrf[spz]'")
        return Exported("splats.ply", len(found.centres), "Gaussians")
    return Exported("splats.ply, splats.spz", len(found.centres), "Gaussians")


def surface_gaussians(photos: list[RenderedPhoto], unit: float, spacing: float = 0.0) -> Gaussians:
    """Flat Gaussians on the surfaces, one a cell of ``spacing``, with the field's colour.

    Args:
        photos: The rendered views.
        unit: Length of a scene unit in the unit of the result.
        spacing: In that unit; 0: what a pixel covers at the median depth.
    """
    import open3d as o3d

    kept = [photo.depth > 0 for photo in photos]
    points = [unit * photo.points()[keep] for photo, keep in zip(photos, kept, strict=True)]
    if not sum(map(len, points)):
        empty = np.zeros((0, 3))
        return Gaussians(empty, empty, empty, np.zeros((0, 4)), empty, np.zeros(0))
    footprints = [unit * photo.depth[keep] / photo.view.camera.fx for photo, keep in zip(photos, kept, strict=True)]
    facing = [unit * photo.view.centre - xyz for photo, xyz in zip(photos, points, strict=True)]
    cloud = o3d.geometry.PointCloud(o3d.utility.Vector3dVector(np.concatenate(points)))
    colors = np.concatenate([photo.rgb[keep] for photo, keep in zip(photos, kept, strict=True)])
    cloud.colors = o3d.utility.Vector3dVector(colors / 255.0)
    # Directions to the cameras are averaged in a cell as its points are; afterwards they turn the normals outwards.
    cloud.normals = o3d.utility.Vector3dVector(np.concatenate(facing))
    spacing = spacing or _PIXELS_APART * float(np.median(np.concatenate(footprints)))
    cloud = cloud.voxel_down_sample(spacing)
    normals = outward_normals(cloud, _NEIGHBOURS)
    centres = np.asarray(cloud.points)
    scales = np.tile(spacing * np.array([_SPREAD, _SPREAD, _THICKNESS]), (len(centres), 1))
    return Gaussians(
        centres, normals, scales, _turning_z_to(normals), np.asarray(cloud.colors), np.full(len(centres), _OPACITY)
    )


def _turning_z_to(normals: NDArray[np.float64]) -> NDArray[np.float64]:
    """Quaternions (N, 4), scalar first, of the shortest turns from the z axis to unit normals (N, 3)."""
    x, y, z = normals.T
    # Half-way construction; opposite to z any axis across will do.
    turns = np.column_stack([1.0 + z, -y, x, np.zeros_like(z)])
    turns[z < -1.0 + 1e-9] = (0.0, 1.0, 0.0, 0.0)
    unit: NDArray[np.float64] = turns / np.linalg.norm(turns, axis=1, keepdims=True)
    return unit
