"""Training as a tool, on a small scene whose colours and depths are formulas."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from depthrf import device, pipeline
from depthrf.errors import DepthrfError, UsageError
from depthrf.geometry.camera import DepthPrior
from depthrf.io.depth.depth_maps import write_prior
from depthrf.io.photos.images import read_rgb, write_png
from depthrf.io.poses.transforms_json import write_transforms
from depthrf.nerf.options import (
    FieldOptions,
    GridOptions,
    ModelOptions,
    PixelOptions,
    ProposalGridOptions,
    ProposalOptions,
)
from depthrf.nerf.training.loop import Trainer
from depthrf.options import build, seconds_of, to_dict
from depthrf.stages import train
from depthrf.stages.training.exposures import Exposures
from depthrf.stages.training.files import Allowance
from depthrf.stages.training.photos import load
from depthrf.storage import read_json, write_json
from depthrf.workspace import Workspace
from tests.scenes.room import depth_map, make_workspace, views

MODEL = ModelOptions(
    field=FieldOptions(grid=GridOptions(levels=3, log2_size=10, finest=64), width=16),
    proposal=ProposalOptions(num_samples=(12,), grid=ProposalGridOptions(levels=2, log2_size=9, finest=32)),
    num_samples=8,
)


def options(**changes: Any) -> train.Options:
    optimiser = replace(train.Options().optimiser, batch_rays=128, steps=changes.pop("steps", 12))
    return replace(train.Options(max_side=48, device="cpu", model=MODEL, optimiser=optimiser), **changes)


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    made = make_workspace(tmp_path / "w")
    for view in views():
        depth = depth_map(view)
        shade = 127 + 100 * np.sin(3 * depth[..., None] + np.arange(3))
        write_png(made.undistorted_images / view.name, shade.astype(np.uint8))
        prior = DepthPrior(depth, np.float32(0.01) * depth)
        write_prior(made.prior_depth / f"{view.stem}.npz", prior, np.zeros(depth.shape, np.uint8))
    write_transforms(made.transforms, views(), image_folder="undistorted/images")
    for stage in train.REQUIRES:
        write_json(made.record(stage), {})
    return made


def rows(workspace: Workspace) -> list[dict[str, float]]:
    return [json.loads(row) for row in workspace.metrics.read_text().splitlines()]


def checkpoint(workspace: Workspace) -> dict[str, Any]:
    content: dict[str, Any] = torch.load(workspace.checkpoint, weights_only=True)
    return content


def same_field(a: Workspace | dict[str, Any], b: Workspace | dict[str, Any]) -> bool:
    x, y = (c if isinstance(c, dict) else checkpoint(c)["model"] for c in (a, b))
    return all(torch.equal(x[name], y[name]) for name in x)


def test_leaves_metrics_previews_and_a_self_describing_checkpoint(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Allowance, "affords", lambda self, elapsed, expected=0.0: True)
    summary = train.run(workspace, options(preview_steps=4))
    assert summary.steps == 12
    assert [row["step"] for row in rows(workspace)] == list(range(1, 13))
    assert {"seconds", "rays_per_second", "psnr", "loss", "photometric", "depth"} <= rows(workspace)[0].keys()
    content = checkpoint(workspace)
    assert build(ModelOptions, json.loads(content["options"]), "") == MODEL
    assert json.loads(content["key"])[0]["optimiser"]["steps"] == 12
    assert "optimiser" not in content
    assert sorted(p.name for p in workspace.previews.iterdir()) == [f"step_{i:05d}.png" for i in (4, 8, 12)]
    assert read_rgb(workspace.previews / "step_00012.png").shape == (72, 3 * 96, 3)


def test_interrupted_run_goes_on_to_the_same_field(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    train.run(workspace, options())
    straight, expected = checkpoint(workspace)["model"], [row["psnr"] for row in rows(workspace)]
    workspace.checkpoint.unlink()
    advance = Trainer.advance

    def interrupted(self: Trainer, store: Any) -> Any:
        if self.step == 9:
            raise KeyboardInterrupt
        return advance(self, store)

    monkeypatch.setattr(Trainer, "advance", interrupted)
    monkeypatch.setattr(Allowance, "affords", lambda self, elapsed, expected=0.0: True)
    with pytest.raises(KeyboardInterrupt):
        train.run(workspace, options(checkpoint_steps=5))
    assert checkpoint(workspace)["step"] == 5
    monkeypatch.undo()
    train.run(workspace, options(checkpoint_steps=5))
    assert same_field(straight, workspace)
    assert [row["psnr"] for row in rows(workspace)] == expected


def textured(gains: list[float], workspace: Workspace) -> None:
    """Photos of one texture in the world, each multiplied by a gain."""
    for view, gain in zip(views(), gains, strict=True):
        directions = view.camera.directions(view.camera.pixel_centres()) @ view.cam_from_world[:3, :3]
        world = view.centre + depth_map(view)[..., None] * directions
        shade = gain * (110 + 50 * np.sin(3.0 * world))
        write_png(workspace.undistorted_images / view.name, shade.round().astype(np.uint8))


def test_exposure_that_differs_is_told_and_taken_out(workspace: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    gains = [0.8, 1.0, 1.3, 1.0]
    textured(gains, workspace)
    summary = train.run(workspace, options())
    relative = np.array(gains) / np.exp(np.log(gains).mean())
    found = {row["name"]: row["gain"] for row in read_json(workspace.exposure)["photos"]}
    np.testing.assert_allclose([found[v.name] for v in views()], relative[:, None].repeat(3, 1), rtol=0.03)
    assert summary.exposure_range == pytest.approx(1.3 / 0.8, rel=0.03)
    assert "exposure differs by a factor of 1.6" in capsys.readouterr().err
    store = load(workspace, 48, PixelOptions(), torch.device("cpu")).store
    batch = store.sample(2000, torch.Generator().manual_seed(0))
    means = [float(batch.rgb[batch.camera_idx == i].mean()) for i in range(4)]
    assert np.ptp(means) < 0.15 * np.mean(means)  # as given they differ by half


def test_further_photos_do_not_change_the_exposure_of_a_field_that_is_trained_on(workspace: Workspace) -> None:
    textured([0.8, 1.0, 1.3, 1.0], workspace)
    alone = load(workspace, 48, PixelOptions(), torch.device("cpu"))
    first = alone.exposures.photos[:2]
    brighter = [(1.1 * red, 1.1 * green, 1.1 * blue) for red, green, blue in (photo.gain for photo in first)]
    known = Exposures(tuple(replace(p, gain=gain) for p, gain in zip(first, brighter, strict=True)))
    write_json(workspace.exposure, known)
    frame = alone.normalised_from_scene, alone.bounds
    again = load(workspace, 48, PixelOptions(), torch.device("cpu"), frame=frame).exposures
    ratio = np.array([p.gain for p in again.photos]) / [p.gain for p in alone.exposures.photos]
    np.testing.assert_allclose(ratio, 1.1, rtol=1e-9)


def test_equal_exposure_and_none_leave_the_photos_as_they_are(
    workspace: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    textured([1.0] * 4, workspace)
    assert train.run(workspace, options()).exposure_range == 1.0
    textured([0.8, 1.0, 1.3, 1.0], workspace)
    assert train.run(workspace, options(exposure="none")).exposure_range == 1.0
    assert "exposure" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("asked", "expected"),
    [("auto", "white"), ("none", "last"), ("black", "black"), ("#102030", "#102030"), ("white", "white")],
)
def test_a_plain_background_is_recognised_and_overridden(
    asked: str, expected: str, workspace: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is recognised also switches on what few photos of an object need."""
    for index, view in enumerate(views()):
        photo = np.full((view.camera.height, view.camera.width, 3), 255, dtype=np.uint8)
        photo[20:50, 20 + 5 * index : 50 + 5 * index] = (200, 60, 30)
        write_png(workspace.undistorted_images / view.name, photo)
    summary = train.run(workspace, options(background=asked))
    assert summary.background == expected
    saved = build(ModelOptions, json.loads(checkpoint(workspace)["options"]), "")
    assert saved.background == expected
    assert saved.field.view_degree == (MODEL.field.view_degree if expected == "last" else 0)
    assert ("plain background (white)" in capsys.readouterr().err) == (asked == "auto")


