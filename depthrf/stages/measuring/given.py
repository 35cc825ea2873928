"""What the user writes: points, lengths with a unit, and known lengths and distances.

``IMG_1.jpg:412,220:530,221=1.20m`` is a length between two points of one photo. ``IMG_1.jpg IMG_2.jpg=60cm`` is the
distance between two cameras.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from depthrf.errors import UsageError
from depthrf.options import shown

METRES = {"m": 1.0, "cm": 0.01, "mm": 0.001, "ft": 0.3048, "in": 0.0254}
"""Length of each unit in metres."""

Point = tuple[float, float]

_POINT = r"\s*([-+.\deE]+)\s*,\s*([-+.\deE]+)\s*"
_LENGTH = re.compile(rf"(?P<photo>.+):{_POINT}:{_POINT}=(?P<length>[^=]+)", re.DOTALL)
_DISTANCE = re.compile(r"(?P<photos>.+ .+)=(?P<length>[^=]+)", re.DOTALL)
# Standard deviation of what one measures by hand: between marks with a tape, and between cameras, whose centres lie
# somewhere inside them.
_BY_TAPE_M, _BETWEEN_CAMERAS_M, _RELATIVE = 0.002, 0.007, 0.002


@dataclass(frozen=True)
class KnownLength:
    """A length in metres, with its standard deviation, between two points (x, y) of a photo as the user sees it."""

    text: str
    photo: str
    points: tuple[Point, Point]
    metres: float
    deviation: float


@dataclass(frozen=True)
class KnownDistance:
    """A distance in metres, with its standard deviation, between the cameras of two photos.

    ``photos`` holds both names with a space between, as names may have spaces themselves.
    """

    text: str
    photos: str
    metres: float
    deviation: float


def parse_length(text: str) -> KnownLength:
    """Reads ``PHOTO:x1,y1:x2,y2=LENGTH``.

    Raises:
        UsageError: It is not of that form.
    """
    found = _LENGTH.fullmatch(text)
    if found is None:
        raise UsageError(
            f"A known length should be like IMG_1.jpg:412,220:530,221=1.20m (photo, two points in pixels, length); "
            f"found {shown(text)}"
        )
    photo, x1, y1, x2, y2, length = found.groups()
    metres = metres_of(length)
    points = (_point(x1, y1, text), _point(x2, y2, text))
    if points[0] == points[1]:
        raise UsageError(f"The two points of a known length should differ; found {shown(text)}")
    return KnownLength(text, photo, points, metres, math.hypot(_BY_TAPE_M, _RELATIVE * metres))


def parse_distance(text: str) -> KnownDistance:
    """Reads ``PHOTO_A PHOTO_B=LENGTH``.

    Raises:
        UsageError: It is not of that form.
    """
    found = _DISTANCE.fullmatch(text)
    if found is None:
        raise UsageError(
            f"A known distance should be like 'IMG_1.jpg IMG_2.jpg=0.6m' (two photos, the distance of their cameras); "
            f"found {shown(text)}"
        )
    metres = metres_of(found["length"])
    return KnownDistance(text, found["photos"], metres, math.hypot(_BETWEEN_CAMERAS_M, _RELATIVE * metres))


def metres_of(text: str) -> float:
    """Metres of a length such as ``1.20m``, ``45 cm`` or ``8in``.

    Raises:
        UsageError: It is not one.
    """
    found = re.fullmatch(r"\s*([-+.\deE]+)\s*([a-zA-Z]+)\s*", text)
    try:
        metres = float(found[1]) * METRES[found[2].lower()] if found else 0.0
    except (ValueError, KeyError):
        metres = 0.0
    if not 0.0 < metres < math.inf:
        raise UsageError(f"A length should be a number with a unit ({', '.join(METRES)}); found {shown(text)}")
    return metres


def point_of(text: str) -> Point:
    """Pixels (x, y) of ``412,220``.

    Raises:
        UsageError: It is not a point.
    """
    x, comma, y = text.partition(",")
    if not comma:
        raise UsageError(f"A point should be X,Y in pixels of the photo, such as 412,220; found {shown(text)}")
    return _point(x, y, text)


def _point(x: str, y: str, text: str) -> Point:
    try:
        point = float(x), float(y)
    except ValueError:
        point = math.nan, math.nan
    if not all(map(math.isfinite, point)):
        raise UsageError(f"A point should be X,Y in pixels of the photo, such as 412,220; found {shown(text)}")
    return point
