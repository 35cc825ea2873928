"""One depth prior a photo, depth and standard deviation, from keypoints, monocular, stereo and sensor depth.

Maps are (H, W), in scene units; 0 means no depth.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from depthrf.geometry.camera import DepthPrior, SparseDepths, containing_pixels

Map = NDArray[np.float32]
Mask = NDArray[np.bool_]

# Two depths of a pixel agree when they differ by no more than this many standard deviations of their difference.
_AGREE = 3.0
# Relative sigma below which stereo does not count beside a network: it is measured where matching is easiest.
_STEREO_MIN_SIGMA = 0.01


class Source(IntEnum):
    """Where a pixel's depth comes from."""

    NONE = 0
    KEYPOINT = 1
    MONO = 2
    SENSOR = 3
    MERGED = 4
    STEREO = 5
    FILLED = 6


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
) -> Mask:
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


def merge(
    *,
    keypoints: DepthPrior,
    mono: DepthPrior | None = None,
    sensor: DepthPrior | None = None,
    stereo: DepthPrior | None = None,
    stereo_wins: Mask | None = None,
) -> tuple[DepthPrior, NDArray[np.uint8]]:
    """The merged prior and each pixel's :class:`Source`.

    Monocular and sensor depth are averaged by inverse variance where they agree; where they do not, the one with the
    smaller sigma counts alone. A keypoint counts where its pixel has neither. Stereo depth is then averaged in. Its
    error and that of what was aligned to it go together, so that sigma does not fall.

    Args:
        keypoints, mono, sensor, stereo: Depth and sigma (H, W).
        stereo_wins: (H, W) where stereo and monocular depth disagree, whether other photos confirm stereo; None where
            they have not been asked, and the smaller sigma decides.
    """
    composite = _Composite.empty(keypoints.depth.shape)
    if mono is not None:
        composite = composite.averaged(mono, Source.MONO)
    if sensor is not None:
        composite = composite.averaged(sensor, Source.SENSOR)
    composite = composite.filled(keypoints, Source.KEYPOINT)
    if stereo is not None:
        if mono is not None:
            floor = np.float32(_STEREO_MIN_SIGMA) * stereo.depth
            stereo = DepthPrior(stereo.depth, np.where(_known(stereo), np.maximum(stereo.sigma, floor), 0))
        composite = composite.averaged(stereo, Source.STEREO, new_wins=stereo_wins, together=mono is not None)
    return DepthPrior(composite.depth, composite.sigma), composite.source


def disagreement(first: DepthPrior, second: DepthPrior) -> Mask:
    """Where both have depth and their difference is larger than their standard deviations allow, (H, W)."""
    both = _known(first) & _known(second)
    return both & ~_agree(first.depth - second.depth, np.square(first.sigma) + np.square(second.sigma))


def _known(prior: DepthPrior) -> Mask:
    return np.asarray((prior.depth > 0) & (prior.sigma > 0))


def _agree(difference: Map, var: Map) -> Mask:
    return np.asarray(np.square(difference) <= _AGREE**2 * var)


@dataclass(frozen=True)
class _Composite:
    """Depth, sigma and source (H, W) of what has been merged so far."""

    depth: Map
    sigma: Map
    source: NDArray[np.uint8]

    @classmethod
    def empty(cls, shape: tuple[int, ...]) -> _Composite:
        zeros = np.zeros(shape, dtype=np.float32)
        return cls(zeros, zeros, np.full(shape, Source.NONE, dtype=np.uint8))

    def filled(self, prior: DepthPrior, kind: Source) -> _Composite:
        """With another prior where there is nothing yet."""
        return self._taken(prior, _known(prior) & (self.source == Source.NONE), kind)

    def averaged(
        self, prior: DepthPrior, kind: Source, *, new_wins: Mask | None = None, together: bool = False
    ) -> _Composite:
        """With another prior averaged in by inverse variance.

        Args:
            prior: Depth and sigma (H, W).
            kind: Its source.
            new_wins: (H, W) which one to take where they disagree; None: the one with the smaller sigma.
            together: Their errors go together: sigma is averaged too, instead of falling.
        """
        has = _known(prior)
        both = has & (self.source != Source.NONE)
        var, var_new = np.square(self.sigma), np.square(prior.sigma)
        total = np.where(both, var + var_new, np.float32(1.0))
        agree = both & _agree(self.depth - prior.depth, total)
        wins = var_new <= var if new_wins is None else new_wins
        taken = self._taken(prior, has & ~agree & (wins | ~both), kind)
        mean_sigma = (self.sigma * var_new + prior.sigma * var) / total
        sigma = mean_sigma if together else np.sqrt(var * var_new / total)
        return _Composite(
            np.where(agree, (self.depth * var_new + prior.depth * var) / total, taken.depth),
            np.where(agree, sigma, taken.sigma),
            np.where(agree, np.uint8(Source.MERGED), taken.source),
        )

    def _taken(self, prior: DepthPrior, where: Mask, kind: Source) -> _Composite:
        return _Composite(
            np.where(where, prior.depth, self.depth),
            np.where(where, prior.sigma, self.sigma),
            np.where(where, np.uint8(kind), self.source),
        )


def leave_out(prior: DepthPrior, source: NDArray[np.uint8], used: Mask) -> tuple[DepthPrior, NDArray[np.uint8]]:
    """The prior and its sources (H, W) without the pixels that a mask leaves out."""
    nothing = np.float32(0.0)
    cut = DepthPrior(np.where(used, prior.depth, nothing), np.where(used, prior.sigma, nothing))
    return cut, np.where(used, source, np.uint8(Source.NONE))
