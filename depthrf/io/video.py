"""Reads the frames of videos."""

from __future__ import annotations

import shlex
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from depthrf.console import detail, note, warn
from depthrf.errors import DepthrfError
from depthrf.io.ffmpeg import ADVICE, executable, messages, passthrough, stop
from depthrf.io.video_stream import ColourFilters, colour_filters, geometry_filters, probe


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
    """Every frame of a clip, (H, W), upright, with square pixels, made smaller to ``side`` pixels at most.

    Raises:
        DepthrfError: Nothing in the file can be decoded.
    """
    stream = probe(path)
    fit = f"scale='min(iw,{side})':'min(ih,{side})':force_original_aspect_ratio=decrease:flags=area"
    # The colours do not matter for sharpness and motion, and converting them takes time.
    return _decode(path, [*(geometry_filters(stream) if stream else []), fit], "pgm", "gray")


def read_frames(path: Path, indices: Sequence[int], *, turned: bool = True) -> Iterator[NDArray[np.uint8]]:
    """The frames of the given ascending indices at full size, (H, W, 3), in sRGB.

    Args:
        path: The clip.
        indices: Numbers of frames from 0. Those after the clip's end are left out.
        turned: Upright and with square pixels; else the pixels as they were recorded, as intrinsics mean them.

    Raises:
        DepthrfError: Nothing in the file can be decoded, or it has none of these frames.
    """
    wanted = "+".join(f"eq(n,{index})" for index in indices)
    stream = probe(path, turned=turned)
    shape = geometry_filters(stream) if stream and turned else []
    colours = colour_filters(stream).filters if stream else ()
    # Fields are told apart by the frames around them, so the comb goes before frames are chosen.
    comb = [f for f in shape if f.startswith("bwdif")]
    rest = [f for f in shape if f not in comb]
    return _decode(path, [*comb, f"select='{wanted}'", *rest, *colours], "ppm", "rgb24", turned=turned)


def tell_colours(path: Path) -> None:
    """Tells the user what is done to the colours of a clip, where something is.

    Raises:
        DepthrfError: There is no ffmpeg.
    """
    stream = probe(path)
    found = colour_filters(stream) if stream else ColourFilters()
    if found.remark is not None:
        (note if found.right else warn)(found.remark)


def _decode(
    path: Path, filters: Sequence[str], codec: str, pixels: str, *, turned: bool = True
) -> Iterator[NDArray[np.uint8]]:
    """Frames as ffmpeg writes them one after the other in a netpbm format, each with its size."""
    program = executable()
    # fmt: off
    command = [
        program, "-nostdin", "-loglevel", "error", *(() if turned else ("-noautorotate",)),
        "-i", str(path.absolute()), "-map", "0:v:0",
        # Frames as they are in the clip: a phone's uneven time stamps must not double or drop any.
        *passthrough(program), "-vf", ",".join(filters), "-f", "image2pipe", "-c:v", codec, "-pix_fmt", pixels, "-",
    ]
    # fmt: on
    detail(f"  {shlex.join(command)}")
    with tempfile.TemporaryFile() as log:
        try:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log, start_new_session=True
            )
        except OSError as e:
            raise DepthrfError(f"Cannot start the video decoder: {e}. {ADVICE}") from e
        assert process.stdout is not None
        count = 0
        try:
            while (frame := _read_netpbm(process.stdout)) is not None:
                yield frame
                count += 1
        finally:
            stop(process)
            process.stdout.close()
        if not count:
            reason = (messages(log) or ["no frames"])[0].rpartition("] ")[2].rstrip(".")  # what follows is its echo
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
