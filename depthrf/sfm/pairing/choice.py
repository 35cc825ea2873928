"""Which pairs of many photos are matched. Pure; photos are numbers from 0, and a pair has the smaller one first."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from depthrf.sfm.recipes import Pairing

Pair = tuple[int, int]

_NUMBERED = re.compile(r"(?P<series>.*?)(?P<number>\d+)(?P<rest>\D*)")


def promising(likeness: NDArray[np.float64], names: Sequence[str], pairing: Pairing) -> set[Pair]:
    """The pairs that photos alone tell to be worth a look: those that look alike, and neighbours in a series.

    Args:
        likeness: (P, P), symmetric.
        names: Of the photos.
        pairing: How many pairs.
    """
    return most_alike(likeness, pairing.nearest, pairing.growth) | in_sequence(names, pairing.steps)


def all_of(num_photos: int) -> set[Pair]:
    return set(combinations(range(num_photos), 2))


def most_alike(likeness: NDArray[np.float64], nearest: int, growth: float) -> set[Pair]:
    """Each photo with those most like it, and with ever fewer of those less like it.

    The nearest of many photos are taken from almost the same place, and their rays hardly meet at an angle. So beyond
    the ``nearest`` a partner is taken wherever its rank is ``growth`` times that of the one before.

    Args:
        likeness: (P, P), symmetric.
        nearest: Partners from the top of each photo's list.
        growth: Above 1.
    """
    num = len(likeness)
    ranks = list(range(min(nearest, num - 1)))
    at = nearest * growth
    while round(at) < num - 1:
        ranks.append(round(at))
        at = max(at * growth, at + 1.0)
    others = likeness.copy()
    np.fill_diagonal(others, -np.inf)
    order = np.argsort(-others, axis=1, kind="stable")[:, ranks]
    return {(min(i, int(j)), max(i, int(j))) for i in range(num) for j in order[i]}


def in_sequence(names: Sequence[str], steps: int) -> set[Pair]:
    """Photos with the next ``steps`` of their series: names that differ in their last number alone, in its order."""
    series: dict[tuple[str, str], list[tuple[int, int]]] = {}
    for i, name in enumerate(names):
        if found := _NUMBERED.fullmatch(name.rpartition(".")[0] or name):
            series.setdefault((found["series"], found["rest"]), []).append((int(found["number"]), i))
    chosen: set[Pair] = set()
    for members in series.values():
        order = [i for _, i in sorted(members)]
        chosen.update((min(p), max(p)) for k in range(1, steps + 1) for p in zip(order, order[k:], strict=False))
    return chosen


def with_others(photos: Iterable[int], num_photos: int) -> set[Pair]:
    """Each of ``photos`` with every other photo."""
    return {(min(i, j), max(i, j)) for i in photos for j in range(num_photos) if i != j}


def through_a_third(
    matches: Mapping[Pair, NDArray[np.int64]], tried: set[Pair], likeness: NDArray[np.float64], *, least: int, most: int
) -> set[Pair]:
    """Pairs that were not tried although a third photo shows that they have details in common.

    Args:
        matches: Verified ones, (N, 2) keypoint indices.
        tried: Pairs to leave out.
        likeness: (P, P); of a photo's pairs those least alike are taken. They close loops and have most parallax.
        least: Fewest keypoints of the third photo that match in both.
        most: Of each photo.
    """
    seen: dict[int, list[tuple[int, NDArray[np.int64]]]] = {}
    for (a, b), found in matches.items():
        seen.setdefault(a, []).append((b, found[:, 0]))
        seen.setdefault(b, []).append((a, found[:, 1]))
    possible: set[Pair] = set()
    for partners in seen.values():
        size = 1 + max(int(keypoints.max(initial=-1)) for _, keypoints in partners)
        shown = np.zeros((len(partners), size), dtype=np.float32)
        for row, (_, keypoints) in zip(shown, partners, strict=True):
            row[keypoints] = 1.0
        for i, j in np.argwhere(np.triu(shown @ shown.T >= least, 1)):
            a, b = partners[i][0], partners[j][0]
            possible.add((min(a, b), max(a, b)))
    of: dict[int, list[Pair]] = {}
    for pair in sorted(possible - tried):
        for photo in pair:
            of.setdefault(photo, []).append(pair)
    return {p for pairs in of.values() for p in sorted(pairs, key=lambda p: (likeness[p], p))[:most]}
