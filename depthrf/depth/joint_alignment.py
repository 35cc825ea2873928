"""All photos of a scene aligned together: a photo with few keypoints borrows depth from neighbours that have many.

Aligned depth of a well-aligned photo, seen from a neighbour's camera, says there what a keypoint says. Its errors are
shared by many pixels, so all that is borrowed counts no more than a few dozen keypoints.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from depthrf.depth.alignment import KINDS
from depthrf.depth.photo_alignment import Anchors, PhotoAlignment, align_photo
from depthrf.geometry.camera import DepthPrior, View

Array = NDArray[np.float64]

# A photo with more agreeing keypoints than this gains nothing from others.
FEW_KEYPOINTS = 30
_BORROWED_WEIGHT = 30.0
_MAX_BORROWED = 400
_STEP_PX_SHARE = 40  # samples along the longer side
_MIN_SHARED = 60
_CONTRADICTS = 0.15  # factor, as a logarithm, by which a photo is off against the others
_UNEXPLAINED = -2.5  # logarithmic density of a keypoint that no fit explains
_FLAT = 0.05  # depth steps above this share between neighbouring samples are edges


def align_photos(
    predictions: Sequence[Array],
    keypoints: Sequence[Anchors],
    views: Sequence[View],
    *,
    kind: str | None,
    generator: np.random.Generator,
) -> list[PhotoAlignment]:
    """Aligns each photo to its own keypoints, then those with few of them together with their neighbours.

    Args:
        predictions: Per photo, (H, W) network output on the photo's grid.
        keypoints: Per photo.
        views: Per photo, in the scene of the keypoints.
        kind: ``depth`` or ``inverse_depth``; None tries both on all photos, which one network made, and takes the one
            that predicts held-out keypoints better.
        generator: For the robust fits.

    Returns:
        Per photo; one whose keypoints contradict its neighbours' depth is refused.
    """

    def alone(one_kind: str) -> list[PhotoAlignment]:
        return [
            align_photo(x, own, kind=one_kind, generator=generator)
            for x, own in zip(predictions, keypoints, strict=True)
        ]

    found = alone(kind) if kind else max((alone(k) for k in KINDS), key=_evidence)
    aligned = {i: Surface.of(views[i], a.depth(predictions[i])) for i, a in enumerate(found) if a.accepted}
    doubted = contradicting(aligned, {i: found[i].num_agreeing for i in aligned})
    lenders = {
        i: lender for i, lender in aligned.items() if found[i].num_agreeing >= FEW_KEYPOINTS and i not in doubted
    }
    for i, before in enumerate(found):
        enough = before.accepted and before.num_agreeing >= FEW_KEYPOINTS and i not in doubted
        if enough or not lenders:
            continue
        borrowed = borrow(views[i], [lender for j, lender in lenders.items() if j != i])
        if len(borrowed) < FEW_KEYPOINTS and i not in doubted:
            continue
        after = align_photo(predictions[i], keypoints[i], kind=before.kind, generator=generator, borrowed=borrowed)
        if i in doubted and after.accepted:
            joined = Surface.of(views[i], after.depth(predictions[i]))
            ratios = [r for j, s in lenders.items() if j != i and (r := _log_ratio(joined, s)) is not None]
            # What is left of the contradiction has to be small, or own keypoints have outvoted the neighbours.
            if not ratios or abs(np.median(ratios)) > 0.5 * _CONTRADICTS:
                after = replace(after, grade="F", fit=None)
        if i in doubted and not after.accepted:
            off = f"its depth and that of the photos around it differ by {abs(np.expm1(doubted[i])):.0%}"
            after = replace(after, reason=f"the keypoints contradict the neighbouring photos: {off}")
        found[i] = after
    return found


def contradicting(aligned: Mapping[int, Surface], support: Mapping[int, int]) -> dict[int, float]:
    """Photos whose depth is off by one factor against that of most others, worst first, with the factor's logarithm.

    Args:
        aligned: By photo.
        support: How many keypoints each rests on: those of the others have to outnumber a photo's own.
    """
    ratio = {
        (i, j): r for i in aligned for j in aligned if i != j and (r := _log_ratio(aligned[i], aligned[j])) is not None
    }
    left, found = set(aligned), dict[int, float]()
    while True:
        offset = {}
        for i in left:
            others = [j for j in left if (i, j) in ratio]
            if len(others) >= 2 and sum(support[j] for j in others) > support[i]:
                weight = np.minimum([support[j] for j in others], 100)
                offset[i] = _weighted_median(np.array([ratio[i, j] for j in others]), weight)
        worst = max(offset, key=lambda i: abs(offset[i]), default=None)
        if worst is None or abs(offset[worst]) < _CONTRADICTS:
            return found
        found[worst] = offset[worst]
        left.remove(worst)


def _log_ratio(one: Surface, other: Surface) -> float | None:
    """Median logarithm of one photo's depth over what another sees there; None where they hardly share anything."""
    rows = _seen_from(one.view, other)
    rows = rows[_foremost(rows, one.view)]
    column, row = (np.floor(rows[:, :2]).astype(np.int64) // one.stride).T.reshape(2, -1)
    own = one.depth[row, column]
    both = own > 0
    return float(np.median(np.log(own[both] / rows[both, 2]))) if both.sum() >= _MIN_SHARED else None


def _weighted_median(values: Array, weights: Array) -> float:
    order = np.argsort(values)
    cumulative = np.cumsum(weights[order])
    return float(values[order][np.searchsorted(cumulative, 0.5 * cumulative[-1])])


@dataclass(frozen=True)
class Surface:
    """A photo's aligned depth, thinned: points (N, 3) in the world away from edges, their relative sigma (N,), and
    depth (h, w) of every ``stride``-th pixel, 0 = none."""

    view: View
    points: Array
    relative: Array
    depth: NDArray[np.float32]
    stride: int

    @classmethod
    def of(cls, view: View, prior: DepthPrior) -> Surface:
        """The surface that depth and sigma (H, W) of a photo describe."""
        longer = max(prior.depth.shape)
        step, stride = max(1, longer // _STEP_PX_SHARE), max(1, longer // 320)
        at = slice(step // 2, None, step)
        kernel = np.ones((5, 5), dtype=np.uint8)
        flat = cv2.dilate(prior.depth, kernel) - cv2.erode(prior.depth, kernel) < _FLAT * prior.depth
        depth, sigma = (m[at, at].astype(np.float64) for m in (prior.depth, prior.sigma))
        use = flat[at, at] & (depth > 0)
        rows, columns = np.meshgrid(*(np.arange(n)[at] + 0.5 for n in prior.depth.shape), indexing="ij")
        in_cam = view.camera.directions(np.stack([columns[use], rows[use]], axis=-1)) * depth[use][:, None]
        world_from_cam = view.world_from_cam
        points = in_cam @ world_from_cam[:3, :3].T + world_from_cam[:3, 3]
        return cls(view, points, sigma[use] / depth[use], prior.depth[::stride, ::stride], stride)


def borrow(view: View, lenders: Sequence[Surface]) -> Anchors:
    """What other photos' depth looks like in ``view``: visible points away from edges, thinned and weighted down."""
    parts = [_seen_from(view, lender) for lender in lenders]
    rows = np.concatenate([p for p in parts if len(p)] or [np.zeros((0, 4))])
    rows = rows[_foremost(rows, view)]
    if len(rows) > _MAX_BORROWED:
        rows = rows[np.linspace(0, len(rows) - 1, _MAX_BORROWED).astype(np.int64)]
    weight = np.full(len(rows), min(1.0, _BORROWED_WEIGHT / max(len(rows), 1)))
    return Anchors(rows[:, :2], rows[:, 2], rows[:, 3], weight)


def _seen_from(view: View, surface: Surface) -> Array:
    """Samples of another photo's depth in ``view``: x, y, depth, sigma (N, 4)."""
    in_cam = surface.points @ view.cam_from_world[:3, :3].T + view.cam_from_world[:3, 3]
    xy, seen, camera = view.camera.project(in_cam), in_cam[:, 2], view.camera
    inside = (seen > 0) & (xy >= 0).all(axis=1) & (xy[:, 0] < camera.width) & (xy[:, 1] < camera.height)
    rows: Array = np.concatenate([xy, seen[:, None], (surface.relative * seen)[:, None]], axis=1)
    return np.asarray(rows[inside])


def _foremost(rows: Array, view: View) -> NDArray[np.bool_]:
    """Which samples are not behind others of the same small cell of the photo, (N,)."""
    size = max(view.camera.width, view.camera.height) / (0.6 * _STEP_PX_SHARE)
    column, row = np.floor(rows[:, :2] / size).astype(np.int64).T.reshape(2, -1)
    cell = row * 10_000 + column
    _, index = np.unique(cell, return_inverse=True)
    nearest = np.full(index.max(initial=-1) + 1, np.inf)
    np.minimum.at(nearest, index, rows[:, 2])
    return np.asarray(rows[:, 2] <= 1.1 * nearest[index])


def _evidence(found: list[PhotoAlignment]) -> float:
    """How well keypoints of all photos are predicted from the others; without a fit they count as wrong."""
    return sum(a.num_used * (a.held_out if np.isfinite(a.held_out) else _UNEXPLAINED) for a in found)
