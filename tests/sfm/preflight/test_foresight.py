"""The verdict follows from what was measured; nothing is decoded or matched here."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from depthrf.sfm.preflight.foresight import AMBER, GREEN, RED, MeasuredPhoto, SetVerdict, judge
from depthrf.sfm.preflight.photo_quality import Quality
from depthrf.sfm.preflight.quick_match import QuickKeypoints, QuickPair

GOOD = Quality(blur_px=1.0, dark=0.0, bright=0.0, brightness=-2.0)
NO_KEYPOINTS = QuickKeypoints(np.zeros((0, 2), np.float32), np.zeros((0, 128), np.float32), (800, 600), None)


POINTS = np.random.default_rng(0).uniform(0, 600, (500, 2))


def shared(pair: QuickPair | int) -> QuickPair:
    """A pair whose matches are the first of the same keypoints as those of every other pair."""
    quick = pair if isinstance(pair, QuickPair) else QuickPair(pair, shift=0.1)
    return replace(quick, xy_first=POINTS[: quick.num_matches], xy_second=POINTS[: quick.num_matches])


def judged(
    links: dict[tuple[str, str], QuickPair | int], names: str, quality: dict[str, Quality] | None = None
) -> SetVerdict:
    photos = [MeasuredPhoto(n, 800, 600, None, "", (quality or {}).get(n, GOOD), NO_KEYPOINTS) for n in names]
    pairs = {(a, b): QuickPair(0) for i, a in enumerate(names) for b in names[i + 1 :]}
    pairs.update({k: shared(v) for k, v in links.items()})
    return judge(photos, pairs)


def chain(names: str, matches: int = 100) -> dict[tuple[str, str], QuickPair | int]:
    return dict.fromkeys(pairwise(names), matches)


def test_overlapping_photos_are_green() -> None:
    report = judged(chain("abcdef"), "abcdef")
    assert (report.verdict, report.problems, len(report.groups)) == (GREEN, (), 1)


@pytest.mark.parametrize("names", ["", "a", "ab"])
def test_too_few_are_red(names: str) -> None:
    report = judged(chain(names), names)
    assert report.verdict == RED
    assert "at least 3" in report.summary


def test_unrelated_photos_are_red() -> None:
    report = judged({}, "abcdef")
    assert report.verdict == RED
    assert "No two photos" in report.summary


def test_two_groups_name_where_to_shoot() -> None:
    report = judged({**chain("abc"), **chain("defg")}, "abcdefg")
    assert report.verdict == AMBER
    assert "2 groups" in report.summary
    assert report.advice == "Take photos between c and d."


def test_groups_that_are_all_too_small_are_red() -> None:
    assert judged({**chain("abc"), **chain("def"), **chain("gh")}, "abcdefgh").verdict == RED


def test_a_photo_alone_is_named() -> None:
    report = judged(chain("abcde"), "abcdex")
    assert report.verdict == AMBER
    assert report.summary == "x shares no view with the other photos."
    assert report.photos[-1].remarks == ("shares no view",)


def test_the_weakest_link_is_the_bottleneck_not_the_weakest_pair() -> None:
    links = {**chain("abc", 200), **chain("def", 200), ("c", "d"): 22, ("b", "e"): 16, ("a", "c"): 15}
    report = judged(links, "abcdef")
    assert report.weakest_link is not None
    assert (report.weakest_link.first, report.weakest_link.second) == ("c", "d")
    assert report.verdict == AMBER
    assert report.advice == "Take a photo between c and d."


def test_one_spot_is_red_and_one_flat_wall_amber() -> None:
    turned = QuickPair(300, flat=True, turned=True, shift=0.2)
    flat = QuickPair(300, flat=True, shift=0.2)
    report = judged(dict.fromkeys(pairwise("abcde"), turned), "abcde")
    assert report.verdict == RED
    assert "one spot" in report.summary
    assert judged(dict.fromkeys(pairwise("abcde"), flat), "abcde").verdict == AMBER
    mixed = judged({**chain("abcde"), ("e", "f"): turned}, "abcdef")
    assert mixed.verdict == AMBER
    assert mixed.summary.startswith("f was taken from the same spot")


def test_copies_do_not_count_as_views() -> None:
    copy = QuickPair(800, flat=True, turned=True, shift=0.001)
    report = judged({**chain("abcdef"), ("b", "c"): copy}, "abcdef")
    assert report.verdict == AMBER
    assert report.advice == "Leave out c."
    report = judged({("a", "b"): copy, ("b", "c"): copy, ("a", "c"): copy}, "abc")
    assert report.verdict == RED


def test_blur_and_exposure_are_told_before_what_they_cause() -> None:
    blurred, dark = Quality(4.0, 0.0, 0.0, -2.0), Quality(float("nan"), 0.9, 0.0, -8.0)
    report = judged(chain("abcde"), "abcdex", {"c": blurred, "x": dark})
    assert report.verdict == AMBER
    assert [f.photos for f in report.problems] == [("c",), ("x",), ("x",)]
    assert report.summary == "c is blurred."
    assert "too dark" in report.photos[-1].remarks


def test_an_evenly_soft_set_is_not_called_blurred() -> None:
    soft = Quality(2.5, 0.0, 0.0, -2.0)
    assert judged(chain("abcdef"), "abcdef", dict.fromkeys("abcdef", soft)).verdict == GREEN
