from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from depthrf.errors import DepthrfError, UsageError
from depthrf.geometry.camera import DepthPrior
from depthrf.io.depth.depth_maps import write_prior
from depthrf.stages import export
from depthrf.storage import write_json
from depthrf.workspace import Workspace
from tests.scenes.room import depth_map, make_workspace, views


def with_priors(workspace: Workspace, *, unit: float, metres_per_unit: float | None, sigma: float = 0.01) -> None:
    rng = np.random.default_rng(0)
    for view in views():
        depth = unit * depth_map(view)
        depth[5, 5] *= 0.3  # a flying pixel
        doubt = np.where(rng.random(depth.shape) < 0.1, 0.5, sigma) * depth
        prior = DepthPrior(depth.astype(np.float32), doubt.astype(np.float32))
        write_prior(workspace.prior_depth / f"{view.stem}.npz", prior, np.ones(depth.shape, np.uint8))
    write_json(workspace.scale, {"metres_per_unit": metres_per_unit})


def read_points(path: Path) -> tuple[np.ndarray, np.ndarray]:
    import open3d as o3d

    cloud = o3d.io.read_point_cloud(path)
    return np.asarray(cloud.points), np.asarray(cloud.colors)


@pytest.mark.parametrize(("units", "scale"), [("scene", 4.0), ("metres", 1.0)])
def test_points_lie_on_the_surfaces(tmp_path: Path, units: str, scale: float) -> None:
    workspace = make_workspace(tmp_path / "w", unit=4.0)
    with_priors(workspace, unit=4.0, metres_per_unit=0.25)
    spacing = 0.05 * scale
    summary = export.run(workspace, export.Options(units=units, spacing=spacing))
    points, colors = read_points(export.export_folder(workspace) / "points.ply")
    assert summary.exported[0].count == len(points) > 1000
    assert colors.max() > 0.5
    x, y, z = points.T / scale
    off = np.minimum(np.abs(z - 0.1 * x), np.abs(y - 1.5))  # the floor and the wall of the scene
    assert np.percentile(off, 99) < 0.03
    nearest = np.sqrt(np.min(np.sum((points[:50, None] - points[None]) ** 2, -1) + 1e9 * np.eye(50, len(points)), 1))
    assert 0.2 * spacing < np.median(nearest) < 2 * spacing


def test_spacing_thins(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path / "w")
    with_priors(workspace, unit=1.0, metres_per_unit=None)
    fine = export.run(workspace, export.Options(spacing=0.05)).exported[0].count
    coarse = export.run(workspace, export.Options(spacing=0.2)).exported[0].count
    assert coarse < fine / 5


def test_what_cannot_be_exported(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path / "w")
    with_priors(workspace, unit=1.0, metres_per_unit=None, sigma=0.3)
    with pytest.raises(UsageError, match="--units scene"):
        export.run(workspace, export.Options(units="metres"))
    with pytest.raises(UsageError, match="too close together for a scene"):
        export.run(workspace, export.Options(max_sigma=0.6, spacing=1e-12))
    with pytest.raises(DepthrfError, match="--max-sigma"):
        export.run(workspace, export.Options())
    assert not (export.export_folder(workspace) / "points.ply").exists()
