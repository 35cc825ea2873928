"""Masked photos: what the camera carries along neither gives keypoints nor pulls the poses."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from depthrf.io.masks import mask_path, read_used
from depthrf.io.photos.images import write_png
from depthrf.io.poses.colmap import load_scene
from depthrf.stages import sfm
from depthrf.stages.posing.jobs import content_hash
from tests.scenes import corner
from tests.similarity import fit_similarity

BOARD = (slice(40, 150), slice(70, 170))


def test_a_board_that_moves_with_the_camera_is_not_seen(tmp_path: Path) -> None:
    shot = corner.views(5)
    workspace = corner.make_workspace(tmp_path / "workspace", shot)
    used = np.full((180, 240), 255, np.uint8)
    used[BOARD] = 0
    noise = np.random.default_rng(3).integers(0, 256, (22, 20, 3), np.uint8)
    for view in shot:
        photo = cv2.imread(str(workspace.images / view.name))
        assert photo is not None
        photo[BOARD] = np.kron(noise, np.ones((5, 5, 1), np.uint8))
        cv2.imwrite(str(workspace.images / view.name), photo)
        write_png(mask_path(workspace.masks, view.name), used)
    summary = sfm.run(workspace, sfm.Options())
    assert summary.num_registered == 5
    scene = load_scene(workspace.undistorted_sparse)
    for view in scene.views:
        kept = read_used(workspace.undistorted_masks, view.name, view.camera)
        assert 0.6 < kept.mean() < 0.85
        column, row = np.floor(scene.depths[view.name].xy).astype(int).T
        assert kept[row, column].mean() > 0.99
    truth = {v.name: v.centre for v in shot}
    centres, true = (np.stack(c) for c in zip(*((v.centre, truth[v.name]) for v in scene.views), strict=True))
    moved = fit_similarity(centres, true).apply(centres)
    assert np.linalg.norm(moved - true, axis=1).max() < 0.05


def test_the_database_is_another_with_masks(tmp_path: Path) -> None:
    workspace = corner.make_workspace(tmp_path / "workspace", corner.views(3))
    without = content_hash(workspace)
    for view in corner.views(3):
        write_png(mask_path(workspace.masks, view.name), np.full((180, 240), 255, np.uint8))
    white = content_hash(workspace)
    write_png(mask_path(workspace.masks, corner.views(3)[0].name), np.zeros((180, 240), np.uint8))
    assert len({without, white, content_hash(workspace)}) == 3
