"""Monocular depth fitted to sensor depth of the same photo, so that it continues the sensor where the sensor has holes.

Three steps, each on what the one before left: scale and shift in the network's own space; a smooth field c over the
photo that multiplies depth by exp(c); and a short-range correction that closes the seam at the border of a hole. The
field is Gaussian-process regression (Rasmussen and Williams 2006, chapters 2 and 5) of the log ratio of sensor to
fitted depth on a coarse grid: it follows the sensor where there is one, fades to the plain fit away from it, and its
posterior variance tells how far it has faded.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from depthrf.depth.aligning.fits import fit_affine
from depthrf.depth.edges import edge_sigma
from depthrf.depth.resampling import cells_of
from depthrf.depth.robust import MAD_TO_SIGMA
from depthrf.geometry.camera import DepthPrior

Map = NDArray[np.float32]
Array = NDArray[np.float64]

# Below this share of the photo, sensor and prediction overlap too little to say anything about the rest.
_MIN_OVERLAP = 0.02
_NUM_FIT_PIXELS = 4000
_CELLS = 20  # along the photo's longer side
_MIN_CELL_PIXELS = 8
_MIN_CELLS = 4
_MAX_CELLS_TO_CHOOSE = 150  # of range and noise
# Candidates for the field: range as a share of the longer side, and noise of a cell relative to the field's size.
_RANGES = (0.08, 0.16, 0.32, 0.64)
_NOISE_RATIOS = (0.05, 0.15, 0.5)
_OUTLIER = 4.0
# Log ratios beyond this are another surface, not a distorted prediction.
_MAX_LOG_RATIO = 0.5


@dataclass(frozen=True)
class _Cells:
    """C cells with sensor depth.

    xy: (C, 2) mean position, as a share of the longer side. value: (C,) median log ratio of sensor to fitted depth.
    deviation: (C,) robust standard deviation of single pixels around it.
    """

    xy: Array
    value: Array
    deviation: Array


@dataclass(frozen=True)
class _Field:
    """mean: (h, w) log ratio at the centres of the coarse grid. var: (h, w) its posterior variance."""

    mean: Array
    var: Array


def refit_to_sensor(
    prediction: Map, sensor: DepthPrior, *, kind: str, focal_px: float, generator: np.random.Generator
) -> DepthPrior | None:
    """Depth and standard deviation of a monocular prediction fitted to the sensor, over the whole photo.

    Args:
        prediction: (H, W) network output, or any scale and shift of it; nan is left out.
        sensor: Sensor depth, scene units.
        kind: ``depth`` or ``inverse_depth``: the space in which scale and shift are fitted; ``metric`` counts as depth,
            and ``unknown`` tries both.
        focal_px: Focal length of the photo, pixels.
        generator: For the robust fit.

    Returns:
        None where the two hardly overlap or no scale and shift brings them together.
    """
    covered = (sensor.depth > 0) & np.isfinite(prediction)
    if np.count_nonzero(covered) < _MIN_OVERLAP * covered.size:
        return None
    chosen = np.flatnonzero(covered)
    chosen = chosen[:: max(1, len(chosen) // _NUM_FIT_PIXELS)]
    target = sensor.depth.ravel()[chosen].astype(np.float64)
    sigma = sensor.sigma.ravel()[chosen].astype(np.float64)
    x = prediction.ravel()[chosen].astype(np.float64)
    kinds = {"metric": ("depth",), "unknown": ("depth", "inverse_depth")}.get(kind, (kind,))
    fits = (fit_affine(x, target, sigma, kind=k, generator=generator) for k in kinds)
    fit = min(fits, key=lambda f: (not f.accepted, f.median_rel_residual))
    if not fit.accepted:
        return None
    fitted = fit.apply(prediction.astype(np.float64))
    field, noise = _log_ratio_field(sensor.depth, fitted)
    height, width = fitted.shape
    mean = cv2.resize(field.mean, (width, height), interpolation=cv2.INTER_LINEAR)
    var = cv2.resize(field.var, (width, height), interpolation=cv2.INTER_LINEAR)
    depth = (fitted * np.exp(mean)).astype(np.float32)
    depth = _close_seams(depth, sensor.depth, noise)
    sigma = np.hypot(np.sqrt(var + noise**2) * depth, edge_sigma(depth, focal_px))
    valid = depth > 0
    return DepthPrior(depth, np.where(valid, np.maximum(sigma, 0.005 * depth), 0.0).astype(np.float32))


def _log_ratio_field(sensor: Map, fitted: Array) -> tuple[_Field, float]:
    """The field, and the relative standard deviation of single pixels around it."""
    shape = fitted.shape
    side = max(shape) / _CELLS
    grid = (max(1, round(shape[0] / side)), max(1, round(shape[1] / side)))
    cells = _cells(sensor, fitted, grid)
    if len(cells.value) < _MIN_CELLS:
        return _Field(np.zeros(grid), np.zeros(grid)), 0.05
    noise = float(np.median(cells.deviation))
    rows, columns = np.mgrid[: grid[0], : grid[1]]
    nodes = np.stack([(columns + 0.5) * shape[1] / grid[1], (rows + 0.5) * shape[0] / grid[0]], axis=-1) / max(shape)
    field = _regress(cells, nodes.reshape(-1, 2))
    return _Field(field.mean.reshape(grid), field.var.reshape(grid)), noise


def _cells(sensor: Map, fitted: Array, grid: tuple[int, int]) -> _Cells:
    """Medians over the cells of a grid of (rows, columns)."""
    height, width = fitted.shape
    step = max(1, max(height, width) // 400)
    rows, columns = np.nonzero((sensor > 0) & (fitted > 0) & _every(fitted.shape, step))
    value = np.log(sensor[rows, columns] / fitted[rows, columns])
    near = np.abs(value) < _MAX_LOG_RATIO
    rows, columns, value = rows[near], columns[near], value[near]
    cell = cells_of(rows, height, grid[0]) * grid[1] + cells_of(columns, width, grid[1])
    order = np.lexsort((value, cell))
    cell, value, xy = cell[order], value[order], np.stack([columns[order] + 0.5, rows[order] + 0.5], axis=-1)
    starts = np.flatnonzero(np.diff(cell, prepend=-1))
    medians, deviations, positions = [], [], []
    for part in np.split(np.arange(len(cell)), starts[1:]):
        if len(part) >= _MIN_CELL_PIXELS:
            median = np.median(value[part])
            medians.append(median)
            deviations.append(MAD_TO_SIGMA * np.median(np.abs(value[part] - median)))
            positions.append(xy[part].mean(axis=0) / max(height, width))
    return _Cells(np.array(positions).reshape(-1, 2), np.array(medians), np.array(deviations))


def _every(shape: tuple[int, ...], step: int) -> NDArray[np.bool_]:
    chosen = np.zeros(shape, dtype=bool)
    chosen[::step, ::step] = True
    return chosen


def _regress(cells: _Cells, nodes: Array) -> _Field:
    """Gaussian-process regression at ``nodes`` (N, 2), with the most likely range and noise; outliers are left out."""
    keep = np.ones(len(cells.value), dtype=bool)
    for _ in range(2):
        xy, value = cells.xy[keep], cells.value[keep]
        length, ratio = _most_likely(xy, value)
        inverse = np.linalg.inv(_kernel(xy, xy, length) + ratio**2 * np.eye(len(xy)))
        weights = inverse @ value
        amplitude2 = float(value @ weights) / len(value)
        # Leave-one-out residuals in closed form, Rasmussen and Williams eq. 5.12.
        surprise = np.abs(weights) / np.sqrt(np.diag(inverse) * max(amplitude2, 1e-12))
        outlier = surprise > _OUTLIER
        if not outlier.any() or np.count_nonzero(~outlier) < _MIN_CELLS:
            break
        keep[np.flatnonzero(keep)[outlier]] = False
    across = _kernel(nodes, xy, length)
    var = amplitude2 * np.maximum(1.0 - np.einsum("nc,nc->n", across @ inverse, across), 0.0)
    return _Field(across @ weights, var)


def _most_likely(xy: Array, value: Array) -> tuple[float, float]:
    """Range and noise ratio of the greatest likelihood, each with its own best amplitude (R and W eq. 5.8)."""
    every = -(-len(value) // _MAX_CELLS_TO_CHOOSE)
    xy, value = xy[::every], value[::every]
    best, answer = -np.inf, (_RANGES[0], _NOISE_RATIOS[0])
    for length in _RANGES:
        eigenvalues, vectors = np.linalg.eigh(_kernel(xy, xy, length))
        power = np.square(vectors.T @ value)
        for ratio in _NOISE_RATIOS:
            spectrum = np.maximum(eigenvalues, 0.0) + ratio**2
            amplitude2 = max(float(np.mean(power / spectrum)), 1e-12)
            likelihood = -0.5 * float(np.log(spectrum).sum() + len(value) * np.log(amplitude2))
            if likelihood > best:
                best, answer = likelihood, (length, ratio)
    return answer


def _kernel(a: Array, b: Array, length: float) -> Array:
    """Matern covariance of smoothness 3/2, unit variance. (A, 2), (B, 2) -> (A, B)."""
    distance = np.sqrt(3.0) / length * np.hypot(a[:, None, 0] - b[None, :, 0], a[:, None, 1] - b[None, :, 1])
    return np.asarray((1.0 + distance) * np.exp(-distance))


def _close_seams(depth: Map, sensor: Map, noise: float) -> Map:
    """Carries what is left between sensor and depth a short way into the holes, fading."""
    radius = max(depth.shape) / 100.0
    both = (sensor > 0) & (depth > 0)
    left = np.log(np.where(both, sensor, 1.0) / np.where(both, depth, 1.0)).astype(np.float32)
    both &= np.abs(left) < 4.0 * noise + 0.01
    known = _blurred(both.astype(np.float32), radius)
    carried = _blurred(np.where(both, left, np.float32(0.0)), radius)
    return np.asarray(depth * np.exp(carried / (known + np.float32(0.1))), dtype=np.float32)


def _blurred(values: Map, radius: float) -> Map:
    """Gaussian blur of (H, W), made on a grid of a third of the radius, which is fine enough for it."""
    height, width = values.shape
    step = max(1, round(radius / 3.0))
    small = cv2.resize(values, (max(1, width // step), max(1, height // step)), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(cv2.GaussianBlur(small, (0, 0), radius / step), (width, height)), dtype=np.float32)
