"""Depth for pixels that stereo could not match, interpolated over surfaces without texture.

Inverse depth, affine in the picture on a plane, is interpolated like a thin membrane: it is loose across colour edges
and tears where it is steep. Its standard deviation grows along the cheapest path from a measured pixel, and crossing a
colour edge is expensive, since the surface behind an edge is not known from this side of it. Interpolated depth is
dropped where another photo measures a surface behind it, or shows another colour there.

All of this works on small copies of the photos; measured pixels keep their depth. q is inverse depth, maps are (h, w).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from depthrf.depth.resampling import cells_of, nearest
from depthrf.geometry.camera import DepthPrior, View, containing_pixels

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

# Longer side of the small copies, in pixels; the lengths below are of their pixels.
_SIDE = 160
# Difference in Lab between neighbouring pixels that makes a colour edge.
_COLOUR = 8.0
# Tension that remains across a colour edge.
_MIN_TENSION = 0.01
# Typical difference of inverse depth between neighbouring pixels of one surface, as a share of its median.
_SLOPE = 0.1
# The same difference from which on the membrane tears.
_TEAR = 0.02
_NUM_TEARING_PASSES = 2
# Relative standard deviation that inverse depth gains on each pixel away from a measured one.
_DRIFT = 0.05
# Lower bound of the tension when it sets the cost of crossing an edge.
_MIN_TENSION_FOR_COST = 1e-3
# Limits of the relative standard deviation: smaller ones are raised, pixels with larger ones stay without depth.
_MIN_SIGMA, _MAX_SIGMA = 0.01, 0.4
# Relative distance by which a measured surface has to lie behind a point to contradict it.
_BEHIND = 0.05


@dataclass(frozen=True)
class Interpolation:
    """A small copy of a photo with inverse depth at every pixel.

    known: (h, w) pixels with measured depth. q: (h, w) inverse depth, measured or interpolated. sigma: (h, w) relative
    standard deviation, inf where the pixel stays without depth. lab: (h, w, 3) blurred colours.
    """

    view: View
    known: Mask
    q: Array
    sigma: Array
    lab: NDArray[np.float32]


def interpolate(view: View, prior: DepthPrior, rgb: NDArray[np.uint8]) -> Interpolation | None:
    """Interpolates the depth of one photo; None when it has no depth at all.

    Args:
        view: The photo's view.
        prior: Measured depth and sigma, (H, W).
        rgb: The photo, (H, W, 3).
    """
    small = view.with_camera(view.camera.fitted(_SIDE))
    size = (small.camera.width, small.camera.height)
    q, var, known = _reduced(prior, *size)
    if not known.any():
        return None
    picture = cv2.resize(rgb, size, interpolation=cv2.INTER_AREA).astype(np.float32) / np.float32(255.0)
    lab = np.asarray(cv2.cvtColor(cv2.GaussianBlur(picture, (0, 0), 0.7), cv2.COLOR_RGB2LAB), dtype=np.float32)
    down, across = _tension(lab, axis=0), _tension(lab, axis=1)
    membrane = _membrane(q, var, known, np.maximum(down, _MIN_TENSION), np.maximum(across, _MIN_TENSION))
    cost_down = _DRIFT**2 / np.maximum(down, _MIN_TENSION_FOR_COST)
    cost_across = _DRIFT**2 / np.maximum(across, _MIN_TENSION_FOR_COST)
    sigma = np.maximum(np.sqrt(_path_costs(known, cost_down, cost_across)), _MIN_SIGMA)
    sigma = np.where((membrane > 0) & (sigma < _MAX_SIGMA), sigma, np.inf)
    inverse = np.where(known, q, np.maximum(membrane, 1e-9))
    return Interpolation(small, known, inverse, sigma, np.asarray(cv2.GaussianBlur(lab, (0, 0), 1.0)))


def fill_holes(prior: DepthPrior, own: Interpolation, others: Sequence[Interpolation]) -> tuple[DepthPrior, Mask]:
    """Fills pixels without depth where the other photos agree with the interpolation.

    Args:
        prior: Measured depth and sigma of the photo, (H, W).
        own: Its interpolation.
        others: Those of the other photos.

    Returns:
        The filled prior, and which pixels are new, (H, W).
    """
    height, width = prior.depth.shape
    usable = np.isfinite(own.sigma) & _confirmed(own, others)
    sigma = nearest(np.where(usable, own.sigma, 0.0).astype(np.float32), width, height)
    depth = 1.0 / cv2.resize(own.q.astype(np.float32), (width, height), interpolation=cv2.INTER_LINEAR)
    new = (prior.depth == 0) & (sigma > 0)
    filled = DepthPrior(np.where(new, depth, prior.depth), np.where(new, sigma * depth, prior.sigma))
    return filled, new


def _tension(lab: NDArray[np.float32], axis: int) -> Array:
    """How strongly neighbouring pixels along an axis hold together: 1 for equal colours, towards 0 at an edge."""
    squared_difference = np.square(np.diff(lab, axis=axis)).sum(-1)
    return np.asarray(np.exp(-squared_difference / _COLOUR**2), dtype=np.float64)


def _reduced(prior: DepthPrior, width: int, height: int) -> tuple[Array, Array, Mask]:
    """Mean inverse depth of each small pixel, its variance, and which small pixels have any."""
    rows, columns = np.nonzero(prior.depth > 0)
    full_height, full_width = prior.depth.shape
    cell = cells_of(rows, full_height, height) * width + cells_of(columns, full_width, width)
    q = 1.0 / prior.depth[rows, columns].astype(np.float64)
    var = np.square(prior.sigma[rows, columns] * q**2)
    count = np.bincount(cell, minlength=height * width).reshape(height, width)

    def mean(values: Array) -> Array:
        total = np.bincount(cell, values, minlength=height * width).reshape(height, width)
        return np.asarray(total / np.maximum(count, 1))

    mean_q = mean(q)
    within_cell = np.maximum(mean(q**2) - mean_q**2, 0.0)
    return mean_q, mean(var) + within_cell, count > 0


def _membrane(q: Array, var: Array, known: Mask, down: Array, across: Array) -> Array:
    """Inverse depth everywhere: a membrane held at the known pixels that tears where it is steep.

    Args:
        q, var: (h, w) inverse depth and its variance at known pixels.
        known: (h, w).
        down: (h - 1, w) tension between rows.
        across: (h, w - 1) tension between columns.
    """
    median = float(np.median(q[known]))
    # A weak pull to the median decides what no measured pixel does.
    weak = (1.0 / (30.0 * median)) ** 2
    min_var = (0.003 * np.where(known, q, median)) ** 2
    hold = np.where(known, 1.0 / np.maximum(var, min_var), 0.0)
    pull = hold * q + weak * median
    unit = (_SLOPE * median) ** 2
    surface = _solve(hold + weak, down / unit, across / unit, pull)
    for _ in range(_NUM_TEARING_PASSES):
        down = down / (1.0 + np.square(np.diff(surface, axis=0) / (_TEAR * median)))
        across = across / (1.0 + np.square(np.diff(surface, axis=1) / (_TEAR * median)))
        surface = _solve(hold + weak, down / unit, across / unit, pull)
    return surface


def _solve(hold: Array, down: Array, across: Array, pull: Array) -> Array:
    """The x (h, w) of (diag(hold) + L) x = pull, where L is the graph Laplacian of the tensions between neighbours."""
    from scipy.sparse import csgraph, diags_array
    from scipy.sparse.linalg import spsolve

    laplacian = csgraph.laplacian(_neighbour_graph(down, across, hold.shape))
    matrix = (laplacian + diags_array(hold.ravel())).tocsc()
    return np.asarray(spsolve(matrix, pull.ravel(), permc_spec="MMD_AT_PLUS_A")).reshape(hold.shape)


def _path_costs(known: Mask, down: Array, across: Array) -> Array:
    """Cost of the cheapest path from any known pixel to each pixel, (h, w); ``down``, ``across``: cost of a step."""
    from scipy.sparse.csgraph import dijkstra

    graph = _neighbour_graph(down, across, known.shape)
    cost = dijkstra(graph, directed=False, indices=np.flatnonzero(known), min_only=True)
    return np.asarray(cost).reshape(known.shape)


def _neighbour_graph(down: Array, across: Array, shape: tuple[int, ...]) -> Any:
    """Symmetric sparse matrix (h w, h w) with the value between each pixel and its four neighbours."""
    from scipy.sparse import coo_array

    index = np.arange(shape[0] * shape[1]).reshape(shape)
    first = np.concatenate([index[:-1].ravel(), index[:, :-1].ravel()])
    second = np.concatenate([index[1:].ravel(), index[:, 1:].ravel()])
    value = np.concatenate([down.ravel(), across.ravel()])
    rows, columns = np.concatenate([first, second]), np.concatenate([second, first])
    return coo_array((np.concatenate([value, value]), (rows, columns)), shape=(index.size, index.size)).tocsr()


def _confirmed(own: Interpolation, others: Sequence[Interpolation]) -> Mask:
    """Which pixels (h, w) no other photo contradicts, and whose colour at least half of the photos that see it show."""
    camera, world_from_cam = own.view.camera, own.view.world_from_cam
    in_cam = camera.directions(camera.pixel_centres()) / own.q[..., None]
    points = in_cam @ world_from_cam[:3, :3].T + world_from_cam[:3, 3]
    contradicted = np.zeros(own.q.shape, dtype=bool)
    differences = np.full((len(others) + 1, *own.q.shape), np.nan)
    for difference, other in zip(differences, others, strict=False):
        hides, behind, colour = _seen_by(other, points, own.lab)
        contradicted |= behind
        difference[...] = np.where(hides, np.nan, colour)
    # A pixel that no photo sees counts as one of another colour.
    differences[-1] = np.where(np.isfinite(differences[:-1]).any(0), np.nan, np.inf)
    return ~contradicted & (np.nanmedian(differences, axis=0) < _COLOUR)


def _seen_by(other: Interpolation, points: Array, lab: NDArray[np.float32]) -> tuple[Mask, Mask, Array]:
    """What another photo says of points (h, w, 3): that it does not see them, that it sees through them, and how much
    their colours ``lab`` (h, w, 3) differ from what it shows there. (h, w) each.
    """
    there, cam_from_world = other.view.camera, other.view.cam_from_world
    in_cam = points @ cam_from_world[:3, :3].T + cam_from_world[:3, 3]
    xy = np.nan_to_num(there.project(in_cam), nan=-1.0)
    row, column = containing_pixels(xy)
    inside = (row >= 0) & (row < there.height) & (column >= 0) & (column < there.width)
    row, column = row.clip(0, there.height - 1), column.clip(0, there.width - 1)
    # Distance of the point over that of the surface measured there.
    ratio = np.where(inside & other.known[row, column], in_cam[..., 2] * other.q[row, column], 1.0)
    # OpenCV counts from the first pixel's centre.
    x, y = np.moveaxis(xy.astype(np.float32) - np.float32(0.5), -1, 0)
    there_lab = cv2.remap(other.lab, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    # Exposure differs between photos, so lightness counts half.
    colour = np.linalg.norm((there_lab - lab) * np.array([0.5, 1.0, 1.0]), axis=-1)
    hidden = ~inside | (ratio > 1.0 + _BEHIND)
    return hidden, ratio < 1.0 - _BEHIND, colour
