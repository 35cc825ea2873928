"""What photos saw, in a room whose walls are known: counts, sides of surfaces, hidden and unknown space."""

from __future__ import annotations

import numpy as np
import pytest

from depthrf.geometry.camera import Camera, DepthPrior, View
from depthrf.geometry.transforms import Similarity, look_at
from depthrf.geometry.visibility import SeenDepth, VisibilityVolume, levels, share_of, sightings
from tests.scenes.half_room import CAMERA, FAR, NEAR, UP, WALL_Y, depth_of, photos

FRAME = Similarity(1.0 / 6.0, np.eye(3), np.zeros(3))


@pytest.fixture(scope="module")
def volume() -> VisibilityVolume:
    return VisibilityVolume.of(photos(), FRAME, cells=96)


def look(volume: VisibilityVolume, centre: list[float], target: list[float]) -> tuple[float, float, float, float]:
    view = View("x", CAMERA.fitted(32), look_at(np.array(centre), np.array(target), UP))
    found = volume.look(view, NEAR, FAR)
    share = share_of(found.seen)
    assert share.two + share.one + share.none == pytest.approx(1.0)
    return share.two, share.one, share.none, found.cut


def test_points_on_before_and_behind_the_wall() -> None:
    points = np.array([[0.0, WALL_Y, 0.0], [0.0, WALL_Y - 1, 0.0], [0.0, WALL_Y + 1, 0.0], [0.0, -9.0, 0.0]])
    found = sightings(points, photos(), 0.01)
    count = len(photos())
    assert found.on.tolist() == [count, 0, 0, 0]
    assert found.through.tolist() == [0, count, 0, 0]
    assert found.looked.tolist() == [0, 0, 0, 0]
    front, back = np.array([[0.0, -1.0, 0.0]]), np.array([[0.0, 1.0, 0.0]])
    one = sightings(points[:1], photos(), 0.01)
    assert levels(one, front).tolist() == [2]
    assert levels(one, back).tolist() == [0]  # nobody saw the wall's other side


def test_sigma_and_slack_say_what_counts_as_on_the_surface() -> None:
    photo = photos()[2]
    sigma = float(photo.sigma.max())
    for off, hit in ((1.5 * sigma, 1), (3.0 * sigma, 0)):
        point = np.array([[0.0, WALL_Y + off, 0.0]])
        assert sightings(point, [photo], 0.0).on[0] == hit
    assert sightings(np.array([[0.0, WALL_Y + 3 * sigma, 0.0]]), [photo], 2 * sigma).on[0] == 1


def test_one_photo_and_unknown_depth_count_as_one() -> None:
    photo = photos()[2]
    blank = SeenDepth(photo.view, np.zeros_like(photo.depth), np.zeros_like(photo.sigma))
    wall = np.array([[0.0, WALL_Y, 0.0]])
    front = np.array([[0.0, -1.0, 0.0]])
    assert levels(sightings(wall, [photo], 0.01), front).tolist() == [1]
    assert levels(sightings(wall, [blank], 0.01), front).tolist() == [1]
    assert levels(sightings(wall, [photo, photos()[1]], 0.01), front).tolist() == [2]


def test_photos_viewpoints_are_seen_and_the_unseen_half_is_not(volume: VisibilityVolume) -> None:
    for photo in photos():
        two, _, none, cut = look(volume, list(photo.view.centre), [0, WALL_Y, 0])
        assert two > 0.5
        assert none < 0.2  # the borders of the photos, where cells are half seen
        assert cut == 0
    assert look(volume, [0, -2, 0], [0, -9, 0])[2] > 0.9  # turned round
    assert look(volume, [0, WALL_Y + 2, 0], [0, 0, 0])[2] > 0.9  # behind the wall, looking back


def test_clearance_is_the_distance_to_the_wall(volume: VisibilityVolume) -> None:
    cell = 6.0 * 4.0 / 96
    for y in (-1.0, 1.0, 3.0):
        assert volume.clearance(np.array([[0.0, y, 0.0]]))[0] == pytest.approx(WALL_Y - y, abs=1.5 * cell)


def test_surfaces_before_the_near_plane_are_cut(volume: VisibilityVolume) -> None:
    assert look(volume, [0, WALL_Y - 0.6 * NEAR, 0], [0, WALL_Y, 0])[3] > 0.9


def test_thinned_photos_keep_real_depths() -> None:
    camera = Camera(200, 100, 150.0, 150.0, 100.0, 50.0)
    view = View("a", camera, look_at(np.array([0.0, -2.0, 0.0]), np.array([1.0, WALL_Y, 0.0]), UP))
    depth = depth_of(view)
    small = SeenDepth.of(view, DepthPrior(depth, np.float32(0.01) * depth), 50)
    assert small.depth.shape == (25, 50)
    assert set(small.depth.ravel()) <= set(depth.ravel())
    np.testing.assert_allclose(small.depth, depth_of(small.view), rtol=0.03)
