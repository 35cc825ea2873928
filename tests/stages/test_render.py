"""Films of a small field: every file is there and plays, frames are kept, plans are equal, finished frames encode."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from depthrf import pipeline
from depthrf.errors import UsageError
from depthrf.io.encoding import CODECS, Encoding
from depthrf.io.photos.images import read_rgb, write_png
from depthrf.io.video import read_video
from depthrf.stages import render
from depthrf.stages.filming.files import best_frame, from_frames
from depthrf.stages.filming.frames import frames_folder
from depthrf.stages.filming.options import Options
from depthrf.storage import read_json
from depthrf.workspace import Workspace
from tests.stages.test_evaluate import make_model, train_workspace, write_workspace

OPTIONS = Options(seconds=0.5, fps=12, max_side=48, allow_untrusted=True, device="cpu")


def trained(root: Path) -> Workspace:
    workspace = write_workspace(root, make_model(np.random.default_rng(0)))
    train_workspace(workspace)
    for stage in ("sfm", "train"):
        workspace.records.mkdir(exist_ok=True)
        workspace.record(stage).write_text("{}")
    return workspace


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return trained(tmp_path_factory.mktemp("film") / "ws")


def frames(workspace: Workspace) -> dict[str, int]:
    return {p.name: p.stat().st_mtime_ns for p in (workspace.render / "frames").glob("*.png")}


def test_every_film_plays_and_frames_are_kept(workspace: Workspace) -> None:
    pipeline.run_stage(workspace, "render", OPTIONS)
    film, fps = read_video(workspace.video)
    assert film.shape == (6, 36, 48, 3)
    assert fps == 12
    before = frames(workspace)
    cut_off = workspace.render / "frames" / "rgb_00003.png"
    cut_off.write_bytes(cut_off.read_bytes()[:-20])
    wanted = replace(OPTIONS, side_by_side=True, depth_video=True, normals_video=True, show_trust=True)
    render.run(workspace, wanted)
    after = frames(workspace)
    assert len(after) == 4 * 6
    rendered = {name for name in before if after[name] != before[name]}
    assert "rgb_00003.png" in rendered
    assert read_rgb(cut_off).shape == (36, 48, 3)
    for name, width in (("side_by_side", 96), ("depth", 48), ("normals", 48)):
        assert read_video(workspace.render / f"{name}.mp4")[0].shape == (6, 36, width, 3)
    for name in ("poster.jpg", "preview.gif", "preview.webp", "preflight.png"):
        assert (workspace.render / name).stat().st_size > 50
    kept = frames(workspace)
    render.run(workspace, replace(wanted, codec="vp9", crf=30))
    assert frames(workspace) == kept
    assert read_video(workspace.render / "video.webm")[0].shape == (6, 36, 48, 3)
    render.run(workspace, replace(OPTIONS, path="orbit"))
    assert len(frames(workspace)) == 2 * 6


def test_a_second_run_does_nothing(workspace: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    pipeline.run_stage(workspace, "render", OPTIONS)
    capsys.readouterr()
    pipeline.run_stage(workspace, "render", OPTIONS)
    assert "nothing to do" in capsys.readouterr().err


def test_equal_runs_plan_equal_films(workspace: Workspace, tmp_path: Path) -> None:
    """The checkpoint holds how long training took, so no fingerprint of it may be in the plan."""
    other = trained(tmp_path / "other")
    for each in (workspace, other):
        render.run(each, OPTIONS)
    plans = [(w.render / "path.json").read_bytes() for w in (workspace, other)]
    assert plans[0] == plans[1]
    trust = [frame["trust"] for frame in read_json(other.render / "path.json")["frames"]]
    assert all(abs(t["two"] + t["one"] + t["none"] - 1) < 1e-3 for t in trust)


def test_still_pictures_are_rendered_once(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    from depthrf.nerf.rendering import views

    rendered = []
    original = views.render_view

    def counted(model: Any, view: Any, *args: Any, **kwargs: Any) -> Any:
        rendered.append(view.name)
        return original(model, view, *args, **kwargs)

    monkeypatch.setattr(views, "render_view", counted)
    render.run(workspace, replace(OPTIONS, path="still", seconds=1.0))
    film = [name for name in rendered if len(name) == 5 and name.isdigit()]
    assert len(film) == 6 + len(set(film[6:])) == 6 + 4  # six thumbnails, and each photo once
    assert len(frames(workspace)) == 2 * 12


def test_a_path_file_sets_length_and_proportions(workspace: Workspace, tmp_path: Path) -> None:
    from depthrf.io.camera_paths.registry import WRITERS

    film = render.plan(workspace, OPTIONS)
    for kind, write in WRITERS.items():
        path = tmp_path / kind if kind == "colmap" else tmp_path / f"{kind}.json"
        write(path, replace(film.plan, fps=10.0, size=(40, 20)))
        summary = render.run(workspace, replace(OPTIONS, path=str(path)))
        assert (summary.num_frames, summary.fps, summary.width, summary.height) == (6, 10.0, 40, 20)
        poses = [frame["cam_from_world"] for frame in read_json(workspace.render / "path.json")["frames"]]
        np.testing.assert_allclose(poses, film.path.cam_from_world, atol=1e-9)


def test_finished_frames_make_a_film(tmp_path: Path) -> None:
    folder = tmp_path / "frames"
    for index in range(5):
        write_png(folder / f"shot {index}.png", np.full((48, 64, 3), 40 * index, np.uint8))
    assert from_frames(folder, tmp_path / "video.mp4", 5.0, Encoding()) == 5
    film, fps = read_video(tmp_path / "video.mp4")
    assert fps == 5
    np.testing.assert_allclose(film.mean((1, 2, 3)), [0, 40, 80, 120, 160], atol=3)
    assert read_rgb(tmp_path / "poster.jpg").shape == (48, 64, 3)
    write_png(folder / "shot 5.png", np.zeros((40, 64, 3), np.uint8))
    with pytest.raises(UsageError, match=r"shot 5\.png is 64x40"):
        from_frames(folder, tmp_path / "video.mp4", 5.0, Encoding())
    shutil.rmtree(folder)
    folder.mkdir()
    with pytest.raises(UsageError, match="has no frames"):
        from_frames(folder, tmp_path / "video.mp4", None, Encoding())
    with pytest.raises(UsageError, match="No such folder"):
        from_frames(tmp_path / "absent", tmp_path / "video.mp4", None, Encoding())


def test_the_poster_is_in_the_middle_of_what_is_seen_best() -> None:
    assert best_frame([0.5] * 9) == 4
    assert best_frame([0.1, 0.9, 0.895, 0.2, 0.1]) == 2
    assert set(CODECS) == {"h264", "h265", "prores", "vp9"}


@pytest.mark.parametrize("content", ["", "[]", '{"inputs": '])
def test_frames_whose_source_is_damaged_are_rendered_again(tmp_path: Path, content: str) -> None:
    folder = frames_folder(tmp_path / "frames", {"film": "a"})
    (folder / "rgb_00000.png").write_bytes(b"x")
    frames_folder(folder, {"film": "a"})
    assert (folder / "rgb_00000.png").is_file()
    (folder / "made_from.json").write_text(content)
    frames_folder(folder, {"film": "a"})
    assert not (folder / "rgb_00000.png").exists()
