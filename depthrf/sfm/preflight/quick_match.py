"""Matches of small copies of photos within a fraction of a second a pair: SIFT, verified by epipolar geometry. Pure.

This foresees what structure from motion will find and is no part of it; that takes far more care and time.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from depthrf.sfm.pairing.likeness import likeness, sampled

Array = NDArray[np.float64]

MIN_MATCHES = 15
"""Fewer verified matches are no link (as in COLMAP): unrelated photos reach 11."""

_MAX_RATIO = 0.8  # of the distances to the best and the second-best descriptor (Lowe 2004)
_MAX_ERROR_PX = 1.5
_PEAK_THRESHOLD = 0.01
_FLAT_SHARE = 0.95
_TURN_TOLERANCE = 1.02
_USUAL_FOCAL = 0.8  # of the longer side: phones
_FOCALS = np.geomspace(0.4, 2.5, 40)
_OUTLIER = 0.3


@dataclass(frozen=True)
class QuickKeypoints:
    """xy (N, 2) pixels; descriptors (N, 128), unit length; size (W, H) of the small copy; focal_px where known."""

    xy: NDArray[np.float32]
    descriptors: NDArray[np.float32]
    size: tuple[int, int]
    focal_px: float | None


@dataclass(frozen=True)
class QuickPair:
    """What two photos share.

    num_matches: Matches that fit one epipolar geometry. flat: One homography explains nearly all of them, so they show
    no parallax. turned: That homography is one of a camera that only turned. shift: Median distance that a match moved
    in the picture, as a share of its longer side. fundamental: F (3, 3) with x_second^T F x_first = 0; None where flat.
    xy_first, xy_second: The matches, (N, 2) pixels.
    """

    num_matches: int
    flat: bool = False
    turned: bool = False
    shift: float = float("nan")
    fundamental: Array | None = None
    xy_first: Array = field(default_factory=lambda: np.zeros((0, 2)), repr=False)
    xy_second: Array = field(default_factory=lambda: np.zeros((0, 2)), repr=False)


def find_keypoints(
    grey: NDArray[np.uint8],
    count: int,
    *,
    focal_px: float | None = None,
    used: NDArray[np.bool_] | None = None,
) -> QuickKeypoints:
    """The ``count`` strongest SIFT keypoints of a photo (H, W), with root-SIFT descriptors (Arandjelovic 2012).

    Args:
        grey: The small copy.
        count: How many at most.
        focal_px: Focal length in pixels of the small copy.
        used: (H, W) where keypoints may lie; everywhere when None.
    """
    mask = None if used is None else used.astype(np.uint8)
    sift = cv2.SIFT_create(nfeatures=count, contrastThreshold=_PEAK_THRESHOLD)  # type: ignore[attr-defined]
    found, descriptors = sift.detectAndCompute(grey, mask)
    size = (grey.shape[1], grey.shape[0])
    if descriptors is None:
        return QuickKeypoints(np.zeros((0, 2), np.float32), np.zeros((0, 128), np.float32), size, focal_px)
    root = np.sqrt(descriptors / np.maximum(descriptors.sum(axis=1, keepdims=True), 1e-6))
    return QuickKeypoints(np.array([k.pt for k in found], np.float32), root.astype(np.float32), size, focal_px)


def likeness_of(photos: Sequence[QuickKeypoints]) -> Array:
    """How alike any two of P photos are, (P, P), to choose pairs by; the same answer every time."""
    whole = [np.minimum(np.round(512.0 * photo.descriptors), 255.0).astype(np.uint8) for photo in photos]
    return likeness([sampled(descriptors, (0, i)) for i, descriptors in enumerate(whole)], 0)


def match_pair(first: QuickKeypoints, second: QuickKeypoints) -> QuickPair:
    """Matches two photos; the same answer every time."""
    return verify_matches(first, second, _mutual_matches(first.descriptors, second.descriptors))


def verify_matches(first: QuickKeypoints, second: QuickKeypoints, index: NDArray[np.int64]) -> QuickPair:
    """What two photos share, of the matches (M, 2) between their keypoints, found in whatever way."""
    if len(index) < MIN_MATCHES:
        return QuickPair(0)
    x, y = first.xy[index[:, 0]].astype(np.float64), second.xy[index[:, 1]].astype(np.float64)
    homography, on_plane = cv2.findHomography(x, y, cv2.USAC_MAGSAC, 1.5 * _MAX_ERROR_PX, maxIters=2000)
    num_flat = 0 if homography is None else int(on_plane.sum())
    fundamental, inlier = _epipolar_geometry(x, y)
    flat = num_flat >= max(MIN_MATCHES, _FLAT_SHARE * int(inlier.sum()))
    if flat:
        fundamental, inlier = None, on_plane.ravel() > 0
    count = int(inlier.sum())
    if count < MIN_MATCHES:
        return QuickPair(count)
    x, y = x[inlier], y[inlier]
    shift = float(np.median(np.linalg.norm(x / max(first.size) - y / max(second.size), axis=1)))
    return QuickPair(count, flat, flat and _is_turn(homography, first, second), shift, fundamental, x, y)


def shared_focal(pairs: Iterable[tuple[QuickPair, QuickKeypoints, QuickKeypoints]]) -> float | None:
    """Focal length that makes the pairs' epipolar geometries essential, as a share of the longer side.

    An essential matrix has two equal singular values (Mendonca and Cipolla 1999); pairs that contradict the others
    count little.

    Returns:
        None where fewer than three pairs with parallax are given.
    """
    geometries = [(p.fundamental, a, b, p.num_matches) for p, a, b in pairs if p.fundamental is not None]
    if len(geometries) < 3:
        return None
    cost = np.zeros(len(_FOCALS))
    for index, factor in enumerate(_FOCALS):
        for fundamental, a, b, weight in geometries:
            k1, k2 = _calibration(a, factor * max(a.size)), _calibration(b, factor * max(b.size))
            stretch = np.linalg.svd(k2.T @ fundamental @ k1, compute_uv=False)
            cost[index] += weight * min(1.0 - stretch[1] / stretch[0], _OUTLIER)
    return float(_FOCALS[cost.argmin()])


def viewing_angle_deg(pair: QuickPair, first: QuickKeypoints, second: QuickKeypoints, focal: float | None) -> float:
    """Median angle between the rays to the matches' points, degrees; nan where the pair is flat.

    Args:
        pair, first, second: The pair and its photos.
        focal: Of photos that do not know their own, as a share of the longer side. A guess makes the angle one, too.
    """
    if pair.fundamental is None:
        return float("nan")
    guess = focal or _USUAL_FOCAL
    k1 = _calibration(first, first.focal_px or guess * max(first.size))
    k2 = _calibration(second, second.focal_px or guess * max(second.size))
    rays1 = (pair.xy_first - k1[:2, 2]) / k1[0, 0]
    rays2 = (pair.xy_second - k2[:2, 2]) / k2[0, 0]
    _, rotation, _, _ = cv2.recoverPose(k2.T @ pair.fundamental @ k1, rays1, rays2, np.eye(3))
    a = np.column_stack([rays1, np.ones(len(rays1))]) @ rotation.T
    b = np.column_stack([rays2, np.ones(len(rays2))])
    cosine = (a * b).sum(axis=1) / (np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1))
    return float(np.rad2deg(np.median(np.arccos(np.clip(cosine, -1.0, 1.0)))))


def _epipolar_geometry(x: Array, y: Array) -> tuple[Array | None, NDArray[np.bool_]]:
    """Fundamental matrix (3, 3) of matches (N, 2) and its inliers (N,); None and none where there is no one."""
    try:
        fundamental, mask = cv2.findFundamentalMat(x, y, cv2.USAC_MAGSAC, _MAX_ERROR_PX, 0.9999, 5000)
    except cv2.error:  # OpenCV 5 asserts on matches that do not move at all
        fundamental = None
    if fundamental is None or fundamental.shape != (3, 3):
        return None, np.zeros(len(x), dtype=bool)
    return fundamental, mask.ravel() > 0


def _mutual_matches(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.int64]:
    """Indices (N, 2) of descriptors that are each other's nearest and pass the ratio test."""
    if min(len(a), len(b)) < 2:
        return np.zeros((0, 2), np.int64)
    similarity = a @ b.T
    rows = np.arange(len(a))
    best = similarity.argmax(axis=1)
    nearest = similarity[rows, best]
    similarity[rows, best] = -1.0
    next_nearest = similarity.max(axis=1)
    similarity[rows, best] = nearest
    # Distances of unit vectors: |a - b|^2 = 2 - 2 a.b
    clear = np.flatnonzero(1.0 - nearest < _MAX_RATIO**2 * (1.0 - next_nearest))
    back = similarity[:, best[clear]].argmax(axis=0)
    kept = clear[back == clear]
    return np.column_stack([kept, best[kept]])


def _is_turn(homography: Array, first: QuickKeypoints, second: QuickKeypoints) -> bool:
    """Whether a homography (3, 3) is K R K^-1 for some focal length: then the camera did not move."""
    for factor in np.geomspace(0.5, 3.0, 19):
        if first.focal_px is not None and second.focal_px is not None:
            near = factor**0.3  # EXIF's focal length may be off by a third
            a, b = _calibration(first, near * first.focal_px), _calibration(second, near * second.focal_px)
        else:
            a, b = _calibration(first, factor * max(first.size)), _calibration(second, factor * max(second.size))
        stretch = np.linalg.svd(np.linalg.inv(b) @ homography @ a, compute_uv=False)
        if stretch[0] <= _TURN_TOLERANCE * stretch[2]:
            return True
    return False


def _calibration(photo: QuickKeypoints, focal: float) -> Array:
    width, height = photo.size
    return np.array([[focal, 0.0, width / 2], [0.0, focal, height / 2], [0.0, 0.0, 1.0]])
