"""Quick matches of rendered photos whose cameras are known."""

from __future__ import annotations

from itertools import pairwise

import cv2
import numpy as np
import pytest

from depthrf.geometry.camera import Camera, View
from depthrf.geometry.transforms import look_at
from depthrf.sfm.preflight import quick_match
from depthrf.sfm.preflight.quick_match import (
    QuickKeypoints,
    find_keypoints,
    match_pair,
    shared_focal,
    viewing_angle_deg,
)
from tests.scenes import corner

CAMERA = Camera(480, 360, 436.0, 436.0, 240.0, 180.0)
UP = np.array([0.0, -1.0, 0.0])


def view(x: float, target: tuple[float, float, float] = (0.5, 0.2, 2.2)) -> View:
    return View("v", CAMERA, look_at(np.array([x, 0.1, -1.2]), np.array(target), UP))


def keypoints(of: View, seed: int = 0, focal_px: float | None = None) -> QuickKeypoints:
    image, _ = corner.render(of, corner.textures(seed))
    return find_keypoints(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), 1500, focal_px=focal_px)


@pytest.fixture(scope="module")
def moved() -> list[QuickKeypoints]:
    return [keypoints(view(x)) for x in (-0.6, -0.3, 0.0, 0.3)]


def test_photos_from_different_places_show_parallax(moved: list[QuickKeypoints]) -> None:
    pair = match_pair(moved[0], moved[2])
    assert pair.num_matches > 60
    assert not pair.flat
    assert not pair.turned
    assert pair.shift > 0.01


def test_focal_and_angle_come_from_the_matches_alone(moved: list[QuickKeypoints]) -> None:
    pairs = [(match_pair(a, b), a, b) for a, b in pairwise(moved)]
    pairs += [(match_pair(a, b), a, b) for a, b in zip(moved[:-2], moved[2:], strict=True)]
    focal = shared_focal(pairs)
    assert focal == pytest.approx(436 / 480, rel=0.2)
    centre = np.array([0.5, 0.2, 2.2])
    rays = [centre - view(x).centre for x in (-0.6, 0.0)]
    true = np.rad2deg(np.arccos(rays[0] @ rays[1] / np.prod([np.linalg.norm(r) for r in rays])))
    pair, a, b = pairs[3]
    assert viewing_angle_deg(pair, a, b, focal) == pytest.approx(true, rel=0.35)


def test_a_camera_that_only_turns() -> None:
    first, second = keypoints(view(0.0, (0.3, 0.2, 2.2))), keypoints(view(0.0, (0.9, 0.2, 2.2)))
    pair = match_pair(first, second)
    assert pair.num_matches > 60
    assert pair.flat
    assert pair.turned
    assert np.isnan(viewing_angle_deg(pair, first, second, None))


def test_a_flat_surface_is_not_a_turn() -> None:
    wall = cv2.resize((corner.textures()[0] * 255).astype(np.uint8), (480, 360))
    warp = cv2.getPerspectiveTransform(np.array(CORNERS[0], np.float32), np.array(CORNERS[1], np.float32))
    tilted = cv2.warpPerspective(wall, warp, (480, 360), borderMode=cv2.BORDER_REFLECT)
    greys = [cv2.cvtColor(p, cv2.COLOR_BGR2GRAY) for p in (wall, tilted)]
    pair = match_pair(*(find_keypoints(grey, 1500, focal_px=436) for grey in greys))
    assert pair.flat
    assert not pair.turned


CORNERS = (
    [[0, 0], [480, 0], [480, 360], [0, 360]],
    [[0, 0], [380, 50], [380, 290], [0, 360]],
)


def test_copies_do_not_move(moved: list[QuickKeypoints]) -> None:
    image, _ = corner.render(view(-0.6), corner.textures())
    _, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 50])
    small = cv2.resize(cv2.imdecode(data, cv2.IMREAD_GRAYSCALE), None, fx=0.6, fy=0.6, interpolation=cv2.INTER_AREA)
    pair = match_pair(moved[0], find_keypoints(small, 1500))
    assert pair.num_matches > 60
    assert pair.shift < 0.004
    assert match_pair(moved[0], moved[0]).shift == 0.0


def test_different_scenes_and_empty_photos_share_nothing(moved: list[QuickKeypoints]) -> None:
    assert match_pair(moved[0], keypoints(view(-0.6), seed=5)).num_matches < quick_match.MIN_MATCHES
    blank = find_keypoints(np.full((360, 480), 128, np.uint8), 1500)
    assert len(blank.xy) == 0
    assert match_pair(moved[0], blank).num_matches == match_pair(blank, blank).num_matches == 0


def test_no_keypoints_where_a_mask_is_black() -> None:
    image, _ = corner.render(view(0.0), corner.textures())
    used = np.zeros((360, 480), dtype=bool)
    used[:, 200:] = True
    found = find_keypoints(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), 1500, used=used)
    assert len(found.xy) > 50
    assert found.xy[:, 0].min() >= 199
