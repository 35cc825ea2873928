"""Matches along the epipolar lines of known poses tell repeated texture apart."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from depthrf.geometry.camera import View
from depthrf.geometry.transforms import invert_rigid, look_at
from depthrf.sfm.child.matching.along_lines import KeypointRays, match_along_lines
from tests.scenes import corner

Array = NDArray[np.float64]
Floats = NDArray[np.float32]


def keypoints(view: View, points: Array, descriptors: Floats) -> KeypointRays:
    in_cam = points @ view.cam_from_world[:3, :3].T + view.cam_from_world[:3, 3]
    return KeypointRays(in_cam[:, :2] / in_cam[:, 2:], descriptors, view.camera.fx)


def repeated_texture(count: int, copies: int, noise: float) -> tuple[Array, Floats, Floats, np.random.Generator]:
    """Points, and descriptors in two photos of which ``copies`` points each look the same."""
    rng = np.random.default_rng(3)
    points = rng.uniform([-1.5, -1.0, 1.0], [1.5, 1.0, 2.4], (count, 3))
    looks = np.repeat(rng.normal(size=(count // copies, 128)), copies, axis=0)
    noisy = [looks + noise * rng.normal(size=looks.shape) for _ in range(2)]
    first, second = (d / np.linalg.norm(d, axis=1, keepdims=True) for d in noisy)
    return points, first.astype(np.float32), second.astype(np.float32), rng


def test_lines_tell_repeated_texture_apart() -> None:
    points, first, second, rng = repeated_texture(600, 4, 0.02)
    a, b = corner.views(2, -0.4, 0.4)
    order = rng.permutation(600)
    relative = b.cam_from_world @ invert_rigid(a.cam_from_world)
    matches = match_along_lines(
        keypoints(a, points, first), keypoints(b, points[order], second[order]), relative, max_error_px=2.0
    )
    right = order[matches[:, 1]] == matches[:, 0]
    assert len(matches) > 400
    assert right.mean() > 0.97
    # Without knowing where to look (any line will do), the four copies of each look reject each other.
    anywhere = match_along_lines(
        keypoints(a, points, first), keypoints(b, points[order], second[order]), relative, max_error_px=1e9
    )
    assert len(anywhere) < 100


def test_matches_do_not_depend_on_the_order_of_the_photos() -> None:
    points, first, second, _ = repeated_texture(200, 1, 0.05)
    a, b = corner.views(2, -0.4, 0.4)
    ka, kb = keypoints(a, points, first), keypoints(b, points, second)
    relative = b.cam_from_world @ invert_rigid(a.cam_from_world)
    forth = match_along_lines(ka, kb, relative, 2.0)
    back = match_along_lines(kb, ka, invert_rigid(relative), 2.0)
    assert len(forth) > 190
    both = {tuple(m) for m in forth.tolist()} & {tuple(m[::-1]) for m in back.tolist()}
    assert len(both) > 0.98 * len(forth)


def test_no_keypoints_give_no_matches() -> None:
    nothing = KeypointRays(np.zeros((0, 2)), np.zeros((0, 128), np.float32), 200.0)
    assert match_along_lines(nothing, nothing, np.eye(4), 4.0).shape == (0, 2)
    one_spot = look_at(np.zeros(3), np.array([0.0, 0.0, 1.0]), np.array([0.0, -1.0, 0.0]))
    points, first, second, _ = repeated_texture(50, 1, 0.01)
    same = View("a", corner.CAMERA, one_spot)
    assert match_along_lines(keypoints(same, points, first), keypoints(same, points, second), np.eye(4), 4.0).size == 0
