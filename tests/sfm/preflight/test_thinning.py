"""Photos at equal steps, and how few of them would do."""

from __future__ import annotations

from itertools import pairwise

import pytest

from depthrf.sfm.judging.diagnose import Link
from depthrf.sfm.preflight.thinning import LEAST, at_equal_steps, enough


def row(count: int, reach: int, matches: int = 150) -> tuple[list[str], list[Link]]:
    """Photos along a way, each of which matches the next ``reach``."""
    names = [f"{i:03d}" for i in range(count)]
    pairs = [(i, j) for i in range(count) for j in range(i + 1, min(i + reach + 1, count))]
    return names, [Link(names[i], names[j], matches, flat=False) for i, j in pairs]


@pytest.mark.parametrize(("total", "count"), [(50, 7), (100, 99), (5, 2), (3, 9)])
def test_equal_steps_hold_both_ends_and_differ_by_one_at_most(total: int, count: int) -> None:
    chosen = at_equal_steps(total, count)
    steps = {b - a for a, b in pairwise(chosen)}
    assert (len(chosen), chosen[0], chosen[-1]) == (min(total, count), 0, total - 1)
    assert max(steps) - min(steps) <= 1


def test_as_many_are_enough_as_still_reach_two_others() -> None:
    """A kept photo has to reach past its kept neighbour at each end of the row: twice the step."""
    assert enough(*row(200, 3)) is None
    assert enough(*row(200, 5)) == 100
    assert enough(*row(200, 11)) == 40


def test_fewer_than_forty_are_never_advised() -> None:
    names, links = row(2 * LEAST - 1, 2 * LEAST)
    assert enough(names, links) is None
    assert enough(*row(2 * LEAST, 2 * LEAST)) == LEAST


def test_weak_and_flat_links_do_not_count() -> None:
    names, links = row(100, 20)
    assert enough(names, links) == 50
    assert enough(names, [Link(k.first, k.second, 99, flat=False) for k in links]) is None
    assert enough(names, [Link(k.first, k.second, 500, flat=True) for k in links]) is None


def test_no_part_of_the_scene_is_left_out() -> None:
    """A photo that is left out must match one that stays."""
    names, links = row(100, 20)
    assert enough(names, [k for k in links if "001" not in (k.first, k.second)]) is None
    apart = [k for k in links if not k.first < "050" <= k.second]
    assert enough(names, apart) is None
