"""Merging of sensor depth, aligned monocular depth and SfM keypoints into one prior: depth and standard deviation.

Maps are (H, W); 0 means no depth. Sensor noise is known in metres, the rest is in scene units;
``metres_per_unit`` ties them. Nothing here touches files.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

import cv2
import numpy as np
from numpy.typing import NDArray

from depthrf.geometry.camera import Camera, DepthPrior, SparseDepths, containing_pixels
from depthrf.geometry.distortion import project_through
from depthrf.geometry.lens import Lens

Map = NDArray[np.float32]
Array = NDArray[np.float64]

# Tangent of the steepest angle (85 degrees) at which two neighbouring pixels still count as one surface.
_STEEPEST = 12.0
# Log ratio to the other photos beyond which a photo's sensor depth belongs to something else.
_CONTRADICTION = 0.25
# Relative error of a sensor's own calibration, which no number of keypoints averages out.
_CALIBRATION = 0.005


class Source(IntEnum):
    """Where a pixel's depth comes from."""

    NONE = 0
    KEYPOINT = 1
    MONO = 2
    SENSOR = 3
    MERGED = 4
    STEREO = 5
    FILLED = 6


@dataclass(frozen=True)
class SensorScale:
    """``metres_per_unit`` with how it was found.

    spread: robust relative standard deviation of single ratios. uncertainty: relative standard deviation of
    ``metres_per_unit`` itself. num_keypoints, num_photos: what it rests on. contradicting: indices of photos whose
    sensor depth differs from the others' by a factor of its own; they are not part of it.
    """

    metres_per_unit: float
    spread: float
    uncertainty: float
    num_keypoints: int
    num_photos: int
    contradicting: tuple[int, ...] = ()


# Sensor depth


def surface_step(focal_px: float) -> float:
    """Largest depth step between neighbouring pixels of one surface, as a share of depth; 2 % at least, for noise."""
    return max(0.02, _STEEPEST / focal_px)


def clean_sensor_depth(depth: Map, focal_px: float, *, near: float, far: float) -> Map:
    """Removes out-of-range values and flying pixels at depth edges.

    A flying pixel lies between two surfaces, so that most of its neighbours with depth have another one; a pixel on a
    straight edge of a surface keeps five of eight.

    Args:
        depth: (H, W) metres, 0 = missing, on the sensor's own pixel grid.
        focal_px: Focal length on that grid, pixels.
        near: Smallest depth to keep, metres.
        far: Largest depth to keep, metres.
    """
    depth = np.where(np.isfinite(depth) & (depth >= near) & (depth <= far), depth, 0.0).astype(np.float32)
    height, width = depth.shape
    padded, step = np.pad(depth, 1), surface_step(focal_px) * depth
    support, neighbours = np.zeros((2, *depth.shape), dtype=np.uint8)
    for dy in range(3):
        for dx in range(3):
            if (dy, dx) != (1, 1):
                neighbour = padded[dy : dy + height, dx : dx + width]
                neighbours += neighbour > 0
                support += (neighbour > 0) & (np.abs(neighbour - depth) < step)
    return np.where((support >= 3) & (2 * support >= neighbours), depth, np.float32(0.0))


def sensor_sigma(depth: Map, focal_px: float) -> Map:
    """Standard deviation of a sensor's depth, (H, W), metres; ``focal_px`` is that of the map's grid.

    Three quarters of a percent for calibration and registration, plus the quadratic term of structured-light sensors
    (Nguyen, Izadi and Lovell 2012, eq. 7), plus a share of the depth step where an edge is near, since colour and
    depth are rarely registered to the pixel.
    """
    noise = 0.0075 * depth + 0.0012 + 0.0019 * np.square(depth - 0.4)
    return np.where(depth > 0, np.hypot(noise, edge_sigma(depth, focal_px)), 0.0).astype(np.float32)


def edge_sigma(depth: Map, focal_px: float, *, radius: int = 2) -> Map:
    """Doubt beside depth edges: a quarter of the step within ``radius`` pixels, in the unit of ``depth``. (H, W)."""
    kernel = np.ones((2 * radius + 1, 2 * radius + 1), dtype=np.uint8)
    farthest = cv2.dilate(depth, kernel)
    nearest = cv2.erode(np.where(depth > 0, depth, np.float32(np.inf)), kernel)
    step = np.where(depth > 0, farthest - nearest, 0.0)
    return np.asarray(0.25 * np.maximum(step - radius * surface_step(focal_px) * depth, 0.0), dtype=np.float32)


