"""Videos are decoded again; failures carry the encoder's words and leave nothing behind."""

from __future__ import annotations

import re
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from depthrf.errors import DepthrfError
from depthrf.io.encoding import CODECS, Encoding, check_encoder, even_size, write_gif, write_video, write_webp
from depthrf.io.video import read_video


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


@pytest.mark.parametrize("codec", CODECS)
def test_encoder_check_passes_here(codec: str) -> None:
    check_encoder(codec)


def described(path: Path) -> str:
    """What ffmpeg says about a file."""
    import imageio_ffmpeg

    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-hide_banner", "-i", str(path)]
    return subprocess.run(command, capture_output=True, text=True, check=False).stderr


@pytest.mark.parametrize(
    ("codec", "name", "pixels"),
    [
        ("h264", "h264", "yuv420p"),
        ("h265", "hevc", "yuv420p"),
        ("prores", "prores", "yuv422p10le"),
        ("vp9", "vp9", "yuv420p"),
    ],
)
def test_tags_and_metadata(tmp_path: Path, codec: str, name: str, pixels: str) -> None:
    path = tmp_path / f"a{CODECS[codec].ending}"
    encoding = Encoding(codec, metadata={"title": "my room", "comment": "depthrf 1: depthrf render"})
    assert write_video(path, frames(3, 64, 48), 10, (64, 48), encoding) == 3
    text = described(path)
    assert f"Video: {name}" in text
    assert pixels in text
    assert "bt709" in text
    assert re.search(r"title\s*: my room", text, re.IGNORECASE)
    assert re.search(r"comment\s*: depthrf 1: depthrf render", text, re.IGNORECASE)


def test_less_quality_is_smaller(tmp_path: Path) -> None:
    noise = list(np.random.default_rng(0).integers(0, 255, (4, 48, 64, 3)).astype(np.uint8))
    for crf in (10, 40):
        write_video(tmp_path / f"{crf}.mp4", noise, 10, (64, 48), Encoding(crf=crf))
    assert (tmp_path / "40.mp4").stat().st_size < 0.5 * (tmp_path / "10.mp4").stat().st_size


def test_previews_move(tmp_path: Path) -> None:
    from PIL import Image

    write_video(tmp_path / "a.mp4", frames(20, 640, 480), 20, (640, 480))
    write_gif(tmp_path / "a.gif", tmp_path / "a.mp4")
    write_webp(tmp_path / "a.webp", tmp_path / "a.mp4")
    for name, width, count in (("a.gif", 320, 10), ("a.webp", 480, 15)):
        with Image.open(tmp_path / name) as image:
            assert image.width == width
            assert getattr(image, "n_frames", 1) == count
            first = np.asarray(image.convert("RGB")).astype(float)
            image.seek(count - 1)
            assert np.abs(np.asarray(image.convert("RGB")) - first).mean() > 1
    with pytest.raises(DepthrfError, match="Cannot make"):
        write_gif(tmp_path / "b.gif", tmp_path / "absent.mp4")
    assert not (tmp_path / "b.gif").exists()


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
