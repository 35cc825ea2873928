"""Gaussian splats on the field's surfaces: to walk through in a splat viewer, or to start a splat training from."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from depthrf import console
from depthrf.errors import DepthrfError
from depthrf.geometry.visibility import pixels_of
from depthrf.io.gaussians import Gaussians, write_gaussians, write_spz
from depthrf.io.point_cloud import outward_normals
from depthrf.stages.exporting.rasteriser import render_splats
from depthrf.stages.exporting.surfaces import RenderedPhoto
from depthrf.stages.exporting.target import Exported, Target

_SPREAD = 0.5  # standard deviation along the surface in distances between splats: neighbours overlap without holes
_THICKNESS = 0.1  # across the surface
_OPACITY = 0.95
_PIXELS_APART = 1.0  # of the rendered pictures
_NEIGHBOURS = 12  # that a normal is fitted to
_SAME_DEPTH = 0.02  # relative difference up to which a rendering sees a point
_LEAST_SLANT = 0.05  # cosine; normals are not sure enough for less

_FINEST = 0.8  # of the area on which another rendering shows a surface, from which on a rendering gives splats for it
_FITS = 2  # passes over the colours; more sharpen noise
_MOST_FITTED = 0.2  # change of a colour, of its range: at borders there may be much to make up for that is no blur
_THREADS = 2  # each holds the projected splats

Floats = NDArray[np.float64]
Index = NDArray[np.int64]
Mask = NDArray[np.bool_]


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
    """Flat Gaussians on the surfaces, one a cell of ``spacing``, coloured so that together they look like the field.

    Args:
        photos: The rendered views.
        unit: Length of a scene unit in the unit of the result.
        spacing: In that unit; 0: what a pixel covers at the median depth.
    """
    import open3d as o3d

    kept = [_shows_finest(photo, photos) for photo in photos]
    if not any(keep.any() for keep in kept):
        empty = np.zeros((0, 3))
        return Gaussians(empty, empty, empty, np.zeros((0, 4)), empty, np.zeros(0))
    points = [photo.points()[keep] for photo, keep in zip(photos, kept, strict=True)]
    facing = [photo.view.centre - xyz for photo, xyz in zip(photos, points, strict=True)]
    cloud = o3d.geometry.PointCloud(o3d.utility.Vector3dVector(np.concatenate(points)))
    colors = np.concatenate([photo.rgb[keep] for photo, keep in zip(photos, kept, strict=True)])
    cloud.colors = o3d.utility.Vector3dVector(colors / 255.0)
    # Directions to the cameras are averaged in a cell as its points are; afterwards they turn the normals outwards.
    cloud.normals = o3d.utility.Vector3dVector(np.concatenate(facing))
    spacing = spacing / unit or _PIXELS_APART * float(np.median(np.concatenate([*map(_footprints, photos)])))
    cloud = cloud.voxel_down_sample(spacing)
    normals = outward_normals(cloud, _NEIGHBOURS)
    centres, own = np.asarray(cloud.points), np.asarray(cloud.colors)
    scales = np.tile(spacing * np.array([_SPREAD, _SPREAD, _THICKNESS]), (len(centres), 1))
    seen = [_Seen.of(centres, normals, photo) for photo in photos]
    blended = _means(own, [photo.rgb / 255.0 for photo in photos], seen)
    turns = _turning_z_to(normals)
    found = Gaussians(centres, normals, scales, turns, blended, np.full(len(centres), _OPACITY))
    found = _fitted(found, photos, seen)
    return replace(found, centres=unit * found.centres, scales=unit * found.scales)


def _footprints(photo: RenderedPhoto) -> Floats:
    """What the photo's pixels with depth cover, (N,), scene units."""
    depth = photo.uncontested[photo.uncontested > 0].astype(np.float64)
    covered: Floats = depth / photo.view.camera.fx
    return covered


