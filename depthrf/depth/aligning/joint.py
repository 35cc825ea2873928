"""All photos of a scene aligned together: a photo with few keypoints borrows depth from neighbours that have many.

Aligned depth of a well-aligned photo, seen from a neighbour's camera, says there what a keypoint says. Its errors are
shared by many pixels, so all that is borrowed counts no more than a few dozen keypoints.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from depthrf.depth.aligning.fits import KINDS
from depthrf.depth.aligning.photo import Anchors, PhotoAlignment, align_photo
from depthrf.depth.resampling import every_nth, nearest
from depthrf.depth.robust import weighted_median
from depthrf.geometry.camera import DepthPrior, View, containing_pixels

Array = NDArray[np.float64]

# A photo in which more known depths agree gains nothing from others.
FEW_KEYPOINTS = 30
# All that a photo borrows counts as many keypoints as this: errors of one photo's depth go together.
_BORROWED_WEIGHT = 30.0
_MAX_BORROWED = 400
_SAMPLES = 40  # along the longer side
_SMALL_SIDE = 320  # longer side of the depth maps that are compared, pixels
# Samples that two photos have to share to be compared.
_MIN_SHARED = 60
# Log ratio of a photo's depth to that of the others from which on it contradicts them.
_CONTRADICTS = 0.15
# Log density of a keypoint that no fit explains.
_UNEXPLAINED = -2.5
# Relative depth step between neighbouring samples that makes an edge.
_FLAT = 0.05


def align_photos(
    predictions: Sequence[Array],
    keypoints: Sequence[Anchors],
    views: Sequence[View],
    *,
    kind: str | None,
    generator: np.random.Generator,
    stereo: Sequence[DepthPrior | None] | None = None,
    near: Sequence[Collection[int]] | None = None,
) -> list[PhotoAlignment]:
    """Aligns each photo to its own known depths, then those with few of them together with their neighbours.

    Args:
        predictions: Per photo, (H, W) network output on the photo's grid. They are not kept, so that they may be read
            when asked for.
        keypoints: Per photo.
        views: Per photo, in the scene of the keypoints.
        kind: ``depth`` or ``inverse_depth``; None tries both on all photos, which one network made, and takes the one
            that predicts held-out depths better.
        generator: For the robust fits.
        stereo: Per photo, depth (H, W) by stereo; None for a photo without, or for all. Not kept either.
        near: Per photo, the others that its depth is compared with; None for all.

    Returns:
        Per photo; one whose known depths contradict its neighbours' depth is refused.
    """
    dense = [None] * len(views) if stereo is None else stereo
    near = [range(len(views))] * len(views) if near is None else near
    stereo_anchors = [None if d is None else Anchors.of_stereo(d) for d in dense]

    def alone(one_kind: str) -> list[PhotoAlignment]:
        return [
            align_photo(prediction, own, kind=one_kind, generator=generator, stereo=anchors)
            for prediction, own, anchors in zip(predictions, keypoints, stereo_anchors, strict=True)
        ]

    found = alone(kind) if kind else max((alone(k) for k in KINDS), key=_evidence)
    aligned = {i: Surface.of(views[i], a.depth(predictions[i])) for i, a in enumerate(found) if a.accepted}
    doubted = contradicting(aligned, {i: found[i].num_agreeing for i in aligned}, near)
    enough = {i for i, a in enumerate(found) if a.accepted and a.num_agreeing >= FEW_KEYPOINTS and i not in doubted}
    lenders = {i: Surface.of(views[i], _surest(found[i].depth(predictions[i]), dense[i])) for i in enough}
    # Stereo stands on its own: a photo lends it even when the network's map could not be aligned to it.
    lenders |= {i: Surface.of(views[i], d) for i, d in enumerate(dense) if d is not None and i not in lenders}
    for i, before in enumerate(found):
        others = [surface for j, surface in lenders.items() if j != i and j in near[i]]
        if i in enough or not others:
            continue
        borrowed = borrow(views[i], others)
        if len(borrowed) < FEW_KEYPOINTS and i not in doubted:
            continue
        found[i] = align_photo(
            predictions[i],
            keypoints[i],
            kind=before.kind,
            generator=generator,
            stereo=stereo_anchors[i],
            borrowed=borrowed,
        )
        if i in doubted:
            found[i] = _checked(found[i], doubted[i], views[i], predictions[i], others)
    return found


def _checked(
    found: PhotoAlignment, offset: float, view: View, prediction: Array, others: Sequence[Surface]
) -> PhotoAlignment:
    """A photo that contradicted the others by a factor (its logarithm ``offset``), refused unless it agrees now."""
    if found.accepted:
        surface = Surface.of(view, found.depth(prediction))
        ratios = [r for other in others if (r := log_ratio(surface, other)) is not None]
        # A large rest means that the photo's own keypoints have outvoted the neighbours.
        if ratios and abs(np.median(ratios)) <= 0.5 * _CONTRADICTS:
            return found
    reason = (
        "the keypoints contradict the neighbouring photos: "
        f"its depth and that of the photos around it differ by {abs(np.expm1(offset)):.0%}"
    )
    return replace(found, grade="F", fit=None, reason=reason)


def _surest(aligned: DepthPrior, stereo: DepthPrior | None) -> DepthPrior:
    """Stereo depth where there is any, aligned depth elsewhere."""
    if stereo is None:
        return aligned
    has = stereo.depth > 0
    return DepthPrior(np.where(has, stereo.depth, aligned.depth), np.where(has, stereo.sigma, aligned.sigma))


def contradicting(
    aligned: Mapping[int, Surface], support: Mapping[int, int], near: Sequence[Collection[int]]
) -> dict[int, float]:
    """Photos whose depth differs from that of most others by one factor, worst first, with the log of that factor.

    Args:
        aligned: By photo.
        support: How many known depths each rests on. The others together have to rest on more than the photo itself.
        near: For each, the others that it is compared with.
    """
    ratios = {
        i: {
            j: ratio
            for j in sorted(near[i])
            if j != i and j in aligned and (ratio := log_ratio(aligned[i], aligned[j])) is not None
        }
        for i in aligned
    }
    left, found = set(aligned), dict[int, float]()
    while True:
        offset = {}
        for i in left:
            others = [j for j in ratios[i] if j in left]
            if len(others) >= 2 and sum(support[j] for j in others) > support[i]:
                weight = np.minimum([support[j] for j in others], 100)
                offset[i] = weighted_median(np.array([ratios[i][j] for j in others]), weight)
        worst = max(offset, key=lambda i: abs(offset[i]), default=None)
        if worst is None or abs(offset[worst]) < _CONTRADICTS:
            return found
        found[worst] = offset[worst]
        left.remove(worst)


def log_ratio(one: Surface, other: Surface) -> float | None:
    """Median log ratio of one photo's depth to what another sees there; None where they share too little."""
    rows = _seen_from(one.view, other)
    rows = rows[_foremost(rows, one.view)]
    height, width = one.depth.shape
    camera = one.view.camera
    row, column = containing_pixels(rows[:, :2] * (width / camera.width, height / camera.height))
    own = one.depth[row, column]
    both = own > 0
    return float(np.median(np.log(own[both] / rows[both, 2]))) if both.sum() >= _MIN_SHARED else None


