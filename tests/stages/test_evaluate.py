"""Which views are held out, and that nothing is learned from them."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from depthrf.errors import DepthrfError, UsageError
from depthrf.geometry.camera import View
from depthrf.geometry.lens import Lens
from depthrf.geometry.transforms import look_at
from depthrf.io.depth.depth_maps import write_sensor_depth
from depthrf.io.photos.images import read_rgb, write_png
from depthrf.io.poses.colmap import ColmapImage, ColmapModel, read_model
from depthrf.io.poses.colmap_text import without_photo, write_model
from depthrf.io.poses.origin import write_pose_origin
from depthrf.io.poses.transforms_json import load_views
from depthrf.io.trained_field import load_field
from depthrf.nerf.options import (
    FieldOptions,
    GridOptions,
    ModelOptions,
    OptimiserOptions,
    ProposalGridOptions,
    ProposalOptions,
)
from depthrf.options import to_dict
from depthrf.stages import align, depth, evaluate, ingest, merge, train
from depthrf.stages.ingesting.holdout import chosen_names
from depthrf.stages.scoring import leave_one_out
from depthrf.stages.scoring.views import score_view
from depthrf.stages.training.exposures import Exposures, PhotoExposure
from depthrf.storage import fingerprint, read_json, write_json
from depthrf.workspace import Workspace, create_workspace

LENS = Lens("PINHOLE", 64, 48, (60.0, 60.0, 32.0, 24.0))
NAMES = [f"{i}.png" for i in range(4)]


def make_model(generator: np.random.Generator, names: list[str] = NAMES) -> ColmapModel:
    """Cameras before a cloud of points, all of which every camera sees."""
    points = generator.uniform(-0.8, 0.8, (60, 3))
    images = {}
    for index, name in enumerate(names):
        pose = look_at(np.array([index - 1.5, 0.3 * index, -4.0]), np.zeros(3), np.array([0.0, -1.0, 0.0]))
        in_cam = points @ pose[:3, :3].T + pose[:3, 3]
        xy = 60.0 * in_cam[:, :2] / in_cam[:, 2:] + (32.0, 24.0)
        images[index + 1] = ColmapImage(name, 1, pose, xy, np.arange(10, 70))
    colors = generator.integers(0, 255, (60, 3), dtype=np.uint8)
    return ColmapModel({1: LENS}, images, np.arange(10, 70), points, colors, np.full(60, 0.5))


def write_workspace(root: Path, model: ColmapModel, seed: int = 0) -> Workspace:
    """A workspace as sfm leaves it, with sensor depth; every photo's content depends on the seed and its name."""
    from depthrf.io.poses.colmap import load_scene
    from depthrf.io.poses.transforms_json import write_transforms

    workspace = create_workspace(root, root)
    write_model(workspace.undistorted_sparse, model)
    write_model(workspace.sfm_model, model)
    for image in model.images.values():
        generator = np.random.default_rng([seed, ord(image.name[0])])
        coarse = generator.integers(0, 255, (6, 8, 3), dtype=np.uint8)
        write_png(workspace.undistorted_images / image.name, coarse.repeat(8, 0).repeat(8, 1))
        write_sensor_depth(workspace.sensor_depth / image.name, _nearest_depth(image, model))
    write_transforms(workspace.transforms, load_scene(workspace.undistorted_sparse).views, image_folder="undistorted")
    write_pose_origin(workspace.pose_origin, "given")
    return workspace


def _nearest_depth(image: ColmapImage, model: ColmapModel) -> np.ndarray:
    """The depth (48, 64) of the keypoint that is nearest to each pixel."""
    z = model.xyz @ image.cam_from_world[2, :3] + image.cam_from_world[2, 3]
    pixels = np.stack(np.meshgrid(np.arange(64) + 0.5, np.arange(48) + 0.5), axis=-1)
    nearest = np.linalg.norm(pixels[:, :, None] - image.xy, axis=-1).argmin(-1)
    return np.asarray(z[nearest])


