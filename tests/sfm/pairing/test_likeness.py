"""How alike photos are by their descriptors."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from depthrf.sfm.pairing.likeness import SAMPLE, likeness, sampled


def walk(num_photos: int, *, count: int = 120, step: int = 20) -> list[NDArray[np.uint8]]:
    """Descriptors of photos along a wall: each sees ``count`` details, of which ``step`` are new in the next."""
    rng = np.random.default_rng(3)
    details = rng.gamma(0.6, 30.0, (count + step * num_photos, 128)).clip(0, 255)
    shown = [details[step * i : step * i + count] for i in range(num_photos)]
    return [(d + rng.normal(0.0, 4.0, d.shape)).clip(0, 255).astype(np.uint8) for d in shown]


def test_photos_that_show_more_of_the_same_are_more_alike() -> None:
    alike = likeness(walk(12), 0)
    for i in range(12):
        order = [j for j in np.argsort(-alike[i], kind="stable") if j != i]
        assert {abs(i - j) for j in order[:2]} <= {1, 2}
    assert np.allclose(alike, alike.T)
    assert np.allclose(np.diag(alike), 1.0)


def test_the_order_of_photos_and_of_keypoints_does_not_matter_and_seeds_repeat() -> None:
    photos = walk(8)
    alike = likeness(photos, 4)
    assert np.array_equal(alike, likeness(photos, 4))
    turned = likeness([d[::-1] for d in photos], 4)
    assert (turned.argsort(1)[:, -2] == alike.argsort(1)[:, -2]).mean() > 0.7


@pytest.mark.parametrize("empty", [[0], [0, 1, 2, 3]])
def test_a_photo_without_keypoints_is_like_no_other(empty: list[int]) -> None:
    photos = walk(4)
    for i in empty:
        photos[i] = np.zeros((0, 128), np.uint8)
    alike = likeness(photos, 0)
    assert np.isfinite(alike).all()
    assert not alike[empty].any()


def test_photos_with_fewer_descriptors_than_words_or_all_the_same_are_alike_without_division_by_zero() -> None:
    same = [np.full((3, 128), 7, np.uint8)] * 3
    assert np.isfinite(likeness(same, 0)).all()


def test_a_sample_is_as_large_as_it_may_be_and_keeps_its_order() -> None:
    many = np.arange(3 * SAMPLE, dtype=np.uint32)[:, None].view(np.uint8)
    found = sampled(many, (0, 1))
    numbers = found.view(np.uint32)[:, 0].astype(int)
    assert len(numbers) == SAMPLE
    assert (np.diff(numbers) > 0).all()
    assert np.array_equal(found, sampled(many, (0, 1)))
    assert not np.array_equal(found, sampled(many, (0, 2)))
    assert len(sampled(many[:5], (0, 1))) == 5
