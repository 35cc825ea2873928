"""Routes cut into frames: speed, ends, direction, loops, keyframes in time, fields of view."""

from __future__ import annotations

import numpy as np
import pytest

from depthrf.geometry.paths.keyframes import Keyframe, through_frames, through_keyframes
from depthrf.geometry.paths.route import Route
from depthrf.geometry.paths.timing import CameraPath, Timing, eased, frames_of
from depthrf.geometry.pose_curve import PoseCurve
from depthrf.geometry.transforms import look_at, rotation_angle_deg

UP = np.array([0.0, 0.0, 1.0])


def straight(closed: bool = False) -> Route:
    """Ten units along x, with points at uneven distances."""
    x = 10.0 * np.linspace(0, 1, 50) ** 2
    if closed:
        x = 5.0 - 5.0 * np.cos(np.linspace(0, 2 * np.pi, 200, endpoint=False))
    positions = np.stack([x, 0 * x, 0 * x], 1)
    return Route(PoseCurve.through(positions, np.broadcast_to(np.eye(3), (len(x), 3, 3)), closed=closed))


def x_of(path: CameraPath) -> np.ndarray:
    return path.centres[:, 0]


def test_constant_speed_whatever_the_points() -> None:
    x = x_of(frames_of(straight(), Timing(2.0, 10), 1.0))
    np.testing.assert_allclose(x, np.linspace(0, 10, 20), atol=1e-9)


def test_eased_ends_start_and_stop_softly_and_go_the_same_way() -> None:
    x = x_of(frames_of(straight(), Timing(4.0, 25, ease=1.0), 1.0))
    steps = np.diff(x)
    assert x[0] == 0
    assert x[-1] == pytest.approx(10)
    assert steps[0] < 0.01 * steps.max()
    assert steps[-1] < 0.01 * steps.max()
    assert np.abs(np.diff(steps)).max() < 0.1 * steps.max()
    np.testing.assert_allclose(steps[30:70], steps[50], rtol=1e-3)
    np.testing.assert_allclose(eased(np.linspace(0, 1, 11), 0.0), np.linspace(0, 1, 11))


def test_speed_reverse_and_loop() -> None:
    plain = frames_of(straight(), Timing(2.0, 10), 1.0)
    assert len(frames_of(straight(), Timing(2.0, 10, speed=2.0), 1.0)) == 10
    np.testing.assert_allclose(x_of(frames_of(straight(), Timing(2.0, 10, reverse=True), 1.0)), x_of(plain)[::-1])
    there = x_of(frames_of(straight(), Timing(2.0, 10, loop=True), 1.0))
    np.testing.assert_allclose(there, [*range(11), *range(9, 0, -1)], atol=1e-9)
    ring = x_of(frames_of(straight(closed=True), Timing(2.0, 10), 1.0))
    assert abs(ring[-1] - ring[0]) == pytest.approx(abs(ring[1] - ring[0]), rel=0.05)


def ahead(x: float, **more: float) -> Keyframe:
    return Keyframe(look_at(np.array([x, 0.0, 0.0]), np.array([x, 5.0, 0.0]), UP), **more)


def test_timed_keyframes_are_passed_at_their_times() -> None:
    keys = [ahead(0.0, time=1.0), ahead(1.0, time=2.0), ahead(5.0, time=4.0)]
    path = frames_of(through_keyframes(keys, 1.0), Timing(99.0, 10), 1.0)
    assert len(path) == 31
    np.testing.assert_allclose(x_of(path)[[0, 10, 30]], [0, 1, 5], atol=1e-3)
    assert (np.diff(x_of(path)) > 0).all()
    assert len(frames_of(through_keyframes(keys, 1.0), Timing(99.0, 10, speed=2.0), 1.0)) == 16


def test_untimed_keyframes_are_passed_smoothly_at_constant_speed() -> None:
    rng = np.random.default_rng(0)
    keys = [Keyframe(look_at(rng.uniform(-1, 1, 3), np.array([0.0, 6.0, 0.0]), UP)) for _ in range(5)]
    for loop in (False, True):
        path = frames_of(through_keyframes(keys, 1.0, loop=loop), Timing(40.0, 10, loop=loop), 1.0)
        steps = np.linalg.norm(np.diff(path.centres, axis=0), axis=1)
        turns = rotation_angle_deg(path.cam_from_world[1:, :3, :3], path.cam_from_world[:-1, :3, :3])
        speed = np.hypot(steps, np.deg2rad(turns))
        assert speed.max() < 1.05 * speed.mean()
        for key in keys:
            nearest = int(np.argmin(np.linalg.norm(path.centres - key.centre, axis=1)))
            assert np.linalg.norm(path.centres[nearest] - key.centre) < 0.6 * steps.max()
            assert rotation_angle_deg(path.cam_from_world[nearest, :3, :3], key.cam_from_world[:3, :3]) < 1.0
        if loop:
            assert np.linalg.norm(path.centres[-1] - path.centres[0]) < 1.5 * steps.max()


def test_given_frames_come_out_as_they_went_in() -> None:
    rng = np.random.default_rng(1)
    frames = [Keyframe(look_at(rng.uniform(-1, 1, 3), np.array([0.0, 6.0, 0.0]), UP), fov=40.0 + i) for i in range(7)]
    path = frames_of(through_frames(frames, 24), Timing(99.0, 24), 1.0)
    np.testing.assert_allclose(path.cam_from_world, np.stack([f.cam_from_world for f in frames]), atol=1e-12)
    assert path.fov is not None
    np.testing.assert_allclose(path.fov, 40.0 + np.arange(7))


@pytest.mark.parametrize("count", [1, 2])
def test_one_or_two_keyframes_are_enough(count: int) -> None:
    path = frames_of(through_keyframes([ahead(float(i), fov=50.0) for i in range(count)], 1.0), Timing(1.0, 10), 1.0)
    assert len(path) == 10
    assert path.fov is not None
    np.testing.assert_allclose(x_of(path), np.linspace(0, count - 1, 10), atol=1e-6)
    np.testing.assert_allclose(path.fov, 50.0)


def test_zoom_changes_sizes_by_equal_factors_and_fills_gaps() -> None:
    keys = [ahead(0.0, time=0.0, fov=90.0), ahead(0.5, time=1.0), ahead(1.0, time=2.0, fov=20.0)]
    path = frames_of(through_keyframes(keys, 1.0), Timing(99.0, 10), 1.0)
    assert path.fov is not None
    assert path.fov[0] == pytest.approx(90)
    assert path.fov[-1] == pytest.approx(20)
    assert (np.diff(path.fov) < 0).all()
    two = [ahead(0.0, time=0.0, fov=90.0), ahead(1.0, time=2.0, fov=20.0)]
    zoom = frames_of(through_keyframes(two, 1.0), Timing(99.0, 10), 1.0).fov
    assert zoom is not None
    ratios = np.tan(np.deg2rad(zoom[1:]) / 2) / np.tan(np.deg2rad(zoom[:-1]) / 2)
    np.testing.assert_allclose(ratios, ratios[0], rtol=1e-3)
