"""Pictures beside the colours: what no photo saw is grey and hatched, normals point where the wall does, scales."""

from __future__ import annotations

import numpy as np
import pytest

from depthrf.geometry.camera import View
from depthrf.geometry.transforms import look_at
from depthrf.io.draw.overlays import ColourScale
from depthrf.stages.filming.pictures import hatch_unseen, paint_normals, unseen_pixels, with_scale
from tests.scenes.half_room import CAMERA, UP, WALL_Y, depth_of, photos, views


def test_rendered_wall_is_seen_and_floaters_and_other_sides_are_not() -> None:
    view = views()[2]
    depth = depth_of(view)
    assert (unseen_pixels(view, depth, photos()) == 2).mean() > 0.95
    floater = depth.copy()
    floater[10:20, 10:20] *= 0.6
    seen = unseen_pixels(view, floater, photos())
    assert (seen[10:20, 10:20] == 0).all()
    assert (seen[25:, 30:] > 0).all()
    behind = View("b", CAMERA, look_at(np.array([0, WALL_Y + 4, 0]), np.array([0.0, 0, 0]), UP))
    assert (unseen_pixels(behind, depth_of(behind), photos()) == 0).all()


def test_only_what_no_photo_saw_is_grey_and_hatched() -> None:
    rgb = np.full((96, 128, 3), (200, 60, 20), np.uint8)
    seen = np.full((24, 32), 2)
    seen[:, :16] = 0
    shown = hatch_unseen(rgb, seen)
    np.testing.assert_array_equal(shown[:, 72:], rgb[:, 72:])
    left = shown[:, :56].reshape(-1, 3)
    assert (left.max(1) == left.min(1)).all()
    assert len(np.unique(left)) == 2
    np.testing.assert_array_equal(hatch_unseen(rgb, np.ones((24, 32), np.int64)), rgb)


def test_normals_of_the_wall_point_at_the_camera() -> None:
    view = View("a", CAMERA, look_at(np.array([0.0, -2.0, 0.0]), np.array([0.0, WALL_Y, 0.0]), UP))
    inner = paint_normals(view, depth_of(view))[2:-2, 2:-2].reshape(-1, 3)
    np.testing.assert_allclose(inner, np.tile([128, 128, 255], (len(inner), 1)), atol=1)
    turned = View("a", CAMERA, look_at(np.array([-3.0, -2.0, 0.0]), np.array([1.0, WALL_Y, 0.0]), UP))
    middle = paint_normals(turned, depth_of(turned))[24, 32].astype(float)
    expected = 127.5 * (turned.cam_from_world[:3, :3] @ [0, -1, 0] * [1, -1, -1] + 1)
    np.testing.assert_allclose(middle, expected, atol=2)
    assert np.isfinite(paint_normals(view, np.zeros((48, 64), np.float32))).all()


@pytest.mark.parametrize("metres", [None, 2.0])
def test_a_scale_is_drawn_along_the_lower_edge_only(metres: float | None) -> None:
    picture = np.full((240, 320, 3), 128, np.uint8)
    shown = with_scale(picture, ColourScale(1.0, 4.0, inverse=True), metres)
    np.testing.assert_array_equal(shown[:180], picture[:180])
    assert (shown[200:] != picture[200:]).any()
    assert shown.shape == picture.shape
