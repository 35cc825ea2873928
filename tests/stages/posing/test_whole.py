"""COLMAP goes on without a word where the disk is full: what it left cut off is told."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pytest

from depthrf.errors import DepthrfError
from depthrf.geometry.camera import View
from depthrf.io.poses.colmap import read_model
from depthrf.io.poses.transforms_json import load_views
from depthrf.stages.posing.whole import check_whole
from depthrf.workspace import Workspace
from tests.stages.conftest import Reconstructed


@dataclass(frozen=True)
class Found:
    """The part of a model that is compared with the files."""

    views: list[View]
    num_points: int
    test: frozenset[str] = frozenset()


@pytest.fixture
def written(reconstructed: Reconstructed, tmp_path: Path) -> tuple[Workspace, Any]:
    workspace = Workspace(tmp_path / "w")
    shutil.copytree(reconstructed.workspace.root, workspace.root)
    views, _ = load_views(workspace.transforms)
    return workspace, cast("Any", Found(views, len(read_model(workspace.sfm_model).xyz)))


def test_whole_files_pass(written: tuple[Workspace, Any]) -> None:
    check_whole(*written)


FILES: dict[str, Callable[[Workspace], Path]] = {
    "photo": lambda workspace: next(workspace.undistorted_images.iterdir()),
    "points": lambda workspace: workspace.sparse_point_cloud,
    "model": lambda workspace: workspace.sfm_model / "points3D.bin",
    "undistorted model": lambda workspace: workspace.undistorted_sparse / "images.bin",
}


@pytest.mark.parametrize("kind", FILES)
@pytest.mark.parametrize("share", [0.0, 0.9])
def test_files_cut_off_are_told(written: tuple[Workspace, Any], kind: str, share: float) -> None:
    path = FILES[kind](written[0])
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(DepthrfError, match=r"was not written whole.*Make room"):
        check_whole(*written)


def test_a_model_with_fewer_points_is_told(written: tuple[Workspace, Any]) -> None:
    workspace, found = written
    with pytest.raises(DepthrfError, match="was not written whole"):
        check_whole(workspace, cast("Any", Found(found.views, found.num_points + 1)))
