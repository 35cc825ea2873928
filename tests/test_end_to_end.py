"""The whole way from photos to a video, on photos of the demo room; real SfM, real training, a real video."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from depthrf.storage import fingerprint, read_json
from depthrf.workspace import Workspace

pytestmark = pytest.mark.slow

SETTINGS = [
    "--steps=120",
    "--set=sfm.max_image_size=400",
    "--set=train.max_side=80",
    "--set=train.optimiser.batch_rays=512",
    "--set=train.checkpoint_steps=10",
    "--set=render.seconds=0.5",
    "--set=render.fps=24",
    "--set=render.max_side=64",
]
STAGES = ("ingest", "sfm", "depth", "align", "merge", "train", "render")


def start(*arguments: object, cwd: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", "from depthrf.cli import main; main()", *map(str, arguments)]
    return subprocess.Popen(command, cwd=cwd, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def run(*arguments: object, cwd: Path) -> tuple[str, str]:
    process = start(*arguments, cwd=cwd)
    out, err = process.communicate(timeout=600)
    assert process.returncode == 0, err
    return out, err


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Demo photos with one damaged file among them, reconstructed once."""
    from depthrf.demo.photos import write_demo

    folder = tmp_path_factory.mktemp("demo")
    write_demo(folder, num_train=10, num_test=2, width=400, height=300)
    first = sorted((folder / "photos").iterdir())[0]
    (folder / "photos" / "damaged.jpg").write_bytes(first.read_bytes()[:5000])
    _, err = run("reconstruct", "photos", "-o", "ws", *SETTINGS, cwd=folder)
    assert "damaged.jpg is not used" in err
    return folder


def workspace(demo: Path) -> Workspace:
    return Workspace(demo / "ws")


def finished(demo: Path) -> dict[str, int]:
    return {s: workspace(demo).record(s).stat().st_mtime_ns for s in STAGES}


def test_all_photos_are_placed_where_they_were_taken(demo: Path) -> None:
    from depthrf.geometry.transforms import rotation_angle_deg
    from depthrf.io.poses.transforms_json import load_views, read_transforms
    from tests.similarity import fit_similarity

    views, _ = load_views(workspace(demo).transforms)
    assert len(views) == 10
    truth = {
        Path(p.name).stem: p.cam_from_world for p in read_transforms(demo / "ground_truth" / "transforms.json").photos
    }
    found = np.stack([v.cam_from_world for v in views])
    true = np.stack([truth[v.stem] for v in views])
    centres = [-np.einsum("nji,nj->ni", p[:, :3, :3], p[:, :3, 3]) for p in (found, true)]
    similarity = fit_similarity(*centres)
    moved = np.stack([similarity.apply_to_pose(p) for p in found])
    size = np.linalg.norm(np.ptp(centres[1], axis=0))
    assert np.linalg.norm(similarity.apply(centres[0]) - centres[1], axis=1).max() < 0.01 * size
    assert rotation_angle_deg(moved[:, :3, :3], true[:, :3, :3]).max() < 0.5


def test_the_video_plays_and_moves(demo: Path) -> None:
    from depthrf.io.video import read_video

    frames, fps = read_video(workspace(demo).video)
    assert fps == 24
    assert len(frames) == 12
    assert frames[0].shape == (48, 64, 3)
    assert all(frame.std() > 8 for frame in frames)
    assert np.abs(frames[0].astype(float) - frames[-1].astype(float)).mean() > 1


def test_records_hold_what_other_tools_read(demo: Path) -> None:
    summaries = {s: read_json(workspace(demo).record(s))["summary"] for s in STAGES}
    assert summaries["sfm"]["num_photos"] == summaries["sfm"]["num_registered"] == 10
    assert summaries["sfm"]["dropped"] == []
    assert summaries["train"]["steps"] == 120
    assert summaries["train"]["rays_per_second"] > 0
    assert summaries["render"]["num_frames"] == 12
    assert Path(summaries["render"]["video"]).is_file()
    fates = {p["source"]: p["status"] for p in read_json(workspace(demo).photos)["photos"]}
    assert fates["damaged.jpg"] == "rejected"


def test_second_run_does_nothing(demo: Path) -> None:
    before = finished(demo)
    out, _ = run("reconstruct", "photos", "-o", "ws", *SETTINGS, cwd=demo)
    assert finished(demo) == before
    assert out.strip() == str(workspace(demo).video)


def test_a_changed_option_redoes_only_what_depends_on_it(demo: Path) -> None:
    before = finished(demo)
    (workspace(demo).render / "kept.mp4").write_bytes(workspace(demo).video.read_bytes())
    run("reconstruct", "photos", "-o", "ws", *SETTINGS, "--path=orbit", cwd=demo)
    assert (workspace(demo).render / "kept.mp4").is_file()
    after = finished(demo)
    assert {s for s in STAGES if after[s] != before[s]} == {"render"}
    rendered = {p.name: p.stat().st_mtime_ns for p in (workspace(demo).render / "frames").iterdir()}
    run("reconstruct", "photos", "-o", "ws", *SETTINGS, "--path=orbit", "--depth-video", cwd=demo)
    assert workspace(demo).depth_video.is_file()
    assert {p.name: p.stat().st_mtime_ns for p in (workspace(demo).render / "frames").iterdir()} == rendered


