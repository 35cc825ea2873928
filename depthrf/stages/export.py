"""export: what was reconstructed, for other programs. Today: the merged depth of all photos as one point cloud."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from depthrf import console
from depthrf.errors import DepthrfError, UsageError
from depthrf.options import option
from depthrf.stages.sensor import metres_per_unit
from depthrf.workspace import Workspace

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from depthrf.geometry.camera import View

REQUIRES = ("sfm", "merge")

# Points read from a photo at most: what more there are fall into the same cells.
_POINTS_PER_PHOTO = 200_000


@dataclass(frozen=True)
class Options:
    what: str = option("pointcloud", "what to write", choices=("pointcloud",))
    units: str = option(
        "scene",
        "unit of length: the scene's, as in transforms.json, or metres where they are known",
        choices=("scene", "metres"),
    )
    max_sigma: float = option(0.05, "depth less sure than this share of itself is left out", least=0)
    spacing: float = option(0.0, "distance between points, in these units; 0: by the photos' resolution", least=0)


@dataclass(frozen=True)
class Summary:
    """path: of the file. spacing: distance between points, in ``units``."""

    path: str
    num_points: int
    spacing: float
    units: str


def cloud_path(workspace: Workspace) -> Path:
    return workspace.root / "export" / "pointcloud.ply"


def inputs(workspace: Workspace, options: Options) -> list[Path]:
    return [workspace.undistorted_images, workspace.undistorted_sparse, workspace.prior_depth]


def outputs(workspace: Workspace, options: Options) -> list[Path]:
    return [cloud_path(workspace)]


def run(workspace: Workspace, options: Options) -> Summary:
    """Writes ``export/pointcloud.ply``.

    Raises:
        UsageError: Metres are asked for and the scene's scale is not known.
        DepthrfError: No photo has depth that is sure enough, or the file cannot be written.
    """
    import numpy as np

    from depthrf.io.colmap import load_scene
    from depthrf.io.point_cloud import write_clean_cloud

    unit = _known_scale(workspace) if options.units == "metres" else 1.0
    points, colors, footprints = [], [], []
    for view in console.track(load_scene(workspace.undistorted_sparse).views, "reading depth"):
        xyz, rgb, depth = _view_points(workspace, view, options.max_sigma)
        points.append(unit * xyz)
        colors.append(rgb)
        footprints.append(unit * depth / view.camera.fx)
    if not sum(map(len, points)):
        raise DepthrfError(
            f"No depth in {workspace.prior_depth} is surer than {options.max_sigma:.0%} of itself. "
            "Give a larger --max-sigma."
        )
    # Three times what a pixel covers: fine enough to keep what the photos show, coarse enough to average their noise.
    spacing = options.spacing or 3.0 * float(np.median(np.concatenate(footprints)))
    path = cloud_path(workspace)
    number = write_clean_cloud(path, np.concatenate(points), np.concatenate(colors), spacing=spacing)
    name = "m" if options.units == "metres" else "scene units"
    console.note(f"  {number} points, {spacing:.3g} {name} apart: {path}")
    return Summary(str(path), number, spacing, options.units)


def _known_scale(workspace: Workspace) -> float:
    unit = metres_per_unit(workspace)
    if unit is None:
        raise UsageError("The scale of the scene is not known: only sensor depth tells it. Export with --units scene.")
    return unit


def _view_points(
    workspace: Workspace, view: View, max_sigma: float
) -> tuple[NDArray[np.float64], NDArray[np.uint8], NDArray[np.float64]]:
    """World points (N, 3), their colours and their z-depth (N,), of the pixels whose depth is sure enough."""
    import numpy as np

    from depthrf.io.depth_maps import read_prior
    from depthrf.io.images import read_rgb

    prior, _ = read_prior(workspace.prior_depth / f"{view.stem}.npz")
    rows, columns = np.nonzero((prior.depth > 0) & (prior.sigma <= max_sigma * prior.depth))
    every = -(-len(rows) // _POINTS_PER_PHOTO) or 1
    rows, columns = rows[::every], columns[::every]
    depth = prior.depth[rows, columns].astype(np.float64)
    directions = view.camera.directions(np.stack([columns + 0.5, rows + 0.5], axis=-1))
    pose = view.world_from_cam
    xyz = (directions * depth[:, None]) @ pose[:3, :3].T + pose[:3, 3]
    return xyz, read_rgb(workspace.undistorted_images / view.name)[rows, columns], depth
