"""Matches of XFeat keypoints with the published weights, against the known geometry of rendered photos."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from depthrf.geometry.camera import View
from depthrf.sfm.jobs import LearnedWeights
from depthrf.sfm.learned.keypoints import Extractor, Keypoints
from depthrf.sfm.learned.matching import Matcher, nearest
from depthrf.sfm.learned.partners import promising
from tests.scenes import corner

SHOT = corner.views(2, -0.5, 0.5)


@pytest.fixture(scope="module")
def photos(learned_weights: LearnedWeights) -> tuple[Keypoints, Keypoints]:
    extract = Extractor(learned_weights.xfeat, torch.device("cpu"), min_size=480, max_size=480, count=512)
    first, second = (extract(np.ascontiguousarray(corner.render(v, corner.textures())[0][..., ::-1])) for v in SHOT)
    return first, second


def share_right(first: Keypoints, second: Keypoints, matches: NDArray[np.int64], views: list[View]) -> float:
    """Share of matches within 3 pixels of where the rendered depth says."""
    _, depth = corner.render(views[0], corner.textures())
    xy = first.xy[matches[:, 0]].astype(np.float64)
    pixels = np.clip(np.floor(xy).astype(int), 0, np.array(depth.shape[::-1]) - 1)
    camera = views[0].camera
    rays = np.column_stack([(xy - [camera.cx, camera.cy]) / [camera.fx, camera.fy], np.ones(len(xy))])
    points = rays * depth[pixels[:, 1], pixels[:, 0], None]
    world = (points - views[0].cam_from_world[:3, 3]) @ views[0].cam_from_world[:3, :3]
    in_second = world @ views[1].cam_from_world[:3, :3].T + views[1].cam_from_world[:3, 3]
    error = np.linalg.norm(views[1].camera.project(in_second) - second.xy[matches[:, 1]], axis=1)
    return float((error < 3.0).mean())


def test_matches_are_right(learned_weights: LearnedWeights, photos: tuple[Keypoints, Keypoints]) -> None:
    matches, probability = Matcher(learned_weights.lighterglue, torch.device("cpu"))(*photos)
    assert len(matches) == len(probability) > 100
    assert 0.1 <= probability.min() <= probability.max() <= 1.0
    assert len(set(matches[:, 0])) == len(set(matches[:, 1])) == len(matches)
    assert share_right(*photos, matches, SHOT) > 0.9
    cheap = nearest(*photos, 512)
    assert len(cheap) > 50
    assert share_right(*photos, cheap, SHOT) > 0.7


def test_nearest_neighbours_are_mutual() -> None:
    """Against a plain search of all pairs."""
    rng = np.random.default_rng(0)
    descriptors = rng.normal(size=(2, 60, 64)).astype(np.float32)
    descriptors[1, :40] = descriptors[0, :40][::-1] + 0.05 * rng.normal(size=(40, 64))
    descriptors /= np.linalg.norm(descriptors, axis=2, keepdims=True)
    first, second = (Keypoints(np.zeros((60, 2), np.float32), d, (1, 1)) for d in descriptors)
    cosine = descriptors[0] @ descriptors[1].T
    expected = [
        (i, j)
        for i in range(60)
        for j in range(60)
        if cosine[i, j] == cosine[i].max() == cosine[:, j].max() and cosine[i, j] > 0.82
    ]
    assert len(expected) == 40
    assert nearest(first, second, 60).tolist() == [list(pair) for pair in expected]
    assert len(nearest(first, second, 10)) == 0


def test_photos_without_keypoints_do_not_match(
    learned_weights: LearnedWeights, photos: tuple[Keypoints, Keypoints]
) -> None:
    empty = Keypoints(np.zeros((0, 2), np.float32), np.zeros((0, 64), np.float32), (240, 180))
    match = Matcher(learned_weights.lighterglue, torch.device("cpu"))
    for pair in ((empty, photos[0]), (photos[0], empty), (empty, empty)):
        matches, probability = match(*pair)
        assert matches.shape == nearest(*pair, 10).shape == (0, 2)
        assert probability.shape == (0,)


def test_the_most_alike_are_chosen_from_either_side() -> None:
    likeness = {("a", "b"): 9, ("a", "c"): 5, ("a", "d"): 3, ("b", "c"): 4, ("b", "d"): 0, ("c", "d"): 2}
    assert promising(likeness, 1) == [("a", "b"), ("a", "c"), ("a", "d")]
    assert promising(likeness, 9) == sorted(p for p, count in likeness.items() if count)
    assert promising({("a", "b"): 0}, 5) == []
