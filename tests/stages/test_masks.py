"""Something that moves is masked in photos of the demo room, and no stage sees it."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from depthrf import pipeline
from depthrf.demo.photos import DemoFiles, write_demo
from depthrf.io.depth.depth_maps import read_prior
from depthrf.io.masks import mask_path, read_mask
from depthrf.io.photos.images import read_rgb, write_jpeg, write_png
from depthrf.io.poses.colmap import load_scene
from depthrf.nerf.options import OptimiserOptions
from depthrf.nerf.scores.metrics import color_scores
from depthrf.stages import evaluate, ingest, merge, sfm, train
from depthrf.storage import read_json
from depthrf.workspace import Workspace, create_workspace

pytestmark = pytest.mark.slow

STAGES = ("ingest", "sfm", "depth", "align", "merge")
LEFT_OUT = (slice(60, 180), slice(90, 200))


@dataclasses.dataclass(frozen=True)
class Run:
    workspace: Workspace
    photos: Path
    plan: pipeline.Plan


def spoil(path: Path, seed: int) -> None:
    """A board full of detail, carried along by the photographer."""
    rgb = read_rgb(path).copy()
    board = np.random.default_rng(seed).integers(0, 256, (15, 14, 3), np.uint8)
    rows, columns = LEFT_OUT
    rgb[LEFT_OUT] = np.kron(board, np.ones((8, 8, 1), np.uint8))[
        : rows.stop - rows.start, : columns.stop - columns.start
    ]
    write_jpeg(path, rgb)


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, DemoFiles]:
    folder = tmp_path_factory.mktemp("room")
    files = write_demo(folder, num_train=5, num_test=1, width=320, height=240)
    for path in [*files.photos.iterdir(), *files.held_out.iterdir()]:
        spoil(path, 0)
        used = np.full((120, 160), 255, np.uint8)
        used[30:90, 45:100] = 0
        write_png(files.photos / "masks" / f"{path.stem}.png", used)
    for path in files.held_out.iterdir():
        shutil.copy(path, files.photos / path.name)
    return folder, files


@pytest.fixture(scope="module")
def done(room: tuple[Path, DemoFiles]) -> Run:
    """All stages up to the depth prior, with given poses and sensor depth."""
    folder, files = room
    changes: dict[str, Any] = {
        "ingest": {"photos": files.photos, "sensor_depth": files.depth},
        "sfm": {"poses": files.transforms, "max_image_size": 320},
        "depth": {"network": "none"},
        "train": {"max_side": 80, "optimiser": dataclasses.asdict(OptimiserOptions(steps=2, batch_rays=64))},
    }
    workspace = create_workspace(folder / "ws", files.photos)
    plan = pipeline.make_plan(changes, "the test")
    pipeline.run_stages(workspace, plan, STAGES)
    return Run(workspace, files.photos, plan)


def inside(shape: tuple[int, int], border: int = 2) -> np.ndarray:
    """The masked pixels of an undistorted photo; the demo's camera has no distortion."""
    left_out = np.zeros(shape, dtype=bool)
    left_out[60 + border : 180 - border, 90 + border : 200 - border] = True
    return left_out


def test_ingest_takes_the_masks_and_not_for_photos(done: Run) -> None:
    summary = read_json(done.workspace.record("ingest"))["summary"]
    assert (summary["num_masks"], summary["num_photos"], summary["rejected"]) == (6, 6, [])
    assert summary["masked_share"] == pytest.approx(120 * 110 / (320 * 240))
    for path in done.workspace.images.iterdir():
        used = read_mask(mask_path(done.workspace.masks, path.name))
        np.testing.assert_array_equal(~used, inside((240, 320), border=0))


def test_no_keypoint_and_no_depth_lies_on_the_board(done: Run) -> None:
    scene = load_scene(done.workspace.undistorted_sparse)
    assert len(scene.views) == 5
    for view in scene.views:
        left_out = inside((view.camera.height, view.camera.width))
        column, row = np.floor(scene.depths[view.name].xy).astype(int).T
        assert len(row) > 20
        assert not left_out[row, column].any()
        prior, source = read_prior(done.workspace.prior_depth / f"{view.stem}.npz")
        assert not prior.depth[left_out].any()
        assert not prior.sigma[left_out].any()
        assert not source[left_out].any()
        assert (prior.depth[:, 220:] > 0).mean() > 0.8
    shown = {p.name for p in done.workspace.undistorted_images.iterdir()}
    assert {p.name for p in done.workspace.undistorted_masks.iterdir()} == {f"{name}.png" for name in shown}
    assert len(shown) == 6


