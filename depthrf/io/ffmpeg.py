"""What reading and writing videos with ffmpeg share."""

from __future__ import annotations

import contextlib
import functools
import re
import subprocess
from typing import IO

from depthrf.errors import DepthrfError

ADVICE = (
    "Reinstall the encoder with: pip install --force-reinstall imageio-ffmpeg; or set IMAGEIO_FFMPEG_EXE to an ffmpeg "
    "that has libx264."
)


def executable() -> str:
    """Path of the ffmpeg in use: the one that came with imageio-ffmpeg, or the one that its variable names.

    Raises:
        DepthrfError: There is none.
    """
    import imageio_ffmpeg

    try:
        return str(imageio_ffmpeg.get_ffmpeg_exe())
    except (RuntimeError, OSError) as e:
        raise DepthrfError(f"There is no ffmpeg, which reads and writes videos. {ADVICE}") from e


@functools.cache
def version(path: str) -> tuple[int, int] | None:
    """Major and minor version of an ffmpeg; None for builds that are numbered otherwise, which are recent ones."""
    match = re.match(r"ffmpeg version n?(\d+)\.(\d+)", _told(path, "-version"))
    return (int(match[1]), int(match[2])) if match else None


@functools.cache
def filters(path: str) -> frozenset[str]:
    """Names of the filters that an ffmpeg has."""
    return frozenset(words[1] for line in _told(path, "-filters").splitlines() if len(words := line.split()) > 2)


def passthrough(path: str) -> list[str]:
    """Options by which no frame is doubled or dropped; before 5.1 they had another name."""
    number = version(path)
    return ["-vsync" if number is not None and number < (5, 1) else "-fps_mode", "passthrough"]


def _told(path: str, *what: str) -> str:
    try:
        done = subprocess.run([path, "-hide_banner", *what], stdin=subprocess.DEVNULL, capture_output=True, check=False)
    except OSError as e:
        raise DepthrfError(f"Cannot start {path}: {e.strerror}. {ADVICE}") from e
    return done.stdout.decode("utf-8", "replace")


def stop(process: subprocess.Popen[bytes]) -> None:
    """Kills the process unless it has ended, and closes its input."""
    if process.poll() is None:
        process.kill()
        process.wait()
    if process.stdin is not None:
        with contextlib.suppress(OSError):
            process.stdin.close()


def messages(log: IO[bytes]) -> list[str]:
    """The lines that ffmpeg has written to its log."""
    log.seek(0)
    return [line.strip() for line in log.read().decode("utf-8", "replace").splitlines() if line.strip()]
