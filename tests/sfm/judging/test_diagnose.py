"""Messages name the measured cause."""

from __future__ import annotations

import itertools

import pytest

from depthrf.sfm.judging.diagnose import MIN_PHOTOS, Link, dropped, groups, nearest, too_few, why_failed

NAMES = [f"{c}.jpg" for c in "abcdef"]


def links(*pairs: str, flat: bool = False) -> list[Link]:
    return [Link(f"{p[0]}.jpg", f"{p[1]}.jpg", 50 + 10 * i, flat) for i, p in enumerate(pairs)]


def test_groups_are_the_connected_parts() -> None:
    assert groups(NAMES, links("ab", "cd", "bc", "ef")) == [["a.jpg", "b.jpg", "c.jpg", "d.jpg"], ["e.jpg", "f.jpg"]]
    assert groups([], []) == []


def test_count_is_told() -> None:
    assert "1 usable photo;" in too_few(1)
    assert "no usable photos" in too_few(0)


def test_no_overlap() -> None:
    assert "No two of the 6 photos" in why_failed(NAMES, [], [], 3)


def test_one_spot() -> None:
    assert "one spot" in why_failed(NAMES, links("ab", "bc", flat=True), [], 3)


def test_separate_groups_are_listed() -> None:
    message = why_failed(NAMES, links("ab", "cd", "ef"), NAMES[:2], 3)
    assert "3 groups" in message
    assert "a.jpg, b.jpg; c.jpg, d.jpg" in message


def test_weak_links_are_named() -> None:
    message = why_failed(NAMES, links("ab", "bc", "cd", "de"), NAMES[:2], 5)
    assert "Only 2 of the 6" in message
    assert "f.jpg" in message


def test_what_was_placed_is_told() -> None:
    assert "None of the 6 photos" in why_failed(NAMES, links("ab", "bc"), [], 3)
    assert "placed, a.jpg, c.jpg" in why_failed(NAMES, links("ab", "bc"), ["a.jpg", "c.jpg"], 3)


@pytest.mark.parametrize(("num_placed", "num_photos"), [(3, 7), (6, 24), (8, 24), (19, 40)])
def test_a_share_that_is_enough_is_offered(num_placed: int, num_photos: int) -> None:
    names = [f"{i:02d}.jpg" for i in range(num_photos)]
    chain = [Link(a, b, 50, False) for a, b in itertools.pairwise(names)]
    message = why_failed(names, chain, names[:num_placed], num_photos)
    offered = float(message.split("--min-share ")[1].split("`")[0])
    assert max(MIN_PHOTOS, round(offered * num_photos)) <= num_placed < round((offered + 0.02) * num_photos + 1)
    assert "--min-share" not in why_failed(names, chain, names[:2], num_photos)


def test_dropped_photo_names_its_neighbours_and_where_a_new_photo_helps() -> None:
    found = dropped("b.jpg", None, NAMES, links("ab", "bc", "ac"), ["a.jpg", "c.jpg"])
    assert "c.jpg (60) and a.jpg (50)" in found.reason
    assert found.matches == {"c.jpg": 60, "a.jpg": 50}
    assert found.between == ("b.jpg", "c.jpg")
    assert dropped("b.jpg", "it blinked", NAMES, links("ab"), ["a.jpg"]).reason.startswith("it blinked")


def test_dropped_photo_without_placed_neighbours_points_to_the_nearest_in_the_list() -> None:
    alone = dropped("f.jpg", None, NAMES, links("ab"), ["a.jpg", "b.jpg", "d.jpg"])
    assert (alone.matches, alone.between) == ({}, ("f.jpg", "d.jpg"))
    assert "no detail with any other photo" in alone.reason
    linked = dropped("f.jpg", None, NAMES, links("ab", "ef"), ["a.jpg", "b.jpg"])
    assert "only with e.jpg (60)" in linked.reason
    assert linked.between == ("f.jpg", "b.jpg")
    assert nearest("f.jpg", NAMES, []) is None
    assert dropped("f.jpg", None, NAMES, [], []).between == ()
