"""360° panoramas (equirectangular, 2:1): told from photos, and cut into perspective views.

SfM knows no camera that sees all around. A ring of views with a known focal length is what it can work with, as
COLMAP's ``panorama_sfm.py`` cuts them.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from PIL.Image import Image

Array = NDArray[np.float64]

NUM_VIEWS = 8  # of 90°, so that half of each view is in the next one
_LEAST_WIDTH = 512  # pixels; smaller pictures of 2:1 are crops and banners
_SEAM = 3.0  # times the usual difference of neighbouring columns
_GPANO = re.compile(rb"GPano:ProjectionType\W+equirectangular", re.IGNORECASE)


def is_panorama(image: Image) -> bool:
    """Whether a picture (mode L or RGB) is a whole 360° panorama: twice as wide as high, and either tagged as one
    (Google's GPano) or with edges that continue each other and rows at the poles that hardly change."""
    if image.width != 2 * image.height or image.width < _LEAST_WIDTH:
        return False
    if _says_panorama(image.info.get("xmp")):
        return True
    small = np.asarray(image.convert("L").reduce(max(1, image.width // 512)), dtype=np.float64)
    usual = np.abs(np.diff(small, axis=1)).mean(axis=1)
    seam = np.abs(small[:, 0] - small[:, -1])
    poles = [float(np.abs(np.diff(small[row])).mean()) for row in (0, -1)]
    detail = float(usual.mean())
    return bool(detail > 0.5 and seam.mean() < _SEAM * detail and max(poles) < 0.5 * detail)


def _says_panorama(xmp: object) -> bool:
    data = xmp if isinstance(xmp, bytes) else str(xmp or "").encode()
    return _GPANO.search(data) is not None


def cut(rgb: NDArray[np.uint8]) -> list[NDArray[np.uint8]]:
    """Square views around the horizon of a panorama (H, 2H, 3), the first one towards its middle.

    A view's focal length is half its side in pixels. Its centre has the panorama's resolution.
    """
    import cv2

    height, width = rgb.shape[:2]
    side = round(width / math.pi)
    # Two columns from the other edge, so that interpolation passes over the seam.
    wrapped = np.concatenate([rgb[:, -2:], rgb, rgb[:, :2]], axis=1)
    views = []
    for index in range(NUM_VIEWS):
        x, y = _pixels_seen(side, 2 * math.pi * index / NUM_VIEWS, width, height)
        view = cv2.remap(wrapped, (x + 2).astype(np.float32), y.astype(np.float32), cv2.INTER_LINEAR)
        views.append(np.asarray(view))
    return views


def focal_px(side: int) -> float:
    """Focal length of a view of ``side`` pixels, which sees 90°."""
    return 0.5 * side


def _pixels_seen(side: int, yaw: float, width: int, height: int) -> tuple[Array, Array]:
    """Where the pixels of a view lie in the panorama, as indices (first pixel's centre at 0)."""
    offset = (np.arange(side) + 0.5 - 0.5 * side) / focal_px(side)
    right, down = np.meshgrid(offset, offset)
    longitude = np.arctan(right) + yaw
    latitude = np.arctan2(down, np.hypot(right, 1.0))
    x = (longitude / (2 * math.pi) + 0.5) % 1.0 * width - 0.5
    y = (latitude / math.pi + 0.5) * height - 0.5
    return x, np.clip(y, 0, height - 1)
