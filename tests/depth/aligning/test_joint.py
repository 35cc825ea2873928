from __future__ import annotations

import numpy as np
import pytest

from depthrf.depth.aligning.joint import Surface, align_photos, borrow, contradicting, log_ratio
from depthrf.depth.aligning.photo import Anchors
from depthrf.geometry.camera import DepthPrior, SparseDepths
from tests.scenes.room import CAMERA, depth_map, views


def keypoints(depth: np.ndarray, number: int, rng: np.random.Generator, factor: float = 1.0) -> Anchors:
    xy = rng.uniform((1, 1), (CAMERA.width - 1, CAMERA.height - 1), (number, 2))
    column, row = np.floor(xy).astype(int).T
    z = factor * depth[row, column] * np.exp(rng.normal(0, 0.01, number))
    return Anchors.of_keypoints(SparseDepths(xy, z, np.full(number, 0.5), np.full(number, 4), 0.01 * z))


def prior(depth: np.ndarray, factor: float = 1.0) -> DepthPrior:
    return DepthPrior((factor * depth).astype(np.float32), (0.02 * depth).astype(np.float32))


def test_borrowed_depth_lies_on_the_surface_and_counts_as_a_few_keypoints() -> None:
    scene = views()
    lent = borrow(scene[1], [Surface.of(v, prior(depth_map(v))) for v in (scene[0], scene[2])])
    column, row = np.floor(lent.xy).astype(int).T
    true = depth_map(scene[1])[row, column]
    assert len(lent) > 200
    assert np.percentile(np.abs(lent.depth / true - 1.0), 95) < 0.02
    assert lent.weight.sum() == pytest.approx(30.0)
    assert len(borrow(scene[1], [])) == 0


def test_the_photo_that_is_off_is_found_and_the_others_are_not() -> None:
    scene = views()
    aligned = {i: Surface.of(v, prior(depth_map(v), 1.4 if i == 2 else 1.0)) for i, v in enumerate(scene)}
    found = contradicting(aligned, dict.fromkeys(range(4), 50), [range(4)] * 4)
    assert list(found) == [2]
    assert found[2] == pytest.approx(np.log(1.4), abs=0.05)
    # One against one settles nothing.
    assert not contradicting({i: aligned[i] for i in (1, 2)}, {1: 50, 2: 50}, [range(4)] * 4)


@pytest.mark.parametrize("kind", ["depth", "inverse_depth"])
def test_consistent_but_wrong_keypoints_give_no_prior(kind: str) -> None:
    rng, scene = np.random.default_rng(0), views()
    depths = [depth_map(v).astype(np.float64) for v in scene]
    predictions = [(d if kind == "depth" else 1.0 / d) / 2.0 for d in depths]
    wrong = [keypoints(d, 40 if i == 2 else 120, rng, 1.5 if i == 2 else 1.0) for i, d in enumerate(depths)]
    found = align_photos(predictions, wrong, scene, kind=kind, generator=rng)
    assert [a.accepted for a in found] == [True, True, False, True]
    assert "contradict" in found[2].reason


def test_photos_with_many_keypoints_do_not_change_beside_others() -> None:
    rng, scene = np.random.default_rng(0), views()
    depths = [depth_map(v).astype(np.float64) for v in scene]
    anchors = [keypoints(d, 6 if i == 2 else 120, rng) for i, d in enumerate(depths)]
    together = align_photos(depths, anchors, scene, kind="depth", generator=np.random.default_rng(1))
    alone = align_photos(depths[:2], anchors[:2], scene[:2], kind="depth", generator=np.random.default_rng(1))
    assert [a.grade for a in together] == ["A", "A", "D", "A"]
    for i in (0, 1):
        np.testing.assert_array_equal(together[i].depth(depths[i]).depth, alone[i].depth(depths[i]).depth)


def test_short_tracks_and_large_errors_weigh_less() -> None:
    z = np.ones(4)
    error, length = np.array([0.2, 0.2, 2.0, 0.2]), np.array([5, 2, 5, 3])
    weight = Anchors.of_keypoints(SparseDepths(np.zeros((4, 2)), z, error, length, 0.01 * z)).weight
    assert weight[0] > weight[3] > weight[1] > 0
    assert weight[0] > weight[2] > 0


def test_photos_of_one_slanted_surface_agree_at_any_resolution() -> None:
    """Depth is compared at the pixel where the other photo sees it, not at the corner of a block of pixels."""
    for factor in (1, 5, 11):
        scene = [v.with_camera(CAMERA.resized(factor * CAMERA.width, factor * CAMERA.height)) for v in views()]
        surfaces = [Surface.of(v, prior(depth_map(v))) for v in scene]
        for one, other in ((0, 1), (1, 0), (2, 3)):
            found = log_ratio(surfaces[one], surfaces[other])
            assert found == pytest.approx(0.0, abs=5e-4)
