"""Robust statistics that the fits of this package share."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

MAD_TO_SIGMA = 1.4826
"""A Gaussian's standard deviation over its median absolute deviation."""


def weighted_median(values: Array, weights: Array) -> float:
    """The value at which half of the weight is reached. (K,), (K,)."""
    order = np.argsort(values)
    cumulative = np.cumsum(weights[order])
    return float(values[order][np.searchsorted(cumulative, 0.5 * cumulative[-1])])
