"""One photo's monocular map brought to its keypoints: the fit, how far to trust it, and depth with its deviation."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from depthrf.depth.aligning.correction import FieldFit, Smoothness, best_field
from depthrf.depth.aligning.fits import MIN_KEYPOINTS, NETWORK_ERROR, reason_to_refuse, search_affine
from depthrf.depth.resampling import cells_of, every_nth
from depthrf.geometry.camera import DepthPrior, SparseDepths, containing_pixels

Array = NDArray[np.float64]

# Weight of a keypoint by the number of photos that see it.
_TRACK_WEIGHT = np.array([0.0, 0.0, 0.5, 0.8, 1.0])
# Corrections that are tried where there are enough keypoints.
CORRECTIONS = (Smoothness(0.06, 0.5), Smoothness(0.06, 0.25))
_MIN_FOR_CORRECTION = 15
# Keypoints in a bin of depth.
_BIN = 20
# Stereo depth that a photo is aligned to: relative sigma at most, one pixel a cell, and the weight of all together.
_STEREO_MAX_SIGMA = 0.03
_STEREO_CELLS = 40  # along the longer side
_STEREO_WEIGHT = 300.0
_NUM_STARTS, _ONE_START_FROM = 4, 200
# Depth with a larger relative sigma is left out.
_MAX_RELATIVE = 0.5


@dataclass(frozen=True)
class Anchors:
    """Known depths of one photo.

    xy: (K, 2) pixels. depth, sigma: (K,) scene units. weight: (K,) from 0 to 1, how much each counts.
    """

    xy: Array
    depth: Array
    sigma: Array
    weight: Array

    @classmethod
    def of_keypoints(cls, sparse: SparseDepths) -> Anchors:
        """Keypoints; those of short tracks and large reprojection errors weigh less.

        The triangulation angle is in their sigma.
        """
        by_track = _TRACK_WEIGHT[np.minimum(sparse.track_length, len(_TRACK_WEIGHT) - 1)]
        return cls(sparse.xy, sparse.depth, sparse.sigma, by_track / (1.0 + 0.25 * np.square(sparse.error_px)))

    @classmethod
    def of_stereo(cls, stereo: DepthPrior) -> Anchors:
        """The surest pixel of stereo depth (H, W) in each cell of a grid over the photo.

        Pixels that are not sure to a few percent are left out. Neighbouring pixels err together, so that all of them
        count as much as some hundred keypoints.
        """
        height, width = stereo.depth.shape
        relative = np.where(stereo.depth > 0, stereo.sigma, np.inf) / np.where(stereo.depth > 0, stereo.depth, 1.0)
        rows, columns = np.nonzero(relative <= _STEREO_MAX_SIGMA)
        side = max(height, width)
        cell = cells_of(rows, side, _STEREO_CELLS) * _STEREO_CELLS + cells_of(columns, side, _STEREO_CELLS)
        order = np.lexsort((relative[rows, columns], cell))
        _, first = np.unique(cell[order], return_index=True)
        row, column = rows[order[first]], columns[order[first]]
        weight = np.full(len(row), min(1.0, _STEREO_WEIGHT / max(len(row), 1)))
        depth, sigma = stereo.depth[row, column].astype(np.float64), stereo.sigma[row, column].astype(np.float64)
        return cls(np.stack([column + 0.5, row + 0.5], axis=-1), depth, sigma, weight)

    def joined(self, other: Anchors) -> Anchors:
        """Both, these first."""
        names = ("xy", "depth", "sigma", "weight")
        return Anchors(*(np.concatenate([getattr(self, n), getattr(other, n)]) for n in names))

    def __len__(self) -> int:
        return len(self.depth)


@dataclass(frozen=True)
class PhotoAlignment:
    """How one photo was aligned.

    kind: ``depth`` or ``inverse_depth``. grade: A (at least 100 known depths agree, typical deviation below 5 %),
    B (30, 10 %), C (fewer, or less certain), D (rests on neighbouring photos), F (refused; ``reason`` says why, and
    there is no depth). num_used: known depths of the photo's own, keypoints and stereo pixels. num_stereo: how many of
    them are stereo pixels. num_agreeing: how many of them agree with the fit. num_borrowed: depths from neighbouring
    photos. median_rel_residual: over the depths that agree. typical_sigma: median over the map of the standard
    deviation as a share of depth. held_out: mean log density of the photo's own depths, each predicted from the others.
    noise_by_depth: log depths (B,) and the factor (B,) by which the network's noise differs there.
    """

    kind: str
    grade: str
    reason: str
    num_used: int
    num_stereo: int = 0
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
            nothing = np.zeros(prediction.shape, dtype=np.float32)
            return DepthPrior(nothing, nothing)
        log_y, var = self.fit.over(prediction)
        log_depth = np.where(np.isfinite(log_y), log_y if self.kind == "depth" else -log_y, 0.0)
        relative = np.sqrt(var + np.square(self.fit.noise.network * np.interp(log_depth, *self.noise_by_depth)))
        valid = np.isfinite(log_y) & (relative < _MAX_RELATIVE)
        depth = np.where(valid, np.exp(log_depth), 0.0)
        sigma = np.where(valid, relative * depth, 0.0)
        return DepthPrior(depth.astype(np.float32), sigma.astype(np.float32))


def align_photo(
    prediction: Array,
    keypoints: Anchors,
    *,
    kind: str,
    generator: np.random.Generator,
    stereo: Anchors | None = None,
    borrowed: Anchors | None = None,
) -> PhotoAlignment:
    """Fits scale, shift and, where it helps, a smooth correction to the depths that are known in a photo.

    Args:
        prediction: (H, W) network output; nan where it is saturated.
        keypoints: The photo's keypoints.
        kind: ``depth`` or ``inverse_depth``.
        generator: For the search.
        stereo: Pixels of the photo whose depth stereo is sure of.
        borrowed: Depths that neighbouring photos see here.
    """
    own = _inside(keypoints, prediction)
    num_stereo = 0
    if stereo is not None:
        usable = _inside(stereo, prediction)
        own, num_stereo = own.joined(usable), len(usable)
    known = own if borrowed is None else own.joined(_inside(borrowed, prediction))
    refused = PhotoAlignment(kind, "F", "", len(own), num_stereo=num_stereo, num_borrowed=len(known) - len(own))
    if len(known) < MIN_KEYPOINTS:
        return replace(refused, reason=f"only {len(known)} usable keypoints; at least {MIN_KEYPOINTS} are needed")
    x, places = _sample(prediction, known.xy), known.xy / max(prediction.shape)
    if np.ptp(x) <= 1e-9 * max(1.0, float(np.abs(x).max())):
        return replace(refused, reason="the network gives the same value at all keypoints")
    y = known.depth if kind == "depth" else 1.0 / known.depth
    relative = known.sigma / known.depth
    starts = search_affine(
        x,
        y,
        y * np.hypot(relative, NETWORK_ERROR),
        generator,
        weight=known.weight,
        # With many known depths the best start is the right one.
        number=_NUM_STARTS if len(known) < _ONE_START_FROM else 1,
    )
    if not starts:
        return replace(refused, reason="no positive scale fits the keypoints")
    choices = CORRECTIONS if len(known) >= _MIN_FOR_CORRECTION else ()
    fit = best_field(x, y, places, relative, starts=starts, choices=choices, prior_weight=known.weight)
    by_depth = _noise_by_depth(fit, np.log(known.depth), relative)
    return _judged(replace(refused, fit=fit, noise_by_depth=by_depth), prediction, len(own))


def _noise_by_depth(fit: FieldFit, log_depth: Array, sigma: Array) -> tuple[Array, Array]:
    """Root mean square of inliers' residuals over the expected ones, in bins of depth of equal number."""
    inliers = np.flatnonzero(fit.inlier > 0.5)
    expected = np.square(fit.noise.network) + np.square(fit.noise.factor * sigma[inliers])
    squared = np.square(fit.residual[inliers]) / expected
    num_bins = int(np.clip(len(inliers) // _BIN, 1, 6))
    bins = np.array_split(np.argsort(log_depth[inliers]), num_bins)
    centres = np.array([np.median(log_depth[inliers[b]]) if len(b) else 0.0 for b in bins])
    # As many more residuals of the expected size keep a small bin from claiming much.
    factors = np.array([np.sqrt((squared[b].sum() + _BIN) / (len(b) + _BIN)) for b in bins])
    return centres, factors


def _judged(found: PhotoAlignment, prediction: Array, num_own: int) -> PhotoAlignment:
    """With its grade and numbers; refused where the known depths contradict the fit or do not determine it."""
    fit = found.fit
    assert fit is not None
    agreeing = fit.inlier[:num_own] > 0.5
    inliers = fit.inlier > 0.5
    residual = np.abs(np.expm1(-fit.residual[inliers]))
    median = float(np.median(residual)) if inliers.any() else float("inf")
    _, var = fit.over(every_nth(prediction, 4))
    typical = float(np.median(np.sqrt(var[np.isfinite(var)] + fit.noise.network**2))) if np.isfinite(var).any() else 1.0
    found = replace(
        found,
        num_agreeing=int(agreeing.sum()),
        median_rel_residual=median,
        typical_sigma=typical,
        held_out=float(fit.held_out[:num_own].mean()) if num_own else float("-inf"),
    )
    reason = _reason_to_refuse(found, int(inliers.sum()), len(inliers))
    if reason:
        return replace(found, grade="F", reason=reason, fit=None)
    return replace(found, grade=_grade(found))


def _reason_to_refuse(found: PhotoAlignment, num_inliers: int, num_all: int) -> str:
    if found.num_used and found.num_agreeing < 0.4 * found.num_used and found.num_borrowed:
        return f"only {found.num_agreeing} of {found.num_used} keypoints agree with the neighbouring photos"
    assert found.fit is not None
    # A smooth correction can follow a simple scene by itself; a doubtful scale shows that the network adds nothing.
    relative_error = float(np.sqrt(found.fit.covariance[0, 0])) / found.fit.scale
    if reason := reason_to_refuse(num_inliers, num_all, found.median_rel_residual, relative_error):
        return reason
    if found.typical_sigma > 0.25:
        return f"the depth is uncertain by {found.typical_sigma:.0%}: too few keypoints, or at too similar depths"
    return ""


def _grade(found: PhotoAlignment) -> str:
    if found.num_borrowed:
        return "D"
    for grade, number, sigma in (("A", 100, 0.05), ("B", 30, 0.10)):
        if found.num_agreeing >= number and found.typical_sigma <= sigma:
            return grade
    return "C"


def _inside(anchors: Anchors, prediction: Array) -> Anchors:
    """Those inside the map with positive depth, finite sigma and a finite network output."""
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
