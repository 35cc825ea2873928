"""``depthrf render`` beyond the stage: plans alone, finished frames, paths that do not exist."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from depthrf.cli import app
from depthrf.errors import UsageError
from depthrf.io.photos.images import write_png
from depthrf.io.video import read_video
from depthrf.storage import read_json, write_json
from depthrf.workspace import Workspace
from tests.stages.test_evaluate import make_model, train_workspace, write_workspace


def depthrf(*arguments: object) -> None:
    app([str(a) for a in arguments], standalone_mode=False)


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    made = write_workspace(tmp_path_factory.mktemp("film") / "ws", make_model(np.random.default_rng(0)))
    train_workspace(made)
    write_json(made.record("sfm"), {})
    return made


def test_write_path_only_plans(workspace: Workspace, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    short = ("--pipeline", "cpu", "--seconds", "0.5", "--fps", "8", "--allow-untrusted")
    for kind, key in (("depthrf", "frames"), ("nerfstudio", "camera_path")):
        path = tmp_path / f"{kind}.json"
        depthrf("render", workspace.root, *short, "--write-path", path, "--path-format", kind)
        assert len(read_json(path)[key]) == 4
        assert capsys.readouterr().out.strip() == str(path)
    depthrf("render", workspace.root, *short, "--write-path", tmp_path / "model", "--path-format", "colmap")
    assert (tmp_path / "model" / "images.txt").is_file()
    assert not workspace.render.exists()
    with pytest.raises(UsageError, match="depthrf, nerfstudio, colmap"):
        depthrf("render", workspace.root, "--write-path", tmp_path / "x", "--path-format", "blender")


def test_paths_that_do_not_exist_are_told_first(workspace: Workspace, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"one of tour, orbit.* or a file; found 'obrit'"):
        depthrf("render", workspace.root, "--path", "obrit")
    with pytest.raises(UsageError, match=r"No such file or folder: .*absent\.json \(option render\.path\)"):
        depthrf("render", workspace.root, "--path", tmp_path / "absent.json")


def test_finished_frames_alone_make_a_film(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for index in range(6):
        write_png(tmp_path / "frames" / f"rgb_{index:05d}.png", np.full((48, 64, 3), 40 * index, np.uint8))
        write_png(tmp_path / "frames" / f"depth_{index:05d}.png", np.zeros((48, 64, 3), np.uint8))
    write_json(tmp_path / "path.json", {"fps": 12})
    depthrf("render", "--from-frames", tmp_path / "frames")
    film, fps = read_video(tmp_path / "video.mp4")
    assert (len(film), fps) == (6, 12)
    assert film[5].mean() > 150
    assert capsys.readouterr().out.strip() == str(tmp_path / "video.mp4")
    depthrf("render", "--from-frames", tmp_path / "frames", "--fps", "6", "--codec", "prores")
    assert read_video(tmp_path / "video.mov")[1] == 6
    with pytest.raises(UsageError, match="needs a workspace"):
        depthrf("render")
