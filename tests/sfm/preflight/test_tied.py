"""Pairs of photos that share keypoints have one scale."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from depthrf.sfm.preflight.foresight import RED, MeasuredPhoto, judge
from depthrf.sfm.preflight.photo_quality import Quality
from depthrf.sfm.preflight.quick_match import QuickKeypoints, QuickPair
from depthrf.sfm.preflight.tied import largest_tied_group

Array = NDArray[np.float64]
POINTS = np.random.default_rng(0).uniform(0, 600, (100, 2))


def pair(first: slice, second: slice) -> QuickPair:
    x, y = POINTS[first], POINTS[second]
    return QuickPair(len(x), shift=0.1, xy_first=x, xy_second=y)


def test_pairs_are_joined_by_the_keypoints_that_they_share() -> None:
    ab = pair(slice(0, 20), slice(0, 20))
    assert largest_tied_group({("a", "b"): ab}) == {"a", "b"}
    assert largest_tied_group({("a", "b"): ab, ("b", "c"): pair(slice(15, 35), slice(0, 20))}) == {"a", "b", "c"}
    assert len(largest_tied_group({("a", "b"): ab, ("b", "c"): pair(slice(16, 36), slice(0, 20))})) == 2
    assert largest_tied_group({}) == largest_tied_group({("a", "b"): pair(slice(0, 14), slice(0, 14))}) == set()


def test_photos_that_overlap_only_two_at_a_time_are_red_and_named() -> None:
    empty = QuickKeypoints(np.zeros((0, 2), np.float32), np.zeros((0, 128), np.float32), (800, 600), None)
    quality = Quality(blur_px=1.0, dark=0.0, bright=0.0, brightness=-2.0)
    photos = [MeasuredPhoto(name, 800, 600, None, "", quality, empty) for name in "abc"]
    pairs = {
        ("a", "b"): pair(slice(0, 40), slice(0, 40)),
        ("a", "c"): QuickPair(0),
        ("b", "c"): pair(slice(50, 70), slice(0, 20)),
    }
    verdict = judge(photos, pairs)
    assert verdict.verdict == RED
    assert "three photos" in verdict.summary
    assert verdict.advice == "Take photos between b and c."
    tied = {**pairs, ("b", "c"): pair(slice(30, 60), slice(0, 30))}
    assert judge(photos, tied).verdict != RED
