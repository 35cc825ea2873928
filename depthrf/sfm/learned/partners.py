"""Which pairs of photos are worth a close look, from a cheap count of what they have in common. Pure."""

from __future__ import annotations

from collections.abc import Mapping

Pair = tuple[str, str]


def promising(likeness: Mapping[Pair, int], partners: int) -> list[Pair]:
    """The pairs in which at least one photo counts the other among the ``partners`` most like it, in order.

    Args:
        likeness: How much two photos have in common, by their names; pairs with 0 are never taken.
        partners: How many of each photo.
    """
    of: dict[str, list[Pair]] = {}
    for pair in sorted(likeness):
        for name in pair:
            of.setdefault(name, []).append(pair)
    chosen: set[Pair] = set()
    for pairs in of.values():
        chosen.update(sorted(pairs, key=lambda p: (-likeness[p], p))[:partners])
    return sorted(pair for pair in chosen if likeness[pair])
