"""Photos whose poses other means have found, as a part of the model."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from depthrf.io.poses.transforms_json import load_views
from depthrf.sfm.jobs import Extension, Folders
from depthrf.sfm.registration import extend_model
from tests.scenes import corner
from tests.stages.conftest import Reconstructed

NEW = replace(corner.views(1, -0.35)[0], name="new.png")


def extended(reconstructed: Reconstructed, folder: Path, pose: NDArray[np.float64], seed: int) -> Extension:
    """The corner's model with one photo more, said to have been taken at ``pose``."""
    workspace = reconstructed.workspace
    corner.write_photos(folder / "photos", [NEW], seed=seed)
    places = ("sfm", "undistorted/images", "undistorted/sparse", "points.ply")
    folders = Folders(workspace.images, *(folder / "out" / place for place in places))
    poses = {NEW.name: tuple(map(tuple, pose.tolist()))}
    return extend_model(workspace.sfm, [folder / "photos" / NEW.name], folders, folder / "out/database.db", poses=poses)


def test_a_photo_without_matches_is_where_it_was_put(reconstructed: Reconstructed, tmp_path: Path) -> None:
    (first, *_), _ = load_views(reconstructed.workspace.transforms)
    found = extended(reconstructed, tmp_path, first.cam_from_world, seed=9)
    assert found.placed == (NEW.name,)
    assert found.model is not None
    views = {view.name: view for view in found.model.views}
    np.testing.assert_allclose(views[NEW.name].cam_from_world, first.cam_from_world, atol=1e-12)
    assert NEW.name not in found.model.photos  # nothing judges it
    assert (tmp_path / "out/undistorted/images" / NEW.name).is_file()


def test_a_place_that_its_matches_contradict_is_refused(reconstructed: Reconstructed, tmp_path: Path) -> None:
    views, _ = load_views(reconstructed.workspace.transforms)
    found = extended(reconstructed, tmp_path, views[-1].cam_from_world, seed=0)
    assert found.model is None
    (failed,) = found.failed
    assert failed.name == NEW.name
    assert "agree" in failed.reason or "behind" in failed.reason or "points" in failed.reason