def test_further_photos_are_registered_and_scored(demo: Path) -> None:
    before = fingerprint(workspace(demo).undistorted_sparse)
    run("evaluate", "ws", "--photos", "held_out", cwd=demo)
    result = read_json(workspace(demo).evaluation)
    assert len(result["views"]) == 2
    assert result["mean"]["psnr"] > 12
    assert result["mean"]["lpips"] is None
    assert result["mean"]["depth_abs_rel"] < 0.5
    assert fingerprint(workspace(demo).undistorted_sparse) == before


def test_the_readmes_python(demo: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """On the finished workspace: the same options lead to the same results, so that nothing runs again."""
    run("reconstruct", "photos", "-o", "ws", *SETTINGS, cwd=demo)
    before = finished(demo)
    (code,) = re.findall(r"```python\n(.*?)```", (Path(__file__).parents[1] / "README.md").read_text(), re.DOTALL)
    settings = [item.removeprefix("--set=") for item in SETTINGS if item.startswith("--set=")]
    options = dict(item.split("=") for item in settings) | {"train.optimiser.steps": 120}
    changed = code.replace('"room", options={"train.optimiser.steps": 800}', f'"ws", options={options!r}')
    assert changed != code
    monkeypatch.chdir(demo)
    exec(changed, {})
    video, psnr, exported = capsys.readouterr().out.splitlines()
    assert finished(demo) == before
    assert Path(video) == workspace(demo).video
    assert float(psnr) > 12
    assert (Path(exported) / "cameras").is_dir() or list(Path(exported).glob("cameras*"))


def test_held_out_photos_of_a_bare_folder(demo: Path) -> None:
    """They take no part in SfM, depth or training, and are placed in the finished model to be scored."""
    held_out = {p.name for p in sorted(workspace(demo).images.iterdir())[3::4]}
    chosen = ["--holdout", ",".join(sorted(held_out))]
    run("reconstruct", "photos", "-o", "split", *chosen, *SETTINGS, "--until=train", cwd=demo)
    split = Workspace(demo / "split")
    assert {p.name for p in split.held_out.iterdir()} == held_out
    assert not held_out & {
        p.name for folder in ("images", "undistorted/images") for p in (split.root / folder).iterdir()
    }
    run("evaluate", "split", cwd=demo)
    result = read_json(split.evaluation)
    assert result["split"] == "holdout"
    assert {v["name"] for v in result["views"]} == held_out


def test_killed_training_goes_on_and_ends_the_same(demo: Path, tmp_path: Path) -> None:
    import torch

    shutil.copytree(demo / "ws", tmp_path / "ws")
    for name in ("train", "render"):
        (tmp_path / "ws" / "records" / f"{name}.json").unlink()
    shutil.rmtree(tmp_path / "ws" / "nerf")
    checkpoint = tmp_path / "ws" / "nerf" / "checkpoint.pt"
    process = start("train", "ws", cwd=tmp_path)
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline:
        time.sleep(0.02)
        if checkpoint.exists() and torch.load(checkpoint, weights_only=True)["step"] > 0:
            break
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    assert not (tmp_path / "ws" / "records" / "train.json").exists()
    _, err = run("train", "ws", cwd=tmp_path)
    assert "going on from step" in err
    straight, resumed = (torch.load(p, weights_only=True)["model"] for p in (workspace(demo).checkpoint, checkpoint))
    assert all(torch.equal(straight[name], resumed[name]) for name in straight)


def test_given_poses_and_sensor_depth(demo: Path) -> None:
    """Known poses in metres with sensor depth: nothing is estimated that is known, and held-out views stay held out."""
    for path in (demo / "held_out").iterdir():
        shutil.copy(path, demo / "photos" / path.name)
    truth = demo / "ground_truth"
    given = ["--poses", truth / "transforms.json", "--sensor-depth", truth / "depth"]
    run("reconstruct", "photos", "-o", "rgbd", *given, *SETTINGS, "--steps=250", "--until=train", cwd=demo)
    run("evaluate", "rgbd", cwd=demo)
    result = read_json(demo / "rgbd" / "evaluation.json")
    assert result["depth_reference"] == "sensor"
    assert {v["name"] for v in result["views"]} == {p.name for p in (demo / "held_out").iterdir()}
    assert result["mean"]["depth_median_abs_error"] < 0.3
    assert read_json(demo / "rgbd" / "depth" / "scale.json")["metres_per_unit"] == 1.0
    assert read_json(demo / "rgbd" / "records" / "train.json")["summary"]["num_photos"] == 10
