"""A video as a source of photos: its best frames, written as pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from depthrf.console import note, progress, warn
from depthrf.errors import DepthrfError, UsageError
from depthrf.io.files import why_not_regular
from depthrf.io.photos.folder import ARCHIVE_SUFFIXES, VIDEO_SUFFIXES, UsablePhoto
from depthrf.io.photos.images import inspect_photo, write_jpeg
from depthrf.io.video import read_frames, read_grey_frames, tell_colours
from depthrf.sfm.judging.diagnose import MIN_PHOTOS
from depthrf.sfm.preflight.frames import FAR_STEP, MotionMeter, choose_frames, safe_frames, sharpness
from depthrf.sfm.preflight.thinning import LEAST
from depthrf.storage import read_json
from depthrf.workspace import Workspace

_SIDE = 640  # pixels at which frames are judged


def check_source(source: Path) -> None:
    """Whether ``source`` is a folder of photos or a video.

    Raises:
        UsageError: It does not exist, or is another kind of file.
    """
    if not source.exists():
        raise UsageError(f"No such folder or video: {source}")
    manifest = Workspace(source).manifest
    if manifest.is_file():
        photos = read_json(manifest).get("photos")
        raise UsageError(
            f"{source} is a depthrf workspace, not a folder of photos. To go on with it: "
            f"depthrf reconstruct {photos} -o {source}"
        )
    if not source.is_dir() and source.suffix.lower() in ARCHIVE_SUFFIXES:
        raise UsageError(f"{source} is an archive; unpack it into a folder and give that.")
    if not source.is_dir() and source.suffix.lower() not in VIDEO_SUFFIXES:
        kinds = ", ".join(sorted(s[1:] for s in VIDEO_SUFFIXES))
        raise UsageError(f"{source} is a file; expected a folder of photos, or a video ({kinds}).")
    if not source.is_dir() and (reason := why_not_regular(source)) is not None:
        raise UsageError(f"{source} is no video: {reason}.")


def take_frames(clip: Path, folder: Path, count: int) -> tuple[list[UsablePhoto], int]:
    """Writes the best frames of a video as ``frame_<number in the video>.jpg``; the same ones every time.

    Args:
        clip: The video.
        folder: Where to write.
        count: How many frames at most.

    Returns:
        The frames, and how many the video has.

    Raises:
        UsageError: ``count`` is too small.
        DepthrfError: The video cannot be decoded, or shows too few different views.
    """
    if count < MIN_PHOTOS:
        raise UsageError(f"{count} frames are too few; at least {MIN_PHOTOS} are needed (40 is the default).")
    travelled, sharp = _measure(clip)
    chosen = choose_frames(travelled, sharp, count)
    way = float(travelled.max())
    if len(chosen) < MIN_PHOTOS:
        raise DepthrfError(
            f"{clip} shows only {len(chosen)} different view{'s' if len(chosen) > 1 else ''} in its {len(sharp)} "
            f"frames; at least {MIN_PHOTOS} are needed. Film for some seconds while walking around the scene."
        )
    step = way / (len(chosen) - 1)
    tell_colours(clip)
    note(f"  {len(chosen)} of {len(sharp)} frames, {step:.0%} of the picture apart")
    if step > FAR_STEP:
        warn(f"the chosen frames lie far apart; --frames {safe_frames(way)} would be safer")
    if (fewer := max(LEAST, safe_frames(way))) <= len(chosen) // 2:
        note(f"  --frames {fewer} would overlap well too, in a fraction of the time")
    photos = []
    with progress() as display:
        task = display.add_task("writing frames", total=len(chosen), info="")
        for index, rgb in zip(chosen, read_frames(clip, chosen), strict=False):
            path = folder / f"frame_{index:06d}.jpg"
            write_jpeg(path, rgb)
            photos.append(UsablePhoto(path, inspect_photo(path), path.name))
            display.advance(task)
    return photos, len(sharp)


def _measure(clip: Path) -> tuple[np.ndarray, np.ndarray]:
    """Way travelled and sharpness of every frame, (N,) each."""
    meter = MotionMeter()
    rows = []
    with progress() as display:
        task = display.add_task("looking at the video", total=_num_frames(clip), info="")
        for grey in read_grey_frames(clip, _SIDE):
            rows.append((meter.advance(grey), sharpness(grey)))
            display.advance(task)
    travelled, sharp = np.array(rows).T
    return travelled, sharp


def _num_frames(clip: Path) -> int | None:
    """As the container tells it, for the progress bar; None where it does not."""
    import imageio_ffmpeg

    try:
        return int(imageio_ffmpeg.count_frames_and_secs(str(clip))[0])
    except (RuntimeError, OSError):
        return None
