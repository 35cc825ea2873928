"""How few of many photos, taken at equal steps, would still overlap well. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from depthrf.sfm.judging import diagnose
from depthrf.sfm.judging.diagnose import Link

LEAST = 40
"""Fewer photos are never advised: they may show less of the scene, even where they overlap."""

_GOOD_LINK = 100  # matches: structure from motion hardly ever fails with so many
_LINKS = 2  # that each photo needs, so that its details show in three photos


def at_equal_steps(total: int, count: int) -> list[int]:
    """``count`` of ``total`` numbers from 0, the first and last among them; all where there are no more."""
    if total <= count:
        return list(range(total))
    return [round(at) for at in np.linspace(0, total - 1, count).tolist()]


def enough(names: Sequence[str], links: Iterable[Link]) -> int | None:
    """The fewest photos that would do, of a half, a third and so on of them; None where all are needed.

    They do where each has good links to two others, all hang together by such links, and every photo that is left out
    has a good link to one of them, so that hardly anything of the scene is lost.

    Args:
        names: The photos, in order.
        links: Pairs that match.
    """
    good = [link for link in links if link.num_matches >= _GOOD_LINK and not link.flat]
    near: dict[str, set[str]] = {name: set() for name in names}
    for link in good:
        near[link.first].add(link.second)
        near[link.second].add(link.first)
    for count in sorted({len(names) // part for part in range(2, len(names) // LEAST + 1)}):
        kept = {names[i] for i in at_equal_steps(len(names), count)}
        if all(len(near[name] & kept) >= (_LINKS if name in kept else 1) for name in names):
            among = [link for link in good if link.first in kept and link.second in kept]
            if len(diagnose.groups(kept, among)) == 1:
                return count
    return None
