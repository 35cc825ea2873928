"""Frames of a video of the demo room: the sharp ones, at the same places every time, upright."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import cv2
import imageio_ffmpeg
import numpy as np
import pytest

from depthrf.demo.room import demo_views, render
from depthrf.errors import DepthrfError, UsageError
from depthrf.io.encoding import write_video
from depthrf.io.photos.clip import check_source, take_frames
from depthrf.io.photos.images import read_rgb
from depthrf.io.video import read_frames, read_grey_frames
from tests.scenes.demo_room import demo_room

COUNT = 32
BLURRED = {i for i in range(COUNT) if i % 4 in (1, 2)}


@pytest.fixture(scope="module")
def rendered() -> list[np.ndarray]:
    scene = demo_room()
    views, _ = demo_views(COUNT, 0, 320, 240)
    return [render(scene, view)[0] for view in views]


@pytest.fixture(scope="module")
def clip(rendered: list[np.ndarray], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A walk of which half the frames are blurred, after standing still for as long again."""
    path = tmp_path_factory.mktemp("clip") / "wälk 1.mp4"
    walk = [cv2.GaussianBlur(f, (0, 0), 3.0) if i in BLURRED else f for i, f in enumerate(rendered)]
    write_video(path, iter([rendered[0]] * COUNT + walk), 24, (320, 240))
    return path


def numbers(folder: Path) -> list[int]:
    return sorted(int(p.stem.removeprefix("frame_")) for p in folder.iterdir())


def test_sharp_frames_spread_over_the_walk(clip: Path, rendered: list[np.ndarray], tmp_path: Path) -> None:
    photos, total = take_frames(clip, tmp_path, 8)
    assert total == 2 * COUNT
    chosen = numbers(tmp_path)
    assert [p.name for p in photos] == [f"frame_{n:06d}.jpg" for n in chosen]
    assert 6 <= len(chosen) <= 8
    walked = [n - COUNT for n in chosen if n >= COUNT]
    assert len(walked) >= len(chosen) - 1
    assert not BLURRED & set(walked)
    assert max(np.diff(walked)) <= 8
    assert walked[-1] > 0.85 * COUNT
    for n in walked:
        error = np.abs(read_rgb(tmp_path / f"frame_{n + COUNT:06d}.jpg").astype(int) - rendered[n])
        assert error.mean() < 6


def test_the_same_frames_every_time(clip: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        take_frames(clip, tmp_path / name, 6)
    first, second = ({p.name: p.read_bytes() for p in (tmp_path / n).iterdir()} for n in ("a", "b"))
    assert first == second
    assert len(first) <= 6


def test_a_still_camera_is_told(rendered: list[np.ndarray], tmp_path: Path) -> None:
    path = tmp_path / "still.mp4"
    write_video(path, iter([rendered[0]] * 20), 24, (320, 240))
    with pytest.raises(DepthrfError, match="only 1 different view in its 20 frames"):
        take_frames(path, tmp_path / "out", 10)


@pytest.mark.parametrize("content", [b"", b"no video at all", b"\x00\x00\x00\x18ftypmp42" + bytes(500)])
def test_what_is_no_video_is_told(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "broken.mov"
    path.write_bytes(content)
    with pytest.raises(DepthrfError, match=r"broken.mov holds no video that can be decoded .*H.264"):
        take_frames(path, tmp_path / "out", 10)


def test_other_files_are_told(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(UsageError, match="expected a folder of photos, or a video"):
        check_source(tmp_path / "notes.txt")
    with pytest.raises(UsageError, match="No such folder or video"):
        check_source(tmp_path / "nowhere.mp4")


@pytest.mark.parametrize("encoder", [["-c:v", "libx265", "-tag:v", "hvc1"], ["-c:v", "libx264"]])
def test_phone_videos_are_turned_upright(clip: Path, tmp_path: Path, encoder: list[str]) -> None:
    """Stored lying with a mark to turn them, as phones do; HEVC in MOV, and uneven time stamps."""
    ffmpeg, path = imageio_ffmpeg.get_ffmpeg_exe(), tmp_path / "phone.mov"
    # fmt: off
    stored = [
        ffmpeg, "-loglevel", "error", "-i", str(clip), "-vf", "transpose=1,setpts='N/(24*TB)+0.01*random(0)/TB'",
        "-fps_mode", "vfr", *encoder, "-y", str(tmp_path / "lying.mov"),
    ]
    marked = [
        ffmpeg, "-loglevel", "error", "-display_rotation", "90", "-i", str(tmp_path / "lying.mov"),
        "-c", "copy", "-y", str(path),
    ]
    # fmt: on
    for command in (stored, marked):
        subprocess.run(command, check=True, stderr=subprocess.PIPE)
    frames = list(read_grey_frames(path, 160))
    assert len(frames) == 2 * COUNT
    assert frames[0].shape == (120, 160)
    (last,) = read_frames(path, [2 * COUNT - 1])
    straight = next(read_frames(clip, [2 * COUNT - 1]))
    assert last.shape == (240, 320, 3)
    assert np.abs(last.astype(int) - straight).mean() < 8
    assert next(read_frames(path, [0], turned=False)).shape == (320, 240, 3)


def test_more_frames_than_overlap_well_are_told(
    clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("depthrf.io.photos.clip.LEAST", 3)
    take_frames(clip, tmp_path / "many", 40)
    advised = re.search(r"--frames (\d+) would overlap well too", capsys.readouterr().err)
    assert advised is not None
    assert 3 <= int(advised[1]) <= len(numbers(tmp_path / "many")) / 2
    take_frames(clip, tmp_path / "enough", int(advised[1]))
    assert "--frames" not in capsys.readouterr().err
