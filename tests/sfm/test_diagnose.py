"""Messages name the measured cause."""

from __future__ import annotations

from depthrf.sfm.diagnose import Link, groups, too_few, why_dropped, why_failed

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
    assert "No two of the 6 photos" in why_failed(NAMES, [], 0, 3)


def test_one_spot() -> None:
    assert "one spot" in why_failed(NAMES, links("ab", "bc", flat=True), 0, 3)


def test_separate_groups_are_listed() -> None:
    message = why_failed(NAMES, links("ab", "cd", "ef"), 2, 3)
    assert "3 groups" in message
    assert "a.jpg, b.jpg; c.jpg, d.jpg" in message


def test_weak_links_are_named() -> None:
    message = why_failed(NAMES, links("ab", "bc", "cd", "de"), 2, 5)
    assert "Only 2 of 6" in message
    assert "f.jpg" in message


def test_dropped_photo_names_its_neighbours() -> None:
    assert "shares no detail" in why_dropped("f.jpg", None, links("ab"))
    assert "c.jpg (60) and a.jpg (50)" in why_dropped("b.jpg", None, links("ab", "bc"))
    assert why_dropped("b.jpg", "it blinked", links("ab")).startswith("it blinked")
