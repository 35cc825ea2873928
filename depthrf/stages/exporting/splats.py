"""Gaussian splats on the field's surfaces: to walk through in a splat viewer, or to start a splat training from."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from depthrf import console
from depthrf.errors import DepthrfError
from depthrf.geometry.visibility import pixels_of
from depthrf.io.gaussians import Gaussians, write_gaussians, write_spz
from depthrf.io.point_cloud import outward_normals
from depthrf.stages.exporting.surfaces import RenderedPhoto
from depthrf.stages.exporting.target import Exported, Target

_SPREAD = 0.6  # standard deviation along the surface in distances between splats: neighbours overlap without holes
_THICKNESS = 0.1  # across the surface
_OPACITY = 0.95
_PIXELS_APART = 1.0  # of the rendered pictures
_NEIGHBOURS = 12  # that a normal is fitted to
_SAME_DEPTH = 0.02  # relative difference up to which a rendering sees a point
_LEAST_SLANT = 0.05  # cosine; normals are not sure enough for less

Floats = NDArray[np.float64]


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
    """Flat Gaussians on the surfaces, one a cell of ``spacing``, with the field's colour as all photos see it there.

    Args:
        photos: The rendered views.
        unit: Length of a scene unit in the unit of the result.
        spacing: In that unit; 0: what a pixel covers at the median depth.
    """
    import open3d as o3d

    kept = [photo.uncontested > 0 for photo in photos]
    points = [unit * photo.points()[keep] for photo, keep in zip(photos, kept, strict=True)]
    if not sum(map(len, points)):
        empty = np.zeros((0, 3))
        return Gaussians(empty, empty, empty, np.zeros((0, 4)), empty, np.zeros(0))
    footprints = [
        unit * photo.uncontested[keep] / photo.view.camera.fx for photo, keep in zip(photos, kept, strict=True)
    ]
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
    blended = _blended(np.asarray(cloud.colors), centres / unit, normals, photos)
    return Gaussians(centres, normals, scales, _turning_z_to(normals), blended, np.full(len(centres), _OPACITY))


def _blended(own: Floats, points: Floats, normals: Floats, photos: list[RenderedPhoto]) -> Floats:
    """Mean colour (N, 3), 0 to 1, of each point in the renderings that see it, by the area that they show it on.

    A point of one rendering is coloured by all, or the borders of the photos would be seen on the surface: it does not
    look the same from everywhere.

    Args:
        own: (N, 3) colours of points that none sees, 0 to 1.
        points, normals: (N, 3), scene units.
        photos: The rendered views.
    """
    total, weight = np.zeros_like(own), np.zeros(len(points))
    for photo in photos:
        index, row, column, z = pixels_of(points, photo.view)
        depth = photo.uncontested[row, column]
        sees = (depth > 0) & (np.abs(depth - z) < _SAME_DEPTH * z)
        index, row, column, z = index[sees], row[sees], column[sees], z[sees]
        towards = photo.view.centre - points[index]
        slant = (towards * normals[index]).sum(1) / np.linalg.norm(towards, axis=1)
        area = np.maximum(slant, _LEAST_SLANT) * (photo.view.camera.fx / z) ** 2
        total[index] += area[:, None] * photo.rgb[row, column]
        weight[index] += area
    seen = weight > 0
    blended = own.copy()
    blended[seen] = total[seen] / (255.0 * weight[seen, None])
    return blended


def _turning_z_to(normals: NDArray[np.float64]) -> NDArray[np.float64]:
    """Quaternions (N, 4), scalar first, of the shortest turns from the z axis to unit normals (N, 3)."""
    x, y, z = normals.T
    # Half-way construction; opposite to z any axis across will do.
    turns = np.column_stack([1.0 + z, -y, x, np.zeros_like(z)])
    turns[z < -1.0 + 1e-9] = (0.0, 1.0, 0.0, 0.0)
    unit: NDArray[np.float64] = turns / np.linalg.norm(turns, axis=1, keepdims=True)
    return unit
