"""Scale, shift and a smooth correction of a monocular map, fitted together to keypoints that may be wrong.

Notation: x is the network's output, y is depth or inverse depth (by kind), u a place in the photo in [0, 1] of its
longer side. The model is ``log y = log(scale x + shift) + h(u) + noise``. The correction h is a Gaussian process in
its reduced-rank form (Solin & Särkkä 2020, "Hilbert space methods for reduced-rank Gaussian process regression",
eq. 20): cosines over the photo whose coefficients have the variances of a squared-exponential kernel's spectral
density. Any number of keypoints then costs one small ridge regression. Noise is a mixture, Gaussian for inliers and
uniform for outliers; expectation-maximisation gives each keypoint the probability that it is an inlier.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

_ORDER = 7
# The cosines are flat at their domain's border; this margin keeps that border off the photo.
_MARGIN = 0.15
# Density of an outlier in log depth: anywhere within a factor of e either way.
_OUTLIER_DENSITY = 0.5
_NETWORK_NOISE = np.geomspace(0.015, 0.25, 8)
# A correction is used when it gains this many standard errors on held-out keypoints.
_PAYS = 0.3
_KEYPOINT_FACTORS = np.array([1.0, 1.7, 3.0, 5.0])


@dataclass(frozen=True)
class Smoothness:
    """Prior of the correction: standard deviation as a share of depth, and length as a share of the longer side."""

    deviation: float
    length: float


@dataclass(frozen=True)
class Noise:
    """The noise of known depths.

    network, factor: an inlier's log depth has the variance network² + (factor · sigma / depth)². outliers: their share.
    """

    network: float
    factor: float
    outliers: float


@dataclass(frozen=True)
class FieldFit:
    """A fit of scale, shift and correction.

    coefficients: (M,) of the correction. covariance: (2 + M, 2 + M) of scale, shift and coefficients together.
    inlier: (K,) probability that each keypoint is an inlier. held_out: (K,) log density of each keypoint, predicted
    from the others. residual: (K,) of log y, predicted from the others.
    """

    scale: float
    shift: float
    smoothness: Smoothness | None
    noise: Noise
    coefficients: Array = field(repr=False)
    covariance: Array = field(repr=False)
    inlier: Array = field(repr=False)
    held_out: Array = field(repr=False)
    residual: Array = field(repr=False)

    def over(self, prediction: Array) -> tuple[Array, Array]:
        """log y of a whole map and its variance, (H, W) each; nan where y is not positive.

        The correction is smooth, so a coarse grid of it is enough.
        """
        import cv2

        height, width = prediction.shape
        rows, columns = min(height, 48), min(width, 64)
        v = (np.arange(rows) + 0.5) * (height / rows)
        u = (np.arange(columns) + 0.5) * (width / columns)
        phi = features(np.stack(np.meshgrid(u, v), axis=-1) / max(height, width), self.smoothness)
        cross, own = self.covariance[:2, 2:], self.covariance[2:, 2:]

        def enlarged(values: Array) -> Array:
            return np.asarray(cv2.resize(values, (width, height), interpolation=cv2.INTER_LINEAR))

        h, var_h = enlarged(phi @ self.coefficients), enlarged(((phi @ own) * phi).sum(axis=-1))
        with_scale, with_shift = enlarged(phi @ cross[0]), enlarged(phi @ cross[1])
        x = np.where(np.isfinite(prediction), prediction, 0.0)
        y = self.scale * x + self.shift
        valid = np.isfinite(prediction) & (y > 1e-9)
        inverse = 1.0 / np.where(valid, y, 1.0)
        a, b = x * inverse, inverse
        (ss, st), (_, tt) = self.covariance[:2, :2]
        var = a * a * ss + 2 * a * b * st + b * b * tt + var_h + 2 * (a * with_scale + b * with_shift)
        log_y = np.where(valid, h - np.log(inverse), np.nan)
        return log_y, np.where(valid, np.maximum(var, 0.0), np.nan)


def features(u: Array, smoothness: Smoothness | None) -> Array:
    """Cosines at places (..., 2), each scaled so that a standard normal coefficient has the prior's variance. (..., M).

    The constant is left out: it is the scale's. Without ``smoothness`` there are none.
    """
    if smoothness is None:
        return np.zeros((*u.shape[:-1], 0))
    extent = 1.0 + 2.0 * _MARGIN
    frequency = np.pi * np.arange(_ORDER) / extent
    waves = np.cos(frequency * (u[..., None] + _MARGIN)) * np.where(np.arange(_ORDER) > 0, np.sqrt(2.0), 1.0)
    density = np.exp(-0.5 * np.square(smoothness.length * frequency))
    density /= density.sum()
    each = waves * np.sqrt(density)
    both = smoothness.deviation * each[..., 0, :, None] * each[..., 1, None, :]
    return np.asarray(both.reshape(*u.shape[:-1], _ORDER**2)[..., 1:])


def fit_field(
    x: Array,
    y: Array,
    u: Array,
    sigma: Array,
    *,
    start: tuple[float, float],
    smoothness: Smoothness | None,
    prior_weight: Array | None = None,
    iterations: int = 10,
) -> FieldFit:
    """Maximum-posterior scale, shift and correction by Gauss-Newton steps inside expectation-maximisation.

    Args:
        x: (K,) network output.
        y: (K,) depth or inverse depth, positive.
        u: (K, 2) places.
        sigma: (K,) relative standard deviation that is claimed for y.
        start: Scale and shift to start from; the scale positive.
        smoothness: Prior of the correction; None for scale and shift alone.
        prior_weight: (K,) how much each keypoint counts at most; 1 when None.
        iterations: Of expectation-maximisation.
    """
    phi, cap = features(u, smoothness), np.ones(len(x)) if prior_weight is None else prior_weight
    scale, shift = start
    coefficients, leverage = np.zeros(phi.shape[1]), np.zeros(len(x))
    noise = Noise(0.04, 2.0, 0.2)
    prior = np.diag([1e-10, 1e-10] + [1.0] * phi.shape[1])
    for _ in range(iterations):
        fitted = scale * x + shift
        valid = fitted > 0.02 * y
        safe = np.where(valid, fitted, y)
        residual = np.where(valid, np.log(y / safe), 3.0)
        noise, inlier, var = _explain(residual - phi @ coefficients, leverage, sigma, noise, cap)
        weight = cap * inlier * valid / var
        design = np.concatenate([(x / safe)[:, None], (1.0 / safe)[:, None], phi], axis=1)
        normal = design.T @ (design * weight[:, None])
        # Columns of equal size keep the inverse well conditioned whatever the units of x and y are.
        size = np.sqrt(np.maximum(np.diag(normal), 1e-30))
        size[2:] = 1.0
        covariance = np.linalg.inv(normal / np.outer(size, size) + prior) / np.outer(size, size)
        step = covariance @ (design.T @ (weight * residual))
        leverage = np.minimum(weight * ((design @ covariance) * design).sum(axis=1), 0.95)
        share = 1.0 if scale + step[0] > 0 else 0.5 * scale / -step[0]
        scale, shift, coefficients = scale + share * step[0], shift + share * step[1], step[2:]
    fitted = scale * x + shift
    valid = fitted > 0.02 * y
    final = np.where(valid, np.log(y / np.where(valid, fitted, y)), 3.0) - phi @ coefficients
    held_out = final / (1.0 - leverage)
    var = np.square(noise.network) + np.square(noise.factor * sigma)
    density = _mixture(held_out, var / (1.0 - leverage), noise.outliers)
    return FieldFit(scale, shift, smoothness, noise, coefficients, covariance, inlier * valid, density, held_out)


def best_field(
    x: Array,
    y: Array,
    u: Array,
    sigma: Array,
    *,
    starts: Sequence[tuple[float, float]],
    choices: Sequence[Smoothness],
    prior_weight: Array | None = None,
) -> FieldFit:
    """The fit that predicts held-out keypoints best, over several starts and kinds of correction.

    A correction is used when it predicts them better by more than chance. Arguments are those of :func:`fit_field`,
    with ``starts`` and ``choices`` in place of ``start`` and ``smoothness``.
    """

    def fit(smoothness: Smoothness | None) -> FieldFit:
        every = [fit_field(x, y, u, sigma, start=s, smoothness=smoothness, prior_weight=prior_weight) for s in starts]
        return max(every, key=lambda f: float(f.held_out.mean()))

    best = fit(None)
    for smoothness in choices:
        other = fit(smoothness)
        gain = other.held_out - best.held_out
        if gain.mean() > _PAYS * gain.std() / np.sqrt(len(gain)):
            best = other
    return best


def _explain(residual: Array, leverage: Array, sigma: Array, noise: Noise, cap: Array) -> tuple[Noise, Array, Array]:
    """The most likely noise, the probability of each keypoint to be an inlier, and the variance of inliers."""
    residual = residual / np.sqrt(1.0 - leverage)
    grid = np.meshgrid(_NETWORK_NOISE, _KEYPOINT_FACTORS)
    network, factor = grid[0].ravel(), grid[1].ravel()
    var = np.square(network)[:, None] + np.square(factor[:, None] * sigma)
    score = (cap * _mixture(residual, var, noise.outliers)).sum(axis=1)
    # Weak priors for what few keypoints leave open: a network is off by about 4 %, and SfM is twice too sure.
    score -= 0.5 * np.square(np.log(network / 0.04) / 0.8) + 0.5 * np.square(np.log(factor / 2.0) / 0.5)
    best = int(np.argmax(score))
    inlier_density = (1.0 - noise.outliers) * _normal(residual, var[best])
    inlier = inlier_density / (inlier_density + noise.outliers * _OUTLIER_DENSITY)
    outliers = ((cap * (1.0 - inlier)).sum() + 1.0) / (cap.sum() + 6.0)
    found = Noise(float(network[best]), float(factor[best]), float(np.clip(outliers, 0.02, 0.6)))
    return found, inlier, var[best]


def _mixture(residual: Array, var: Array, outliers: float) -> Array:
    """Log density of residuals under a mixture of inliers of this variance and a share of outliers."""
    return np.asarray(np.log((1.0 - outliers) * _normal(residual, var) + outliers * _OUTLIER_DENSITY))


def _normal(residual: Array, var: Array) -> Array:
    return np.asarray(np.exp(-0.5 * np.square(residual) / var) / np.sqrt(2.0 * np.pi * var))
