"""Is a model right? Neither the number of placed photos nor the reprojection error tells.

Verified matches of two photos were found without the model. In a right model most of them lie on the epipolar lines
that its poses and intrinsics give; in a wrong one (mirrored, collapsed, photos glued on by repeated texture) they do
not. Degenerate intrinsics can pass this test, so they are bounded as well. Pure numpy.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from depthrf.geometry.lens import Lens
from depthrf.geometry.transforms import invert_rigid
from depthrf.sfm.recipes import Trust

Array = NDArray[np.float64]


@dataclass(frozen=True)
class RayPair:
    """Matches of two photos as points on the z = 1 plane of each camera, (N, 2), lens distortion removed."""

    first: str
    second: str
    rays_first: Array
    rays_second: Array


@dataclass(frozen=True)
class PlacedPhoto:
    """A photo as a model has it: ``cam_from_world`` (4, 4), intrinsics, number of 3D points it sees."""

    cam_from_world: Array
    lens: Lens
    num_points: int


@dataclass(frozen=True)
class Verdict:
    """consistency: share of agreeing matches over all pairs of trusted photos. per_photo: for every photo, untrusted
    ones included (against the photos that were left when it was judged). untrusted: photo to reason.
    """

    consistency: float
    per_photo: dict[str, float]
    untrusted: dict[str, str]

    @property
    def trusted(self) -> list[str]:
        return sorted(self.per_photo.keys() - self.untrusted.keys())

    @property
    def worst(self) -> float:
        """The least share among the trusted photos; 0 where there is none."""
        return min((self.per_photo[name] for name in self.trusted), default=0.0)


def epipolar_error_px(pair: RayPair, second_from_first: Array, focal_first: float, focal_second: float) -> Array:
    """Distance of matches from the epipolar lines of a relative pose, the larger of both photos', pixels.

    Args:
        pair: N matches.
        second_from_first: (4, 4) rigid transform between the cameras.
        focal_first, focal_second: Pixels; they scale distances on the z = 1 plane.

    Returns:
        (N,); nan where the cameras coincide and no line is defined.
    """
    x, y, z = second_from_first[:3, 3]
    essential = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]]) @ second_from_first[:3, :3]
    first = np.column_stack([pair.rays_first, np.ones(len(pair.rays_first))])
    second = np.column_stack([pair.rays_second, np.ones(len(pair.rays_second))])
    lines_second = first @ essential.T
    lines_first = second @ essential
    product = np.abs(np.einsum("ni,ni->n", second, lines_second))
    with np.errstate(divide="ignore", invalid="ignore"):
        in_first = focal_first * product / np.linalg.norm(lines_first[:, :2], axis=1)
        in_second = focal_second * product / np.linalg.norm(lines_second[:, :2], axis=1)
    return np.asarray(np.maximum(in_first, in_second))


def check(photos: Mapping[str, PlacedPhoto], pairs: Sequence[RayPair], trust: Trust) -> Verdict:
    """Judges each photo of a model; the worst one is taken out until all that are left are trusted.

    Args:
        photos: The photos that the model places.
        pairs: Verified matches; pairs with photos that are not placed are skipped.
        trust: The bounds.
    """
    counts = _agreeing(photos, pairs, trust.max_error_px)
    untrusted = {name: reason for name, photo in photos.items() if (reason := _insane(photo, trust))}
    per_photo = _shares(counts, photos.keys())
    left = set(photos) - untrusted.keys()
    while left:
        shares = _shares({k: v for k, v in counts.items() if set(k) <= left}, left)
        per_photo.update(shares)
        worst = min(sorted(left), key=lambda name: shares[name])
        if shares[worst] >= trust.min_consistency:
            break
        left.remove(worst)
        untrusted[worst] = f"only {shares[worst]:.0%} of its matches agree with where the model puts it"
    if len(left) < 2:
        untrusted.update(dict.fromkeys(left, "no other photo confirms where the model puts it"))
    good, total = np.sum([v for k, v in counts.items() if set(k) <= left] or [(0, 0)], axis=0)
    return Verdict(float(good / total) if total else 0.0, per_photo, untrusted)


def _agreeing(
    photos: Mapping[str, PlacedPhoto], pairs: Sequence[RayPair], max_error_px: float
) -> dict[tuple[str, str], tuple[int, int]]:
    """For each pair of placed photos: how many matches agree, of how many."""
    counts = {}
    for pair in pairs:
        if pair.first in photos and pair.second in photos:
            a, b = photos[pair.first], photos[pair.second]
            relative = b.cam_from_world @ invert_rigid(a.cam_from_world)
            error = epipolar_error_px(pair, relative, a.lens.focal, b.lens.focal)
            counts[pair.first, pair.second] = (int((error < max_error_px).sum()), len(error))
    return counts


def _shares(counts: Mapping[tuple[str, str], tuple[int, int]], names: Iterable[str]) -> dict[str, float]:
    sums = {name: np.zeros(2) for name in names}
    for pair, count in counts.items():
        for name in pair:
            sums[name] += count
    return {name: float(good / total) if total else 0.0 for name, (good, total) in sums.items()}


def _insane(photo: PlacedPhoto, trust: Trust) -> str | None:
    """Why the photo cannot be believed whatever its matches say, or None."""
    lens = photo.lens
    focal = lens.focal / max(lens.width, lens.height)
    if not trust.min_focal <= focal <= trust.max_focal:
        return f"its focal length came out as {focal:.3g} x the longer image side, which no ordinary camera has"
    if any(abs(k) >= trust.max_distortion for k in lens.distortion):
        return f"its lens distortion came out as {max(map(abs, lens.distortion)):.3g}, which no ordinary camera has"
    if photo.num_points < trust.min_points:
        return f"it sees only {photo.num_points} points"
    return None
