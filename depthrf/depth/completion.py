"""Depth between the pixels that stereo could match, which textureless surfaces leave far apart.

Inverse depth, affine in the picture on a plane, is stretched over each photo like a membrane that is loose at colour
edges and tears where it is steep. Its standard deviation grows along the cheapest way from a measured pixel, where a
colour edge is dear: what lies behind an edge is not known from this side of it. What other photos contradict is left
out: those whose measured depth looks through it, and those that show another colour there.

All of it happens on small pictures; measured pixels keep what they have. q is inverse depth, maps are (h, w).
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from depthrf.geometry.camera import DepthPrior, View, containing_pixels

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

_SIDE = 160
"""Longer side of the small pictures; the lengths below are of their pixels."""
_COLOUR = 8.0  # a step in Lab from which on a colour edge is one
_LOOSEST = 0.01  # what is left of the tension at an edge
_SLOPE = 0.1  # share of the median inverse depth by which neighbours differ on one surface
_TEAR = 0.02  # the same, from which on the membrane gives way
_TEARINGS = 2
_DRIFT = 0.05  # relative standard deviation of a surface's inverse depth one pixel on
_DEAREST = 1e-3  # least share of the tension that makes an edge's cost
_LEAST_SIGMA, _MOST_SIGMA = 0.01, 0.4  # shares of depth
_THROUGH = 0.05  # share of depth by which a measured surface lies behind one that it contradicts


@dataclass(frozen=True)
class Sketch:
    """A photo made small. ``known``: pixels measured, at inverse depth ``q``; elsewhere the membrane.

    sigma: standard deviation as a share of depth, inf = unknown. lab: (h, w, 3) blurred colours.
    """

    view: View
    known: Mask
    q: Array
    sigma: Array
    lab: NDArray[np.float32]


def sketch(view: View, prior: DepthPrior, rgb: NDArray[np.uint8]) -> Sketch | None:
    """What the depths (H, W) and colours (H, W, 3) of one photo make of the pixels between; None without any depth."""
    small = view.with_camera(view.camera.fitted(_SIDE))
    size = (small.camera.width, small.camera.height)
    q, var, known = _reduced(prior, *size)
    if not known.any():
        return None
    picture = cv2.resize(rgb, size, interpolation=cv2.INTER_AREA).astype(np.float32) / np.float32(255.0)
    lab = np.asarray(cv2.cvtColor(cv2.GaussianBlur(picture, (0, 0), 0.7), cv2.COLOR_RGB2LAB), dtype=np.float32)
    tension = [np.exp(-(np.square(np.diff(lab, axis=axis)).sum(-1) / _COLOUR**2)).astype(np.float64) for axis in (0, 1)]
    membrane = _membrane(q, var, known, [np.maximum(t, _LOOSEST) for t in tension])
    cost = [_DRIFT**2 / np.maximum(t, _DEAREST) for t in tension]
    sigma = np.maximum(np.sqrt(_cheapest_ways(known, *cost)), _LEAST_SIGMA)
    sigma = np.where((membrane > 0) & (sigma < _MOST_SIGMA), sigma, np.inf)
    inverse = np.where(known, q, np.maximum(membrane, 1e-9))
    return Sketch(small, known, inverse, sigma, np.asarray(cv2.GaussianBlur(lab, (0, 0), 1.0)))


def completed(prior: DepthPrior, own: Sketch, others: Sequence[Sketch]) -> tuple[DepthPrior, Mask]:
    """The prior with the depths between its own that the other photos bear out, and where these are, (H, W)."""
    height, width = prior.depth.shape
    believed = np.isfinite(own.sigma) & _borne_out(own, others)
    sigma = np.where(believed, own.sigma, 0.0).astype(np.float32)
    sigma = cv2.resize(sigma, (width, height), interpolation=cv2.INTER_NEAREST)
    depth = 1.0 / cv2.resize(own.q.astype(np.float32), (width, height), interpolation=cv2.INTER_LINEAR)
    new = (prior.depth == 0) & (sigma > 0)
    filled = DepthPrior(np.where(new, depth, prior.depth), np.where(new, sigma * depth, prior.sigma))
    return filled, new


def _reduced(prior: DepthPrior, width: int, height: int) -> tuple[Array, Array, Mask]:
    """Mean inverse depth, its variance within each small pixel and from sigma, and which pixels have any."""
    rows, columns = np.nonzero(prior.depth > 0)
    full = prior.depth.shape
    target = (rows * height // full[0]) * width + columns * width // full[1]
    depth, sigma = (a[rows, columns].astype(np.float64) for a in (prior.depth, prior.sigma))
    values = 1.0 / depth, 1.0 / depth**2, np.square(sigma / depth**2)
    count = np.bincount(target, minlength=height * width).reshape(height, width)
    sums = (np.bincount(target, v, minlength=height * width).reshape(height, width) for v in values)
    q, square, var = (total / np.maximum(count, 1) for total in sums)
    return q, var + np.maximum(square - q**2, 0.0), count > 0


def _membrane(q: Array, var: Array, known: Mask, tension: list[Array]) -> Array:
    """Inverse depth everywhere: the membrane of ``tension`` between rows and between columns, held at known pixels."""
    middle = float(np.median(q[known]))
    weak = (1.0 / (30.0 * middle)) ** 2  # what nothing holds goes to the middle
    hold = np.where(known, 1.0 / np.maximum(var, (0.003 * np.where(known, q, middle)) ** 2), 0.0)
    pull, hold = hold * q + weak * middle, hold + weak
    surface = np.full(q.shape, middle)
    for tearing in range(_TEARINGS + 1):
        if tearing:
            steep = [np.square(np.diff(surface, axis=axis) / (_TEAR * middle)) for axis in (0, 1)]
            tension = [t / (1.0 + s) for t, s in zip(tension, steep, strict=True)]
        surface = _solved(hold, [t / (_SLOPE * middle) ** 2 for t in tension], pull, surface)
    return surface


def _solved(hold: Array, tension: list[Array], pull: Array, start: Array) -> Array:
    """The x of (diag(hold) + graph Laplacian of tension) x = pull, by conjugate gradients (Jacobi's preconditioner)."""

    def spread(rows: Array, columns: Array, sign: float) -> Array:
        total = np.zeros(hold.shape)
        total[1:] += rows
        total[:-1] += sign * rows
        total[:, 1:] += columns
        total[:, :-1] += sign * columns
        return total

    def applied(x: Array) -> Array:
        return hold * x + spread(tension[0] * np.diff(x, axis=0), tension[1] * np.diff(x, axis=1), -1.0)

    diagonal = hold + spread(tension[0], tension[1], 1.0)
    x, residual = start, pull - applied(start)
    direction = scaled = residual / diagonal
    size = first = float((residual * scaled).sum())
    for _ in range(2000):
        if size <= 1e-8 * first:
            break
        image = applied(direction)
        step = size / float((direction * image).sum())
        x, residual = x + step * direction, residual - step * image
        scaled = residual / diagonal
        size, before = float((residual * scaled).sum()), size
        direction = scaled + size / before * direction
    return x


def _cheapest_ways(known: Mask, rows: Array, columns: Array) -> Array:
    """Cost of the cheapest way from a known pixel to each, with the costs of a step to the next row and column."""
    height, width = known.shape
    cost = np.where(known, 0.0, np.inf)
    queue = [(0.0, int(r), int(c)) for r, c in np.argwhere(known)]
    while queue:
        so_far, r, c = heapq.heappop(queue)
        if so_far > cost[r, c]:
            continue
        steps = [(r + 1, c, rows[r, c])] if r + 1 < height else []
        steps += [(r - 1, c, rows[r - 1, c])] if r else []
        steps += [(r, c + 1, columns[r, c])] if c + 1 < width else []
        steps += [(r, c - 1, columns[r, c - 1])] if c else []
        for row, column, step in steps:
            if so_far + step < cost[row, column]:
                cost[row, column] = so_far + step
                heapq.heappush(queue, (float(so_far + step), row, column))
    return cost


def _borne_out(own: Sketch, others: Sequence[Sketch]) -> Mask:
    """Which pixels lie before no other photo's measured surface and have the colour that half of the others show."""
    camera, pose = own.view.camera, own.view.world_from_cam
    points = camera.directions(camera.pixel_centres()) / own.q[..., None] @ pose[:3, :3].T + pose[:3, 3]
    contradicted = np.zeros(own.q.shape, dtype=bool)
    differences = np.full((len(others) + 1, *own.q.shape), np.inf)  # the last stands for photos that do not see it
    for difference, other in zip(differences, others, strict=False):
        there, pose = other.view.camera, other.view.cam_from_world
        seen_from = points @ pose[:3, :3].T + pose[:3, 3]
        xy = np.nan_to_num(there.project(seen_from), nan=-1.0)
        row, column = containing_pixels(xy)
        inside = (row >= 0) & (row < there.height) & (column >= 0) & (column < there.width)
        row, column = row.clip(0, there.height - 1), column.clip(0, there.width - 1)
        ratio = np.where(inside & other.known[row, column], seen_from[..., 2] * other.q[row, column], 1.0)
        contradicted |= ratio < 1.0 - _THROUGH
        x, y = np.moveaxis(xy.astype(np.float32) - np.float32(0.5), -1, 0)
        shown = cv2.remap(other.lab, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        # Brightness counts half: exposures differ.
        distance = np.linalg.norm((shown - own.lab) * np.array([0.5, 1.0, 1.0]), axis=-1)
        difference[...] = np.where(inside & (ratio <= 1.0 + _THROUGH), distance, np.nan)
    seen = np.isfinite(differences[:-1]).any(0)
    differences[-1] = np.where(seen, np.nan, np.inf)
    return ~contradicted & (np.nanmedian(differences, axis=0) < _COLOUR)