def test_no_ray_is_drawn_on_the_board(done: Run) -> None:
    import torch

    from depthrf.stages.training.photos import load

    options = done.plan["train"]
    photos = load(done.workspace, options.max_side, options.optimiser.pixels, torch.device("cpu"))
    store, camera = photos.store, photos.camera
    assert (camera.width, camera.height) == (80, 60)
    assert store.drawn is not None
    of_first = store.drawn[store.drawn < 80 * 60]
    row, column = of_first // 80, of_first % 80
    assert not ((row >= 15) & (row < 45) & (column >= 23) & (column < 50)).any()
    assert store.num_drawn > 0.8 * len(store.rgb)


def test_scores_do_not_see_the_board(done: Run) -> None:
    pipeline.run_stage(done.workspace, "train", done.plan["train"])
    scores = []
    for seed in (0, 1):
        for path in done.workspace.undistorted_images.iterdir():
            if path.name.startswith("held_out"):
                spoil(path, seed)
        evaluate.run(done.workspace, evaluate.Options())
        (row,) = read_json(done.workspace.evaluation)["views"]
        scores.append([row[name] for name in ("psnr", "ssim", "psnr_exposure_fit")])
        assert 0.5 < row["depth_coverage"] < 0.9
    # The board's edge is saved as JPEG, which spreads it by some pixels.
    np.testing.assert_allclose(scores[0], scores[1], rtol=0.02)


def test_masks_of_further_photos_are_honoured(done: Run, room: tuple[Path, DemoFiles], tmp_path: Path) -> None:
    """The photo is placed in the model, though it lies in images/ too: there it is a test photo."""
    pipeline.run_stage(done.workspace, "train", done.plan["train"])
    (photo,) = room[1].held_out.iterdir()
    scores = []
    for seed in (0, 1):
        shutil.copy(photo, tmp_path / photo.name)
        spoil(tmp_path / photo.name, seed)
        shutil.copytree(room[1].photos / "masks", tmp_path / "masks", dirs_exist_ok=True)
        evaluate.run(done.workspace, evaluate.Options(photos=tmp_path))
        result = read_json(done.workspace.evaluation)
        assert (result["split"], result["not_registered"]) == ("photos", [])
        scores.append([result["views"][0][name] for name in ("psnr", "ssim")])
    np.testing.assert_allclose(scores[0], scores[1], rtol=0.02)
    shutil.rmtree(tmp_path / "masks")
    evaluate.run(done.workspace, evaluate.Options(photos=tmp_path))
    assert abs(read_json(done.workspace.evaluation)["views"][0]["psnr"] - scores[1][0]) > 0.1


def test_a_changed_mask_makes_the_stages_run_again(done: Run) -> None:
    def finished() -> dict[str, int]:
        return {s: done.workspace.record(s).stat().st_mtime_ns for s in STAGES}

    pipeline.run_stages(done.workspace, done.plan, STAGES)
    before = finished()
    pipeline.run_stages(done.workspace, done.plan, STAGES)
    assert finished() == before
    shutil.move(done.photos / "masks", done.photos.parent / "away")
    pipeline.run_stages(done.workspace, done.plan, STAGES)
    after = finished()
    assert all(after[s] != before[s] for s in ("ingest", "sfm", "merge"))
    assert not done.workspace.masks.exists()
    assert not done.workspace.undistorted_masks.exists()
    shutil.move(done.photos.parent / "away", done.photos / "masks")


def test_masked_scores_are_those_of_the_rest() -> None:
    rng = np.random.default_rng(0)
    photo = rng.integers(0, 256, (40, 60, 3), np.uint8)
    rendered = np.clip(photo.astype(int) + rng.integers(-20, 20, photo.shape), 0, 255).astype(np.uint8)
    used = np.ones((40, 60), dtype=bool)
    used[:, 30:] = False
    spoilt = np.where(used[..., None], rendered, np.uint8(255))
    scores, plain = color_scores(spoilt, photo, used), color_scores(rendered[:, :30], photo[:, :30])
    assert scores == color_scores(rendered, photo, used)
    assert scores.psnr == pytest.approx(plain.psnr)
    assert scores.psnr_exposure_fit == pytest.approx(plain.psnr_exposure_fit)
    assert scores.ssim == pytest.approx(plain.ssim, abs=0.01)
    assert scores == color_scores(rendered, np.where(used[..., None], photo, np.uint8(0)), used)
    used[:, :30:8] = False  # no window is whole
    assert scores.ssim < color_scores(rendered, photo, used).ssim < 1
    everything = np.ones((40, 60), dtype=bool)
    assert color_scores(rendered, photo, everything) == color_scores(rendered, photo)


def test_masks_are_part_of_every_stages_inputs(done: Run) -> None:
    workspace, plan = done.workspace, done.plan
    assert workspace.masks in sfm.inputs(workspace, plan["sfm"])
    assert workspace.masks in ingest.outputs(workspace, plan["ingest"])
    for stage in (merge, train):
        assert workspace.undistorted_masks in stage.inputs(workspace, plan[stage.__name__.rsplit(".", 1)[1]])