def to_undistorted(values: Map, camera: Camera, lens: Lens, *, smooth: bool = False) -> Map:
    """Brings a map of the photo as taken onto the undistorted photo's pixel grid.

    z-depth does not change: undistortion keeps the centre and the axis.

    Args:
        values: (h, w) of the same field of view as ``lens``, at any resolution.
        camera: The undistorted camera.
        lens: The camera as it took the photo.
        smooth: Interpolate between pixels, as suits a network's output; else depths are never mixed.

    Returns:
        (camera.height, camera.width). Each the value of the nearest pixel, 0 outside the photo; or when ``smooth``, the
        bilinear mean of the four around it, nan outside the photo and where one of them is nan.
    """
    height, width = values.shape
    xy = project_through(lens, camera.directions(camera.pixel_centres())) * (width / lens.width, height / lens.height)
    row, column = containing_pixels(xy)
    inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
    if smooth:
        return np.where(inside, _bilinear(values, xy), np.float32(np.nan))
    gathered = values[np.clip(row, 0, height - 1), np.clip(column, 0, width - 1)]
    return np.where(inside, gathered, np.float32(0.0))


def _bilinear(values: Map, xy: Array) -> Map:
    """Values between pixel centres, (h, w) at (..., 2) -> (...); those of the border continue outside."""
    height, width = values.shape
    left, top = np.moveaxis(np.floor(xy - 0.5).astype(np.int64), -1, 0)
    x, y = xy[..., 0] - 0.5 - left, xy[..., 1] - 0.5 - top
    total = np.zeros(x.shape)
    for row, column, weight in (
        (top, left, (1 - y) * (1 - x)),
        (top, left + 1, (1 - y) * x),
        (top + 1, left, y * (1 - x)),
        (top + 1, left + 1, y * x),
    ):
        corner = values[np.clip(row, 0, height - 1), np.clip(column, 0, width - 1)]
        total += np.where(weight > 1e-6, corner, 0.0) * weight
    return total.astype(np.float32)


def sensor_scale(pairs: Sequence[tuple[Array, Array, Array]], *, min_keypoints: int = 10) -> SensorScale | None:
    """Metres per scene unit from keypoints that have sensor depth, over all photos at once.

    Args:
        pairs: Per photo: keypoint z-depth (K,) in scene units, its standard deviation (K,), sensor depth (K,) in
            metres, 0 = missing.
        min_keypoints: Below this many pairs there is no answer.

    Returns:
        The weighted median ratio, or None. The photos' own medians tell its uncertainty: keypoints of one photo err
        together, so that their number alone would promise too much.
    """
    ratios = [_log_ratios(*photo) for photo in pairs]
    own = np.array([weighted_median(r, w) if len(r) >= min_keypoints else np.nan for r, w in ratios])
    if np.isnan(own).all() or np.count_nonzero(np.isfinite(own)) < 3:
        contradicting = np.zeros(len(pairs), dtype=bool)
    else:
        centre, size = np.nanmedian(own), 1.4826 * np.nanmedian(np.abs(own - np.nanmedian(own)))
        contradicting = np.abs(own - centre) > max(_CONTRADICTION, 6.0 * size)
    used = [r for r, bad in zip(ratios, contradicting, strict=True) if not bad and len(r[0])]
    log_ratio, weight = (np.concatenate([r[i] for r in used]) if used else np.empty(0) for i in (0, 1))
    if len(log_ratio) < min_keypoints:
        return None
    median = weighted_median(log_ratio, weight)
    spread = 1.4826 * weighted_median(np.abs(log_ratio - median), weight)
    # A median's standard error is 1.25 times a mean's.
    errors = [1.2533 * spread / np.sqrt(len(log_ratio))]
    medians = own[np.isfinite(own) & ~contradicting]
    if len(medians) > 1:
        errors.append(1.2533 * 1.4826 * float(np.median(np.abs(medians - median))) / np.sqrt(len(medians)))
    return SensorScale(
        metres_per_unit=float(np.exp(median)),
        spread=spread,
        uncertainty=float(np.hypot(max(errors), _CALIBRATION)),
        num_keypoints=len(log_ratio),
        num_photos=len(used),
        contradicting=tuple(int(i) for i in np.flatnonzero(contradicting)),
    )


def _log_ratios(depth: Array, sigma: Array, metres: Array) -> tuple[Array, Array]:
    """Logarithms of metres per unit of one photo's keypoints, and their weights."""
    use = (metres > 0) & (depth > 0)
    # One percent for the sensor keeps the best keypoints from outvoting all others.
    return np.log(metres[use] / depth[use]), 1.0 / (np.square(sigma[use] / depth[use]) + 0.01**2)


def weighted_median(values: Array, weights: Array) -> float:
    """The value at which half of the weight is reached. (K,), (K,)."""
    order = np.argsort(values)
    cumulative = np.cumsum(weights[order])
    return float(values[order][np.searchsorted(cumulative, 0.5 * cumulative[-1])])


# Keypoints


