"""How far one scale reaches through a model.

The matches of two photos give depths in units of the distance between the cameras. A keypoint that matches in two other
photos gets a depth from each pair. Where the two agree, both pairs have one scale: they are tied. Groups of pairs that
no tie joins may differ in scale, as when two halves of a model are joined wrongly or the scale drifts. Pure numpy.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.hierarchy import DisjointSet

Names = tuple[str, str]

_PARTNERS = 10
"""Pairs of one photo, those with the most matches, that are compared each with each; more add time and no ties."""


@dataclass(frozen=True)
class PairDepths:
    """Matches of a pair with parallax: keypoint indices and positive z-depths in the first and second photo, (N, 2)."""

    keypoints: NDArray[np.int64]
    depth: NDArray[np.float64]


def largest_tied_group(links: Mapping[Names, PairDepths], min_ties: int, max_change: float) -> set[str]:
    """The largest set of photos whose pairs share one scale.

    Args:
        links: Pairs that agree with the model.
        min_ties: Fewest keypoints with a depth from both pairs that can tell.
        max_change: Largest relative difference of the two pairs' scales (median over keypoints).
    """
    groups = DisjointSet(links)
    for photo in sorted({p for name in links for p in name}):
        of = sorted((n for n in links if photo in n), key=lambda n: (-len(links[n].depth), n))
        for i, one in enumerate(of):
            for other in of[i + 1 : i + 1 + _PARTNERS]:
                if groups.connected(one, other):
                    continue
                change = _scale_change(photo, one, other, links, min_ties)
                if change is not None and change <= max_change:
                    groups.merge(one, other)
    tied = [{photo for names in group for photo in names} for group in sorted(map(sorted, groups.subsets()))]
    return max(tied, key=len, default=set())


def _scale_change(
    photo: str, one: Names, other: Names, links: Mapping[Names, PairDepths], min_ties: int
) -> float | None:
    """Relative difference between the depths that two pairs give the photo's keypoints, None where too few tell."""
    side_one, side_other = one.index(photo), other.index(photo)
    _, at_one, at_other = np.intersect1d(
        links[one].keypoints[:, side_one], links[other].keypoints[:, side_other], return_indices=True
    )
    if len(at_one) < min_ties:
        return None
    ratio = np.log(links[one].depth[at_one, side_one] / links[other].depth[at_other, side_other])
    return float(np.expm1(abs(np.median(ratio))))
