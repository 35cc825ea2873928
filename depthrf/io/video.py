"""H.264 videos that play everywhere: MP4, yuv420p, even sizes, index at the front."""

from __future__ import annotations

import contextlib
import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from depthrf.errors import DepthrfError
from depthrf.workspace import atomic_path

_ADVICE = (
    "Reinstall the encoder with: pip install --force-reinstall imageio-ffmpeg; or set IMAGEIO_FFMPEG_EXE to an ffmpeg "
    "that has libx264."
)


def even_size(width: int, height: int) -> tuple[int, int]:
    """The size a video of such frames has: yuv420p needs even sides, so an odd one loses its last row or column."""
    return width - width % 2, height - height % 2


def write_video(path: Path, frames: Iterable[NDArray[np.uint8]], fps: float, size: tuple[int, int]) -> int:
    """Encodes frames as they come; ``path`` appears when all are in.

    Args:
        path: The .mp4 file.
        frames: (H, W, 3) sRGB each.
        fps: Frames per second.
        size: (W, H) of the frames; see :func:`even_size`.

    Returns:
        The number of frames written.

    Raises:
        DepthrfError: The encoder is missing or fails; its own words are in the message.
    """
    width, height = size
    even_width, even_height = even_size(width, height)
    count = 0
    with atomic_path(path) as temporary, tempfile.TemporaryFile() as log:
        process = _start_encoder(temporary, fps, (even_width, even_height), log)
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
            _stop(process)
        if code or not count:
            raise DepthrfError(f"Cannot encode {path}: {_last_words(log) or f'{count} frames, code {code}'}. {_ADVICE}")
    return count


def read_video(path: Path) -> tuple[NDArray[np.uint8], float]:
    """All frames, (N, H, W, 3), and frames per second.

    Raises:
        DepthrfError: The file is no readable video.
    """
    import imageio_ffmpeg

    reader = imageio_ffmpeg.read_frames(str(path))
    try:
        meta = next(reader)
        width, height = meta["size"]
        frames = [np.frombuffer(frame, np.uint8).reshape(height, width, 3) for frame in reader]
    except (OSError, RuntimeError, StopIteration, ValueError, KeyError) as e:
        raise DepthrfError(f"{path} is no readable video: {e}") from e
    finally:
        reader.close()
    return np.stack(frames) if frames else np.zeros((0, height, width, 3), np.uint8), float(meta["fps"])


def read_grey_frames(path: Path, side: int) -> Iterator[NDArray[np.uint8]]:
    """Every frame of a clip, (H, W), upright as its rotation mark asks, made smaller to ``side`` pixels at most.

    Raises:
        DepthrfError: Nothing in the file can be decoded.
    """
    fit = f"scale='min(iw,{side})':'min(ih,{side})':force_original_aspect_ratio=decrease:flags=area"
    return _decode(path, fit, "pgm", "gray")


def read_frames(path: Path, indices: Sequence[int], *, turned: bool = True) -> Iterator[NDArray[np.uint8]]:
    """The frames of the given ascending indices at full size, (H, W, 3), upright, or as recorded unless ``turned``.

    Frames after the clip's end are left out.

    Raises:
        DepthrfError: Nothing in the file can be decoded, or it has none of these frames.
    """
    wanted = "+".join(f"eq(n,{index})" for index in indices)
    return _decode(path, f"select='{wanted}'", "ppm", "rgb24", turned=turned)


