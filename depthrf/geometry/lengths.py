"""The length between two points of a photo, and the mean of several estimates of one factor.

A point is its ray, whose direction r has camera-z = 1, and its z-depth d: it lies at d r in camera axes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from depthrf.geometry.camera import Array


@dataclass(frozen=True)
class Length:
    """A length and its standard deviation."""

    value: float
    deviation: float


def length_between(directions: Array, depth: Array, sigma: Array, *, angle: float) -> Length:
    """The distance of two points of one photo.

    How far the two depths err together is not known. Depth that errs by the same share at both points scales the
    length, depth that errs independently turns it: the larger of the two deviations is taken.

    Args:
        directions: (2, 3) rays in camera axes with z = 1.
        depth: (2,) z-depth.
        sigma: (2,) its standard deviation.
        angle: Standard deviation of where a point was pointed at, on the z = 1 plane: pixels by focal length.

    Raises:
        ValueError: The points coincide.
    """
    points = directions * depth[:, None]
    between = points[1] - points[0]
    value = float(np.linalg.norm(between))
    if value == 0.0:
        raise ValueError("the two points coincide")
    along = between / value
    of_depth = (directions @ along) * sigma * (-1.0, 1.0)  # what each depth's deviation does to the length
    of_pointing = depth * angle * np.linalg.norm(along[:2])
    deviation = np.hypot(max(np.linalg.norm(of_depth), abs(of_depth.sum())), np.linalg.norm(of_pointing))
    return Length(value, float(deviation))


@dataclass(frozen=True)
class Mean:
    """A weighted mean, its standard deviation, and how many times the estimates spread as they should (1 or more)."""

    value: float
    deviation: float
    spread: float


def weighted_mean(values: Sequence[float], deviations: Sequence[float]) -> Mean:
    """The mean of estimates of one positive factor, by their relative variances, on a logarithmic scale.

    Where they spread more than their deviations allow, the mean's is increased by that much (Birge 1932, "The
    calculation of errors by the method of least squares").
    """
    logs = np.log(np.asarray(values))
    weights = 1.0 / np.square(np.asarray(deviations) / np.asarray(values))
    mean = float(np.average(logs, weights=weights))
    freedom = max(1, len(logs) - 1)
    spread = max(1.0, float(np.sqrt(weights @ np.square(logs - mean) / freedom)))
    factor = float(np.exp(mean))
    return Mean(factor, factor * spread / float(np.sqrt(weights.sum())), spread)
