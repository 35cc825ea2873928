"""The sfm stage on rendered photos whose poses and depth are known; pycolmap really runs."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from depthrf.errors import DepthrfError
from depthrf.geometry.transforms import rigid, rotation_angle_deg
from depthrf.io.poses.colmap import load_scene
from depthrf.io.poses.transforms_json import load_views, write_transforms
from depthrf.sfm.jobs import LearnedWeights
from depthrf.sfm.registration import register_photos
from depthrf.stages import sfm
from depthrf.workspace import Workspace
from tests.scenes import corner
from tests.similarity import fit_similarity
from tests.stages.conftest import Reconstructed


def test_poses_are_recovered(reconstructed: Reconstructed) -> None:
    views, test = load_views(reconstructed.workspace.transforms)
    assert len(views) == 5
    assert not test
    truth = [reconstructed.truth[v.name] for v in views]
    true_from_sfm = fit_similarity(np.stack([v.centre for v in views]), np.stack([t.centre for t in truth]))
    for view, true in zip(views, truth, strict=True):
        posed = true_from_sfm.apply_to_pose(view.cam_from_world)
        assert rotation_angle_deg(posed[:3, :3], true.cam_from_world[:3, :3]) < 0.5
        assert np.linalg.norm(true_from_sfm.apply(view.centre) - true.centre) < 0.02
        assert view.camera.fx == pytest.approx(true.camera.fx, rel=0.03)


def test_depths_match_the_rendered_depth_within_sigma(reconstructed: Reconstructed) -> None:
    scene = load_scene(reconstructed.workspace.undistorted_sparse)
    truth = [reconstructed.truth[v.name] for v in scene.views]
    scale = fit_similarity(np.stack([v.centre for v in scene.views]), np.stack([t.centre for t in truth])).scale
    walls = corner.textures()
    for view, true in zip(scene.views, truth, strict=True):
        depths = scene.depths[view.name]
        assert len(depths.depth) > 100
        _, expected = corner.render(true, walls)
        pixels = np.floor(depths.xy).astype(int)
        relative = depths.depth * scale / expected[pixels[:, 1], pixels[:, 0]] - 1
        assert np.median(np.abs(relative)) < 0.02
        assert np.median(depths.sigma / depths.depth) < 0.05


def test_summary_and_files(reconstructed: Reconstructed) -> None:
    summary, workspace = reconstructed.summary, reconstructed.workspace
    assert (summary.num_photos, summary.num_registered, summary.dropped, summary.num_test) == (5, 5, [], 0)
    assert summary.mean_reprojection_error_px < 1
    assert summary.consistency > 0.9
    written = {path for path in sfm.outputs(workspace, sfm.Options()) if path.exists()}
    assert written == {*sfm.outputs(workspace, sfm.Options())} - {workspace.undistorted_masks}
    assert {p.name for p in workspace.undistorted_images.iterdir()} == set(reconstructed.truth)
    assert {p.suffix for p in workspace.undistorted_sparse.iterdir()} == {".bin"}
    assert {p.name for p in (workspace.root / "undistorted").iterdir()} == {"images", "sparse"}
    left = {p.name for p in workspace.sfm.iterdir() if not p.name.startswith("database")}
    assert left <= {"sparse", "ledger.json", "poses.json", "log.txt", "register.log"}
    ledger = json.loads((workspace.sfm / "ledger.json").read_text(encoding="utf-8"))
    assert (workspace.sfm / ledger["database"]).is_file()
    assert ledger["runs"][0]["num_trusted"] == 5
    assert set(ledger["selfcheck"]["photos"]) == set(reconstructed.truth)
    total = ledger["selfcheck"]["total"]
    assert total["consistency"] == summary.consistency
    assert total["in_front"] == pytest.approx(1.0, abs=0.01)
    assert total["parallax_deg"] > 3
    assert np.std(load_scene(workspace.undistorted_sparse).colors) > 20


def test_same_seed_same_model_and_a_silent_screen(
    reconstructed: Reconstructed, photos: Workspace, capfd: pytest.CaptureFixture[str]
) -> None:
    sfm.run(photos, sfm.Options())
    shown = capfd.readouterr()
    assert "Placing photos" in shown.err
    assert ".cc:" not in shown.out + shown.err  # glog names its source files
    assert ".cc:" in (photos.sfm / "log.txt").read_text(encoding="utf-8")
    for name in ("images.bin", "points3D.bin", "cameras.bin"):
        first, second = (w.undistorted_sparse / name for w in (reconstructed.workspace, photos))
        assert first.read_bytes() == second.read_bytes()


def test_given_poses_stay_and_test_photos_do_not_match(photos: Workspace, tmp_path: Path) -> None:
    truth = corner.views(5)
    given = tmp_path / "transforms.json"
    write_transforms(given, truth, image_folder="anywhere", test_names=[truth[2].name])
    summary = sfm.run(photos, sfm.Options(poses=given))
    assert (summary.num_registered, summary.num_test, summary.poses) == (5, 1, "given")
    train, test = load_views(photos.transforms)
    assert [v.name for v in test] == [truth[2].name]
    by_name = {v.name: v for v in truth}
    for view in [*train, *test]:
        assert view.camera == by_name[view.name].camera
        np.testing.assert_allclose(view.cam_from_world, by_name[view.name].cam_from_world, atol=1e-9)
        assert (photos.undistorted_images / view.name).is_file()
    scene = load_scene(photos.undistorted_sparse)
    assert [v.name for v in scene.views] == [v.name for v in train]
    walls = corner.textures()
    for view in scene.views:
        depths = scene.depths[view.name]
        _, expected = corner.render(by_name[view.name], walls)
        pixels = np.floor(depths.xy).astype(int)
        assert np.median(np.abs(depths.depth / expected[pixels[:, 1], pixels[:, 0]] - 1)) < 0.01


def test_wrong_given_intrinsics_are_told_and_can_be_refined(photos: Workspace, tmp_path: Path) -> None:
    camera = dataclasses.replace(corner.CAMERA, fx=1.6 * corner.CAMERA.fx, fy=1.6 * corner.CAMERA.fy)
    truth = corner.views(5)
    given = tmp_path / "transforms.json"
    test_name = truth[2].name
    write_transforms(given, [v.with_camera(camera) for v in truth], image_folder="x", test_names=[test_name])
    sfm.run(photos, sfm.Options(poses=given))
    (warning,) = json.loads((photos.sfm / "ledger.json").read_text(encoding="utf-8"))["warnings"]
    assert "--refine-intrinsics" in warning
    assert load_views(photos.transforms)[0][0].camera.fx == pytest.approx(camera.fx)
    sfm.run(photos, sfm.Options(poses=given, refine_intrinsics=True))
    train, test = load_views(photos.transforms)
    assert [v.name for v in test] == [test_name]
    by_name = {v.name: v for v in truth}
    for view in [*train, *test]:
        assert view.camera.fx == pytest.approx(corner.CAMERA.fx, rel=0.02)
        np.testing.assert_allclose(view.cam_from_world, by_name[view.name].cam_from_world, atol=1e-9)


def test_further_photos_are_placed_without_changing_the_model(reconstructed: Reconstructed, tmp_path: Path) -> None:
    workspace = reconstructed.workspace
    before = (workspace.sfm_model / "images.bin").read_bytes()
    shot = [dataclasses.replace(v, name=f"new {i}.png") for i, v in enumerate(corner.views(2, first=-0.35, last=0.45))]
    other = dataclasses.replace(shot[0], name="elsewhere.png")
    corner.write_photos(tmp_path / "photos", shot)
    corner.write_photos(tmp_path / "photos", [other], seed=9)
    result = register_photos(workspace.sfm, sorted((tmp_path / "photos").iterdir()), tmp_path / "undistorted")
    assert [v.name for v in result.views] == [v.name for v in shot]
    assert [f.name for f in result.failed] == ["elsewhere.png"]
    assert "match" in result.failed[0].reason
    model, _ = load_views(workspace.transforms)
    true_from_sfm = fit_similarity(
        np.stack([v.centre for v in model]), np.stack([reconstructed.truth[v.name].centre for v in model])
    )
    walls = corner.textures()
    for view, true in zip(result.views, shot, strict=True):
        assert view.camera == model[0].camera
        assert (tmp_path / "undistorted" / view.name).is_file()
        posed = true_from_sfm.apply_to_pose(view.cam_from_world)
        assert rotation_angle_deg(posed[:3, :3], true.cam_from_world[:3, :3]) < 0.5
        assert np.linalg.norm(true_from_sfm.apply(view.centre) - true.centre) < 0.02
        depths = result.depths[view.name]
        _, expected = corner.render(true, walls)
        pixels = np.floor(depths.xy).astype(int)
        relative = depths.depth * true_from_sfm.scale / expected[pixels[:, 1], pixels[:, 0]] - 1
        assert len(depths.depth) > 50
        assert np.median(np.abs(relative)) < 0.02
        assert np.isfinite(depths.sigma).all()
    assert (workspace.sfm_model / "images.bin").read_bytes() == before
    assert not list(workspace.sfm.glob("register-*"))


def test_a_damaged_database_is_named_before_photos_are_placed(reconstructed: Reconstructed, tmp_path: Path) -> None:
    sfm_folder = tmp_path / "sfm"
    shutil.copytree(reconstructed.workspace.sfm, sfm_folder)
    (database,) = sfm_folder.glob("database*.db")
    content = bytearray(database.read_bytes())
    content[len(content) // 2] ^= 1
    database.write_bytes(content)
    with pytest.raises(DepthrfError, match=f"{database.name} is not as the sfm stage wrote it"):
        register_photos(sfm_folder, [], tmp_path / "undistorted")
    assert not (tmp_path / "undistorted").exists()


@pytest.mark.parametrize("known", [corner.CAMERA.fx, 0.6 * corner.CAMERA.fx])
def test_a_focal_length_from_exif_is_kept_only_where_it_fits(tmp_path: Path, known: float) -> None:
    workspace = corner.make_workspace(tmp_path / "workspace", corner.views(5), focal_px=known)
    focal = sfm.run(workspace, sfm.Options()).focal_px
    if known == corner.CAMERA.fx:
        assert focal == pytest.approx(known, rel=0.01)
    else:
        assert focal == pytest.approx(corner.CAMERA.fx, rel=0.03)


@pytest.mark.parametrize("count", [0, 1, 2])
def test_too_few_photos(tmp_path: Path, count: int) -> None:
    workspace = corner.make_workspace(tmp_path / "workspace", corner.views(3)[:count])
    with pytest.raises(DepthrfError, match="at least 3"):
        sfm.run(workspace, sfm.Options())


def test_unrelated_photos(tmp_path: Path) -> None:
    shot = corner.views(3)
    workspace = corner.make_workspace(tmp_path / "workspace", shot)
    for seed, view in enumerate(shot):
        corner.write_photos(workspace.images, [view], seed=seed + 1)
    with pytest.raises(DepthrfError, match="No two of the 3 photos share enough detail"):
        sfm.run(workspace, sfm.Options())


def test_a_photo_of_something_else_is_left_out(photos: Workspace) -> None:
    odd = corner.views(5)[2]
    corner.write_photos(photos.images, [odd], seed=7)
    summary = sfm.run(photos, sfm.Options())
    assert summary.num_registered == 4
    assert [d.name for d in summary.dropped] == [odd.name]
    assert odd.name not in {p.name for p in photos.undistorted_images.iterdir()}
    (left_out,) = json.loads((photos.sfm / "ledger.json").read_text(encoding="utf-8"))["dropped"]
    assert left_out["between"][0] == odd.name
    assert left_out["between"][1] in {p.name for p in photos.undistorted_images.iterdir()}
    with pytest.raises(DepthrfError, match="Only 4 of the 5"):
        sfm.run(photos, sfm.Options(min_share=1.0))
    ledger = json.loads((photos.sfm / "ledger.json").read_text(encoding="utf-8"))
    assert ledger["database"] == ""
    assert [d["name"] for d in ledger["dropped"]] == [odd.name]
    assert {run["features"] for run in ledger["runs"]} >= {"affine", "affine-guided", "plain"}


def test_networks_match_what_sift_could_not_place(
    photos: Workspace, monkeypatch: pytest.MonkeyPatch, learned_weights: LearnedWeights
) -> None:
    monkeypatch.setenv("DEPTHRF_WEIGHTS", str(learned_weights.xfeat.parent))
    corner.write_photos(photos.images, corner.views(5)[2:3], seed=7)  # of something else
    assert sfm.run(photos, sfm.Options(device="cpu")).num_registered == 4
    ledger = json.loads((photos.sfm / "ledger.json").read_text(encoding="utf-8"))
    assert {run["features"] for run in ledger["runs"]} == {"affine", "learned", "plain"}


def test_a_further_photo_has_the_zoom_that_fits(tmp_path: Path) -> None:
    """Two focal lengths at one size: the one of most photos is not everybody's."""
    wide = dataclasses.replace(corner.CAMERA, fx=150.0, fy=150.0)
    views = [v.with_camera(wide) if i in (1, 4, 7) else v for i, v in enumerate(corner.views(9))]
    workspace = corner.make_workspace(tmp_path / "workspace", views)
    content = json.loads(workspace.photos.read_text(encoding="utf-8"))
    for photo, view in zip(content["photos"], views, strict=True):
        photo["camera_key"] = f"{view.camera.fx:.0f}"
    workspace.photos.write_text(json.dumps(content), encoding="utf-8")
    sfm.run(workspace, sfm.Options())
    near, far = (dataclasses.replace(v, name=f"new {i}.png") for i, v in enumerate(corner.views(2, -0.35, 0.45)))
    corner.write_photos(tmp_path / "photos", [near.with_camera(wide), far])
    result = register_photos(workspace.sfm, sorted((tmp_path / "photos").iterdir()), tmp_path / "undistorted")
    assert [v.camera.fx for v in result.views] == pytest.approx([150.0, corner.CAMERA.fx], rel=0.02)


def test_photos_from_one_spot_are_refused(tmp_path: Path) -> None:
    target = corner.views(5)
    centre = target[2].centre
    views = []
    for i, view in enumerate(target):
        rotation = turn(4.0 * (i - 2)) @ target[2].cam_from_world[:3, :3]
        views.append(dataclasses.replace(view, cam_from_world=rigid(rotation, -rotation @ centre)))
    workspace = corner.make_workspace(tmp_path / "workspace", views)
    with pytest.raises(DepthrfError, match="one spot"):
        sfm.run(workspace, sfm.Options())


def turn(degrees: float) -> NDArray[np.float64]:
    """About the camera's vertical axis."""
    c, s = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    return np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]])
