"""Scale and shift of a monocular depth map, fitted to SfM keypoints.

A network's output x relates to z-depth z by ``z = scale * x + shift`` (kind ``depth``) or by
``1 / z = scale * x + shift`` (kind ``inverse_depth``); y below is z or 1 / z accordingly. The fit happens in that space
and the shift is added before any inversion.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

KINDS = ("depth", "inverse_depth")
MIN_KEYPOINTS = 8
# Error of a network besides scale and shift, as a share of depth; added to each keypoint's own standard deviation.
NETWORK_ERROR = 0.06
# A fit is refused with fewer inliers than these, a larger median residual, or a less certain scale.
MIN_INLIERS = 6
_MIN_INLIER_SHARE = 0.4
_MAX_RESIDUAL = 0.15
_MAX_SCALE_ERROR = 0.33
# Residuals beyond this many standard deviations are outliers in the search.
_OUTLIER = 2.5
_NUM_HYPOTHESES = 512


@dataclass(frozen=True)
class AffineFit:
    """The fit of one photo and how far to trust it.

    median_rel_residual: median of abs(fitted - keypoint depth) / keypoint depth over the inliers.
    covariance: (2, 2) of (scale, shift). inliers: (K,) which of the keypoints given agree.
    """

    scale: float
    shift: float
    kind: str
    num_used: int
    num_inliers: int
    median_rel_residual: float
    accepted: bool
    reason: str
    covariance: Array = field(default_factory=lambda: np.zeros((2, 2)), repr=False)
    inliers: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, dtype=bool), repr=False)

    def apply(self, prediction: Array) -> Array:
        """z-depth of network outputs, any shape; 0 where the fit would put them at or behind the camera."""
        y = self.scale * np.asarray(prediction, dtype=np.float64) + self.shift
        positive = np.isfinite(y) & (y > 1e-9)
        if self.kind == "inverse_depth":
            return np.where(positive, 1.0 / np.where(positive, y, 1.0), 0.0)
        return np.where(positive, y, 0.0)


def fit_affine(
    prediction: Array, depth: Array, sigma: Array, *, kind: str, generator: np.random.Generator
) -> AffineFit:
    """Robust scale and shift: RANSAC over random pairs (scored by truncated squares), then reweighted least squares.

    Args:
        prediction: (K,) network output at the keypoints; nan is left out.
        depth: (K,) z-depth of the keypoints, scene units.
        sigma: (K,) standard deviation of ``depth``; a keypoint's weight is the inverse of its variance.
        kind: ``depth`` or ``inverse_depth``.
        generator: Draws the pairs.

    Returns:
        A fit whose ``accepted`` is False, with the reason, when keypoints are too few or contradict it.
    """
    if kind not in KINDS:
        raise ValueError(f"kind should be one of {', '.join(KINDS)}; found {kind!r}")
    usable = np.isfinite(prediction) & np.isfinite(depth) & np.isfinite(sigma) & (depth > 0)
    x, z = prediction[usable].astype(np.float64), depth[usable].astype(np.float64)
    if len(x) < MIN_KEYPOINTS:
        return _refused(kind, len(x), f"only {len(x)} usable keypoints; at least {MIN_KEYPOINTS} are needed")
    if np.ptp(x) <= 1e-9 * max(1.0, float(np.abs(x).max())):
        return _refused(kind, len(x), "the network gives the same value at all keypoints")
    sigma_z = np.hypot(sigma[usable], NETWORK_ERROR * z)
    y, sigma_y = (z, sigma_z) if kind == "depth" else (1.0 / z, sigma_z / np.square(z))
    starts = search_affine(x, y, sigma_y, generator)
    if not starts:
        return _refused(kind, len(x), "no positive scale fits the keypoints")
    scale, shift, covariance = _refine(x, y, sigma_y, *starts[0])
    inlier = np.abs(scale * x + shift - y) <= _OUTLIER * sigma_y
    inliers = np.zeros(len(usable), dtype=bool)
    inliers[np.flatnonzero(usable)[inlier]] = True
    fit = AffineFit(scale, shift, kind, len(x), int(inlier.sum()), np.inf, True, "", covariance, inliers)
    residual = np.abs(fit.apply(x[inlier]) - z[inlier]) / z[inlier]
    median = float(np.median(residual)) if len(residual) else np.inf
    reason = reason_to_refuse(fit.num_inliers, fit.num_used, median, float(np.sqrt(covariance[0, 0])) / scale)
    return AffineFit(scale, shift, kind, len(x), int(inlier.sum()), median, not reason, reason, covariance, inliers)


def weighted_line(x: Array, y: Array, weight: Array) -> tuple[float, float, Array]:
    """Weighted least squares of ``y = scale * x + shift``: scale, shift and inverse normal matrix (2, 2).

    Both columns of the design matrix, the ones too, are multiplied by sqrt(weight).
    """
    root = np.sqrt(weight)
    design = np.stack([x * root, root], axis=1)
    (scale, shift), *_ = np.linalg.lstsq(design, y * root, rcond=None)
    return float(scale), float(shift), np.linalg.pinv(design.T @ design)


def search_affine(
    x: Array, y: Array, sigma: Array, generator: np.random.Generator, *, weight: Array | None = None, number: int = 1
) -> list[tuple[float, float]]:
    """RANSAC: positive scale and shift of the pairs of keypoints with the least truncated squared residuals.

    Args:
        x: (K,) network output.
        y: (K,) depth or inverse depth.
        sigma: (K,) standard deviation of y.
        generator: Draws the pairs.
        weight: (K,) how much each keypoint counts; equal when None.
        number: How many to return at most, best first; each has a third of its inliers to itself.

    Returns:
        Nothing when no pair gives a positive scale.
    """
    if len(x) < 2:
        return []
    first = generator.integers(0, len(x), _NUM_HYPOTHESES)
    second = (first + generator.integers(1, len(x), _NUM_HYPOTHESES)) % len(x)
    dx = x[first] - x[second]
    with np.errstate(divide="ignore", invalid="ignore"):
        scale = (y[first] - y[second]) / dx
    shift = y[first] - scale * x[first]
    positive = np.isfinite(scale) & (scale > 0)
    scale, shift = scale[positive], shift[positive]
    residual = (scale[:, None] * x + shift[:, None] - y) / sigma
    cost = np.minimum(np.square(residual), _OUTLIER**2) @ (np.ones(len(x)) if weight is None else weight)
    chosen: list[int] = []
    inliers = np.abs(residual) < _OUTLIER
    for i in np.argsort(cost):
        shared = [np.sum(inliers[i] & inliers[j]) / max(np.sum(inliers[i]), 1) for j in chosen]
        if max(shared, default=0.0) < 0.67:
            chosen.append(int(i))
        if len(chosen) == number:
            break
    return [(float(scale[i]), float(shift[i])) for i in chosen]


def _refine(x: Array, y: Array, sigma: Array, scale: float, shift: float) -> tuple[float, float, Array]:
    """Tukey-weighted least squares from the search's answer; a step to a scale that is not positive is not taken.

    The covariance is infinite when no step was possible.
    """
    covariance = np.full((2, 2), np.inf)
    for _ in range(20):
        residual = (scale * x + shift - y) / sigma
        weight = np.square(np.maximum(1.0 - np.square(residual / 4.685), 0.0)) / np.square(sigma)
        if np.count_nonzero(weight) < 3:
            break
        new_scale, new_shift, normal_inverse = weighted_line(x, y, weight)
        if new_scale <= 0:
            break
        inlier = np.abs(residual) < 4.685
        covariance = normal_inverse * max(float(np.mean(np.square(residual[inlier]))), 1e-6)
        done = abs(new_scale - scale) <= 1e-9 * scale
        scale, shift = new_scale, new_shift
        if done:
            break
    return scale, shift, covariance


def reason_to_refuse(num_inliers: int, num_used: int, median_rel_residual: float, scale_error: float) -> str:
    """Why a fit of scale and shift is not to be trusted; empty when it is.

    Args:
        num_inliers, num_used: Known depths that agree with the fit, and all that were given.
        median_rel_residual: Of the inliers, as a share of depth.
        scale_error: Standard deviation of the scale as a share of it.
    """
    if num_inliers < max(MIN_INLIERS, _MIN_INLIER_SHARE * num_used):
        return f"only {num_inliers} of {num_used} known depths agree on one scale and shift"
    if median_rel_residual > _MAX_RESIDUAL:
        return f"the median residual is {median_rel_residual:.0%} of the depth"
    if scale_error > _MAX_SCALE_ERROR:
        return "the known depths are too similar, or the network's output has nothing to do with them"
    return ""


def _refused(kind: str, num_used: int, reason: str) -> AffineFit:
    return AffineFit(1.0, 0.0, kind, num_used, 0, float("inf"), False, reason)
