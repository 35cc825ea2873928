"""Encodes films: H.264 that plays everywhere, H.265, ProRes and VP9; a poster and small animated previews."""

from __future__ import annotations

import shlex
import subprocess
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from depthrf import console
from depthrf.errors import DepthrfError
from depthrf.io.ffmpeg import ADVICE, executable, messages, stop
from depthrf.io.video import read_frames
from depthrf.storage import atomic_path


@dataclass(frozen=True)
class Codec:
    """How a film is encoded. ending: of the file. container: ffmpeg's name. pixels: pixel format. options: of the
    encoder. crf_offset: added to the H.264 quality number to look about the same; None: the codec has none.
    """

    ending: str
    container: str
    pixels: str
    options: tuple[str, ...]
    crf_offset: int | None


_FASTSTART = ("-movflags", "+faststart")  # the index before the pictures, so that a browser plays at once
CODECS: dict[str, Codec] = {
    "h264": Codec(".mp4", "mp4", "yuv420p", ("-c:v", "libx264", "-preset", "medium", *_FASTSTART), 0),
    "h265": Codec(
        ".mp4",
        "mp4",
        "yuv420p",
        ("-c:v", "libx265", "-preset", "medium", "-tag:v", "hvc1", "-x265-params", "log-level=error", *_FASTSTART),
        4,
    ),
    "prores": Codec(".mov", "mov", "yuv422p10le", ("-c:v", "prores_ks", "-profile:v", "3", "-vendor", "apl0"), None),
    "vp9": Codec(".webm", "webm", "yuv420p", ("-c:v", "libvpx-vp9", "-b:v", "0", "-row-mt", "1", "-cpu-used", "3"), 13),
}
"""By the name that ``--codec`` takes."""


@dataclass(frozen=True)
class Encoding:
    """codec: a key of :data:`CODECS`. crf: quality as H.264 counts it, less is better. metadata: title, comment, ..."""

    codec: str = "h264"
    crf: int = 17
    metadata: Mapping[str, str] = field(default_factory=dict)


def even_size(width: int, height: int) -> tuple[int, int]:
    """The size a video of such frames has: yuv420p needs even sides, so an odd one loses its last row or column."""
    return width - width % 2, height - height % 2


def write_video(
    path: Path,
    frames: Iterable[NDArray[np.uint8]],
    fps: float,
    size: tuple[int, int],
    encoding: Encoding = Encoding(),
) -> int:
    """Encodes frames as they come; ``path`` appears when all are in.

    Args:
        path: The file; its ending should be the codec's.
        frames: (H, W, 3) sRGB each.
        fps: Frames per second.
        size: (W, H) of the frames; see :func:`even_size`.
        encoding: Codec, quality and metadata.

    Returns:
        The number of frames written.

    Raises:
        DepthrfError: The encoder is missing or fails; its own words are in the message.
    """
    width, height = size
    even_width, even_height = even_size(width, height)
    count = 0
    with atomic_path(path) as temporary, tempfile.TemporaryFile() as log:
        source = _raw_video(fps, (even_width, even_height))
        process = _start([*source, *_codec_options(encoding)], temporary, log)
        assert process.stdin is not None
        try:
            for frame in frames:
                if frame.shape != (height, width, 3) or frame.dtype != np.uint8:
                    raise ValueError(f"frames should be uint8 {(height, width, 3)}, found {frame.dtype} {frame.shape}")
                process.stdin.write(np.ascontiguousarray(frame[:even_height, :even_width]).tobytes())
                count += 1
            process.stdin.close()
            code = process.wait()
        except BrokenPipeError:  # the encoder has given up; it says why below
            code = process.wait() or 1
        finally:
            stop(process)
        if code or not count:
            raise DepthrfError(f"Cannot encode {path}: {_last_words(log) or f'{count} frames, code {code}'}. {ADVICE}")
    return count


