"""A mesh of the field's surfaces: rendered depth fused into a truncated signed distance function by Open3D."""

from __future__ import annotations

from typing import Any

import numpy as np

from depthrf.errors import DepthrfError
from depthrf.geometry.camera import View
from depthrf.io.meshes import Mesh, write_glb, write_mesh
from depthrf.stages.exporting.surfaces import RenderedPhoto
from depthrf.stages.exporting.target import Exported, Target, in_unit

_PIXELS_PER_VOXEL = 1.5  # of the rendered pictures, at the median depth
_TRUNCATION = 4.0  # voxels
_BLOCK, _FIRST_BLOCKS = 16, 10_000  # voxels along a block; blocks to begin with, more are made as needed
_LEAST_WEIGHT = 1.0  # observations of a voxel that makes surface
_LEAST_PART = 0.005  # smaller connected parts, as shares of all triangles, are islands in the air


def write_meshes(target: Target, photos: list[RenderedPhoto]) -> Exported:
    """Writes ``mesh.ply`` and ``mesh.obj`` in the frame of the photos' poses, and ``mesh.glb`` upright, y up.

    Raises:
        DepthrfError: There is no surface that the photos bear out.
    """
    mesh = fuse(photos, target.unit, target.triangles)
    if not len(mesh.triangles):
        raise DepthrfError("There is no surface that the photos bear out, so there is no mesh. Export points instead.")
    for ending in ("ply", "obj"):
        write_mesh(target.folder / f"mesh.{ending}", mesh)
    write_glb(target.folder / "mesh.glb", upright(mesh, target.views))
    return Exported("mesh.ply, mesh.obj, mesh.glb", len(mesh.triangles), "triangles")


def fuse(photos: list[RenderedPhoto], unit: float, most_triangles: int) -> Mesh:
    """The zero level of the fused distance function, without islands, in ``unit`` times scene units."""
    footprint = [float(np.median(p.depth[p.depth > 0])) / p.view.camera.fx for p in photos if (p.depth > 0).any()]
    if not footprint:
        return Mesh(np.zeros((0, 3)), np.zeros((0, 3), np.int64), np.zeros((0, 3), np.uint8))
    found = _fused(photos, unit, _PIXELS_PER_VOXEL * unit * float(np.median(footprint)))
    labels, sizes, _ = found.cluster_connected_triangles()
    small = np.asarray(sizes) < _LEAST_PART * len(found.triangles)
    found.remove_triangles_by_mask(small[np.asarray(labels, dtype=np.int64)].tolist())
    found.remove_unreferenced_vertices()
    if len(found.triangles) > most_triangles:
        found = found.simplify_quadric_decimation(most_triangles)
        found.remove_degenerate_triangles()
        found.remove_unreferenced_vertices()
    colors = np.rint(255.0 * np.asarray(found.vertex_colors)).astype(np.uint8)
    return Mesh(np.asarray(found.vertices), np.asarray(found.triangles, dtype=np.int64), colors)


def _fused(photos: list[RenderedPhoto], unit: float, voxel: float) -> Any:
    """Open3D's triangle mesh of all photos' depth."""
    import open3d as o3d
    from open3d.core import Device, Tensor, float32

    kinds = ("tsdf", "weight", "color")
    shapes: Any = (1, 1, 3)
    volume = o3d.t.geometry.VoxelBlockGrid(
        kinds, (float32, float32, float32), shapes, voxel, _BLOCK, _FIRST_BLOCKS, Device("CPU:0")
    )
    for photo in photos:
        camera, pose = photo.view.camera, in_unit(photo.view.cam_from_world, unit)
        # Open3D cuts pixel coordinates off to whole numbers here, so its pixel origin is the corner, as ours.
        lens, placed = Tensor(camera.matrix), Tensor(np.ascontiguousarray(pose))
        depth = o3d.t.geometry.Image(Tensor(np.ascontiguousarray(unit * photo.depth, dtype=np.float32)))
        color = o3d.t.geometry.Image(Tensor(np.ascontiguousarray(photo.rgb, dtype=np.float32) / np.float32(255.0)))
        far = float(unit * photo.depth.max()) + voxel
        blocks = volume.compute_unique_block_coordinates(depth, lens, placed, 1.0, far, _TRUNCATION)
        volume.integrate(blocks, depth, color, lens, lens, placed, 1.0, far, _TRUNCATION)
    return volume.extract_triangle_mesh(_LEAST_WEIGHT).to_legacy()


def upright(mesh: Mesh, views: list[View]) -> Mesh:
    """The mesh in glTF's axes, y up, standing as the photos were held."""
    up = -np.mean([view.cam_from_world[1, :3] for view in views], axis=0)
    norm = float(np.linalg.norm(up))
    y = up / norm if norm > 1e-6 else np.array([0.0, -1.0, 0.0])
    forward = np.mean([view.cam_from_world[2, :3] for view in views], axis=0)
    z = -(forward - (forward @ y) * y)
    if np.linalg.norm(z) < 1e-6:
        z = np.cross(y, np.array([1.0, 0.0, 0.0]) if abs(y[0]) < 0.9 else np.array([0.0, 0.0, 1.0]))
    z = z / np.linalg.norm(z)
    rotation = np.stack([np.cross(y, z), y, z])
    return Mesh(mesh.vertices @ rotation.T, mesh.triangles, mesh.colors)
