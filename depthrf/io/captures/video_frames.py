"""Single frames of a video that belongs to an export, as pictures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from depthrf.errors import DepthrfError


def extract_frames(
    video: Path, frames: Sequence[int], targets: Sequence[Path], advance: Callable[[], None] = lambda: None
) -> int:
    """Writes frames of ``video`` as JPEG files, unturned, as they were recorded.

    Args:
        video: Any video that OpenCV reads.
        frames: Ascending frame numbers, from 0.
        targets: Where each is written.
        advance: Called after each.

    Returns:
        How many there were: a video may end before the last one.

    Raises:
        DepthrfError: The video cannot be read at all.
    """
    import cv2

    from depthrf.io.images import write_jpeg

    capture = cv2.VideoCapture(str(video))
    capture.set(cv2.CAP_PROP_ORIENTATION_AUTO, 0)
    written, position = 0, -1
    try:
        for frame, target in zip(frames, targets, strict=True):
            while position < frame and capture.grab():
                position += 1
            if position < frame:
                break
            ok, pixels = capture.retrieve()
            if not ok:
                break
            write_jpeg(target, cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB))
            written += 1
            advance()
    finally:
        capture.release()
    if not written:
        raise DepthrfError(f"No frame of the video {video} can be read.")
    return written
