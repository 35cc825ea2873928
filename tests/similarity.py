"""The best similarity between two sets of points: how tests and benchmarks lay a model over the truth."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from depthrf.geometry.transforms import Similarity

Array = NDArray[np.float64]


def fit_similarity(points_b: Array, points_a: Array) -> Similarity:
    """Least-squares ``a_from_b`` similarity between matched points (N, 3) (Umeyama 1991, eqs. 34-43)."""
    mean_a, mean_b = points_a.mean(0), points_b.mean(0)
    centred_a, centred_b = points_a - mean_a, points_b - mean_b
    u, singular, vt = np.linalg.svd(centred_a.T @ centred_b / len(points_a))
    sign = np.array([1.0, 1.0, np.sign(np.linalg.det(u @ vt))])
    rotation = (u * sign) @ vt
    variance_b = float((centred_b**2).sum() / len(points_b))
    scale = float((singular * sign).sum()) / variance_b if variance_b > 0 else 1.0
    return Similarity(scale, rotation, mean_a - scale * rotation @ mean_b)