@dataclass(frozen=True)
class _Seen:
    """Which of some points a photo shows, (M,): their index, their pixel's row and column, and the area in pixels that
    a unit of the surface has there."""

    index: Index
    row: Index
    column: Index
    area: Floats

    @staticmethod
    def of(points: Floats, normals: Floats, photo: RenderedPhoto) -> _Seen:
        """Points and normals: (N, 3), scene units; a normal of zero counts as the least slant."""
        index, row, column, z = pixels_of(points, photo.view)
        depth = photo.uncontested[row, column]
        sees = (depth > 0) & (np.abs(depth - z) < _SAME_DEPTH * z)
        index, row, column, z = index[sees], row[sees], column[sees], z[sees]
        towards = photo.view.centre - points[index]
        slant = (towards * normals[index]).sum(1) / np.linalg.norm(towards, axis=1)
        return _Seen(index, row, column, np.maximum(slant, _LEAST_SLANT) * (photo.view.camera.fx / z) ** 2)


def _shows_finest(photo: RenderedPhoto, photos: list[RenderedPhoto]) -> Mask:
    """Pixels (H, W) whose surface no other rendering shows much larger.

    Renderings are off by more than a cell from each other, so that surfaces made of all of them were several layers
    thick, and blurred.
    """
    kept = photo.uncontested > 0
    points, normals = photo.points()[kept], photo.normals()[kept]
    own, largest = np.zeros(len(points)), np.zeros(len(points))
    for other in photos:
        seen = _Seen.of(points, normals, other)
        if other is photo:
            own[seen.index] = seen.area
        else:
            largest[seen.index] = np.maximum(largest[seen.index], seen.area)
    kept[kept] = own >= _FINEST * largest
    return kept


def _means(own: Floats, pictures: list[Floats], seen: list[_Seen]) -> Floats:
    """Mean of each point's pixels in the pictures that show it, (N, 3), by the area that they show it on.

    A point of one rendering is coloured by all, or the borders of the photos would be seen on the surface: it does not
    look the same from everywhere.

    Args:
        own: (N, 3) values of points that none shows.
        pictures: (H, W, 3) each.
        seen: What each of them shows.
    """
    total, weight = np.zeros_like(own), np.zeros(len(own))
    for picture, s in zip(pictures, seen, strict=True):
        total[s.index] += s.area[:, None] * picture[s.row, s.column]
        weight[s.index] += s.area
    shown = weight > 0
    means = own.copy()
    means[shown] = total[shown] / weight[shown, None]
    return means


def _fitted(gaussians: Gaussians, photos: list[RenderedPhoto], seen: list[_Seen]) -> Gaussians:
    """The Gaussians with colours that make up for the blur of their overlap: what their pictures lack of the renderings
    is added to them (van Cittert 1931)."""
    blended, nothing = gaussians.colors, np.zeros_like(gaussians.colors)

    def lacking(photo: RenderedPhoto) -> Floats:
        return photo.rgb / 255.0 - render_splats(gaussians, photo.view)[0]

    for _ in console.track(range(_FITS), "fitting colours"):
        with ThreadPoolExecutor(_THREADS) as pool:
            residuals = list(pool.map(lacking, photos))
        colors = gaussians.colors + _means(nothing, residuals, seen)
        colors = colors.clip(blended - _MOST_FITTED, blended + _MOST_FITTED).clip(0.0, 1.0)
        gaussians = replace(gaussians, colors=colors)
    return gaussians


def _turning_z_to(normals: NDArray[np.float64]) -> NDArray[np.float64]:
    """Quaternions (N, 4), scalar first, of the shortest turns from the z axis to unit normals (N, 3)."""
    x, y, z = normals.T
    # Half-way construction; opposite to z any axis across will do.
    turns = np.column_stack([1.0 + z, -y, x, np.zeros_like(z)])
    turns[z < -1.0 + 1e-9] = (0.0, 1.0, 0.0, 0.0)
    unit: NDArray[np.float64] = turns / np.linalg.norm(turns, axis=1, keepdims=True)
    return unit