def keypoint_prior(sparse: SparseDepths, width: int, height: int, *, max_relative_sigma: float = 0.1) -> DepthPrior:
    """Keypoints as a map: each depth at the pixel that contains its keypoint, nothing elsewhere.

    Keypoints with a reprojection error above 2 px or a standard deviation above ``max_relative_sigma`` of their depth
    are left out; of several in one pixel the surest stays.
    """
    good = good_keypoints(sparse, width, height, max_relative_sigma=max_relative_sigma)
    row, column = containing_pixels(sparse.xy[good])
    # The position in the pixel is lost, and triangulation is never better than half a percent.
    sigma = np.maximum(sparse.sigma[good], 0.005 * sparse.depth[good])
    depth_map = np.zeros((height, width), dtype=np.float32)
    sigma_map = np.zeros((height, width), dtype=np.float32)
    surest_last = np.argsort(-sigma, kind="stable")
    depth_map[row[surest_last], column[surest_last]] = sparse.depth[good][surest_last]
    sigma_map[row[surest_last], column[surest_last]] = sigma[surest_last]
    return DepthPrior(depth_map, sigma_map)


def good_keypoints(
    sparse: SparseDepths, width: int, height: int, *, max_relative_sigma: float = 0.1, max_error_px: float = 2.0
) -> NDArray[np.bool_]:
    """Which keypoints are inside the photo, in front of it, and known well enough to bound a ray, (K,)."""
    x, y = sparse.xy[:, 0], sparse.xy[:, 1]
    return (
        np.isfinite(sparse.depth)
        & (sparse.depth > 0)
        & (x >= 0)
        & (x < width)
        & (y >= 0)
        & (y < height)
        & (sparse.error_px <= max_error_px)
        & (sparse.sigma <= max_relative_sigma * sparse.depth)
    )


# Composite


def merge(
    *, sensor: DepthPrior | None, mono: DepthPrior | None, keypoints: DepthPrior, stereo: DepthPrior | None = None
) -> tuple[DepthPrior, NDArray[np.uint8]]:
    """The composite prior and each pixel's :class:`Source`.

    Sensor and monocular depth are averaged by inverse variance where they agree within three standard deviations; where
    they do not, the surer one counts alone. Keypoints fill pixels that have neither; stereo depth is then averaged in
    by the same rule.
    """
    depth = np.zeros_like(keypoints.depth)
    sigma = np.zeros_like(keypoints.depth)
    source = np.full(depth.shape, Source.NONE, dtype=np.uint8)
    for prior, kind in ((keypoints, Source.KEYPOINT), (mono, Source.MONO), (sensor, Source.SENSOR)):
        if prior is not None:
            has = (prior.depth > 0) & (prior.sigma > 0)
            depth[has], sigma[has], source[has] = prior.depth[has], prior.sigma[has], kind
    if sensor is not None and mono is not None:
        both = (source == Source.SENSOR) & (mono.depth > 0) & (mono.sigma > 0)
        var_sensor, var_mono = np.square(sensor.sigma[both]), np.square(mono.sigma[both])
        z_sensor, z_mono = sensor.depth[both], mono.depth[both]
        agree = np.square(z_sensor - z_mono) <= 9.0 * (var_sensor + var_mono)
        surer_mono = ~agree & (var_mono < var_sensor)
        total = var_sensor + var_mono
        averaged = (z_sensor * var_mono + z_mono * var_sensor) / total
        depth[both] = np.where(agree, averaged, np.where(surer_mono, z_mono, z_sensor))
        sigma[both] = np.where(
            agree, np.sqrt(var_sensor * var_mono / total), np.sqrt(np.where(surer_mono, var_mono, var_sensor))
        )
        source[both] = np.where(agree, Source.MERGED, np.where(surer_mono, Source.MONO, Source.SENSOR))
    if stereo is not None:
        _average_in(stereo, Source.STEREO, depth, sigma, source)
    return DepthPrior(depth, sigma), source


def _average_in(prior: DepthPrior, kind: Source, depth: Map, sigma: Map, source: NDArray[np.uint8]) -> None:
    """Averages a further prior into ``depth``, ``sigma`` and ``source`` in place, by the rule of :func:`merge`."""
    has = (prior.depth > 0) & (prior.sigma > 0)
    both, alone = has & (source != Source.NONE), has & (source == Source.NONE)
    depth[alone], sigma[alone], source[alone] = prior.depth[alone], prior.sigma[alone], kind
    var, var_new = np.square(sigma[both]), np.square(prior.sigma[both])
    z, z_new, total = depth[both], prior.depth[both], var + var_new
    agree = np.square(z - z_new) <= 9.0 * total
    surer_new = ~agree & (var_new < var)
    depth[both] = np.where(agree, (z * var_new + z_new * var) / total, np.where(surer_new, z_new, z))
    sigma[both] = np.sqrt(np.where(agree, var * var_new / total, np.minimum(var, var_new)))
    source[both] = np.where(agree, Source.MERGED, np.where(surer_new, kind, source[both]))


def leave_out(
    prior: DepthPrior, source: NDArray[np.uint8], used: NDArray[np.bool_]
) -> tuple[DepthPrior, NDArray[np.uint8]]:
    """The prior and its sources (H, W) without the pixels that a mask leaves out."""
    nothing = np.float32(0.0)
    cut = DepthPrior(np.where(used, prior.depth, nothing), np.where(used, prior.sigma, nothing))
    return cut, np.where(used, source, np.uint8(Source.NONE))
