"""How many photos can have one scale: two photos tell distances only up to that between them. Pure.

A detail that two pairs of photos share ties their scales together; photos are placed as far as such ties reach
(:mod:`depthrf.sfm.judging.scale_ties` asks the same of a finished model).
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations

from depthrf.sfm.preflight.quick_match import MIN_MATCHES, QuickPair

Names = tuple[str, str]

_MIN_TIES = 5
"""Keypoints that match in two other photos. Measured: sets that structure from motion places have 6 or more, one that
it does not place has 1.
"""


def largest_tied_group(pairs: Mapping[Names, QuickPair]) -> set[str]:
    """The largest set of photos whose pairs hang together by keypoints that they share.

    Args:
        pairs: By the names of the photos; pairs with too few matches are left out.
    """
    from scipy.cluster.hierarchy import DisjointSet

    linked = sorted(names for names, pair in pairs.items() if pair.num_matches >= MIN_MATCHES)
    matched: dict[str, list[tuple[Names, set[tuple[float, ...]]]]] = {}  # by photo: its pairs, with its keypoints there
    for names in linked:
        pair = pairs[names]
        for name, points in zip(names, (pair.xy_first, pair.xy_second), strict=True):
            matched.setdefault(name, []).append((names, {tuple(xy) for xy in points.round(2).tolist()}))
    groups = DisjointSet(linked)
    for mine in matched.values():
        for (one, seen), (other, also_seen) in combinations(mine, 2):
            if not groups.connected(one, other) and len(seen & also_seen) >= _MIN_TIES:
                groups.merge(one, other)
    tied = [{name for names in group for name in names} for group in groups.subsets()]
    return max(tied, key=lambda names: (len(names), sorted(names)), default=set())
