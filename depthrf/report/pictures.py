"""Pictures of a workspace, scaled down and packed into the page as data."""

from __future__ import annotations

import base64
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from depthrf.io.photos.decoding import UnreadableImageError
from depthrf.io.photos.images import read_rgb

_QUALITY = 72  # of WebP: no visible loss at the size of a thumbnail
_MOST_VIDEO_BYTES = 9 * 10**6
"""A larger film is linked instead: data URLs take a third more, and the whole page should stay below 15 MB."""


def thumbnail(path: Path, side: int) -> str | None:
    """A picture as a data URL, at most ``side`` pixels on its longer side; None where it cannot be read."""
    if not path.is_file():
        return None
    try:
        return encoded(read_rgb(path), side)
    except UnreadableImageError:
        return None


def encoded(picture: NDArray[np.uint8], side: int) -> str:
    """RGB pixels (H, W, 3) as a WebP data URL, at most ``side`` pixels on the longer side."""
    import cv2

    scale = min(1.0, side / max(picture.shape[:2]))
    size = (max(1, round(picture.shape[1] * scale)), max(1, round(picture.shape[0] * scale)))
    small = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    _, data = cv2.imencode(".webp", np.ascontiguousarray(small[..., ::-1]), [cv2.IMWRITE_WEBP_QUALITY, _QUALITY])
    return "data:image/webp;base64," + base64.b64encode(data.tobytes()).decode()


def film(path: Path) -> str | None:
    """The film as a data URL; None where there is none or it is too large for the page."""
    if not path.is_file() or path.stat().st_size > _MOST_VIDEO_BYTES:
        return None
    return "data:video/mp4;base64," + base64.b64encode(path.read_bytes()).decode()
