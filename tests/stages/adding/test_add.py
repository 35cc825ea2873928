"""`depthrf add` on a small real scene: what becomes a part of the workspace, what stays, what is refused."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from depthrf.cli import app
from depthrf.errors import DepthrfError, UsageError
from depthrf.io.photos.table import read_photos
from depthrf.io.poses.colmap import load_scene, read_model
from depthrf.io.poses.transforms_json import load_views
from depthrf.stages.adding import addition as adding
from depthrf.storage import fingerprint, read_json
from depthrf.workspace import Workspace
from tests.scenes import corner
from tests.similarity import fit_similarity

SETTINGS = (
    "--device=cpu",
    "--until=train",
    "--steps=30",
    "--set=depth.stereo.max_side=96",
    "--set=train.max_side=60",
    "--set=train.optimiser.batch_rays=256",
    "--set=train.model.field.grid.levels=4",
    "--set=train.model.field.grid.log2_size=12",
)
STAGES = ("ingest", "sfm", "depth", "align", "merge", "train")
SHOT = [replace(view, name=f"IMG {index}.png") for index, view in enumerate(corner.views(5))]
NEW = [replace(v, name=name) for v, name in zip(corner.views(2, -0.35, 0.45), ("IMG 3.png", "new.png"), strict=True)]


def depthrf(*arguments: object) -> None:
    app(list(map(str, arguments)), standalone_mode=False)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with photos, the finished workspace of five, and further ones: one is of another place."""
    folder = tmp_path_factory.mktemp("add")
    corner.write_photos(folder / "photos", SHOT)
    corner.write_photos(folder / "more", NEW)
    corner.write_photos(folder / "more", [replace(NEW[0], name="elsewhere.png")], seed=9)
    depthrf("reconstruct", folder / "photos", "-o", folder / "ws", *SETTINGS)
    return folder


@pytest.fixture
def scene(finished: Path, tmp_path: Path) -> Path:
    """A copy of it, of which the workspace takes its photos from where they were."""
    shutil.copytree(finished / "ws", tmp_path / "ws")
    shutil.copytree(finished / "more", tmp_path / "more")
    return tmp_path


def contents(folder: Path) -> dict[str, str]:
    files = (path for path in folder.rglob("*") if path.is_file() and path.suffix not in (".log", ".lock"))
    return {path.relative_to(folder).as_posix(): fingerprint(path) for path in files}


def finish_times(workspace: Workspace) -> dict[str, int]:
    return {stage: workspace.record(stage).stat().st_mtime_ns for stage in STAGES}


def check_consistent(finished: Path, workspace: Workspace, capfd: pytest.CaptureFixture[str]) -> None:
    """Running the whole reconstruction again finds nothing to do."""
    before = finish_times(workspace)
    capfd.readouterr()
    depthrf("reconstruct", finished / "photos", "-o", workspace.root, *SETTINGS)
    assert capfd.readouterr().err.count("nothing to do") == len(STAGES)
    assert finish_times(workspace) == before


