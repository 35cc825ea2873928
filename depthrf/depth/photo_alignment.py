"""One photo's monocular map brought to its keypoints: the fit, how far to trust it, and depth with its deviation."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from depthrf.depth.alignment import MIN_KEYPOINTS, search_affine
from depthrf.depth.correction import FieldFit, Smoothness, best_field
from depthrf.geometry.camera import DepthPrior, SparseDepths, containing_pixels

Array = NDArray[np.float64]

# Corrections that are tried where enough keypoints support one.
CORRECTIONS = (Smoothness(0.06, 0.5), Smoothness(0.06, 0.25))
_MIN_FOR_CORRECTION = 15
_BIN = 20  # keypoints that make a bin of depth
_NETWORK_ERROR = 0.06
_NUM_STARTS, _ONE_START_FROM = 4, 200
# A scale less sure than this share of itself is none.
_MAX_SCALE_DOUBT = 0.33
# Beyond this share of depth the fit itself says nothing.
_MAX_RELATIVE = 0.5


@dataclass(frozen=True)
class Anchors:
    """Known depths of one photo: places xy (K, 2) pixels, depth and sigma (K,) scene units, weight (K,) up to 1."""

    xy: Array
    depth: Array
    sigma: Array
    weight: Array

    @classmethod
    def of_keypoints(cls, sparse: SparseDepths) -> Anchors:
        """Keypoints; short tracks and large reprojection errors weigh less. sigma holds the triangulation angle."""
        by_track = np.array([0.0, 0.0, 0.5, 0.8])[np.minimum(sparse.track_length, 3)]
        by_track = np.where(sparse.track_length > 3, 1.0, by_track)
        return cls(sparse.xy, sparse.depth, sparse.sigma, by_track / (1.0 + 0.25 * np.square(sparse.error_px)))

    def joined(self, other: Anchors) -> Anchors:
        """Both, these first."""
        names = ("xy", "depth", "sigma", "weight")
        return Anchors(*(np.concatenate([getattr(self, n), getattr(other, n)]) for n in names))

    def __len__(self) -> int:
        return len(self.depth)


@dataclass(frozen=True)
class PhotoAlignment:
    """How one photo was aligned.

    grade: A (hundred keypoints agree, deviation below 5 %), B (thirty, 10 %), C (fewer or looser), D (rests on
    neighbouring photos), F (none: ``reason`` says why and there is no depth). num_used, num_agreeing: keypoints of
    the photo's own. num_borrowed: anchors from neighbours. median_rel_residual: over agreeing keypoints.
    typical_sigma: median standard deviation over the map, as a share of depth. held_out: mean logarithmic density of
    own keypoints when predicted from the others; larger is better. noise_by_depth: logarithms of depth (B,) and the
    factor (B,) by which the network's noise differs there.
    """

    kind: str
    grade: str
    reason: str
    num_used: int
    num_agreeing: int = 0
    num_borrowed: int = 0
    median_rel_residual: float = float("inf")
    typical_sigma: float = float("inf")
    held_out: float = float("-inf")
    fit: FieldFit | None = None
    noise_by_depth: tuple[Array, Array] = (np.zeros(1), np.ones(1))

    @property
    def accepted(self) -> bool:
        return self.grade != "F"

    def depth(self, prediction: Array) -> DepthPrior:
        """Depth and standard deviation (H, W), without the doubt at depth edges; 0 where there is none."""
        if self.fit is None:
            return DepthPrior(*(np.zeros(prediction.shape, dtype=np.float32) for _ in range(2)))
        log_y, var = self.fit.over(prediction)
        log_depth = np.where(np.isfinite(log_y), log_y if self.kind == "depth" else -log_y, 0.0)
        relative = np.sqrt(var + np.square(self.fit.noise.network * np.interp(log_depth, *self.noise_by_depth)))
        valid = np.isfinite(log_y) & (relative < _MAX_RELATIVE)
        depth = np.exp(log_depth)
        masked = (np.where(valid, values, 0.0).astype(np.float32) for values in (depth, relative * depth))
        return DepthPrior(*masked)


def align_photo(
    prediction: Array,
    own: Anchors,
    *,
    kind: str,
    generator: np.random.Generator,
    borrowed: Anchors | None = None,
) -> PhotoAlignment:
    """Fits scale, shift and, where it pays, a smooth correction to a photo's keypoints and what neighbours lend.

    Args:
        prediction: (H, W) network output; nan where it is saturated.
        own: The photo's keypoints.
        kind: ``depth`` or ``inverse_depth``.
        generator: For the search.
        borrowed: Depths that neighbouring photos see here.
    """
    own = _inside(own, prediction)
    both = own if borrowed is None else own.joined(_inside(borrowed, prediction))
    refused = PhotoAlignment(kind, "F", "", len(own), num_borrowed=len(both) - len(own))
    if len(both) < MIN_KEYPOINTS:
        return replace(refused, reason=f"only {len(both)} usable keypoints; at least {MIN_KEYPOINTS} are needed")
    x, places = _sample(prediction, both.xy), both.xy / max(prediction.shape)
    if np.ptp(x) <= 1e-9 * max(1.0, float(np.abs(x).max())):
        return replace(refused, reason="the network gives the same value at all keypoints")
    y, relative = both.depth if kind == "depth" else 1.0 / both.depth, both.sigma / both.depth
    doubt = y * np.hypot(relative, _NETWORK_ERROR)
    # With many keypoints the best start is the right one.
    number = _NUM_STARTS if len(both) < _ONE_START_FROM else 1
    starts = search_affine(x, y, doubt, generator, weight=both.weight, number=number)
    if not starts:
        return replace(refused, reason="no positive scale fits the keypoints")
    choices = CORRECTIONS if len(both) >= _MIN_FOR_CORRECTION else ()
    fit = best_field(x, y, places, relative, starts=starts, choices=choices, prior_weight=both.weight)
    by_depth = _noise_by_depth(fit, np.log(both.depth), relative)
    return _judged(replace(refused, fit=fit, noise_by_depth=by_depth), prediction, len(own))


def _noise_by_depth(fit: FieldFit, log_depth: Array, sigma: Array) -> tuple[Array, Array]:
    """Root mean square of believed keypoints' residuals over what is expected of them, in bins of equal number."""
    believed = np.flatnonzero(fit.honesty > 0.5)
    expected = np.square(fit.noise.network) + np.square(fit.noise.factor * sigma[believed])
    squared = np.square(fit.residual[believed]) / expected
    num_bins = int(np.clip(len(believed) // _BIN, 1, 6))
    bins = np.array_split(np.argsort(log_depth[believed]), num_bins)
    centres = np.array([np.median(log_depth[believed[b]]) if len(b) else 0.0 for b in bins])
    # As many more at the expected size keep a small bin from claiming much.
    factors = np.array([np.sqrt((squared[b].sum() + _BIN) / (len(b) + _BIN)) for b in bins])
    return centres, factors


def _judged(found: PhotoAlignment, prediction: Array, num_own: int) -> PhotoAlignment:
    """With grade and numbers; F where the keypoints contradict the fit or leave it open."""
    fit = found.fit
    assert fit is not None
    agreeing = fit.honesty[:num_own] > 0.5
    believed = fit.honesty > 0.5
    residual = np.abs(np.expm1(-fit.residual[believed]))
    median = float(np.median(residual)) if believed.any() else float("inf")
    _, var = fit.over(prediction[::4, ::4])
    typical = float(np.median(np.sqrt(var[np.isfinite(var)] + fit.noise.network**2))) if np.isfinite(var).any() else 1.0
    found = replace(
        found,
        num_agreeing=int(agreeing.sum()),
        median_rel_residual=median,
        typical_sigma=typical,
        held_out=float(fit.held_out[:num_own].mean()) if num_own else float("-inf"),
    )
    reason = _reason_to_refuse(found, int(believed.sum()), len(believed))
    if reason:
        return replace(found, grade="F", reason=reason, fit=None)
    return replace(found, grade=_grade(found))


def _reason_to_refuse(found: PhotoAlignment, num_believed: int, num_all: int) -> str:
    if found.num_used and found.num_agreeing < 0.4 * found.num_used and found.num_borrowed:
        return f"only {found.num_agreeing} of {found.num_used} keypoints agree with the neighbouring photos"
    if num_believed < max(7, 0.4 * num_all):
        return f"only {num_believed} of {num_all} keypoints agree on one scale and shift"
    if found.median_rel_residual > 0.15:
        return f"the median residual is {found.median_rel_residual:.0%} of the depth"
    # A smooth correction can follow a simple scene by itself; the network has to have a share in it.
    if found.fit is not None and np.sqrt(found.fit.covariance[0, 0]) > _MAX_SCALE_DOUBT * found.fit.scale:
        return "the keypoints lie at too similar depths, or the network's output has nothing to do with them"
    if found.typical_sigma > 0.25:
        return f"keypoints leave the depth uncertain by {found.typical_sigma:.0%}: too few, or at too similar depths"
    return ""


def _grade(found: PhotoAlignment) -> str:
    if found.num_borrowed:
        return "D"
    for grade, number, sigma in (("A", 100, 0.05), ("B", 30, 0.10)):
        if found.num_agreeing >= number and found.typical_sigma <= sigma:
            return grade
    return "C"


def _inside(anchors: Anchors, prediction: Array) -> Anchors:
    """Those inside the map, with positive depth, known deviation and a finite network output."""
    height, width = prediction.shape
    x, y = anchors.xy.T
    good = (x >= 0) & (x < width) & (y >= 0) & (y < height) & (anchors.depth > 0) & np.isfinite(anchors.sigma)
    good &= np.isfinite(anchors.depth) & (anchors.weight > 0)
    kept = np.flatnonzero(good)
    kept = kept[np.isfinite(_sample(prediction, anchors.xy[kept]))]
    return Anchors(anchors.xy[kept], anchors.depth[kept], anchors.sigma[kept], anchors.weight[kept])


def _sample(prediction: Array, xy: Array) -> Array:
    row, column = containing_pixels(xy)
    return np.asarray(prediction[row, column])
