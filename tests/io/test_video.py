"""Frames of videos as people see them: square pixels, no border, no comb, colours by the stream's tags."""

from __future__ import annotations

import os
import struct
import subprocess
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pytest

from depthrf.errors import DepthrfError
from depthrf.io import ffmpeg
from depthrf.io.clean_aperture import read_clean_aperture
from depthrf.io.video import read_frames, read_grey_frames
from depthrf.io.video_stream import probe

PATCHES = np.array([[200, 60, 50], [60, 180, 70], [50, 80, 210], [210, 190, 60], [128, 128, 128], [225, 225, 225]])
SIDE = 64


@pytest.fixture(scope="module")
def picture() -> np.ndarray:
    """Six patches of colour, 384 x 64."""
    return np.repeat(np.repeat(PATCHES[None], SIDE, 0), SIDE, 1).astype(np.uint8)


def encode(path: Path, rgb: np.ndarray, *options: str, filters: str = "null", frames: int = 3) -> Path:
    height, width = rgb.shape[:2]
    # fmt: off
    command = [
        imageio_ffmpeg.get_ffmpeg_exe(), "-loglevel", "error", "-y", "-f", "rawvideo", "-pix_fmt", "rgb24",
        "-s", f"{width}x{height}", "-r", "10", "-i", "-", "-vf", filters, *options, str(path),
    ]
    # fmt: on
    subprocess.run(command, check=True, input=rgb.tobytes() * frames, stderr=subprocess.PIPE)
    return path


