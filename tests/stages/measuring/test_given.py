from __future__ import annotations

import pytest

from depthrf.errors import UsageError
from depthrf.stages.measuring.given import metres_of, parse_distance, parse_length, point_of


@pytest.mark.parametrize(
    ("text", "metres"),
    [("1.20m", 1.2), ("45 cm", 0.45), ("2e3mm", 2.0), ("10ft", 3.048), ("12in", 0.3048), (" 3M ", 3.0)],
)
def test_lengths_have_units(text: str, metres: float) -> None:
    assert metres_of(text) == pytest.approx(metres)


@pytest.mark.parametrize("text", ["", "1.2", "m", "-1m", "0m", "nanm", "infm", "1km", "1,2m", "1e999m", "--m"])
def test_what_is_no_length(text: str) -> None:
    with pytest.raises(UsageError, match=r"with a unit \(m, cm, mm, ft, in\)"):
        metres_of(text)


def test_a_known_length() -> None:
    known = parse_length("a photo: of=me.jpg:412,220.5:530, 221=1.20m")
    assert (known.photo, known.points) == ("a photo: of=me.jpg", ((412.0, 220.5), (530.0, 221.0)))
    assert known.metres == 1.2
    assert 0.002 < known.deviation < 0.005


@pytest.mark.parametrize("text", ["", "a.jpg=1m", "a.jpg:1,2=1m", "a.jpg:1,2:3,4", "a.jpg:1,2:3=1m", ":1,2:3,4=1m"])
def test_what_is_no_known_length(text: str) -> None:
    with pytest.raises(UsageError, match="should be like"):
        parse_length(text)


@pytest.mark.parametrize("text", ["a.jpg:1,2:1,2=1m", "a.jpg:1,2:1-2,3=1m", "a.jpg:1,2:e,3=1m"])
def test_points_that_are_none(text: str) -> None:
    with pytest.raises(UsageError, match=r"should (differ|be X,Y)"):
        parse_length(text)


def test_a_known_distance() -> None:
    known = parse_distance("my photo 1.jpg IMG 2.jpg=60cm")
    assert (known.photos, known.metres) == ("my photo 1.jpg IMG 2.jpg", 0.6)
    for text in ("a.jpg=1m", "a.jpg b.jpg", "=1m"):
        with pytest.raises(UsageError, match="should be like"):
            parse_distance(text)


@pytest.mark.parametrize("text", ["1", "1;2", "a,b", "1,", "nan,1", "1,2,3"])
def test_what_is_no_point(text: str) -> None:
    with pytest.raises(UsageError, match="X,Y"):
        point_of(text)
