"""The LLFF protocol on a made-up scene: every stage really runs, on photos of a textured corner with known poses."""

from __future__ import annotations

from io import StringIO
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from rich.console import Console
from typer.testing import CliRunner

from depthrf.bench import llff, llff_protocol, llff_table
from depthrf.cli import app
from depthrf.errors import DepthrfError, UsageError
from depthrf.io.photos.images import read_rgb
from depthrf.io.poses.transforms_json import load_views
from depthrf.storage import read_typed
from depthrf.workspace import Workspace
from tests.scenes import corner

COUNT = 10
GRID = ["levels=2", "log2_size=10", "finest=32"]
SMALL = [
    "train.optimiser.steps=4",
    "train.optimiser.batch_rays=64",
    "train.model.num_samples=8",
    "train.model.proposal.num_samples=8",
    "depth.stereo.max_side=120",
    *(f"train.model.field.grid.{value}" for value in GRID),
]


def write_scene(folder: Path, count: int = COUNT) -> Path:
    """``images_8/`` at 240x180 and ``images_4/`` at twice that; the rows tell eight times the former's size."""
    shot = corner.views(count)
    corner.write_photos(folder / "images_8", shot)
    (folder / "images_4").mkdir()
    rows = []
    for view in shot:
        photo = cv2.imread(str(folder / "images_8" / view.name))
        cv2.imwrite(str(folder / "images_4" / view.name), cv2.resize(photo, None, fx=2, fy=2))
        camera, transform = view.camera, view.world_from_cam
        right, down, forward, position = transform[:3].T
        size = [8 * camera.height, 8 * camera.width, 8 * camera.fx]
        rows.append([*np.column_stack([down, right, -forward, position, size]).ravel(), 0.5, 10.0])
    np.save(folder / "poses_bounds.npy", np.array(rows))
    return folder


def bench(folder: Path, output: Path, *more: str) -> str:
    settings = [part for value in SMALL for part in ("--set", value)]
    given = ["bench", "llff", str(folder), "-o", str(output), "--size", "240", "--device", "cpu", "--pipeline", "cpu"]
    done = CliRunner().invoke(app, [*given, *settings, *more], catch_exceptions=False)
    return done.output


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, str]:
    root = tmp_path_factory.mktemp("llff")
    scene = write_scene(root / "data" / "fern")
    return scene, root / "out", bench(root / "data", root / "out", "--views", "3,4", "--losses", "none,cdf")


def test_photos_train_and_are_held_out_by_the_protocol(run: tuple[Path, Path, str]) -> None:
    """Of photos 0 to 9 the tests are 0 and 8; three of the others at equal steps are 1, 5 (the middle one) and 9."""
    scene, out, text = run
    names = sorted(path.name for path in (scene / "images_8").iterdir())
    train, test = load_views(Workspace(out / "workspaces" / "fern-3-240").transforms)
    assert [view.name for view in test] == [names[0], names[8]]
    assert [view.name for view in train] == [names[1], names[5], names[9]]
    camera = train[0].camera
    assert (camera.width, camera.height, camera.fx) == pytest.approx((240, 180, 218.0), abs=0.01)
    cell = read_typed(out / "fern-3-cdf.json", llff_protocol.Result)
    assert cell.num_test == 2
    assert cell.depth_sources == ["keypoints", "stereo"]
    assert cell.psnr is not None
    assert f"{cell.psnr:.2f}" in text
    assert "19.63" in text
    assert "26.73" not in text  # of nine photos
    assert "keypoints and stereo" in text


def test_test_photos_give_no_depth(run: tuple[Path, Path, str]) -> None:
    """Nothing of the held-out photos is in the model that the prior is made from."""
    from depthrf.io.poses.colmap import load_scene

    workspace = Workspace(run[1] / "workspaces" / "fern-3-240")
    assert len(load_scene(workspace.undistorted_sparse).views) == 3
    assert len(list(workspace.prior_depth.glob("*.npz"))) == 3


def test_finished_cells_are_not_run_again_and_other_settings_are_told(run: tuple[Path, Path, str]) -> None:
    scene, out, first = run
    before = (out / "fern-3-none.json").stat().st_mtime_ns
    (out / "fern-4-cdf.json").unlink()  # as if interrupted
    again = bench(scene.parent, out, "--views", "3,4", "--losses", "none,cdf")
    assert (out / "fern-3-none.json").stat().st_mtime_ns == before
    assert again.count("nothing to do") >= 3
    assert first.split("LLFF: ")[1] == again.split("LLFF: ")[1]  # the same table
    with pytest.raises(UsageError, match="other settings"):
        bench(scene.parent, out, "--views", "3", "--seed", "1")


def test_photos_of_the_wanted_size_are_copied_and_larger_ones_reduced(tmp_path: Path) -> None:
    scene = write_scene(tmp_path / "scene", 3)
    assert llff._photos(scene, 240)[0].parent.name == "images_8"
    assert llff._photos(scene, 241)[0].parent.name == "images_4"
    reduced = llff._reduced(scene, tmp_path / "reduced", 120)
    (photo, *_) = sorted((reduced / "images").iterdir())
    assert read_rgb(photo).shape == (90, 120, 3)
    copied = llff._reduced(scene, tmp_path / "copied", 240)
    (photo, *_) = sorted((copied / "images").iterdir())
    assert photo.read_bytes() == (scene / "images_8" / photo.name).read_bytes()
    with pytest.raises(UsageError, match=r"no photos of 504 pixels .* has 480 pixels at most"):
        llff._photos(scene, 504)
    with pytest.raises(UsageError, match="is no LLFF scene"):
        llff.scenes(tmp_path / "reduced" / "images")


def test_a_scene_without_scores_spoils_the_mean_but_not_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("fern", "horns"):
        write_scene(tmp_path / "data" / name)
    train = {"optimiser": {"steps": 1, "batch_rays": 1}, "seed": 0}
    settings: dict[str, Any] = {"size": 240, "stages": {"train": train}}

    def run_cell(
        scene: Path, output: Path, cell: llff_protocol.Cell, *rest: object, force: bool
    ) -> llff_protocol.Result:
        if cell.scene == "horns":
            raise DepthrfError("too few points")
        return llff_protocol.Result(cell, 20.0, 0.5, 2, ["keypoints"], 1.0, settings)

    monkeypatch.setattr(llff, "_run_cell", run_cell)
    monkeypatch.setattr(llff, "_settings", lambda *given: settings)
    results = llff.run(tmp_path / "data", tmp_path / "out", llff_protocol.Options(views=(3,)), {})
    assert [r.psnr for r in results] == [20.0, None]
    text = StringIO()
    Console(file=text, width=200).print(llff_table.table(results))
    mean = next(line for line in text.getvalue().splitlines() if "mean of 2" in line)
    assert "20.00" not in mean
    assert any("too few points" in line for line in llff_table.notes(results))
