"""XFeat's keypoints with the published weights, on rendered photos; its arithmetic on made-up maps."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from depthrf.sfm.jobs import LearnedWeights
from depthrf.sfm.learned.keypoints import Extractor, _refined, working_size
from tests.scenes import corner


@pytest.fixture(scope="module")
def photo() -> NDArray[np.uint8]:
    image, _ = corner.render(corner.views(3)[1], corner.textures())
    return np.ascontiguousarray(image[..., ::-1])


def extractor(weights: LearnedWeights, size: int, count: int = 400) -> Extractor:
    return Extractor(weights.xfeat, torch.device("cpu"), min_size=size, max_size=size, count=count)


@pytest.mark.parametrize(
    ("size", "bounds", "expected"),
    [
        ((4000, 3000), (768, 1600), (1600, 1216)),
        ((384, 384), (768, 1600), (768, 768)),
        ((1000, 750), (768, 1600), (992, 736)),
        ((2000, 10), (768, 1600), (1600, 32)),
    ],
)
def test_working_size(size: tuple[int, int], bounds: tuple[int, int], expected: tuple[int, int]) -> None:
    assert working_size(*size, *bounds) == expected


def test_the_top_of_a_gaussian_is_found_exactly() -> None:
    y, x = np.mgrid[0:20, 0:30]
    tops = np.array([[10.3, 8.8], [20.0, 5.5], [4.6, 15.1]])
    heat = sum(np.exp(-((x - u) ** 2 + (y - v) ** 2) / 2.0) for u, v in tops)
    at = torch.from_numpy(np.round(tops).astype(np.int64))
    np.testing.assert_allclose(_refined(torch.from_numpy(heat), at).numpy(), tops, atol=1e-4)


@pytest.mark.parametrize("heat", [np.zeros((8, 8)), np.ones((8, 8)), np.exp(np.arange(64.0).reshape(8, 8) / 10)])
def test_pixels_without_a_peak_and_at_the_border_stay(heat: NDArray[np.float64]) -> None:
    at = torch.tensor([[0, 0], [7, 3], [4, 4]])
    moved = _refined(torch.from_numpy(heat), at).numpy()
    np.testing.assert_array_equal(moved, at.numpy())


def test_descriptors_have_length_one_and_the_best_come_first(
    learned_weights: LearnedWeights, photo: NDArray[np.uint8]
) -> None:
    all_of_them = extractor(learned_weights, 480)(photo)
    few = extractor(learned_weights, 480, count=50)(photo)
    assert len(few.xy) == 50
    assert len(all_of_them.xy) > 200
    np.testing.assert_array_equal(few.xy, all_of_them.xy[:50])
    np.testing.assert_allclose(np.linalg.norm(few.descriptors, axis=1), 1.0, atol=1e-5)


def test_pixel_centres_lie_at_one_half(learned_weights: LearnedWeights, photo: NDArray[np.uint8]) -> None:
    """The same keypoints in a photo of twice the size lie at twice the coordinates, on average to 0.1 pixels."""
    doubled = cv2.resize(photo, None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC)
    small, large = (extractor(learned_weights, size)(p) for size, p in ((480, photo), (480, doubled)))
    offset = large.xy[:, None] - 2.0 * small.xy[None]
    nearest = offset[np.arange(len(offset)), np.linalg.norm(offset, axis=2).argmin(1)]
    same = nearest[np.linalg.norm(nearest, axis=1) < 1.5]
    assert len(same) > 150
    assert np.abs(same.mean(0)).max() < 0.1


def test_no_keypoints_where_the_mask_is_0(learned_weights: LearnedWeights, photo: NDArray[np.uint8]) -> None:
    mask = np.full(photo.shape[:2], 255, dtype=np.uint8)
    mask[:, :120] = 0
    extract = extractor(learned_weights, 480, count=100)
    found = extract(photo, mask)
    assert len(found.xy) == 100  # the best of the part that is used, not what is left of the best
    assert found.xy[:, 0].min() > 119
    assert extract(photo).xy[:, 0].min() < 119
    assert extract(photo, np.zeros_like(mask)).descriptors.shape == (0, 64)


def test_a_photo_of_nothing_has_no_keypoints(learned_weights: LearnedWeights) -> None:
    found = extractor(learned_weights, 480)(np.full((180, 240, 3), 128, dtype=np.uint8))
    assert found.xy.shape == (0, 2)
    assert found.descriptors.shape == (0, 64)
