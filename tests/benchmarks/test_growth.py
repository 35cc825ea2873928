"""The benchmark's stand-in for SfM tells the truth."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.growth import make_workspace
from depthrf.io.photos.images import read_png_uint16
from depthrf.io.poses.colmap import load_scene
from depthrf.io.poses.transforms_json import load_views
from depthrf.workspace import Workspace


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("growth")
    make_workspace(folder, 3, 96)
    return folder


def test_points_lie_on_the_surfaces_and_are_seen_more_than_once(folder: Path) -> None:
    workspace = Workspace(folder / "workspace")
    scene = load_scene(workspace.undistorted_sparse)
    assert [v.name for v in scene.views] == [v.name for v in load_views(workspace.transforms)[0]]
    for view in scene.views:
        assert (workspace.undistorted_images / view.name).is_file()
        seen = scene.depths[view.name]
        true = read_png_uint16(folder / "ground_truth" / "depth" / f"{view.stem}.png") / 1000.0
        column, row = np.floor(seen.xy).astype(int).T
        assert len(seen.depth) > 20
        assert (seen.track_length >= 2).all()
        assert np.median(np.abs(true[row, column] / seen.depth - 1.0)) < 0.01
