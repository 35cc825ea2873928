"""``depthrf.toml``: options of a photo folder or workspace, below the command line and above the preset."""

from __future__ import annotations

from pathlib import Path

import pytest

from depthrf import pipeline
from depthrf.errors import UsageError
from depthrf.planning import make_plan, read_settings
from depthrf.workspace import create_workspace
from tests.test_cli import depthrf, write_noise


def write(folder: Path, text: str) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "depthrf.toml").write_text(text, encoding="utf-8")
    return folder


def test_the_command_line_wins_over_the_file_and_the_file_over_the_preset(tmp_path: Path) -> None:
    photos = write(tmp_path / "photos", 'pipeline = "fast"\n[train]\nseed = 7\nmax-side = 99\n')
    plan = make_plan(None, {"train": {"seed": 8}}, None, folders=[photos])
    assert (plan["train"].seed, plan["train"].max_side) == (8, 99)
    fast = pipeline.make_plan(pipeline.load_pipeline("fast"), "fast")
    assert plan["train"].optimiser == fast["train"].optimiser
    assert make_plan("cpu", {}, None, folders=[photos])["train"].optimiser != fast["train"].optimiser


def test_the_workspaces_file_wins_over_that_of_the_photos(tmp_path: Path) -> None:
    photos = write(tmp_path / "photos", "[train]\nseed = 1\n[sfm]\nseed = 1\n")
    workspace = write(tmp_path / "ws", "[train]\nseed = 2\n")
    plan = make_plan("cpu", {}, None, folders=[photos, workspace])
    assert (plan["sfm"].seed, plan["train"].seed) == (1, 2)


def test_a_workspaces_file_changes_its_saved_plan(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    workspace = create_workspace(tmp_path / "ws", tmp_path / "photos")
    pipeline.save_plan(workspace, make_plan("cpu", {"train": {"seed": 3, "max_side": 50}}, None))
    write(workspace.root, "[train]\nseed = 4\n")
    plan = make_plan(None, {}, None, workspace=workspace, folders=[workspace.root])
    assert (plan["train"].seed, plan["train"].max_side) == (4, 50)


def test_paths_are_relative_to_the_file(tmp_path: Path) -> None:
    photos = write(tmp_path / "photos", '[ingest]\nmasks = "white"\n[render]\npath = "walk.json"\n')
    _, tables = read_settings(photos)
    assert tables == {"ingest": {"masks": str(photos / "white")}, "render": {"path": str(photos / "walk.json")}}
    write(photos, '[render]\npath = "orbit"\n')
    assert read_settings(photos)[1] == {"render": {"path": "orbit"}}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("pipeline = 3", "name of a preset"),
        ("[trian]\nseed = 1", "'trian' is not a stage"),
        ("[train]\nsed = 1", "did you mean 'seed'"),
        ("[train]\nseed = -1", "at least 0"),
        ("[train", "not valid TOML"),
    ],
)
def test_mistakes_name_the_file(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(UsageError, match=words) as caught:
        read_settings(write(tmp_path, text))
    assert "depthrf.toml" in str(caught.value)


def test_it_is_no_photo_and_is_told(tmp_path: Path) -> None:
    photos = write(tmp_path / "photos", "[ingest]\nholdout = 'every:2'\n")
    for seed in range(6):
        write_noise(photos / f"{seed}.jpg", seed)
    done = depthrf("reconstruct", "photos", "--until=ingest", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "options of photos/depthrf.toml" in done.stderr
    assert "not used" not in done.stderr
    assert len(list((tmp_path / "photos-depthrf" / "held_out").iterdir())) == 3
