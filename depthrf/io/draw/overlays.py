"""Pictures a person can judge: maps in colours with their scale, dots at keypoints, labelled regions, titled panels.

A picture is RGB uint8 (H, W, 3). Values that are nan, and depth that is 0, are drawn in dark grey: nothing is known.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8]

UNKNOWN = (52, 52, 56)
_PAPER, _INK = (255, 255, 255), (30, 30, 30)
_GAP, _BAR = 8, 12
_FULL_ERROR = 0.25  # mean error of the channels, of 1, that is drawn brightest
_MAPS = {
    "turbo": cv2.COLORMAP_TURBO,
    "magma": cv2.COLORMAP_MAGMA,
    "viridis": cv2.COLORMAP_VIRIDIS,
    "inferno": cv2.COLORMAP_INFERNO,
}
# Blue, white, red: for values with a sign.
_SIGNED = np.array([(33, 70, 180), (120, 170, 235), (245, 245, 245), (240, 140, 110), (180, 20, 40)], dtype=np.float64)


@dataclass(frozen=True)
class ColourScale:
    """What colours mean: values from ``low`` to ``high``, clipped outside.

    colours: turbo, magma, viridis, inferno or signed (blue below the middle, red above it). inverse: equal steps of
    colour are equal steps of 1 / value, and small values are bright, as for depth.
    """

    low: float
    high: float
    colours: str = "turbo"
    inverse: bool = False

    @classmethod
    def of_values(cls, values: NDArray[Any], colours: str = "turbo") -> ColourScale:
        """The scale of any numbers, nan = unknown: all but their extreme 1 % on either side."""
        known = values[np.isfinite(values)]
        low, high = np.percentile(known, [1, 99]) if known.size else (0.0, 1.0)
        return cls(float(low), max(float(high), float(low) + 1e-6), colours)

    @classmethod
    def of_depth(cls, depth: NDArray[Any]) -> ColourScale:
        """The scale of a depth map, 0 = missing: all but its extreme 1 % on either side."""
        known = depth[np.isfinite(depth) & (depth > 0)]
        low, high = np.percentile(known, [1, 99]) if known.size else (1.0, 2.0)
        return cls(float(low), max(float(high), 1.01 * float(low)), inverse=True)

    def position(self, values: NDArray[Any]) -> NDArray[np.float64]:
        """Place of each value on the scale, 0 to 1; nan stays."""
        clipped = np.clip(np.asarray(values, dtype=np.float64), self.low, self.high)
        if self.inverse:
            return np.asarray((1.0 / clipped - 1.0 / self.high) / (1.0 / self.low - 1.0 / self.high))
        return np.asarray((clipped - self.low) / (self.high - self.low))

    def paint(self, values: NDArray[Any]) -> Picture:
        """Colours of values: (...) -> (..., 3)."""
        values = np.asarray(values)
        known = np.isfinite(values) & (values > 0) if self.inverse else np.isfinite(values)
        position = self.position(np.where(known, values, self.high))
        if self.colours == "signed":
            steps = np.linspace(0.0, 1.0, len(_SIGNED))
            rgb = np.stack([np.interp(position, steps, _SIGNED[:, c]) for c in range(3)], axis=-1).round()
        else:
            index = (255.0 * position).round().astype(np.uint8)
            rgb = cv2.applyColorMap(index.reshape(-1, 1), _MAPS[self.colours])[..., ::-1].reshape(*values.shape, 3)
        return np.where(known[..., None], rgb, np.array(UNKNOWN)).astype(np.uint8)

    def ticks(self, number: int = 5) -> list[float]:
        """Values to write beside the scale, at equal steps of colour, from position 0 to 1."""
        share = np.linspace(0.0, 1.0, number)
        if self.inverse:
            return [float(v) for v in 1.0 / ((1 - share) / self.high + share / self.low)]
        return [float(v) for v in self.low + share * (self.high - self.low)]


@dataclass(frozen=True)
class Panel:
    """One picture of a grid with its title, and below it the meaning of its colours: a scale, or a name per colour."""

    title: str
    picture: Picture
    scale: ColourScale | None = None
    unit: str = ""
    names: Mapping[str, tuple[int, int, int]] = field(default_factory=dict)


def dots(
    picture: Picture, xy: NDArray[Any], values: NDArray[Any], scale: ColourScale, *, radius: int | None = None
) -> Picture:
    """A copy of the picture with a dot per point, coloured by its value and outlined in black.

    Args:
        picture: What is drawn on.
        xy: (K, 2) pixels, origin at the picture's corner.
        values: (K,).
        scale: The values' colours.
        radius: Pixels; by the picture's size when None.
    """
    drawn = np.ascontiguousarray(picture).copy()
    size = radius or max(2, round(max(picture.shape[:2]) / 220))
    for (x, y), colour in zip(xy, scale.paint(values).tolist(), strict=True):
        # Fixed-point eighths of a pixel; the first pixel's centre is 0 for OpenCV and 0.5 here.
        centre = (round(8 * (float(x) - 0.5)), round(8 * (float(y) - 0.5)))
        cv2.circle(drawn, centre, 8 * (size + 1), (0, 0, 0), -1, cv2.LINE_AA, 3)
        cv2.circle(drawn, centre, 8 * size, tuple(colour), -1, cv2.LINE_AA, 3)
    return drawn


def paint_labels(labels: NDArray[Any], colours: Mapping[int, tuple[int, int, int]]) -> Picture:
    """A map of whole numbers (H, W) in one colour each; numbers without a colour count as unknown."""
    picture = np.full((*labels.shape, 3), UNKNOWN, dtype=np.uint8)
    for label, colour in colours.items():
        picture[labels == label] = colour
    return picture


def paint_error(rendered: Picture, photo: Picture) -> Picture:
    """Mean absolute error of the channels as colours: black is none."""
    error = np.abs(rendered.astype(np.float32) - photo.astype(np.float32)).mean(-1) / 255.0
    return ColourScale(0.0, _FULL_ERROR, "inferno").paint(error)


def titled_row(pictures: Sequence[tuple[str, Picture]]) -> Picture:
    """Pictures of one height side by side at their own size, each under its title."""
    columns = [
        np.concatenate([_written(_blank(18, picture.shape[1]), [(4, 1, title)], 12), picture])
        for title, picture in pictures
    ]
    return np.concatenate(columns, axis=1)


def grid(panels: Sequence[Panel], *, columns: int = 2, panel_width: int = 480, heading: str = "") -> Picture:
    """Panels in rows on white, each ``panel_width`` pixels wide with its title above and its legend below."""
    tiles = [_tile(panel, panel_width) for panel in panels]
    rows = [tiles[i : i + columns] for i in range(0, len(tiles), columns)]
    strips = [_beside(row, columns, panel_width) for row in rows]
    if heading:
        width = strips[0].shape[1]
        strips.insert(0, _written(_blank(34, width), [(10, 6, heading)], 18))
    return np.concatenate(strips)


def _tile(panel: Panel, width: int) -> Picture:
    height = max(1, round(panel.picture.shape[0] * width / panel.picture.shape[1]))
    shrinks = width < panel.picture.shape[1]
    how = cv2.INTER_AREA if shrinks else cv2.INTER_NEAREST_EXACT
    resized = cv2.resize(panel.picture, (width, height), interpolation=how)
    title = _written(_blank(24, width), [(0, 3, panel.title)], 14)
    return np.concatenate([title, resized, _legend(panel, width)])


def _legend(panel: Panel, width: int) -> Picture:
    legend = _blank(36, width)
    if panel.scale is not None:
        legend[4 : 4 + _BAR] = panel.scale.paint(np.array(panel.scale.ticks(width)))
        ticks = panel.scale.ticks()
        texts = [_number(v) for v in ticks]
        texts[-1] += f" {panel.unit}".rstrip()
        places = np.linspace(0, width - 1, len(ticks))
        return _written(legend, [(float(x), 18, t) for x, t in zip(places, texts, strict=True)], 12, justified=True)
    at = 0.0
    for name, colour in panel.names.items():
        legend[6 : 6 + _BAR, round(at) : round(at) + _BAR] = colour
        legend = _written(legend, [(at + _BAR + 5, 4, name)], 12)
        at += _BAR + 5 + 7.5 * len(name) + 14
    return legend


def _number(value: float) -> str:
    digits = 2 if value == 0 else max(0, min(4, 1 - math.floor(math.log10(abs(value)))))
    return f"{value:.{digits}f}"


def _beside(row: Sequence[Picture], columns: int, width: int) -> Picture:
    height = max(tile.shape[0] for tile in row) + _GAP
    strip = _blank(height, columns * (width + _GAP) + _GAP)
    for i, tile in enumerate(row):
        left = _GAP + i * (width + _GAP)
        strip[: tile.shape[0], left : left + width] = tile
    return strip


def _blank(height: int, width: int) -> Picture:
    return np.full((height, width, 3), _PAPER, dtype=np.uint8)


def _written(
    picture: Picture, texts: Sequence[tuple[float, float, str]], size: int, *, justified: bool = False
) -> Picture:
    """The picture with texts at (x, y, text). ``justified``: the first starts at its x, the last ends there."""
    from PIL import Image, ImageDraw, ImageFont

    image = Image.fromarray(picture)
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(size)
    for i, (x, y, text) in enumerate(texts):
        share = i / (len(texts) - 1) if justified and len(texts) > 1 else 0.0
        draw.text((x - share * draw.textlength(text, font), y), text, _INK, font)
    return np.array(image)
