"""A video in place of a photo folder: its frames become the photos, decoded once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from depthrf import pipeline
from depthrf.errors import DepthrfError
from depthrf.io.encoding import write_video
from depthrf.io.masks import read_mask
from depthrf.io.photos.images import inspect_photo, write_png
from depthrf.stages import ingest
from depthrf.storage import read_json
from depthrf.workspace import Workspace, create_workspace
from tests.sfm.preflight.test_frames import frame, scenery


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    picture = np.repeat(scenery()[..., None], 3, axis=2)
    frames = (np.stack([frame(c, x) for c in np.moveaxis(picture, -1, 0)], -1) for x in np.arange(0.0, 320.0, 8.0))
    write_video(tmp_path / "clip.mp4", frames, 24, (320, 240))
    return tmp_path / "clip.mp4"


def run(clip: Path, **options: object) -> Workspace:
    workspace = create_workspace(clip.parent / "ws", clip)
    pipeline.run_stage(workspace, "ingest", ingest.Options(photos=clip, **options))  # type: ignore[arg-type]
    return workspace


def test_frames_become_photos(clip: Path) -> None:
    workspace = run(clip, frames=6)
    names = sorted(p.name for p in workspace.images.iterdir())
    assert len(names) == 6
    assert all(inspect_photo(workspace.images / name).as_is for name in names)
    rows = read_json(workspace.photos)["photos"]
    assert [row["name"] for row in rows] == names
    assert {(row["status"], row["width"], row["height"]) for row in rows} == {("used", 320, 240)}
    assert len({row["camera_key"] for row in rows}) == 1
    summary = read_json(workspace.record("ingest"))["summary"]
    assert (summary["num_files"], summary["num_photos"], summary["num_converted"]) == (40, 6, 6)


def test_a_fresh_video_is_not_decoded_again(clip: Path) -> None:
    record = run(clip, frames=6).record("ingest")
    before = record.stat().st_mtime_ns
    run(clip, frames=6)
    assert record.stat().st_mtime_ns == before
    run(clip, frames=4)
    assert record.stat().st_mtime_ns != before


def test_frames_can_have_masks(clip: Path) -> None:
    name = sorted(p.name for p in run(clip, frames=6).images.iterdir())[2]
    write_png(clip.parent / "mine" / f"{Path(name).stem}.png", np.zeros((120, 160), np.uint8))
    workspace = run(clip, frames=6, masks=clip.parent / "mine")
    assert not read_mask(workspace.masks / f"{name}.png").any()
    assert len(list(workspace.masks.iterdir())) == 6


def test_a_video_among_photos_is_told(clip: Path) -> None:
    folder = clip.parent / "photos"
    folder.mkdir()
    clip.rename(folder / "clip.mp4")
    workspace = create_workspace(folder.parent / "other", folder)
    with pytest.raises(DepthrfError, match=r"clip.mp4: a video; give it alone"):
        ingest.run(workspace, ingest.Options(photos=folder))
