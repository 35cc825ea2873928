"""Is a model right? Neither the number of placed photos nor the reprojection error tells.

Verified matches of two photos were found without the model, so they can judge it. Four tests, pure numpy:

- Consistency: in a right model most matches lie on the epipolar lines that its poses and intrinsics give, and their
  rays meet in front of both cameras. In a wrong one they do not: photos placed by repeated texture, mirrored scenes.
- Parallax: rays of matches meet at an angle. Where they are parallel (photos from one spot), any baseline fits.
- Scale: epipolar lines do not depend on how far apart the cameras are. But a keypoint that matches in two other photos
  must get the same depth from both. Photos are trusted as far as such ties reach (:mod:`.scale_ties`).
- Possible intrinsics and enough points: degenerate intrinsics can pass the other tests.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from depthrf.geometry.lens import Lens
from depthrf.geometry.transforms import invert_rigid
from depthrf.geometry.two_views import epipolar_error_px, meet
from depthrf.sfm.judging.scale_ties import PairDepths, largest_tied_group
from depthrf.sfm.recipes import Trust

Array = NDArray[np.float64]


@dataclass(frozen=True)
class RayPair:
    """Matches of two photos as points on the z = 1 plane of each camera, (N, 2), lens distortion removed.

    keypoints: (N, 2) indices of the matching keypoints in the first and the second photo.
    """

    first: str
    second: str
    keypoints: NDArray[np.int64]
    rays_first: Array
    rays_second: Array


@dataclass(frozen=True)
class PlacedPhoto:
    """A photo as a model has it: ``cam_from_world`` (4, 4), intrinsics, number of 3D points it sees."""

    cam_from_world: Array
    lens: Lens
    num_points: int


@dataclass(frozen=True)
class Agreement:
    """What matches say of a photo or of a whole model.

    consistency: Share of them that agree with the model. in_front: Share that meets in front of both cameras, of those
    on their epipolar lines and with parallax; 1 where there are none. parallax_deg: Median angle of their rays; of a
    photo, with the partner where that is largest.
    """

    consistency: float
    in_front: float
    parallax_deg: float


@dataclass(frozen=True)
class Verdict:
    """total: over all pairs of trusted photos. per_photo: for every photo, untrusted ones included (against the photos
    that were left when it was judged). untrusted: photo to reason.
    """

    total: Agreement
    per_photo: dict[str, Agreement]
    untrusted: dict[str, str]

    @property
    def trusted(self) -> list[str]:
        return sorted(self.per_photo.keys() - self.untrusted.keys())

    @property
    def worst(self) -> float:
        """The least consistency among the trusted photos; 0 where there is none."""
        return min((self.per_photo[name].consistency for name in self.trusted), default=0.0)


@dataclass(frozen=True)
class _Pair:
    """Judged matches of two placed photos.

    num_agreeing: Matches on their epipolar lines; those whose rays meet at an angle have to meet in front, too.
    num_angled: Matches on the lines whose rays meet at an angle. num_front: Those of them that meet in front.
    angle_deg: Median over the matches on the lines. depths: Of the matches that ``num_front`` counts.
    """

    names: tuple[str, str]
    num: int
    num_agreeing: int
    num_front: int
    num_angled: int
    angle_deg: float
    depths: PairDepths


def check(photos: Mapping[str, PlacedPhoto], pairs: Sequence[RayPair], trust: Trust) -> Verdict:
    """Judges each photo of a model; the worst one is taken out until all that are left are trusted.

    Args:
        photos: The photos that the model places.
        pairs: Verified matches; pairs with photos that are not placed are skipped.
        trust: The bounds.
    """
    judged = [_judge(pair, photos, trust) for pair in pairs if pair.first in photos and pair.second in photos]
    untrusted = {name: reason for name, photo in photos.items() if (reason := _impossible(photo, trust))}
    per_photo = _agreements(judged, photos.keys())
    left = set(photos) - untrusted.keys()
    while left:
        agreements = _agreements([p for p in judged if left.issuperset(p.names)], left)
        per_photo.update(agreements)
        worst = min(sorted(left), key=lambda name: agreements[name].consistency)
        reason = _disagrees(agreements[worst], trust)
        if reason is None:
            still = sorted(left, key=lambda name: agreements[name].parallax_deg)
            if agreements[still[0]].parallax_deg >= trust.min_parallax_deg:
                break
            worst = still[0]
            reason = f"it sees hardly any parallax ({agreements[worst].parallax_deg:.2g} degrees): its place is a guess"
        left.remove(worst)
        untrusted[worst] = reason
    tied = _tied(judged, left, trust)
    untrusted.update(dict.fromkeys(left - tied, "nothing fixes its distance from the other photos"))
    if len(tied) < 2:
        untrusted.update(dict.fromkeys(tied, "no other photo confirms where the model puts it"))
    return Verdict(_total([p for p in judged if tied.issuperset(p.names)]), per_photo, untrusted)


def overall_agreement(photos: Mapping[str, PlacedPhoto], pairs: Sequence[RayPair], trust: Trust) -> Agreement:
    """What all matches between placed photos say of a model, with nothing taken out."""
    return _total([_judge(pair, photos, trust) for pair in pairs if pair.first in photos and pair.second in photos])


def contradicted(
    photos: Mapping[str, PlacedPhoto], pairs: Sequence[RayPair], trust: Trust, *, most: float, others: float
) -> dict[str, float]:
    """Photos whose poses are wrong while those of the others are right, with the shares of their matches that agree.

    Args:
        photos: Photos with poses from outside.
        pairs: Their verified matches.
        trust: When a match agrees.
        most: Share of a photo's matches that may agree by chance though its pose is wrong.
        others: Share of the other photos' matches that has to agree. Where it does not, or a third of the photos is
            not enough to leave out, nobody can say which poses are wrong, and none is named.
    """
    judged = [_judge(pair, photos, trust) for pair in pairs if pair.first in photos and pair.second in photos]
    wrong: dict[str, float] = {}
    while True:
        left = photos.keys() - wrong.keys()
        among = [pair for pair in judged if left.issuperset(pair.names)]
        if 3 * len(wrong) > len(photos) or not among:
            return {}
        if _total(among).consistency >= others:
            return wrong
        # The photos that a wrong one matches look worse for it, so the worst one goes first.
        shares = {name: _shares(found)[0] for name, found in _by_photo(among, left).items() if found}
        worst = min(sorted(shares), key=shares.__getitem__)
        if shares[worst] > most:
            return {}
        wrong[worst] = shares[worst]


def _judge(pair: RayPair, photos: Mapping[str, PlacedPhoto], trust: Trust) -> _Pair:
    first, second = photos[pair.first], photos[pair.second]
    relative = second.cam_from_world @ invert_rigid(first.cam_from_world)
    error = epipolar_error_px(pair.rays_first, pair.rays_second, relative, first.lens.focal, second.lens.focal)
    meeting = meet(pair.rays_first, pair.rays_second, relative)
    on_lines = error < trust.max_error_px
    angled = on_lines & (meeting.angle_deg >= trust.min_angle_deg)
    front = (meeting.depth_first > 0) & (meeting.depth_second > 0)
    agrees = on_lines & (front | ~angled)
    use = angled & front
    return _Pair(
        (pair.first, pair.second),
        len(error),
        int(agrees.sum()),
        int(use.sum()),
        int(angled.sum()),
        float(np.median(meeting.angle_deg[on_lines])) if on_lines.any() else 0.0,
        PairDepths(pair.keypoints[use], np.column_stack([meeting.depth_first[use], meeting.depth_second[use]])),
    )


def _agreements(judged: Sequence[_Pair], names: Iterable[str]) -> dict[str, Agreement]:
    return {
        name: Agreement(*_shares(found), max((p.angle_deg for p in found), default=0.0))
        for name, found in _by_photo(judged, names).items()
    }


def _by_photo(judged: Sequence[_Pair], names: Iterable[str]) -> dict[str, list[_Pair]]:
    of: dict[str, list[_Pair]] = {name: [] for name in names}
    for pair in judged:
        for name in pair.names:
            of[name].append(pair)
    return of


def _total(judged: Sequence[_Pair]) -> Agreement:
    angle = float(np.median([p.angle_deg for p in judged])) if judged else 0.0
    return Agreement(*_shares(judged), angle)


def _shares(judged: Sequence[_Pair]) -> tuple[float, float]:
    """Consistency and the share in front."""
    num, agreeing = sum(p.num for p in judged), sum(p.num_agreeing for p in judged)
    angled, front = sum(p.num_angled for p in judged), sum(p.num_front for p in judged)
    return (agreeing / num if num else 0.0), (front / angled if angled else 1.0)


def _disagrees(agreement: Agreement, trust: Trust) -> str | None:
    if agreement.consistency >= trust.min_consistency:
        return None
    if agreement.in_front < 0.5:
        return f"{1 - agreement.in_front:.0%} of its matches would lie behind the cameras"
    return f"only {agreement.consistency:.0%} of its matches agree with where the model puts it"


def _tied(judged: Sequence[_Pair], left: set[str], trust: Trust) -> set[str]:
    links = {
        p.names: p.depths
        for p in judged
        if left.issuperset(p.names) and p.num and p.num_agreeing / p.num >= trust.min_consistency
    }
    return largest_tied_group(links, trust.min_ties, trust.max_scale_change)


def _impossible(photo: PlacedPhoto, trust: Trust) -> str | None:
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
