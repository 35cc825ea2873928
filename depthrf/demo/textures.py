"""Procedural surfaces of the demo room. They never repeat, and have detail at every scale.

A painter takes the surface's size in metres and a random generator. It returns (H, W, 3) float32 sRGB in [0, 1], with
the top row first. Feature detectors need contrast between about 1 and 20 cm; anything finer would only alias.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.float32]
Rng = np.random.Generator
Painter = Callable[[float, float, Rng], Image]

TEXEL = 0.0035  # metres
Color = tuple[float, float, float]


def _shape(width: float, height: float) -> tuple[int, int]:
    return max(4, round(height / TEXEL)), max(4, round(width / TEXEL))


def _noise(shape: tuple[int, int], cell_x: float, cell_y: float, rng: Rng) -> Image:
    """Smooth unit-variance noise whose cells are ``cell_x`` x ``cell_y`` metres, (H, W)."""
    h, w = shape
    grid = rng.standard_normal((int(h * TEXEL / cell_y) + 4, int(w * TEXEL / cell_x) + 4)).astype(np.float32)
    shift = rng.random(2)
    matrix = np.array([[TEXEL / cell_x, 0, 1 + shift[0]], [0, TEXEL / cell_y, 1 + shift[1]]])
    return np.asarray(
        cv2.warpAffine(
            grid, matrix, (w, h), flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP, borderMode=cv2.BORDER_REFLECT
        )
    )


def _fractal(shape: tuple[int, int], rng: Rng, coarse: float = 0.6, fine: float = 0.03, stretch: float = 1.0) -> Image:
    """Sum of noises from ``coarse`` to ``fine`` cells (metres), halving; unit variance, (H, W)."""
    total, power, cell = np.zeros(shape, np.float32), 0.0, coarse
    while cell >= fine:
        weight = (cell / coarse) ** 0.35
        total += weight * _noise(shape, cell * stretch, cell, rng)
        power += weight**2
        cell /= 2.0
    return np.asarray(total / np.float32(np.sqrt(power) * 0.75), np.float32)


def _flat(shape: tuple[int, int], color: Color) -> Image:
    return np.ascontiguousarray(np.broadcast_to(np.array(color, np.float32), (*shape, 3)))


def _speckle(shape: tuple[int, int], color: Color, amount: float, rng: Rng, stretch: float = 1.0) -> Image:
    """``color`` with fractal variation of brightness and a little of hue."""
    light = 1.0 + amount * _fractal(shape, rng, stretch=stretch)[..., None]
    hue = 0.25 * amount * _noise(shape, 0.3, 0.3, rng)[..., None] * np.array([1.0, 0.0, -1.0], np.float32)
    return np.asarray(_flat(shape, color) * light + hue, np.float32)


def _jittered(color: Color, amount: float, rng: Rng) -> Color:
    r, g, b = np.clip(
        np.array(color) * (1.0 + amount * rng.standard_normal()) + 0.3 * amount * rng.standard_normal(3), 0, 1
    )
    return float(r), float(g), float(b)


def plaster(color: Color) -> Painter:
    """Lime plaster with trowel marks."""

    def paint(width: float, height: float, rng: Rng) -> Image:
        return _speckle(_shape(width, height), color, 0.035, rng, stretch=1.6)

    return paint


def wood(color: Color) -> Painter:
    """Grain along the longer side, with knots of darker rings."""

    def paint(width: float, height: float, rng: Rng) -> Image:
        w, h = _shape(max(width, height), min(width, height))
        grain = _noise((h, w), 0.5, 0.02, rng) + 0.7 * _noise((h, w), 0.22, 0.04, rng)
        bend = 3.0 * _noise((h, w), 0.6, 0.12, rng) + 0.8 * _noise((h, w), 0.15, 0.08, rng)
        shade = 1.0 + 0.07 * grain + 0.10 * np.sin(4.0 * bend) + 0.06 * _fractal((h, w), rng)
        image = _flat((h, w), color) * shade[..., None]
        return np.asarray(image if width >= height else image.transpose(1, 0, 2), np.float32)

    return paint


def planks(width: float, height: float, rng: Rng) -> Image:
    """Floor boards of oak along the width."""
    image = np.zeros((*_shape(width, height), 3), np.float32)
    h, w = image.shape[:2]
    board = round(0.13 / TEXEL)
    for y in range(0, h, board):
        x = -int(rng.integers(0, 300))
        while x < w:
            length = int(rng.integers(200, 420))
            x0, x1, y1 = max(x, 0), min(x + length, w), min(y + board, h)
            x += length
            if x1 - x0 < 2 or y1 - y < 2:
                continue
            piece = wood(_jittered((0.62, 0.44, 0.28), 0.11, rng))((x1 - x0) * TEXEL, (y1 - y) * TEXEL, rng)
            image[y:y1, x0:x1] = cv2.resize(piece, (x1 - x0, y1 - y))
            image[y:y1, x1 - 1] *= 0.55
        image[y : y + 1] *= 0.55
    return image


def bricks(width: float, height: float, rng: Rng) -> Image:
    """A weathered brick wall, partly whitewashed."""
    h, w = _shape(width, height)
    image = _speckle((h, w), (0.74, 0.70, 0.65), 0.08, rng)
    wash = np.clip(0.5 + 0.5 * _fractal((h, w), rng, coarse=0.9), 0, 1)[..., None] * 0.38
    bx, by, gap = round(0.23 / TEXEL), round(0.085 / TEXEL), 3
    mask, colors = np.zeros((h, w), np.float32), image.copy()
    for row, y in enumerate(range(0, h, by)):
        for x in range(-(row % 2) * bx // 2, w, bx):
            jx, jy = rng.integers(-1, 2, 2)
            rows = slice(max(y + gap + jy, 0), max(y + by, 0))
            columns = slice(max(x + gap + jx, 0), max(x + bx, 0))
            colors[rows, columns] = _jittered((0.60, 0.33, 0.25), 0.14, rng)
            mask[rows, columns] = 1.0
    soft = cv2.GaussianBlur(mask, (0, 0), 0.8)[..., None]
    colors = colors * (1.0 + 0.13 * _fractal((h, w), rng, coarse=0.15)[..., None])
    image = image * (1 - soft) + colors * soft
    return np.asarray(image * (1 - wash) + np.float32(0.84) * wash, np.float32)


def _leaf(at: NDArray[np.float64], length: float, angle: float) -> NDArray[np.int32]:
    """Outline of a pointed leaf, in 1/16 pixels."""
    t = np.linspace(0, np.pi, 12)
    side = np.sin(t) ** 1.4 * 0.22 * length
    along = (1 - np.cos(t)) / 2 * length
    outline = np.stack([np.r_[along, along[::-1]], np.r_[side, -side[::-1]]], 1)
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    return np.asarray(np.round((at + outline @ turn) * 16), np.int32)


def foliage(ground: Color, leaves: tuple[Color, ...], per_m2: float, length: float) -> Painter:
    """Scattered leaves: wallpaper, cushions, plants."""

    def paint(width: float, height: float, rng: Rng) -> Image:
        h, w = _shape(width, height)
        image = _speckle((h, w), ground, 0.05, rng)
        for _ in range(round(per_m2 * width * height)):
            at = rng.random(2) * (w, h)
            angle, size = rng.random() * 2 * np.pi, length / TEXEL * rng.uniform(0.5, 1.2)
            color = _jittered(leaves[int(rng.integers(len(leaves)))], 0.14, rng)
            cv2.fillPoly(image, [_leaf(at, size, angle)], color, cv2.LINE_AA, 4)
            tip = at + 0.92 * size * np.array([np.cos(angle), np.sin(angle)])
            ends = [tuple(int(c) for c in np.round(p * 16)) for p in (at, tip)]
            cv2.line(image, ends[0], ends[1], tuple(0.7 * c for c in color), 1, cv2.LINE_AA, 4)
        return np.asarray(image * (1.0 + 0.04 * _fractal((h, w), rng)[..., None]), np.float32)

    return paint


def fabric(color: Color, accent: Color) -> Painter:
    """Mottled woven cloth with scattered strokes of ``accent``."""

    def paint(width: float, height: float, rng: Rng) -> Image:
        h, w = _shape(width, height)
        image = _speckle((h, w), color, 0.07, rng)
        for _ in range(round(70 * width * height)):
            x, y = rng.random(2) * (w, h)
            turn, size = rng.random() * np.pi, rng.uniform(4, 11)
            dx, dy = size * np.cos(turn), size * np.sin(turn)
            start, end = (int(16 * (x - dx)), int(16 * (y - dy))), (int(16 * (x + dx)), int(16 * (y + dy)))
            cv2.line(image, start, end, _jittered(accent, 0.12, rng), int(rng.integers(2, 5)), cv2.LINE_AA, 4)
        threads = 0.03 * (_noise((h, w), 0.2, 0.015, rng) + _noise((h, w), 0.015, 0.2, rng))
        return np.asarray(cv2.GaussianBlur(image, (0, 0), 1.0) * (1.0 + threads[..., None]), np.float32)

    return paint


def rug(width: float, height: float, rng: Rng) -> Image:
    """A kilim: nested borders of triangles and diamonds, no two of them equal."""
    h, w = _shape(width, height)
    palette = [
        (0.62, 0.16, 0.14),
        (0.13, 0.22, 0.38),
        (0.86, 0.72, 0.47),
        (0.85, 0.80, 0.70),
        (0.20, 0.38, 0.36),
        (0.75, 0.42, 0.18),
    ]
    image = _flat((h, w), palette[0])
    step, inset, ring = round(0.13 / TEXEL), 0, 0
    while inset < min(h, w) / 2 - 4:
        ground = palette[(0, 3, 1, 2, 4)[ring % 5]]
        cv2.rectangle(image, (inset, inset), (w - inset, h - inset), ground, -1)
        for x in range(inset, w - inset, step):
            for y in range(inset, h - inset, step):
                color = _jittered(palette[int(rng.integers(len(palette)))], 0.08, rng)
                c = np.array([x, y]) + step * (0.5 + 0.08 * rng.standard_normal(2))
                arms = step * rng.uniform(0.25, 0.5, 4)
                corners = c + np.array([[arms[0], 0], [0, arms[1]], [-arms[2], 0], [0, -arms[3]]])
                cv2.fillPoly(image, [np.round(corners[: int(rng.integers(3, 5))]).astype(np.int32)], color, cv2.LINE_AA)
        inset, ring = inset + step, ring + 1
    rows = 0.03 * _noise((h, w), 0.06, 0.015, rng) + 0.05 * _fractal((h, w), rng)
    return np.asarray(cv2.GaussianBlur(image, (0, 0), 0.8) * (1.0 + rows[..., None]), np.float32)


def terrazzo(ground: Color) -> Painter:
    """Stone chips in cement."""

    def paint(width: float, height: float, rng: Rng) -> Image:
        h, w = _shape(width, height)
        image = _speckle((h, w), ground, 0.04, rng)
        chips = [(0.70, 0.35, 0.26), (0.24, 0.34, 0.36), (0.90, 0.86, 0.76), (0.42, 0.50, 0.38), (0.82, 0.62, 0.36)]
        for _ in range(round(600 * width * height)):
            at, angles = rng.random(2) * (w, h), np.sort(rng.random(5) * 2 * np.pi)
            size = rng.uniform(3.0, 8.0)
            corners = at + size * rng.uniform(0.6, 1.2, (5, 1)) * np.stack([np.cos(angles), np.sin(angles)], 1)
            color = _jittered(chips[int(rng.integers(len(chips)))], 0.1, rng)
            cv2.fillPoly(image, [np.round(corners * 16).astype(np.int32)], color, cv2.LINE_AA, 4)
        return image

    return paint


def landscape(width: float, height: float, rng: Rng) -> Image:
    """A painting, and the view out of the window: sky, a sun, hills behind hills."""
    h, w = _shape(width, height)
    y, x = np.mgrid[0:h, 0:w].astype(np.float32) / np.float32(h)
    low, high = np.array(_jittered((0.98, 0.80, 0.58), 0.08, rng)), np.array(_jittered((0.36, 0.58, 0.80), 0.10, rng))
    image = (high + (low - high) * np.clip(y * 1.6, 0, 1)[..., None]).astype(np.float32)
    clouds = np.clip(_fractal((h, w), rng, coarse=0.35 * height + 0.05, stretch=2.5) - 0.3, 0, 1)[..., None]
    image += (np.float32(0.97) - image) * clouds * 0.8
    cv2.circle(
        image, (int(rng.uniform(0.2, 0.8) * w), int(0.33 * h)), int(0.09 * h), (1.0, 0.93, 0.72), -1, cv2.LINE_AA
    )
    for i in range(5):
        ridge = 0.42 + 0.11 * i + 0.05 * np.sin(x * rng.uniform(2, 7) + 6 * rng.random())
        ridge = ridge + 0.012 * (i + 1) * _noise((h, w), 0.12 * height, 5.0, rng)[:1]
        tint = np.array(_jittered((0.52 - 0.08 * i, 0.60 - 0.06 * i, 0.52 - 0.09 * i), 0.1, rng))
        image = np.where(
            (y > ridge)[..., None], tint * (1.0 + 0.10 * _fractal((h, w), rng, coarse=0.2)[..., None]), image
        )
    return np.asarray(image, np.float32)


def abstract(width: float, height: float, rng: Rng) -> Image:
    """A poster of overlapping discs, bars and arcs."""
    h, w = _shape(width, height)
    image = _speckle((h, w), (0.90, 0.86, 0.78), 0.02, rng)
    colors = [(0.80, 0.28, 0.20), (0.12, 0.30, 0.42), (0.93, 0.69, 0.25), (0.16, 0.16, 0.18), (0.45, 0.60, 0.55)]
    for i in range(26):
        x, y = (rng.random(2) * (w, h)).astype(int).tolist()
        color, size = _jittered(colors[int(rng.integers(5))], 0.06, rng), int(rng.uniform(0.03, 0.19) * h)
        if i % 3 == 0:
            cv2.circle(image, (x, y), size, color, -1, cv2.LINE_AA)
        elif i % 3 == 1:
            cv2.ellipse(image, (x, y), (size, size), rng.random() * 360, 0, 200, color, max(2, size // 4), cv2.LINE_AA)
        else:
            corners = cv2.boxPoints(((float(x), float(y)), (2.2 * size, 0.5 * size), float(rng.random() * 180)))
            cv2.fillPoly(image, [np.round(corners).astype(np.int32)], color, cv2.LINE_AA)
    return np.asarray(image * (1.0 + 0.05 * _fractal((h, w), rng)[..., None]), np.float32)


def book(color: Color) -> Painter:
    """A book's cover or spine: cloth with bands and a title in made-up letters."""

    def paint(width: float, height: float, rng: Rng) -> Image:
        h, w = _shape(width, height)
        image = _speckle((h, w), color, 0.07, rng)
        gold = _jittered((0.90, 0.80, 0.52), 0.1, rng)
        for at in (rng.uniform(0.06, 0.2), rng.uniform(0.75, 0.92)):
            cv2.rectangle(image, (0, int(at * h)), (w, int(at * h) + int(rng.integers(1, 4))), gold, -1)
        for y in range(int(0.3 * h), int(rng.uniform(0.5, 0.7) * h), 4):
            x0, x1 = np.sort(rng.uniform(0.15, 0.85, 2)) * w
            cv2.line(image, (int(x0), y), (int(x1), y), gold, 2, cv2.LINE_AA)
        return image

    return paint


def globe(width: float, height: float, rng: Rng) -> Image:
    """Seas and continents."""
    h, w = _shape(width, height)
    rough = _fractal((h, w), rng, coarse=0.3)[..., None]
    land = _fractal((h, w), rng, coarse=0.25, fine=0.02)[..., None] > 0.15
    sea = np.array([0.20, 0.42, 0.55]) * (1 + 0.06 * rough)
    return np.asarray(np.where(land, np.array([0.76, 0.64, 0.38]) * (1 + 0.16 * rough), sea), np.float32)


def paper(width: float, height: float, rng: Rng) -> Image:
    """A paper lantern with ribs."""
    h, w = _shape(width, height)
    image = _speckle((h, w), (0.97, 0.90, 0.74), 0.03, rng)
    image[:: max(4, h // 14)] *= 0.82
    return image