def patches(frame: np.ndarray) -> np.ndarray:
    """Mean colour of each patch, off its edges."""
    width = frame.shape[1] / len(PATCHES)
    rows = slice(frame.shape[0] // 4, -frame.shape[0] // 4)
    middles = [(round((i + 0.25) * width), round((i + 0.75) * width)) for i in range(len(PATCHES))]
    return np.array([frame[rows, start:stop].reshape(-1, 3).mean(0) for start, stop in middles])


X264 = ("-c:v", "libx264", "-crf", "5", "-pix_fmt", "yuv444p")


@pytest.mark.parametrize("range_", ["tv", "pc"])
@pytest.mark.parametrize("matrix", ["bt709", "smpte170m", "bt2020nc"])
def test_range_and_matrix_by_the_tags(tmp_path: Path, picture: np.ndarray, matrix: str, range_: str) -> None:
    other = {"smpte170m": "bt601", "bt2020nc": "bt2020"}.get(matrix, matrix)
    scale = f"scale=out_color_matrix={other}:out_range={range_}"
    tags = ("-colorspace", matrix, "-color_range", range_)
    clip = encode(tmp_path / "a.mp4", picture, *X264, *tags, filters=scale)
    (frame,) = read_frames(clip, [1])
    assert np.abs(patches(frame) - PATCHES).max() <= 4


@pytest.mark.parametrize(("height", "matrix"), [(480, "bt601"), (720, "bt709")])
def test_untagged_video_is_what_players_take_it_for(tmp_path: Path, height: int, matrix: str) -> None:
    tall = np.repeat(np.repeat(PATCHES[None], height, 0), height // 4, 1).astype(np.uint8)
    untag = f"scale=out_color_matrix={matrix},setparams=colorspace=unknown"
    clip = encode(tmp_path / "a.mkv", tall, *X264, filters=untag)
    found = probe(clip)
    assert found is not None
    assert found.matrix == "unknown"
    (frame,) = read_frames(clip, [0])
    assert np.abs(patches(frame) - PATCHES).max() <= 4


@pytest.mark.parametrize(("transfer", "name"), [("arib-std-b67", "HLG"), ("smpte2084", "PQ")])
def test_hdr_is_tone_mapped(tmp_path: Path, picture: np.ndarray, transfer: str, name: str) -> None:
    """Ordinary colours with their white at 203 cd/m² (BT.2408) come back; as they are stored, they are pale."""
    to_hdr = (
        "scale=out_color_matrix=bt709:out_range=tv,format=yuv444p10le,setparams=color_primaries=bt709:color_trc=bt709:"
        f"colorspace=bt709:range=tv,zscale=t=linear:npl=203,format=gbrpf32le,zscale=p=2020:t={transfer}:m=2020_ncl:"
        "r=tv:npl=203,format=yuv444p10le"
    )
    tags = f"log-level=none:colorprim=bt2020:transfer={transfer}:colormatrix=bt2020nc"
    options = ("-c:v", "libx265", "-crf", "5", "-x265-params", tags, "-tag:v", "hvc1")
    clip = encode(tmp_path / "a.mov", picture, *options, filters=to_hdr)
    found = probe(clip)
    assert found is not None
    assert found.hdr == name
    (frame,) = read_frames(clip, [0])
    assert np.abs(patches(frame)[:-1] - PATCHES[:-1]).max() <= 8
    assert abs(patches(frame)[-1] - PATCHES[-1]).max() <= 20  # near white, highlights take some of the range


def test_hdr_without_the_filters_is_said(
    tmp_path: Path, picture: np.ndarray, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from depthrf.io.video import tell_colours

    tags = "log-level=none:colorprim=bt2020:transfer=arib-std-b67:colormatrix=bt2020nc"
    clip = encode(tmp_path / "a.mov", picture, "-c:v", "libx265", "-x265-params", tags, "-pix_fmt", "yuv420p10le")
    tell_colours(clip)
    assert "HLG video (high dynamic range) tone-mapped" in capsys.readouterr().err
    monkeypatch.setattr(ffmpeg, "filters", lambda path: frozenset({"scale"}))
    tell_colours(clip)
    assert "its colours come out pale" in " ".join(capsys.readouterr().err.split())
    assert len(list(read_frames(clip, [0]))) == 1


def test_pixels_become_square(tmp_path: Path, picture: np.ndarray) -> None:
    wide = encode(tmp_path / "wide.mp4", picture, *X264, filters="setsar=4/3")
    assert next(read_frames(wide, [0])).shape == (64, 512, 3)
    tall = encode(tmp_path / "tall.mp4", picture, *X264, filters="setsar=8/9")
    assert next(read_frames(tall, [0])).shape == (72, 384, 3)
    assert next(read_grey_frames(wide, 256)).shape == (32, 256)
    assert next(read_frames(wide, [0], turned=False)).shape == (64, 384, 3)  # as intrinsics mean them


@pytest.mark.parametrize("degrees", [0, 90, 180, 270])
def test_square_pixels_of_a_turned_video(tmp_path: Path, picture: np.ndarray, degrees: int) -> None:
    clip = encode(tmp_path / "a.mp4", picture, *X264, filters="setsar=2/1")
    # fmt: off
    marked = [
        imageio_ffmpeg.get_ffmpeg_exe(), "-loglevel", "error", "-display_rotation", str(degrees),
        "-i", str(clip), "-c", "copy", "-y", str(tmp_path / "b.mp4"),
    ]
    # fmt: on
    subprocess.run(marked, check=True, stderr=subprocess.PIPE)
    (frame,) = read_frames(tmp_path / "b.mp4", [0])
    assert frame.shape[:2] == ((768, 64) if degrees in (90, 270) else (64, 768))


def with_clean_aperture(path: Path, width: int, height: int, right: int) -> None:
    """Puts a ``clap`` box into the sample entry of an MP4 whose index lies behind its frames."""
    data = path.read_bytes()
    box = struct.pack(">I4sIIIIiIiI", 40, b"clap", width, 1, height, 1, right, 1, 0, 1)
    entry = data.index(b"avc1", data.index(b"stsd")) - 4
    end = entry + struct.unpack_from(">I", data, entry)[0]
    data = bytearray(data[:end] + box + data[end:])
    for kind in (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stsd", b"avc1"):
        at = data.index(kind, data.index(b"moov")) - 4
        data[at : at + 4] = struct.pack(">I", struct.unpack_from(">I", data, at)[0] + len(box))
    path.write_bytes(data)


@pytest.mark.parametrize("cut_by_ffmpeg", [True, False])
def test_the_clean_aperture_is_what_is_seen(
    tmp_path: Path, picture: np.ndarray, cut_by_ffmpeg: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip = encode(tmp_path / "a.mp4", picture, *X264)
    with_clean_aperture(clip, 320, 60, 32)
    found = read_clean_aperture(clip)
    assert found is not None
    assert (found.width, found.height, found.right, found.down) == (320, 60, 32, 0)
    if not cut_by_ffmpeg:  # as versions before 7.1 do
        program = tmp_path / "ffmpeg"
        program.write_text(
            "#!/bin/bash\nargs=()\n"
            'for a in "$@"; do [ "$a" = -i ] && args+=(-apply_cropping none); args+=("$a"); done\n'
            f'exec {imageio_ffmpeg.get_ffmpeg_exe()} "${{args[@]}}"\n'
        )
        program.chmod(0o755)
        monkeypatch.setattr(ffmpeg, "executable", lambda: str(program))
        monkeypatch.setattr("depthrf.io.video.executable", lambda: str(program))
    (frame,) = read_frames(clip, [0])
    assert frame.shape == (60, 320, 3)
    straight = next(read_frames(encode(tmp_path / "b.mp4", picture, *X264), [0]))
    assert np.abs(frame.astype(int) - straight[2:62, 64:384]).mean() < 3


def test_interlaced_frames_have_no_comb(tmp_path: Path) -> None:
    """A bar that moves between the fields: woven together they are a comb, whose lines differ from their neighbours."""
    frames = np.full((16, 128, 256, 3), 60, np.uint8)
    for i, frame in enumerate(frames):
        frame[:, 10 * i : 10 * i + 40] = 220
    # fmt: off
    command = [
        imageio_ffmpeg.get_ffmpeg_exe(), "-loglevel", "error", "-y", "-f", "rawvideo", "-pix_fmt", "rgb24",
        "-s", "256x128", "-r", "20", "-i", "-", "-vf", "tinterlace=interleave_top,setfield=tff", "-c:v", "libx264",
        "-flags", "+ildct+ilme", "-x264-params", "tff=1:qp=5", str(tmp_path / "a.mp4"),
    ]
    # fmt: on
    subprocess.run(command, check=True, input=frames.tobytes(), stderr=subprocess.PIPE)
    found = probe(tmp_path / "a.mp4")
    assert found is not None
    assert found.interlaced
    (frame,) = read_frames(tmp_path / "a.mp4", [4])
    assert np.abs(np.diff(frame[20:-20].astype(int), axis=0)).mean() < 2  # 12 as they are woven
    assert len(list(read_grey_frames(tmp_path / "a.mp4", 256))) == 8


def test_an_old_ffmpeg_is_asked_in_its_own_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "ffmpeg"
    program.write_text(
        '#!/bin/bash\n[ "$2" = -version ] && echo "ffmpeg version 4.4.2-0ubuntu0.22.04.1 Copyright" && exit\n'
        'args=()\nfor a in "$@"; do\n'
        '  [ "$a" = -fps_mode ] && echo "Unrecognized option fps_mode" >&2 && exit 1\n'
        '  [ "$a" = -vsync ] && a=-fps_mode\n  args+=("$a")\ndone\n'
        f'exec {imageio_ffmpeg.get_ffmpeg_exe()} "${{args[@]}}"\n'
    )
    program.chmod(0o755)
    clip = encode(tmp_path / "a.mp4", np.repeat(np.repeat(PATCHES[None], SIDE, 0), SIDE, 1).astype(np.uint8), *X264)
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", str(program))
    assert ffmpeg.version(ffmpeg.executable()) == (4, 4)
    assert len(list(read_frames(clip, [0, 2]))) == 2


def test_no_ffmpeg_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> str:
        raise RuntimeError("No ffmpeg exe could be found")

    monkeypatch.setattr(imageio_ffmpeg, "get_ffmpeg_exe", missing)
    (tmp_path / "a.mp4").write_bytes(b"x")
    with pytest.raises(DepthrfError, match="There is no ffmpeg, which reads and writes videos"):
        list(read_grey_frames(tmp_path / "a.mp4", 64))
    monkeypatch.undo()
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", os.fspath(tmp_path / "nothing"))
    with pytest.raises(DepthrfError, match=r"Cannot start|There is no ffmpeg"):
        list(read_grey_frames(tmp_path / "a.mp4", 64))
