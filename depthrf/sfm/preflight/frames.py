"""Which frames of a video to reconstruct from: sharp ones, spaced by how far the picture moved. Pure."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Grey = NDArray[np.uint8]

MIN_STEP = 0.04
"""Least distance between chosen frames, in longer sides of the picture: nearer ones show the same view."""

FAR_STEP = 0.35
"""Neighbours this far apart may share too little to be matched."""

_TICK = 0.02  # distance at which the motion is added up, so that a trembling camera adds nothing
_TRACK_SIDE = 320  # pixels
_POINTS = 300
_MIN_TRACKED = 12
_LOST_SHARE = 0.3
_JUMP = 0.1  # distance that a jump too far to be followed counts as
_WINDOW = 0.5  # of the spacing, to either side
_TOO_CLOSE = 0.35  # of the spacing: two windows can hold the same view where the picture jumps or stands still


class MotionMeter:
    """How far the picture of a moving camera has travelled, in longer sides of the picture. Trembling does not add up.

    Corner points are followed from frame to frame (Lucas-Kanade). Once they have moved far enough from where they were
    found, the distance is added up and new points are found.
    """

    def __init__(self) -> None:
        self.travelled = 0.0
        self._last: Grey | None = None
        self._start = self._now = np.zeros((0, 1, 2), np.float32)

    def advance(self, grey: Grey) -> float:
        """The distance travelled up to and including this frame (H, W)."""
        scale = min(1.0, _TRACK_SIDE / max(grey.shape))
        small = cv2.resize(grey, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        side = max(small.shape)
        if self._last is not None and len(self._now) >= _MIN_TRACKED:
            moved, found, _ = cv2.calcOpticalFlowPyrLK(self._last, small, self._now, np.empty(0, np.float32))
            kept = (found.ravel() > 0) & self._inside(moved, small)
            lost = kept.sum() < max(_MIN_TRACKED, _LOST_SHARE * len(self._now))
            self._start, self._now = self._start[kept], moved[kept]
            distance = _JUMP if lost else float(np.median(np.linalg.norm(self._now - self._start, axis=-1))) / side
            if not lost and distance < _TICK:
                self._last = small
                return self.travelled + distance
            self.travelled += distance
        self._last = small
        corners = cv2.goodFeaturesToTrack(small, _POINTS, 0.01, 6)
        self._start = self._now = np.zeros((0, 1, 2), np.float32) if corners is None else corners
        return self.travelled

    @staticmethod
    def _inside(points: NDArray[np.float32], picture: Grey) -> NDArray[np.bool_]:
        height, width = picture.shape
        x, y = points[:, 0, 0], points[:, 0, 1]
        return np.asarray((x >= 0) & (x < width) & (y >= 0) & (y < height))


def sharpness(grey: Grey) -> float:
    """Energy of the finest detail of a frame (H, W): compares frames of the same view, not of different ones."""
    smooth = cv2.GaussianBlur(grey, (0, 0), 1.0)
    return float(np.square(cv2.Laplacian(smooth, cv2.CV_32F)).mean())


def safe_frames(length: float) -> int:
    """Frames at equal distances of which any three overlap well.

    Args:
        length: Of the whole way, in longer sides of the picture.
    """
    return int(length / (0.5 * FAR_STEP)) + 1


def choose_frames(travelled: Array, sharp: Array, count: int) -> list[int]:
    """Indices of the frames to use, in order: sharp ones near positions at equal distances.

    A frame's sharpness counts half at the ends of a position's window. Blur costs a frame most of its sharpness, so
    this keeps the distances even and still never prefers a blurred frame.

    Args:
        travelled: (N,) distance up to each frame, in longer sides of the picture.
        sharp: (N,) sharpness of each frame.
        count: How many at most; fewer where the distances would be shorter than :data:`MIN_STEP`.
    """
    at = np.maximum.accumulate(travelled)
    length = float(at[-1])
    number = min(count, 1 + int(length / MIN_STEP + 1e-9))
    spacing = max(length / max(1, number - 1), 1e-9)
    chosen: list[int] = []
    for position in np.linspace(0.0, length, number):
        away = np.abs(at - position)
        window = np.flatnonzero(away <= max(_WINDOW * spacing, away.min()))
        weight = np.maximum(1.0 - away[window] / spacing, 0.1)
        best = int(window[(sharp[window] * weight).argmax()])
        if chosen and at[best] - at[chosen[-1]] < _TOO_CLOSE * spacing:
            best = max(best, chosen.pop(), key=lambda index: sharp[index])
        chosen.append(best)
    return chosen
