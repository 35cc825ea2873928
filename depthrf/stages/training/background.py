"""Recognises photos of an object before a plain background, from the photos' borders.

Photos with transparency lie on white since they were ingested, so they are recognised in the same way.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]

_BORDER = 0.02  # width of the border that is looked at, relative to the photo's shorter side
_TOLERANCE = 8  # of 255: compression and noise; shading of real walls varies by more
_BORDER_SHARE = 0.9  # of the border's pixels: the object may reach one side
_PHOTO_SHARE = 0.9  # of the photos
_LEAST_BACKGROUND, _LEAST_OBJECT = 0.1, 0.01  # shares of a photo's pixels
_SAME_SHAPE = 0.99  # overlap of two photos' backgrounds from which on they are one fixed frame, not an object's outline


def plain_background(photos: Sequence[Image]) -> str | None:
    """``white``, ``black`` or ``#rrggbb`` if nearly all photos (H, W, 3) show an object before that colour, else None.

    Such a photo's border has one colour, the same in all photos; it goes on into the photo, but does not fill it; and
    its outline differs from photo to photo, which that of a printed or rendered frame does not.
    """
    if not photos:
        return None
    colours = np.array([np.median(_border(photo), axis=0) for photo in photos])
    colour = np.median(colours, axis=0)
    shapes = [_surrounding(photo, colour) for photo in photos]
    plain = [shape for shape in shapes if shape is not None]
    if len(plain) < _PHOTO_SHARE * len(photos) or _is_frame(plain):
        return None
    return _name(colour)


def _border(photo: Image) -> NDArray[np.float32]:
    """The pixels (N, 3) along all four sides."""
    width = max(2, round(_BORDER * min(photo.shape[:2])))
    inside = np.zeros(photo.shape[:2], dtype=bool)
    inside[width:-width, width:-width] = True
    return photo[~inside].astype(np.float32)


def _surrounding(photo: Image, colour: NDArray[np.floating]) -> NDArray[np.bool_] | None:
    """The pixels (H, W) of ``colour`` that hang together with the border; None if the photo is not of this kind."""
    if (np.abs(_border(photo) - colour).max(-1) <= _TOLERANCE).mean() < _BORDER_SHARE:
        return None
    near = np.abs(photo.astype(np.float32) - colour).max(-1) <= _TOLERANCE
    _, labels = cv2.connectedComponents(near.astype(np.uint8), connectivity=4)
    outer = np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]])
    found: NDArray[np.bool_] = near & np.isin(labels, np.unique(outer[outer > 0]))
    return found if _LEAST_BACKGROUND <= found.mean() <= 1.0 - _LEAST_OBJECT else None


def _is_frame(shapes: Sequence[NDArray[np.bool_]]) -> bool:
    """Whether the first photo's background has the outline of every other one."""
    first, others = shapes[0], [shape for shape in shapes[1:] if shape.shape == shapes[0].shape]
    overlaps = [(first & other).sum() / (first | other).sum() for other in others]
    return bool(overlaps) and min(overlaps) > _SAME_SHAPE


def _name(colour: NDArray[np.floating]) -> str:
    """Pure colours by name; compression leaves them a little off."""
    for name, value in (("white", 255.0), ("black", 0.0)):
        if np.abs(colour - value).max() <= 2:
            return name
    return "#" + "".join(f"{round(float(channel)):02x}" for channel in colour)