def write_gif(path: Path, video: Path, *, width: int = 320, fps: int = 10) -> None:
    """A small looping GIF of a video, with a palette of its own.

    Raises:
        DepthrfError: The encoder fails.
    """
    scale = f"fps={fps},scale='min({width},iw)':-1:flags=lanczos"
    _convert(path, video, ["-filter_complex", f"{scale},split[a][b];[a]palettegen[p];[b][p]paletteuse", "-f", "gif"])


def write_webp(path: Path, video: Path, *, width: int = 480, fps: int = 15) -> None:
    """A small looping WebP animation of a video.

    Raises:
        DepthrfError: The encoder fails.
    """
    scale = f"fps={fps},scale='min({width},iw)':-1:flags=lanczos"
    _convert(path, video, ["-vf", scale, "-c:v", "libwebp_anim", "-q:v", "70", "-loop", "0", "-f", "webp"])


def check_encoder(codec: str = "h264") -> None:
    """Encodes and decodes a tiny video, so that a broken encoder shows before the long work, not after it.

    Raises:
        DepthrfError: It does not work; the message says why and what to do.
    """
    ramp = np.linspace(0, 255, 64 * 48 * 3).astype(np.uint8).reshape(48, 64, 3)
    with tempfile.TemporaryDirectory(prefix="depthrf-") as folder:
        path = Path(folder) / f"check{CODECS[codec].ending}"
        write_video(path, [ramp, ramp], 10.0, (64, 48), Encoding(codec))
        frames = np.stack(list(read_frames(path, [0, 1])))
    error = np.abs(frames.astype(np.float64) - ramp).mean() if frames.shape == (2, 48, 64, 3) else np.inf
    if not error < 16.0:
        raise DepthrfError(f"The video encoder gives wrong pictures (mean error {error:.0f} of 255). {ADVICE}")


def _convert(path: Path, video: Path, options: Sequence[str]) -> None:
    with atomic_path(path) as temporary, tempfile.TemporaryFile() as log:
        process = _start(["-i", str(video.absolute()), *options], temporary, log)
        try:
            code = process.wait()
        finally:
            stop(process)
        if code:
            raise DepthrfError(f"Cannot make {path}: {_last_words(log) or f'code {code}'}. {ADVICE}")


def _raw_video(fps: float, size: tuple[int, int]) -> list[str]:
    rate = str(Fraction(fps).limit_denominator(1001))
    return ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{size[0]}x{size[1]}", "-r", rate, "-i", "-", "-an"]


def _codec_options(encoding: Encoding) -> list[str]:
    codec = CODECS[encoding.codec]
    quality = [] if codec.crf_offset is None else ["-crf", str(encoding.crf + codec.crf_offset)]
    metadata = [part for key, value in encoding.metadata.items() for part in ("-metadata", f"{key}={value}")]
    # Conversion and tags agree on BT.709 in the limited range, so that every player shows the same colours.
    colours = ["-colorspace", "bt709", "-color_primaries", "bt709", "-color_trc", "bt709", "-color_range", "tv"]
    convert = ["-vf", "scale=out_color_matrix=bt709:out_range=tv"]
    return [*convert, *codec.options, *quality, "-pix_fmt", codec.pixels, *colours, *metadata, "-f", codec.container]


def _start(options: Sequence[str], path: Path, log: IO[bytes]) -> subprocess.Popen[bytes]:
    try:
        command = [executable(), "-y", "-loglevel", "error", *options, str(path.absolute())]
        console.detail(f"  {shlex.join(command)}")
        # In its own session, so that Ctrl-C reaches only us; we stop it ourselves.
        return subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=log, start_new_session=True
        )
    except (OSError, RuntimeError) as e:
        raise DepthrfError(f"Cannot start the video encoder: {e}. {ADVICE}") from e


def _last_words(log: IO[bytes]) -> str:
    return "; ".join(messages(log)[-4:]).rstrip(".")