def _decode(path: Path, filters: str, codec: str, pixels: str, *, turned: bool = True) -> Iterator[NDArray[np.uint8]]:
    """Frames as ffmpeg writes them one after the other in a netpbm format, each with its size."""
    import imageio_ffmpeg

    # fmt: off
    command = [
        imageio_ffmpeg.get_ffmpeg_exe(), "-nostdin", "-loglevel", "error", *(() if turned else ("-noautorotate",)),
        "-i", str(path.absolute()), "-map", "0:v:0",
        # Frames as they are in the clip: a phone's uneven time stamps must not double or drop any.
        "-fps_mode", "passthrough", "-vf", filters, "-f", "image2pipe", "-c:v", codec, "-pix_fmt", pixels, "-",
    ]
    # fmt: on
    with tempfile.TemporaryFile() as log:
        try:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log, start_new_session=True
            )
        except OSError as e:
            raise DepthrfError(f"Cannot start the video decoder: {e}. {_ADVICE}") from e
        assert process.stdout is not None
        count = 0
        try:
            while (frame := _read_netpbm(process.stdout)) is not None:
                yield frame
                count += 1
        finally:
            _stop(process)
            process.stdout.close()
        if not count:
            reason = (_lines(log) or ["no frames"])[0].rpartition("] ")[2].rstrip(".")  # what follows is its echo
            raise DepthrfError(
                f"{path} holds no video that can be decoded ({reason}). "
                "Convert it to an H.264 MP4, or save some of its frames as photos."
            )


def _read_netpbm(stream: IO[bytes]) -> NDArray[np.uint8] | None:
    """The next binary PGM or PPM of a stream; None at its end."""
    kind = stream.readline().strip()
    if kind not in (b"P5", b"P6"):
        return None
    width, height = map(int, stream.readline().split())
    stream.readline()
    channels = 1 if kind == b"P5" else 3
    data = stream.read(width * height * channels)
    if len(data) < width * height * channels:
        return None
    return np.frombuffer(data, np.uint8).reshape((height, width) if channels == 1 else (height, width, 3))


def check_encoder() -> None:
    """Encodes and decodes a tiny video, so that a broken encoder shows before the long work, not after it.

    Raises:
        DepthrfError: It does not work; the message says why and what to do.
    """
    ramp = np.linspace(0, 255, 64 * 48 * 3).astype(np.uint8).reshape(48, 64, 3)
    with tempfile.TemporaryDirectory(prefix="depthrf-") as folder:
        path = Path(folder) / "check.mp4"
        write_video(path, [ramp, ramp], 10.0, (64, 48))
        frames, _ = read_video(path)
    error = np.abs(frames.astype(np.float64) - ramp).mean() if frames.shape == (2, 48, 64, 3) else np.inf
    if not error < 16.0:
        raise DepthrfError(f"The video encoder gives wrong pictures (mean error {error:.0f} of 255). {_ADVICE}")


def _start_encoder(path: Path, fps: float, size: tuple[int, int], log: IO[bytes]) -> subprocess.Popen[bytes]:
    import imageio_ffmpeg

    # fmt: off
    try:
        command = [
            imageio_ffmpeg.get_ffmpeg_exe(), "-y", "-loglevel", "error",
            "-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{size[0]}x{size[1]}",
            "-r", str(Fraction(fps).limit_denominator(1001)), "-i", "-", "-an",
            "-vf", "scale=out_color_matrix=bt709:out_range=tv", "-c:v", "libx264", "-preset", "medium", "-crf", "17",
            "-pix_fmt", "yuv420p", "-colorspace", "bt709", "-color_primaries", "bt709", "-color_trc", "bt709",
            "-movflags", "+faststart", "-f", "mp4", str(path.absolute()),
        ]
        # In its own session, so that Ctrl-C reaches only us; we stop it ourselves.
        return subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=log, start_new_session=True
        )
    except (OSError, RuntimeError) as e:
        raise DepthrfError(f"Cannot start the video encoder: {e}. {_ADVICE}") from e
    # fmt: on


def _stop(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.kill()
        process.wait()
    if process.stdin is not None:
        with contextlib.suppress(OSError):
            process.stdin.close()


def _last_words(log: IO[bytes]) -> str:
    return "; ".join(_lines(log)[-4:]).rstrip(".")


def _lines(log: IO[bytes]) -> list[str]:
    log.seek(0)
    return [line.strip() for line in log.read().decode("utf-8", "replace").splitlines() if line.strip()]