TINY = train.Options(
    max_side=32,
    model=ModelOptions(
        field=FieldOptions(grid=GridOptions(levels=2, log2_size=8, finest=32), width=8),
        proposal=ProposalOptions(num_samples=(8,), grid=ProposalGridOptions(levels=2, log2_size=8), width=8),
        num_samples=8,
    ),
    optimiser=OptimiserOptions(steps=4, batch_rays=64),
    device="cpu",
)


def train_workspace(workspace: Workspace) -> None:
    for module, options in ((depth, depth.Options("none")), (align, align.Options()), (merge, merge.Options())):
        module.run(workspace, options)
        write_json(workspace.record(module.__name__.rpartition(".")[2]), {"options": to_dict(options)})
    train.run(workspace, TINY)
    write_json(workspace.record("train"), {"options": to_dict(TINY)})


def test_model_in_text_reads_back_the_same(tmp_path: Path) -> None:
    model = make_model(np.random.default_rng(0))
    write_model(tmp_path, model)
    again = read_model(tmp_path)
    assert again.cameras == model.cameras
    np.testing.assert_array_equal(again.xyz, model.xyz)
    np.testing.assert_array_equal(again.rgb, model.rgb)
    for key, image in model.images.items():
        np.testing.assert_allclose(again.images[key].cam_from_world, image.cam_from_world, atol=1e-12)
        np.testing.assert_array_equal(again.images[key].xy, image.xy)
        np.testing.assert_array_equal(again.images[key].point_ids, image.point_ids)


def test_points_without_a_photo_come_from_the_others() -> None:
    """Points that the photo saw are where the others see them; those that only one other sees are dropped."""
    model = make_model(np.random.default_rng(0))
    alone = model.point_ids[:5]  # seen by the first two photos only
    images = {
        k: replace(i, point_ids=np.where(np.isin(i.point_ids, alone) & (k > 2), -1, i.point_ids))
        for k, i in model.images.items()
    }
    moved = replace(model, images=images, xyz=model.xyz + 0.1)
    reduced = without_photo(moved, NAMES[1])
    assert [i.name for i in reduced.images.values()] == ["0.png", "2.png", "3.png"]
    np.testing.assert_array_equal(reduced.point_ids, model.point_ids[5:])
    np.testing.assert_allclose(reduced.xyz, model.xyz[5:], atol=1e-8)
    assert not any(np.isin(i.point_ids, alone).any() for i in reduced.images.values())


def test_a_left_out_photo_cannot_reach_its_fold(tmp_path: Path) -> None:
    """Pixels, keypoints, points and depth of the photo are replaced: the fold without it stays the same."""
    model = make_model(np.random.default_rng(0))
    clean = write_workspace(tmp_path / "clean", model)
    wrong = {**model.images, 2: replace(model.images[2], xy=model.images[2].xy[::-1] + 3.0)}
    poisoned = write_workspace(tmp_path / "poisoned", replace(model, images=wrong, xyz=model.xyz * 1.1))
    for name in NAMES:
        shutil.copyfile(clean.sensor_depth / name, poisoned.sensor_depth / name)
    generator = np.random.default_rng(9)
    write_png(poisoned.undistorted_images / NAMES[1], generator.integers(0, 255, (48, 64, 3), dtype=np.uint8))
    write_sensor_depth(poisoned.sensor_depth / NAMES[1], generator.uniform(1.0, 2.0, (48, 64)))
    view = held_out_view(clean, NAMES[1])
    folds = [leave_one_out._fold_workspace(w, w.root / "fold", view) for w in (clean, poisoned)]
    for place in ("undistorted_sparse", "undistorted_images", "sensor_depth", "transforms", "mono_depth"):
        first, second = (fingerprint(getattr(fold, place)) for fold in folds)
        assert first == second, place
    assert NAMES[1] not in {p.name for p in folds[0].undistorted_images.iterdir()}


def held_out_view(workspace: Workspace, name: str) -> View:
    from depthrf.io.poses.colmap import load_scene

    return next(v for v in load_scene(workspace.undistorted_sparse).views if v.name == name)


