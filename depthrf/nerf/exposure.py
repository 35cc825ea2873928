"""The photos' exposure: what it is relative to their mean, and what a camera between them would have chosen.

Photo i shows point j in colour ``c_ij``, per channel. With a gain ``g_i`` of the photo and a colour ``a_j`` of the
point, ``log c_ij = log a_j + log g_i``. The gains follow by robust least squares. The mean of their logarithms over the
photos is zero, because only ratios can be known: so the scene keeps the mean exposure, and novel views get it. There
is no offset, because dark pixels would decide it, and they are mostly noise.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import scipy.sparse
from numpy.typing import NDArray

from depthrf.geometry.camera import View, containing_pixels

Array = NDArray[np.float64]

_DARKEST, _BRIGHTEST = 12.0, 243.0  # of 255: outside, noise and clipping hide the exposure
_ROUNDS = 10
_SCALE = 0.05  # of a logarithm: residuals well above it are highlights and wrong matches
_LEAST_OBSERVATIONS = 20  # of a photo, below which its gain stays 1
_ERRORS = 4.0  # standard errors by which the exposure of some photo has to be off
_SOFTENING = 0.1  # of the neighbours' spacing: at a photo itself, its own gain counts a thousand times its neighbours'
DIFFERS = 1.1
"""Largest over smallest gain from which on the photos' exposure counts as different."""


def photo_gains(observations: Mapping[int, tuple[NDArray[np.int64], Array]], num_photos: int) -> Array:
    """Gains (P, 3), whose logarithms have mean zero over the photos; 1 for a photo with too few usable points.

    All are 1 where the scatter of the points' colours, as of wrong matches or reflections, would explain them as well.

    Args:
        observations: By photo, the numbers (N,) of the points that it sees, and their colours there (N, 3), 0 to 255.
        num_photos: P.
    """
    photo = np.concatenate([np.full(len(ids), i) for i, (ids, _) in observations.items()] or [np.zeros(0, np.int64)])
    point = np.concatenate([ids for ids, _ in observations.values()] or [np.zeros(0, np.int64)])
    colour = np.concatenate([colours for _, colours in observations.values()] or [np.zeros((0, 3))])
    clear = (colour >= _DARKEST).all(-1) & (colour <= _BRIGHTEST).all(-1)
    clear &= np.bincount(photo[clear], minlength=num_photos)[photo] >= _LEAST_OBSERVATIONS
    photo, log = photo[clear], np.log(colour[clear])
    _, point = np.unique(point[clear], return_inverse=True)
    seen = np.unique(photo)
    gains, scatter = np.zeros((num_photos, 3)), np.zeros(3)
    for channel in range(3 if len(seen) else 0):
        weight = np.ones(len(photo))
        for _ in range(_ROUNDS):
            gains[:, channel], rest = _solved(photo, point, log[:, channel], weight, num_photos)
            weight = 1.0 / (1.0 + (rest / _SCALE) ** 2)
        gains[seen, channel] -= gains[seen, channel].mean()
        scatter[channel] = 1.4826 * np.median(np.abs(rest))  # a standard deviation, were it normal
    error = scatter.mean() / np.sqrt(np.bincount(photo, minlength=num_photos).clip(1))
    significant = np.abs(gains.mean(-1)) > _ERRORS * error
    return np.exp(gains) if significant.any() else np.ones_like(gains)


def _solved(
    photo: NDArray[np.int64], point: NDArray[np.int64], log: Array, weight: Array, num_photos: int
) -> tuple[Array, Array]:
    """Photos' log gains (P,) of least weighted squares, of least norm, and what they leave of each observation (N,).

    The points' colours are eliminated: each is the weighted mean of what its photos show, less their gains.
    """
    of_point = np.bincount(point, weight)
    incidence = scipy.sparse.coo_array((weight, (point, photo)), shape=(len(of_point), num_photos)).tocsr()
    mean = np.bincount(point, weight * log) / of_point
    shared = incidence / np.sqrt(of_point)[:, None]
    normal = np.diag(np.bincount(photo, weight, num_photos)) - (shared.T @ shared).toarray()
    right = np.bincount(photo, weight * (log - mean[point]), num_photos)
    gains = np.linalg.lstsq(normal, right, rcond=1e-9)[0]
    albedo = np.bincount(point, weight * (log - gains[photo])) / of_point
    return gains, log - albedo[point] - gains[photo]


def colours_at(photo: NDArray[np.uint8], xy: Array) -> Array:
    """The photo's colours (N, 3) at positions (N, 2), pixels; outside, those of the nearest pixel."""
    rows, columns = containing_pixels(xy)
    height, width = photo.shape[:2]
    return np.asarray(photo[rows.clip(0, height - 1), columns.clip(0, width - 1)], dtype=np.float64)


def exposure_range(gains: Array) -> float:
    """Largest over smallest gain of all photos (P, 3), geometric means over the channels; 1 without photos."""
    means = np.log(gains).mean(-1)
    return float(np.exp(np.ptp(means))) if len(means) else 1.0


def gain_at(view: View, photos: Sequence[View], gains: Array) -> Array:
    """The gain (3,) that a camera which sets its exposure itself would have chosen for ``view``.

    It depends on what the camera sees, so photos from nearby in a similar direction had about the same. Logarithms are
    averaged with weights 1 / d^4, where d^2 is the sum of squared distance and squared angle, each relative to its
    median between nearest photos (inverse distance weighting, Shepard 1968).
    """
    if len(photos) < 2:
        return np.asarray(gains[0] if len(photos) else np.ones(3))
    known = np.stack([p.cam_from_world for p in photos])
    distance = _relative(_distances(known), _distances(known, view.cam_from_world))
    angle = _relative(_angles(known), _angles(known, view.cam_from_world))
    weight = 1.0 / (distance**2 + angle**2 + _SOFTENING**2) ** 2
    return np.asarray(np.exp((weight[:, None] * np.log(gains)).sum(0) / weight.sum()))


def _relative(between: Array, to_view: Array) -> Array:
    """``to_view`` (P,) in units of the median distance (P, P) between nearest photos; 0 where all of them coincide."""
    nearest = np.sort(between, axis=1)[:, 1]
    unit = float(np.median(nearest))
    return to_view / unit if unit > 0.0 else np.zeros_like(to_view)


def _distances(poses: Array, other: Array | None = None) -> Array:
    """Between camera centres: all of ``poses`` (P, 4, 4), as (P, P), or from them to ``other`` (4, 4), as (P,)."""
    centres = -np.einsum("nji,nj->ni", poses[:, :3, :3], poses[:, :3, 3])
    if other is None:
        return np.asarray(np.linalg.norm(centres[:, None] - centres, axis=-1))
    return np.asarray(np.linalg.norm(centres + other[:3, :3].T @ other[:3, 3], axis=-1))


def _angles(poses: Array, other: Array | None = None) -> Array:
    """As :func:`_distances`, angles between the cameras' rotations, radians."""
    rotations = poses[:, :3, :3]
    others = rotations if other is None else other[None, :3, :3]
    cosine = 0.5 * (np.einsum("iab,jab->ij", rotations, others) - 1.0)
    angles = np.arccos(cosine.clip(-1.0, 1.0))
    return np.asarray(angles if other is None else angles[:, 0])