def test_added_photos_become_a_part_of_the_workspace(
    finished: Path, scene: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    workspace, more = Workspace(scene / "ws"), scene / "more"
    theirs = contents(more)
    before, views = contents(workspace.root), load_scene(workspace.undistorted_sparse).views
    depthrf("add", workspace.root, more, "--steps", 25, "--device", "cpu")
    told = capfd.readouterr().err
    assert "elsewhere.png could not be placed" in told
    assert contents(more) == theirs

    # A name that another photo has is not taken from it.
    rows = {row.source: row for row in read_photos(workspace.photos) if row.added}
    assert {name: row.status for name, row in rows.items()} == {
        "IMG 3.png": "used",
        "new.png": "used",
        "elsewhere.png": "rejected",
    }
    renamed = rows["IMG 3.png"].name
    assert renamed == "IMG 3_png.png"
    after = contents(workspace.root)
    unchanged = ("images/", "undistorted/images/", "depth/stereo/matches/IMG")
    assert {name: after.get(name) for name in before if name.startswith(unchanged)} == {
        name: value for name, value in before.items() if name.startswith(unchanged)
    }
    assert fingerprint(workspace.images / renamed) == fingerprint(more / "IMG 3.png")
    assert not (workspace.root / "add").exists()

    # Old poses are the same to the bit, new ones are where the photos were taken.
    now = {view.name: view for view in load_scene(workspace.undistorted_sparse).views}
    for view in views:
        np.testing.assert_array_equal(now[view.name].cam_from_world, view.cam_from_world)
    truth = {view.name: view for view in SHOT} | {renamed: NEW[0], "new.png": NEW[1]}
    old_centres = np.stack([view.centre for view in views])
    true_from_sfm = fit_similarity(old_centres, np.stack([truth[view.name].centre for view in views]))
    for name in (renamed, "new.png"):
        np.testing.assert_allclose(true_from_sfm.apply(now[name].centre), truth[name].centre, atol=0.01)
        (image,) = (i for i in read_model(workspace.sfm_model).images.values() if i.name == name)
        assert (image.point_ids > 0).sum() > 200
    assert {view.name for view in load_views(workspace.transforms)[0]} == now.keys()

    # The records tell what there is.
    summary = {stage: read_json(workspace.record(stage))["summary"] for stage in (*STAGES, "add")}
    assert summary["ingest"]["num_photos"] == summary["sfm"]["num_registered"] == summary["train"]["num_photos"] == 7
    assert (summary["train"]["steps"], summary["train"]["continued_from"]) == (55, 30)
    gains = {gain["name"]: gain for gain in summary["add"]["gains"]}
    assert gains.keys() == {renamed, "new.png"}
    for gain in gains.values():
        assert gain["held_out"] is None
        assert gain["neighbours"]["before"] > 5
        assert f"showed it with {gain['unseen']:.1f} dB, without having seen it" in told
    check_consistent(finished, workspace, capfd)

    # What comes after works on the larger workspace, another addition included.
    corner.write_photos(more, [replace(corner.views(1, 0.1)[0], name="scored.png")])
    depthrf("evaluate", workspace.root, "--photos", more)
    assert "2 of the photos" in capfd.readouterr().err  # those that are trained on now
    assert [view["name"] for view in read_json(workspace.evaluation)["views"]] == ["scored.png"]
    depthrf("report", workspace.root)
    depthrf("export", workspace.root, "--what", "cameras")
    depthrf("add", workspace.root, more / "new.png")
    assert "nothing to do" in capfd.readouterr().err


def test_a_photo_laid_into_the_photo_folder_starts_nothing_from_scratch(
    finished: Path, scene: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    workspace = Workspace(scene / "ws")
    laid = finished / "photos" / "new.png"
    shutil.copyfile(scene / "more" / "new.png", laid)
    try:
        depthrf("add", workspace.root, laid, "--steps", 2, "--device", "cpu")
        check_consistent(finished, workspace, capfd)
    finally:
        laid.unlink()


def test_nothing_changes_where_no_photo_can_be_placed(scene: Path) -> None:
    workspace = Workspace(scene / "ws")
    before = contents(workspace.root)
    with pytest.raises(DepthrfError, match="could not be placed in the model; the workspace is as it was"):
        depthrf("add", workspace.root, scene / "more" / "elsewhere.png")
    with pytest.raises(UsageError, match="No such photo"):
        depthrf("add", workspace.root, scene / "more" / "nowhere.png")
    assert contents(workspace.root) == before


def test_a_killed_addition_is_gone_on_with(finished: Path, scene: Path, capfd: pytest.CaptureFixture[str]) -> None:
    workspace = Workspace(scene / "ws")
    arguments: list[Any] = ["add", workspace.root, scene / "more" / "new.png", "--steps", 20, "--device", "cpu"]
    command = [sys.executable, "-c", "from depthrf.cli import main; main()", *map(str, arguments)]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 300
    while not (workspace.root / "add" / "state.json").exists() and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    with pytest.raises(UsageError, match="Other photos were being added"):
        depthrf("add", workspace.root, scene / "more" / "IMG 3.png")
    depthrf(*arguments)
    assert "going on" in capfd.readouterr().err
    assert read_json(workspace.record("train"))["summary"]["num_photos"] == 6
    check_consistent(finished, workspace, capfd)


def test_held_out_views_measure_the_gain(finished: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    workspace = Workspace(tmp_path / "ws")
    depthrf("reconstruct", finished / "photos", "-o", workspace.root, "--holdout", "IMG 2.png", *SETTINGS)
    with pytest.raises(DepthrfError, match="no usable photo"):
        depthrf("add", workspace.root, finished / "photos" / "IMG 2.png")
    assert "held out, only to be scored" in capfd.readouterr().err
    depthrf("add", workspace.root, finished / "more" / "new.png", "--steps", 20, "--device", "cpu")
    (gain,) = read_json(workspace.record("add"))["summary"]["gains"]
    assert gain["held_out"]["views"] == ["IMG 2.png"]
    assert "on held-out views near new.png, which neither field has seen" in capfd.readouterr().err


def test_lost_photos_are_tried_with_renderings_and_refused_with_both_reasons(
    scene: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    workspace = Workspace(scene / "ws")
    before = contents(workspace.root)
    depthrf("add", workspace.root, "--lost")
    assert "nothing to do" in capfd.readouterr().err
    with pytest.raises(DepthrfError, match="could not be placed"):
        depthrf("add", workspace.root, scene / "more" / "elsewhere.png", "--lost", "--device", "cpu")
    told = " ".join(capfd.readouterr().err.split())
    assert "match points of the model" in told
    assert "by renderings:" in told
    assert contents(workspace.root) == before


def test_a_photo_that_renderings_place_becomes_a_part_of_the_workspace(
    finished: Path, scene: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rendering itself is tested on its own; a field trained for 30 steps shows too little."""
    workspace = Workspace(scene / "ws")
    pose = load_scene(workspace.undistorted_sparse).views[0].cam_from_world
    monkeypatch.setattr(adding, "place_lost", lambda workspace, photos, device: ({"elsewhere.png": pose}, {}))
    depthrf("add", workspace.root, scene / "more" / "elsewhere.png", "--lost", "--steps", 2, "--device", "cpu")
    views = {view.name: view for view in load_views(workspace.transforms)[0]}
    np.testing.assert_allclose(views["elsewhere.png"].cam_from_world, pose, atol=1e-9)
    assert read_json(workspace.record("train"))["summary"]["num_photos"] == 6
    check_consistent(finished, workspace, capfd)