def test_leave_one_out_scores_every_photo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEPTHRF_WEIGHTS", str(tmp_path / "weights"))
    workspace = write_workspace(tmp_path / "ws", make_model(np.random.default_rng(0), NAMES[:3]))
    train_workspace(workspace)
    with pytest.raises(DepthrfError, match="--leave-one-out"):
        evaluate.run(workspace, evaluate.Options(device="cpu"))
    summary = evaluate.run(workspace, evaluate.Options(leave_one_out=True, steps=3, device="cpu"))
    assert (summary.split, summary.num_views, summary.depth_reference) == ("leave_one_out", 3, "sensor")
    result = read_json(workspace.evaluation)
    values = [row["psnr"] for row in result["views"]]
    assert result["mean"]["psnr"] == pytest.approx(np.mean(values))
    assert result["spread"]["psnr"]["std"] == pytest.approx(np.std(values, ddof=1))
    assert result["lpips_network"] is None
    assert all(row["lpips"] is None and row["depth_rmse"] > 0 for row in result["views"])
    picture = read_rgb(workspace.evaluation_dir / "0.png")
    assert picture.shape == (18 + 24, 5 * 32, 3)  # photo, rendering, error, depth, reference depth

    with pytest.raises(DepthrfError, match="No held-out views"):  # which costs nothing that was scored
        evaluate.run(workspace, evaluate.Options(device="cpu"))
    assert (workspace.evaluation_dir / "0.png").is_file()
    (workspace.evaluation_dir / "leave_one_out" / "1.json").unlink()
    rows = [(workspace.evaluation_dir / "leave_one_out" / f"{n}.json").stat().st_mtime_ns for n in "02"]
    evaluate.run(workspace, evaluate.Options(leave_one_out=True, steps=3, device="cpu"))
    assert rows == [(workspace.evaluation_dir / "leave_one_out" / f"{n}.json").stat().st_mtime_ns for n in "02"]
    assert read_json(workspace.evaluation)["mean"]["psnr"] == pytest.approx(result["mean"]["psnr"], abs=1e-6)


def test_views_are_rendered_with_the_exposure_of_the_photos_around_them(tmp_path: Path) -> None:
    """All photos at half their mean: so is the rendering, and only that."""
    workspace = write_workspace(tmp_path / "ws", make_model(np.random.default_rng(0), NAMES[:3]))
    train_workspace(workspace)
    views, _ = load_views(workspace.transforms)
    exposures = Exposures(tuple(PhotoExposure(view.name, (0.5, 0.5, 0.5)) for view in views))
    field = load_field(workspace.checkpoint, torch.device("cpu"))
    photo = workspace.undistorted_images / views[0].name
    pictures = []
    for gain in (None, exposures.gain_at(views[0], views)):
        score_view(field, views[0], photo, tmp_path / "p.png", masks=workspace.undistorted_masks, gain=gain)
        pictures.append(read_rgb(tmp_path / "p.png").astype(float))
    plain, dark = (picture[-24:, 32:64] for picture in pictures)  # the second panel, below its title
    assert plain.mean() > 20
    np.testing.assert_allclose(dark, 0.5 * plain, atol=0.51)
    np.testing.assert_array_equal(pictures[0][-24:, :32], pictures[1][-24:, :32])


def test_what_decides_leave_one_out_scores_makes_them_stale(tmp_path: Path) -> None:
    """LPIPS and its weights, masks, confidence, and all that the stages of a fold read."""
    workspace = write_workspace(tmp_path / "ws", make_model(np.random.default_rng(0), NAMES[:3]))
    train_workspace(workspace)
    options = leave_one_out._stage_options(workspace, 3, "cpu")
    weights = tmp_path / "lpips.pth"
    weights.write_text("1")
    changes: list[Callable[[], object]] = [
        lambda: weights.write_text("2"),
        lambda: write_png(workspace.undistorted_masks / "0.png.png", np.full((48, 64), 255, np.uint8)),
        lambda: write_png(workspace.sensor_confidence / "0.png", np.full((48, 64), 1, np.uint8)),
        lambda: write_json(workspace.sensor_cameras, {}),
        lambda: write_pose_origin(workspace.pose_origin, "refined"),
        lambda: write_json(workspace.prior_report, {"sensor": {"metres_per_unit": 2.0, "method": "keypoints"}}),
    ]
    keys = [leave_one_out._key(workspace, options, network, [weights]) for network in (None, "alex", "vgg")]
    for change in changes:
        change()
        keys.append(leave_one_out._key(workspace, options, "vgg", [weights]))
    assert len(set(keys)) == len(keys)
    assert leave_one_out._key(workspace, options, "vgg", [weights]) == keys[-1]