def test_what_is_no_background_is_told() -> None:
    with pytest.raises(UsageError, match="found 'grey'"):
        build(train.Options, {"background": "grey"}, "the command line")


def break_steps(monkeypatch: pytest.MonkeyPatch, is_broken: Callable[[Trainer], bool]) -> None:
    """Makes the loss of some steps not finite."""
    from depthrf.nerf.training import loop as training

    total_loss: Any = vars(training)["total_loss"]
    trainers: list[Trainer] = []
    advance = Trainer.advance

    def remember(self: Trainer, store: Any) -> Any:
        trainers[:] = [self]
        return advance(self, store)

    def broken(*arguments: Any) -> dict[str, Any]:
        losses: dict[str, Any] = total_loss(*arguments)
        return losses | {"depth": losses["depth"] * float("nan")} if is_broken(trainers[0]) else losses

    monkeypatch.setattr(Trainer, "advance", remember)
    monkeypatch.setattr(training, "total_loss", broken)


def test_single_bad_batch_is_named_and_left_out(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    break_steps(monkeypatch, lambda trainer: trainer.step + 1 == 7)
    summary = train.run(workspace, options())
    assert "not finite at step 7" in capsys.readouterr().err
    assert summary.steps == 12
    assert rows(workspace)[6]["loss"] is None
    assert all(torch.isfinite(v).all() for v in checkpoint(workspace)["model"].values())


def test_divergence_goes_back_with_half_the_learning_rate(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    break_steps(monkeypatch, lambda trainer: trainer.step >= 8 and trainer.rate_factor == 1.0)
    monkeypatch.setattr(Allowance, "affords", lambda self, elapsed, expected=0.0: True)
    summary = train.run(workspace, options(steps=30, checkpoint_steps=5))
    assert "since step 9; going back to step 5 with half" in capsys.readouterr().err
    assert summary.steps == 30
    assert checkpoint(workspace)["rate_factor"] == 0.5
    assert [row["step"] for row in rows(workspace)] == list(range(1, 31))


def test_going_back_to_before_the_budget_was_known_keeps_its_steps(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    from depthrf.nerf.training.schedule import StepBudget

    monkeypatch.setattr(StepBudget, "total", lambda self, step, elapsed: 20 if step >= 5 else None)
    monkeypatch.setattr(Allowance, "affords", lambda self, elapsed, expected=0.0: False)
    break_steps(monkeypatch, lambda trainer: trainer.step >= 8 and trainer.rate_factor == 1.0)
    assert train.run(workspace, options(steps=60, budget="5s")).steps == 20


def test_schedules_do_not_end_while_the_budget_is_timed(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    from depthrf.nerf.training.schedule import StepBudget

    monkeypatch.setattr(StepBudget, "total", lambda self, step, elapsed: 50 if step >= 40 else None)
    advance, left = Trainer.advance, []

    def noted(self: Trainer, store: Any) -> Any:
        left.append(1.0 - self.step / self.total)
        return advance(self, store)

    monkeypatch.setattr(Trainer, "advance", noted)
    assert train.run(workspace, options(steps=3, budget="5s")).steps == 50
    assert min(left[:40]) >= 0.3


def test_repeated_divergence_gets_one_message(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    break_steps(monkeypatch, lambda trainer: trainer.step >= 3)
    with pytest.raises(DepthrfError, match=r"since step 4, even with 0\.125 of .* --set train\.optimiser\.rate"):
        train.run(workspace, options(steps=30))


def test_out_of_memory_halves_the_rays_and_keeps_the_batch(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from depthrf.nerf.model import RadianceField

    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    whole = train.run(workspace, options(steps=3)).final_psnr
    forward = RadianceField.forward

    def small(self: RadianceField, rays: Any, jitter: Any = None) -> Any:
        if len(rays.origins) > 40:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return forward(self, rays, jitter)

    monkeypatch.setattr(RadianceField, "forward", small)
    monkeypatch.setattr(device, "free_memory", lambda target: None)
    workspace.checkpoint.unlink()
    halved = train.run(workspace, options(steps=3)).final_psnr
    message = capsys.readouterr().err
    assert "32 rays at a time" in message
    assert halved == pytest.approx(whole, abs=0.01)
    monkeypatch.setattr(RadianceField, "forward", lambda *_: exhausted())
    workspace.checkpoint.unlink()
    with pytest.raises(DepthrfError, match="Out of memory on cpu"):
        train.run(workspace, options(steps=3))


def exhausted() -> None:
    raise torch.OutOfMemoryError("CUDA out of memory")


def test_memory_is_looked_at_before_the_start(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(device, "free_memory", lambda target: 800_000)
    train.run(workspace, options(steps=2))
    assert "rays at a time" in capsys.readouterr().err
    monkeypatch.setattr(device, "free_memory", lambda target: 1000)
    with pytest.raises(DepthrfError, match="Training needs"):
        train.run(workspace, options(steps=2))
    monkeypatch.setattr(device, "free_main_memory", lambda: 1000)
    with pytest.raises(DepthrfError, match="Loading 4 photos at 48 pixels"):
        train.run(workspace, options(steps=2))


def test_budget_sets_the_steps_and_survives_an_interruption(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    from depthrf.nerf.training.schedule import StepBudget

    monkeypatch.setattr(StepBudget, "total", lambda self, step, elapsed: 20 if step >= 5 else None)
    monkeypatch.setattr(Allowance, "affords", lambda self, elapsed, expected=0.0: True)
    advance = Trainer.advance

    def interrupted(self: Trainer, store: Any) -> Any:
        if self.step == 9:
            raise KeyboardInterrupt
        return advance(self, store)

    monkeypatch.setattr(Trainer, "advance", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train.run(workspace, options(budget="5s", checkpoint_steps=7))
    monkeypatch.setattr(Trainer, "advance", advance)
    assert train.run(workspace, options(budget="5s", checkpoint_steps=7)).steps == 20


def test_durations() -> None:
    assert [seconds_of(text) for text in ("90s", "10m", "1.5h")] == [90.0, 600.0, 5400.0]
    for text in ("", "10", "m", "-5m", "0s", "nans", "1d"):
        with pytest.raises(UsageError, match="90s, 10m or 1h"):
            seconds_of(text)
    with pytest.raises(UsageError, match="90s, 10m or 1h"):
        train.Options(budget="soon")


def test_previews_stay_within_their_share() -> None:
    allowance = Allowance(0.03)
    assert not allowance.affords(10.0, expected=1.0)
    assert allowance.affords(40.0, expected=1.0)
    allowance.spent = allowance.last = 1.5
    assert not allowance.affords(99.0)
    assert allowance.affords(101.0)


def test_training_that_was_killed_before_its_record_is_kept(workspace: Workspace) -> None:
    """Between the last step and the record: the finished field is taken as it is, with the same summary."""
    straight = pipeline.run_stage(workspace, "train", options())
    field = checkpoint(workspace)["model"]
    workspace.record("train").unlink()
    workspace.checkpoint.unlink()
    code = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from depthrf import pipeline\n"
        "from depthrf.workspace import Workspace\n"
        "from tests.stages.test_train import options\n"
        "pipeline.write_json = lambda *_: os.kill(os.getpid(), signal.SIGKILL)\n"
        "pipeline.run_stage(Workspace(Path(sys.argv[1])), 'train', options())\n"
    )
    killed = subprocess.run([sys.executable, "-c", code, str(workspace.root)], check=False, capture_output=True)
    assert killed.returncode == -9, killed.stderr
    assert not workspace.record("train").exists()
    written = workspace.checkpoint.stat().st_mtime_ns
    again = pipeline.run_stage(workspace, "train", options())
    assert workspace.checkpoint.stat().st_mtime_ns == written
    assert same_field(workspace, field)
    fixed = ("steps", "num_photos", "width", "height", "depth_coverage", "final_psnr", "device")
    assert {name: again[name] for name in fixed} == {name: straight[name] for name in fixed}
    assert again["seconds"] > 0
    pipeline.run_stage(workspace, "train", options(), force=True)  # which does train again
    assert workspace.checkpoint.stat().st_mtime_ns > written


def test_two_processes_train_the_same_field(workspace: Workspace, tmp_path: Path) -> None:
    """Through torchrun and gloo: the same global batches, gradients summed, only the first process writes.

    Photos' poses are corrected as well.
    """
    chosen = options(steps=6)
    chosen = replace(chosen, optimiser=replace(chosen.optimiser, pose_rate=1e-2))
    pipeline.save_plan(workspace, pipeline.make_plan({"train": to_dict(chosen)}, "test"))
    straight = pipeline.run_stage(workspace, "train", chosen)
    model = checkpoint(workspace)["model"] | checkpoint(workspace)["poses"]
    workspace.record("train").unlink()
    workspace.checkpoint.unlink()
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command = [*launcher, "-m", "depthrf", "train", str(workspace.root), "--device", "cpu"]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=240, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("photos at") == 1
    summary = read_json(workspace.record("train"))["summary"]
    assert summary["final_psnr"] == pytest.approx(straight["final_psnr"], abs=0.02)
    found = checkpoint(workspace)["model"] | checkpoint(workspace)["poses"]
    for name, value in model.items():
        # Adam turns rounding into whole steps where a gradient is all rounding: few entries may differ.
        assert ((found[name] - value).abs() < 1e-4).float().mean() > 0.98, name
    again = subprocess.run(command, capture_output=True, text=True, check=False, timeout=240)
    assert "nothing to do" in again.stderr, again.stderr
