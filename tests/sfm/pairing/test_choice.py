"""Which pairs of photos are matched."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from depthrf.sfm.pairing.choice import all_of, in_sequence, most_alike, through_a_third, with_others


def on_a_line(num: int) -> NDArray[np.float64]:
    """Likeness of photos along a line: the nearer, the more alike."""
    at = np.arange(num)
    return np.asarray(1.0 / (1.0 + np.abs(at[:, None] - at)))


def test_few_photos_are_matched_with_all_others() -> None:
    assert most_alike(on_a_line(5), 8, 1.5) == all_of(5)
    assert most_alike(on_a_line(1), 8, 1.5) == set()


def test_pairs_reach_from_the_next_photo_to_the_far_ones_and_grow_with_the_number_of_photos() -> None:
    chosen = most_alike(on_a_line(400), 8, 1.5)
    apart = np.array([b - a for a, b in chosen])
    assert {1, 2, 3, 4} <= set(apart)
    assert (apart > 50).any()
    assert len(chosen) < 400 * 20
    assert all(a < b for a, b in chosen)
    per_photo = {n: len(most_alike(on_a_line(n), 8, 1.5)) / n for n in (100, 400)}
    assert per_photo[400] < 1.4 * per_photo[100]


def test_numbered_names_are_neighbours_in_the_order_of_their_numbers() -> None:
    names = ["IMG_10.jpg", "IMG_9.jpg", "IMG_100.jpg", "other.jpg", "VID_9.jpg", "VID_11.jpg"]
    assert in_sequence(names, 1) == {(0, 1), (0, 2), (4, 5)}
    assert in_sequence(names, 2) == {(0, 1), (0, 2), (1, 2), (4, 5)}
    assert in_sequence(["a.jpg", "b.jpg"], 2) == set()


def test_photos_are_matched_with_all_others() -> None:
    assert with_others([1], 4) == {(0, 1), (1, 2), (1, 3)}
    assert with_others(range(4), 4) == all_of(4)


@pytest.mark.parametrize(("shared", "expected"), [(50, {(0, 2)}), (39, set())])
def test_a_third_photo_shows_what_two_have_in_common(shared: int, expected: set[tuple[int, int]]) -> None:
    """Photos 0 and 2 both match ``shared`` keypoints of photo 1."""
    middle = np.arange(shared)
    matches = {
        (0, 1): np.column_stack([middle + 5, middle]),
        (1, 2): np.column_stack([middle, middle + 9]),
        (2, 3): np.column_stack([middle + 1000, middle]),  # of other keypoints of photo 2
    }
    tried = set(matches)
    assert through_a_third(matches, tried, on_a_line(4), least=40, most=3) == expected
    assert through_a_third(matches, tried | {(0, 2)}, on_a_line(4), least=40, most=3) == set()


def test_of_many_pairs_those_least_alike_are_taken() -> None:
    middle = np.arange(40)
    matches = {(0, i): np.column_stack([middle, middle]) for i in range(1, 6)}
    chosen = through_a_third(matches, set(matches), on_a_line(6), least=40, most=1)
    assert (1, 5) in chosen
    assert (3, 4) not in chosen