def test_leave_one_out_honours_masks(tmp_path: Path) -> None:
    """Photos whose masked right half shows something else give the same fields and the same scores."""
    scores = []
    for name in ("clean", "spoilt"):
        workspace = write_workspace(tmp_path / name, make_model(np.random.default_rng(0), NAMES[:3]))
        used = np.full((48, 64), 255, np.uint8)
        used[:, 32:] = 0
        for photo in NAMES[:3]:
            write_png(workspace.undistorted_masks / f"{photo}.png", used)
            if name == "spoilt":
                rgb = read_rgb(workspace.undistorted_images / photo).copy()
                rgb[:, 32:] = 255 - rgb[:, 32:]
                write_png(workspace.undistorted_images / photo, rgb)
        train_workspace(workspace)
        view = held_out_view(workspace, NAMES[0])
        fold = leave_one_out._fold_workspace(workspace, tmp_path / f"fold of {name}", view)
        assert {p.name for p in fold.undistorted_masks.iterdir()} == {f"{photo}.png" for photo in NAMES[1:3]}
        evaluate.run(workspace, evaluate.Options(leave_one_out=True, steps=3, lpips="none", device="cpu"))
        rows = read_json(workspace.evaluation)["views"]
        scores.append([[row[key] for key in ("psnr", "psnr_exposure_fit", "ssim", "depth_rmse")] for row in rows])
        assert all(0 < row["depth_coverage"] <= 0.5 for row in rows)
    np.testing.assert_allclose(scores[0], scores[1], rtol=1e-6)


@pytest.mark.parametrize(
    ("holdout", "chosen"),
    [("every:3", ["a.jpg", "d.jpg"]), ("b.jpg", ["b.jpg"]), ("c, a", ["a.jpg", "c.jpg"]), ("{tmp}/l.txt", ["d.jpg"])],
)
def test_ways_to_choose(holdout: str, chosen: list[str], tmp_path: Path) -> None:
    (tmp_path / "l.txt").write_text("d.jpg\n\n")
    names = [f"{letter}.jpg" for letter in "abcde"]
    assert sorted(chosen_names(holdout.format(tmp=tmp_path), names)) == chosen


@pytest.mark.parametrize("holdout", ["every:1", "every:x", "every", "z.jpg", ",", "a.jpg,z.jpg", "nowhere.txt"])
def test_choices_that_mean_nothing(holdout: str) -> None:
    with pytest.raises(UsageError, match="--holdout"):
        chosen_names(holdout, ["a.jpg", "b.jpg", "c.jpg"])


def test_ingest_keeps_held_out_photos_apart(tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    for index in range(5):
        noise = np.random.default_rng(index).integers(0, 255, (80, 100, 3), dtype=np.uint8)
        write_png(photos / f"{index}.png", noise)
    workspace = create_workspace(tmp_path / "ws", photos)
    summary = ingest.run(workspace, ingest.Options(holdout="every:3"))
    assert (summary.num_photos, summary.num_held_out) == (3, 2)
    assert sorted(p.name for p in workspace.images.iterdir()) == ["1.png", "2.png", "4.png"]
    assert sorted(p.name for p in workspace.held_out.iterdir()) == ["0.png", "3.png"]
    rows = {p["source"]: (p["status"], p["name"]) for p in read_json(workspace.photos)["photos"]}
    assert rows["3.png"] == ("held_out", None)
    with pytest.raises(UsageError, match="leaves 2 of 5"):
        ingest.run(workspace, ingest.Options(holdout="every:2"))
    ingest.run(workspace, ingest.Options())
    assert not workspace.held_out.exists()
