"""What a run will take: the arithmetic by closed forms, and the whole command on a small folder."""

from __future__ import annotations

import json
import mmap
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from depthrf import pipeline
from depthrf.cli.runs import RECONSTRUCT
from depthrf.forecast import poses
from depthrf.forecast.field import Pace, train_cost
from depthrf.forecast.stopwatch import _served, trial
from depthrf.forecast.work import Work, find_work
from depthrf.sfm.jobs import Trials
from depthrf.sfm.pairing.choice import promising
from depthrf.sfm.recipes import Pairing
from depthrf.stages.posing.options import Options as SfmOptions
from depthrf.workspace import Workspace
from tests.test_cli import depthrf, write_noise

SMALL = [
    "train.max_side=32",
    "train.optimiser.batch_rays=64",
    "train.model.field.grid.log2_size=8",
    "depth.stereo.max_side=64",
    "render.max_side=64",
    "sfm.max_image_size=160",
]


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    for seed in range(4):
        write_noise(tmp_path / "photos" / f"{seed}.jpg", seed)
    return tmp_path / "photos"


def options() -> pipeline.Plan:
    return pipeline.make_plan(pipeline.load_pipeline("cpu"), "cpu")


def test_waiting_for_a_core_does_not_count() -> None:
    assert _served({1: (10, 10)}, {1: (40, 20)}) == pytest.approx(0.75)
    assert _served({1: (0, 0)}, {1: (2, 0), 2: (2, 4)}) == pytest.approx(0.5)  # a thread that was begun meanwhile
    assert _served({}, {}) == 1.0  # a system that does not tell


def test_a_trial_tells_time_and_memory() -> None:
    with trial() as measured, mmap.mmap(-1, 160_000_000) as held:  # an array might take memory freed before
        held.write(b"1" * len(held))
    assert 0.0 < measured.seconds <= measured.busy_seconds
    assert measured.memory_mb is None or measured.grown_mb >= 144.0


@pytest.mark.parametrize("number", [5, 25, 40, 100, 300])
def test_pairs_are_counted_as_they_are_chosen(number: int) -> None:
    every = number * (number - 1) // 2
    if Pairing().matches_all(number):
        assert poses.num_pairs(number) == every
        return
    alike = np.random.default_rng(0).random((number, number))
    names = [f"IMG_{i}.jpg" for i in range(number)]
    chosen = len(promising(alike + alike.T, names, Pairing()))
    assert chosen / 1.5 < poses.num_pairs(number) < chosen * 1.5


def test_time_of_poses_grows_with_keypoints_pairs_and_mapping(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(poses, "undistortion_seconds", lambda work: 0.0)

    def seconds(work: Work, **trials: float) -> float:
        found = Trials(**{"extraction": 0.0, "matching": 0.0, "mapping": 0.0, "keypoints": 1000.0, **trials})
        monkeypatch.setattr("depthrf.sfm.worker.run_job", lambda *_: found)
        return poses.sfm_cost(work, SfmOptions(threads=1), photos.parent).seconds

    work = Work(20, photos, ("0.jpg",), 160, 120, posed=False)
    assert seconds(work, extraction=3.0) == pytest.approx(60.0)
    assert seconds(work, matching=0.5) == pytest.approx(0.5 * 190)
    mapping = seconds(work, mapping=1.0)
    assert seconds(work, mapping=1.0, keypoints=2000.0) == pytest.approx(2.0 * mapping)
    assert seconds(replace(work, posed=True), mapping=1.0) < mapping


def test_budget_and_steps_agree() -> None:
    pace = Pace(start=10.0, step=0.25, memory_mb=None)
    plan, work = options()["train"], Work(20, Path(), (), 640, 480, posed=False)
    needed = train_cost(work, plan, pace).seconds
    assert pace.steps_in(needed) == pytest.approx(plan.optimiser.steps, abs=1)
    assert pace.steps_in(0.0) == 1
    assert train_cost(work, replace(plan, budget="10m"), pace).seconds == 600.0


def test_held_out_photos_do_not_count_and_copies_are_upright(photos: Path, tmp_path: Path) -> None:
    plan = replace(options()["ingest"], holdout="every:4")
    work = find_work(photos, plan, None, tmp_path)
    assert (work.num_photos, work.width, work.height, work.posed) == (3, 160, 120, False)
    assert all((work.images / name).is_file() for name in work.samples)


def test_the_command_tells_what_runs_and_what_stands(photos: Path) -> None:
    folder = photos.parent
    settings = [f"--set={item}" for item in SMALL]
    assert depthrf("ingest", "photos", cwd=folder).returncode == 0
    before = sorted(folder.rglob("*"))
    done = depthrf("plan", "photos", "--pipeline=cpu", "--budget=7m", *settings, "--json", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert sorted(folder.rglob("*")) == before  # nothing is written
    found: dict[str, Any] = json.loads(done.stdout)
    stages = {row["stage"]: row for row in found["stages"]}
    assert list(stages) == ["ingest", "sfm", "depth", "align", "merge", "train", "render"]
    assert (stages["ingest"]["reasons"], stages["ingest"]["seconds"]) == ([], 0.0)
    assert all(stages[name]["seconds"] > 0 for name in ("sfm", "depth", "merge", "train", "render"))
    assert stages["train"]["seconds"] == 420.0
    assert found["seconds"] == pytest.approx(sum(row["seconds"] for row in found["stages"]))
    assert (found["num_photos"], found["width"], found["height"]) == (4, 160, 120)
    steps = {row["budget"]: row["steps"] for row in found["budgets"]}
    assert "7m" in steps
    assert list(steps.values()) == sorted(steps.values())


def test_too_few_photos_are_refused_before_anything_is_tried(tmp_path: Path) -> None:
    write_noise(tmp_path / "photos" / "0.jpg", 0)
    done = depthrf("plan", tmp_path / "photos", "-o", tmp_path / "ws")
    assert done.returncode == 1
    assert "at least 3" in done.stderr
    assert not Workspace(tmp_path / "ws").root.exists()


def test_the_command_takes_the_flags_of_a_run() -> None:
    from depthrf.cli import insight

    assert RECONSTRUCT.keys() <= insight.plan.__signature__.parameters.keys()  # type: ignore[attr-defined]
