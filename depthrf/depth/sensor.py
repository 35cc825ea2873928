"""Depth from a sensor: cleaning, its standard deviation, and the scale that it gives a scene.

Maps are (H, W); 0 means no depth. Sensor depth is in metres, keypoints are in scene units.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from depthrf.depth.edges import edge_sigma, surface_step
from depthrf.depth.robust import MAD_TO_SIGMA, weighted_median

Map = NDArray[np.float32]
Array = NDArray[np.float64]

# Log ratio to the other photos beyond which a photo's sensor depth belongs to something else.
_CONTRADICTION = 0.25
# Relative error of a sensor's own calibration, which no number of keypoints averages out.
_CALIBRATION = 0.005
# A map follows the scene if its ratios to the keypoints' depth vary less than this, or than this share of what one
# value everywhere would do. Sensors vary by 0.01 to 0.03.
_VARIATION, _OF_ONE_VALUE, _ENOUGH = 0.05, 0.7, 30


@dataclass(frozen=True)
class SensorScale:
    """``metres_per_unit`` with how it was found.

    relative_deviation: robust relative standard deviation of single ratios. uncertainty: relative standard deviation of
    ``metres_per_unit`` itself. num_keypoints, num_photos: what it rests on. contradicting: indices of photos whose
    sensor depth differs from the others' by a factor of its own; they are not part of it.
    """

    metres_per_unit: float
    relative_deviation: float
    uncertainty: float
    num_keypoints: int
    num_photos: int
    contradicting: tuple[int, ...] = ()


@dataclass(frozen=True)
class SensorRange:
    """Of all pixels with sensor depth: shares that are too near and too far to be used, and the median, metres."""

    share_near: float
    share_far: float
    median: float

    @property
    def likely_factor(self) -> float | None:
        """The factor by which the maps' unit is most likely off; None where the distances are those of a room.

        Only a median that is out of the ordinary, with much out of range, is taken as a sign.
        """
        if self.share_near + self.share_far < 0.1:
            return None
        if self.median > 4.5:
            factors = (0.2, 0.1, 0.001)
        elif self.median < 0.15:
            factors = (5.0, 10.0, 1000.0)
        else:
            return None
        return next((factor for factor in factors if 0.5 <= factor * self.median <= 4.0), None)


def sensor_range(maps: Iterable[Map], *, near: float, far: float) -> SensorRange | None:
    """How much of some maps (H, W), metres, 0 = missing, lies between ``near`` and ``far``; None without depth."""
    known = [depth[np.isfinite(depth) & (depth > 0)] for depth in maps]
    count = sum(len(values) for values in known)
    if not count:
        return None
    too_near = sum(int(np.count_nonzero(values < near)) for values in known)
    too_far = sum(int(np.count_nonzero(values > far)) for values in known)
    median = float(np.median(np.concatenate([values[:: max(1, len(values) // 10_000)] for values in known])))
    return SensorRange(too_near / count, too_far / count, median)


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
        centre, size = np.nanmedian(own), MAD_TO_SIGMA * np.nanmedian(np.abs(own - np.nanmedian(own)))
        contradicting = np.abs(own - centre) > max(_CONTRADICTION, 6.0 * size)
    used = [r for r, bad in zip(ratios, contradicting, strict=True) if not bad and len(r[0])]
    log_ratio = np.concatenate([ratio for ratio, _ in used] or [np.empty(0)])
    weight = np.concatenate([w for _, w in used] or [np.empty(0)])
    if len(log_ratio) < min_keypoints:
        return None
    median = weighted_median(log_ratio, weight)
    deviation = _deviation(log_ratio, weight)
    # A median's standard error is 1.25 times a mean's.
    errors = [1.2533 * deviation / np.sqrt(len(log_ratio))]
    medians = own[np.isfinite(own) & ~contradicting]
    if len(medians) > 1:
        errors.append(1.2533 * MAD_TO_SIGMA * float(np.median(np.abs(medians - median))) / np.sqrt(len(medians)))
    return SensorScale(
        metres_per_unit=float(np.exp(median)),
        relative_deviation=deviation,
        uncertainty=float(np.hypot(max(errors), _CALIBRATION)),
        num_keypoints=len(log_ratio),
        num_photos=len(used),
        contradicting=tuple(int(i) for i in np.flatnonzero(contradicting)),
    )


def follows_scene(depth: Array, sigma: Array, metres: Array) -> bool:
    """Whether a photo's sensor depth varies as the depth of its keypoints does, as far as they can tell.

    One value everywhere does not, nor does the depth of another photo.

    Args:
        depth, sigma, metres: As a photo of :func:`sensor_scale`.
    """
    use = (metres > 0) & (depth > 0)
    if np.count_nonzero(use) < _ENOUGH:
        return True
    ratios, weights = _log_ratios(depth, sigma, metres)
    deviation, of_one_value = _deviation(ratios, weights), _deviation(np.log(depth[use]), weights)
    return deviation < max(_VARIATION, _OF_ONE_VALUE * of_one_value)


def _deviation(values: Array, weights: Array) -> float:
    return MAD_TO_SIGMA * weighted_median(np.abs(values - weighted_median(values, weights)), weights)


def _log_ratios(depth: Array, sigma: Array, metres: Array) -> tuple[Array, Array]:
    """Logarithms of metres per unit of one photo's keypoints, and their weights."""
    use = (metres > 0) & (depth > 0)
    # One percent for the sensor keeps the best keypoints from outvoting all others.
    return np.log(metres[use] / depth[use]), 1.0 / (np.square(sigma[use] / depth[use]) + 0.01**2)
