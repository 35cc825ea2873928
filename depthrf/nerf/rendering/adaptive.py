"""Pictures from fewer rays: pixels between others of the same colour and depth are interpolated.

Every second pixel of every second row, the lattice, is rendered first. A pixel in the middle of four lattice pixels
comes next, then the rest, whose four direct neighbours are known by then. Each takes the mean of its neighbours where
these agree; elsewhere, and along the border, it is rendered.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
Offsets = tuple[tuple[int, int], ...]

COLOUR_TOLERANCE = 12.0 / 255.0
"""Neighbours agree if no channel of theirs differs by more. Against rendering all pixels, the demo then has 46.6 dB."""

DEPTH_TOLERANCE = 0.05
"""Largest difference of neighbours' depths, as a share of the least."""

_OPACITY_TOLERANCE = 0.05
_TILE = 8  # pixels a side
_DIAGONAL: Offsets = ((-1, -1), (-1, 1), (1, -1), (1, 1))
_DIRECT: Offsets = ((-1, 0), (1, 0), (0, -1), (0, 1))


@dataclass(frozen=True)
class Pixels:
    """rgb (..., 3) in [0, 1], depth (...) and accumulation (...), all float32."""

    rgb: Array
    depth: Array
    accumulation: Array


Render = Callable[[NDArray[np.int64]], Pixels]
"""Renders the P pixels of these indices, row * width + column."""


def whole_picture(height: int, width: int, render: Render) -> Pixels:
    """The picture, (height, width), with every pixel rendered."""
    picture = _black(height, width)
    _add(picture, in_tiles(np.arange(height * width), width), render)
    return picture


def fill_picture(height: int, width: int, render: Render) -> tuple[Pixels, float]:
    """The picture, (height, width), and the share of its pixels that were rendered.

    The first call of ``render`` is for the lattice, and for all of it.
    """
    picture = _black(height, width)
    y, x = np.mgrid[:height, :width]
    rendered = _add(picture, in_tiles(lattice(height, width), width), render)
    for wanted, offsets in (((y % 2 == 1) & (x % 2 == 1), _DIAGONAL), (y % 2 != x % 2, _DIRECT)):
        agree = _interpolate(picture, wanted, offsets)
        rendered += _add(picture, in_tiles(np.flatnonzero(wanted & ~agree), width), render)
    return picture, rendered / (height * width)


def in_tiles(pixels: NDArray[np.int64], width: int) -> NDArray[np.int64]:
    """The pixels (P,) in an order in which neighbours of all sides are close: they use the same parts of the field."""
    y, x = np.divmod(pixels, width)
    return pixels[np.argsort(y // _TILE * (width // _TILE + 1) + x // _TILE, kind="stable")]


def lattice(height: int, width: int) -> NDArray[np.int64]:
    """Indices of every second pixel of every second row."""
    return np.asarray((np.arange(0, height, 2)[:, None] * width + np.arange(0, width, 2)).reshape(-1), np.int64)


def lattice_neighbours(pixels: NDArray[np.int64], height: int, width: int) -> NDArray[np.int64]:
    """The four pixels of the lattice around each pixel, (P, 4); some are the same in its rows, columns and beyond its
    edge."""
    y, x = np.divmod(pixels, width)
    rows = np.stack([y - y % 2, np.minimum(y + y % 2, (height - 1) // 2 * 2)], -1)
    columns = np.stack([x - x % 2, np.minimum(x + x % 2, (width - 1) // 2 * 2)], -1)
    return np.asarray((rows[:, :, None] * width + columns[:, None, :]).reshape(-1, 4), np.int64)


def _black(height: int, width: int) -> Pixels:
    return Pixels(*(np.zeros((height, width, *c), np.float32) for c in ((3,), (), ())))


def _add(picture: Pixels, pixels: NDArray[np.int64], render: Render) -> int:
    """Renders the pixels (P,) into the picture; returns P."""
    if len(pixels):
        found = render(pixels)
        for whole, part in _channels(picture, found):
            whole.reshape(-1, *part.shape[1:])[pixels] = part
    return len(pixels)


def _interpolate(picture: Pixels, wanted: NDArray[np.bool_], offsets: Offsets) -> NDArray[np.bool_]:
    """Sets the wanted pixels (H, W) whose neighbours agree to their mean; returns which pixels those are."""
    height, width = wanted.shape
    agree = np.zeros_like(wanted)
    if min(height, width) < 3:
        return agree
    inner = (slice(1, -1), slice(1, -1))

    def neighbours(values: Array) -> list[Array]:
        return [values[1 + dy : height - 1 + dy, 1 + dx : width - 1 + dx] for dy, dx in offsets]

    depths = neighbours(picture.depth)
    least = np.minimum.reduce(depths)
    agree[inner] = wanted[inner] & (np.maximum.reduce(depths) - least <= DEPTH_TOLERANCE * least)
    for values, tolerance in ((picture.rgb, COLOUR_TOLERANCE), (picture.accumulation, _OPACITY_TOLERANCE)):
        around = neighbours(values)
        close = np.maximum.reduce(around) - np.minimum.reduce(around) <= tolerance
        agree[inner] &= close.all(-1) if close.ndim == 3 else close
    where = agree[inner]
    for values in (picture.rgb, picture.depth, picture.accumulation):
        values[inner][where] = 0.25 * np.sum([part[where] for part in neighbours(values)], axis=0)
    return agree


def _channels(a: Pixels, b: Pixels) -> tuple[tuple[Array, Array], ...]:
    return (a.rgb, b.rgb), (a.depth, b.depth), (a.accumulation, b.accumulation)