@dataclass(frozen=True)
class Surface:
    """A photo's aligned depth on coarse grids.

    points: (N, 3) world coordinates of samples away from depth edges. relative: (N,) their relative sigma. depth:
    (h, w) a smaller copy of the depth map, 0 = none.
    """

    view: View
    points: Array
    relative: Array
    depth: NDArray[np.float32]

    @classmethod
    def of(cls, view: View, prior: DepthPrior) -> Surface:
        """The surface that depth and sigma (H, W) of a photo describe."""
        step = max(1, max(prior.depth.shape) // _SAMPLES)
        kernel = np.ones((5, 5), dtype=np.uint8)
        flat = cv2.dilate(prior.depth, kernel) - cv2.erode(prior.depth, kernel) < _FLAT * prior.depth
        depth = every_nth(prior.depth, step).astype(np.float64)
        sigma = every_nth(prior.sigma, step).astype(np.float64)
        centres = every_nth(view.camera.pixel_centres(), step)
        use = every_nth(flat, step) & (depth > 0)
        in_cam = view.camera.directions(centres[use]) * depth[use][:, None]
        world_from_cam = view.world_from_cam
        points = in_cam @ world_from_cam[:3, :3].T + world_from_cam[:3, 3]
        small = view.camera.fitted(_SMALL_SIDE)
        return cls(view, points, sigma[use] / depth[use], nearest(prior.depth, small.width, small.height))


def borrow(view: View, lenders: Sequence[Surface]) -> Anchors:
    """Depth of other photos as seen in ``view``: visible points away from depth edges, with a small weight each."""
    parts = [_seen_from(view, lender) for lender in lenders]
    rows = np.concatenate([p for p in parts if len(p)] or [np.zeros((0, 4))])
    rows = rows[_foremost(rows, view)]
    if len(rows) > _MAX_BORROWED:
        rows = rows[np.linspace(0, len(rows) - 1, _MAX_BORROWED).astype(np.int64)]
    weight = np.full(len(rows), min(1.0, _BORROWED_WEIGHT / max(len(rows), 1)))
    return Anchors(rows[:, :2], rows[:, 2], rows[:, 3], weight)


def _seen_from(view: View, surface: Surface) -> Array:
    """Samples of another photo's depth in ``view``: columns x, y, depth and sigma, (N, 4)."""
    in_cam = surface.points @ view.cam_from_world[:3, :3].T + view.cam_from_world[:3, 3]
    xy, seen, camera = view.camera.project(in_cam), in_cam[:, 2], view.camera
    inside = (seen > 0) & (xy >= 0).all(axis=1) & (xy[:, 0] < camera.width) & (xy[:, 1] < camera.height)
    rows: Array = np.concatenate([xy, seen[:, None], (surface.relative * seen)[:, None]], axis=1)
    return np.asarray(rows[inside])


def _foremost(rows: Array, view: View) -> NDArray[np.bool_]:
    """Which samples are not behind others of the same small cell of the photo, (N,)."""
    size = max(view.camera.width, view.camera.height) / (0.6 * _SAMPLES)
    row, column = containing_pixels(rows[:, :2] / size)
    cell = row * 10_000 + column
    _, index = np.unique(cell, return_inverse=True)
    nearest = np.full(index.max(initial=-1) + 1, np.inf)
    np.minimum.at(nearest, index, rows[:, 2])
    return np.asarray(rows[:, 2] <= 1.1 * nearest[index])


def _evidence(found: list[PhotoAlignment]) -> float:
    """How well known depths are predicted from the others, over all photos; without a fit they count as outliers."""
    return sum(a.num_used * (a.held_out if np.isfinite(a.held_out) else _UNEXPLAINED) for a in found)
