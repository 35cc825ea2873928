"""Videos are decoded again; failures carry the encoder's words and leave nothing behind."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from depthrf.errors import DepthrfError
from depthrf.io.video import check_encoder, even_size, read_video, write_video


def frames(count: int, width: int, height: int) -> list[np.ndarray]:
    """A bright bar wandering over a coloured ramp."""
    y, x = np.mgrid[0:height, 0:width]
    ramp = np.stack([x * 200 // width, y * 200 // height, np.full_like(x, 90)], -1).astype(np.uint8)
    result = []
    for i in range(count):
        frame = ramp.copy()
        frame[:, 4 * i : 4 * i + 12] = (240, 220, 40)
        result.append(frame)
    return result


@pytest.mark.parametrize("size", [(64, 48), (65, 49)])
def test_decoded_frames_are_the_encoded_ones(tmp_path: Path, size: tuple[int, int]) -> None:
    path = tmp_path / "vidéo 漢.mp4"
    sent = frames(12, *size)
    assert write_video(path, iter(sent), 24000 / 1001, size) == 12
    found, fps = read_video(path)
    width, height = even_size(*size)
    assert found.shape == (12, height, width, 3)
    assert fps == pytest.approx(23.976, abs=0.01)
    error = np.abs(found.astype(int) - np.stack(sent)[:, :height, :width])
    assert error.mean() < 6
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_index_comes_before_the_pictures(tmp_path: Path) -> None:
    write_video(tmp_path / "a.mp4", frames(3, 64, 48), 10, (64, 48))
    data, at, boxes = (tmp_path / "a.mp4").read_bytes(), 0, []
    while at < len(data):
        (length,) = struct.unpack(">I", data[at : at + 4])
        boxes.append(data[at + 4 : at + 8])
        at += length
    assert boxes.index(b"moov") < boxes.index(b"mdat")
    assert b"avc1" in data


def test_encoder_check_passes_here() -> None:
    check_encoder()


def test_a_missing_encoder_says_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", str(tmp_path / "nothing"))
    with pytest.raises(DepthrfError, match=r"imageio-ffmpeg"):
        check_encoder()


def test_a_failing_encoder_is_quoted_and_leaves_the_old_video(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    broken.write_text("#!/bin/sh\necho 'Unknown encoder libx264' >&2\nexit 8\n")
    broken.chmod(0o755)
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", str(broken))
    target = tmp_path / "out" / "a.mp4"
    target.parent.mkdir()
    target.write_bytes(b"old")
    with pytest.raises(DepthrfError, match="Unknown encoder libx264"):
        write_video(target, frames(30, 640, 480), 10, (640, 480))
    assert target.read_bytes() == b"old"
    assert [p.name for p in target.parent.iterdir()] == ["a.mp4"]


def test_interrupted_and_wrong_frames_leave_nothing(tmp_path: Path) -> None:
    def interrupted() -> Iterator[np.ndarray]:
        yield from frames(2, 64, 48)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_video(tmp_path / "a.mp4", interrupted(), 10, (64, 48))
    with pytest.raises(ValueError, match="frames should be"):
        write_video(tmp_path / "a.mp4", frames(1, 32, 48), 10, (64, 48))
    with pytest.raises(DepthrfError, match="Cannot encode"):
        write_video(tmp_path / "a.mp4", [], 10, (64, 48))
    assert not list(tmp_path.iterdir())


def test_no_video_is_said(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"nothing of the kind")
    with pytest.raises(DepthrfError, match="no readable video"):
        read_video(tmp_path / "a.mp4")
