"""Matches by networks for a look ahead, on small copies of rendered photos."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from depthrf.sfm.jobs import LearnedWeights
from depthrf.sfm.preflight.learned_match import LearnedMatch
from depthrf.sfm.preflight.quick_match import MIN_MATCHES, QuickKeypoints, find_keypoints
from tests.scenes import corner

SHOT = corner.views(3)
SMALL = (120, 90)


def photo(index: int, seed: int = 0) -> NDArray[np.uint8]:
    return np.ascontiguousarray(corner.render(SHOT[index], corner.textures(seed))[0][..., ::-1])


def quick(rgb: NDArray[np.uint8]) -> QuickKeypoints:
    return find_keypoints(cv2.cvtColor(cv2.resize(rgb, SMALL), cv2.COLOR_RGB2GRAY), 300, focal_px=109.0)


@pytest.fixture(scope="module")
def networks(learned_weights: LearnedWeights) -> LearnedMatch:
    return LearnedMatch(learned_weights)


def test_photos_of_one_place_match_in_pixels_of_the_small_copy(networks: LearnedMatch) -> None:
    first, second = (networks.find_keypoints(photo(i), quick(photo(i)), None) for i in (0, 1))
    assert first.size == SMALL
    assert first.focal_px == 109.0
    assert 100 < first.xy[:, 0].max() < SMALL[0]
    pair = networks.match(first, second)
    assert pair.num_matches > 10 * MIN_MATCHES
    assert pair.num_matches == len(pair.xy_first) == len(pair.xy_second)


def test_photos_of_different_places_do_not_match(networks: LearnedMatch) -> None:
    first, other = (networks.find_keypoints(p, quick(p), None) for p in (photo(1), photo(2, seed=7)))
    assert networks.match(first, other).num_matches == 0


def test_what_a_mask_leaves_out_has_no_keypoints(networks: LearnedMatch) -> None:
    used = np.ones((180, 240), dtype=bool)
    used[:, :120] = False
    assert networks.find_keypoints(photo(0), quick(photo(0)), used).xy[:, 0].min() > 59
