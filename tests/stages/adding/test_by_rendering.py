"""Placing photos by renderings, with the corner's exact pictures in place of a trained field's."""

from __future__ import annotations

from functools import cache, partial

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from depthrf.geometry.camera import View
from depthrf.geometry.transforms import rotation_angle_deg
from depthrf.nerf.rendering.views import RenderedView
from depthrf.stages.adding.by_rendering import Found, photometric_test, place_by_rendering, self_check, viewpoints
from depthrf.stages.adding.matchers import by_sift
from tests.scenes import corner

Image = NDArray[np.uint8]
TEXTURES = cache(corner.textures)
AROUND = corner.views(4)
LOST = corner.views(1, 0.15)[0]


def picture(view: View, seed: int = 0) -> tuple[Image, NDArray[np.float64]]:
    image, depth = corner.render(view, TEXTURES(seed))
    return np.ascontiguousarray(image[..., ::-1]), depth


def field_picture(view: View) -> RenderedView:
    """As a field renders: somewhat blurred, its depth off by half a percent."""
    rgb, depth = picture(view)
    blurred = np.asarray(cv2.GaussianBlur(rgb, (0, 0), 0.8), dtype=np.uint8)
    return RenderedView(blurred, (1.005 * depth).astype(np.float32), np.ones(depth.shape, np.float32))


place = partial(place_by_rendering, camera=corner.CAMERA, render=field_picture, match=by_sift)


def test_a_photo_is_placed_where_it_was_taken() -> None:
    found = place(picture(LOST)[0], around=viewpoints(AROUND, 3.0))
    assert isinstance(found, Found)
    assert rotation_angle_deg(found.cam_from_world[:3, :3], LOST.cam_from_world[:3, :3]) < 0.3
    centre = -found.cam_from_world[:3, :3].T @ found.cam_from_world[:3, 3]
    np.testing.assert_allclose(centre, LOST.centre, atol=0.04)
    assert found.correlation > 0.9


def test_a_photo_of_another_place_is_refused() -> None:
    reason = place(picture(LOST, seed=9)[0], around=AROUND)
    assert isinstance(reason, str)
    assert "renderings" in reason


def off(angle_deg: float, shift: float) -> NDArray[np.float64]:
    rotation, _ = cv2.Rodrigues(np.deg2rad([0.0, angle_deg, 0.0]))
    pose = LOST.cam_from_world.copy()
    pose[:3] = rotation @ pose[:3]
    pose[0, 3] += shift
    return pose


@pytest.mark.parametrize(("angle", "shift"), [(3.0, 0.0), (-5.0, 0.0), (0.0, 0.3)])
def test_a_pose_that_is_off_fails_the_self_check(angle: float, shift: float) -> None:
    photo = picture(LOST)[0]
    assert self_check(off(0.0, 0.0), photo, corner.CAMERA, field_picture, by_sift) == ""
    assert "elsewhere" in self_check(off(angle, shift), photo, corner.CAMERA, field_picture, by_sift)


@pytest.mark.parametrize("angle", [3.0, -5.0, 20.0])
def test_a_pose_that_is_off_fails_the_photometric_test(angle: float) -> None:
    photo = picture(LOST)[0]
    own = photometric_test(off(0.0, 0.0), photo, corner.CAMERA, field_picture)
    assert isinstance(own, float)
    assert isinstance(photometric_test(off(angle, 0.0), photo, corner.CAMERA, field_picture), str)


def test_exposure_does_not_count() -> None:
    darker = (0.5 * picture(LOST)[0]).astype(np.uint8)
    assert isinstance(place(darker, around=AROUND), Found)


def test_viewpoints_lie_between_neighbours_once() -> None:
    found = viewpoints(AROUND[:2], 3.0)
    between = [v for v in found if np.allclose(v.centre, (AROUND[0].centre + AROUND[1].centre) / 2)]
    assert len(between) == 1
    assert len(found) == 2 + 1 + 2 * 3
    assert len(viewpoints(AROUND[:2], 3.0, most=5)) == 5
