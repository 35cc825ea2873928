"""Camera paths: continuous, upright, near the cameras, and the same whatever the views' order, frame and scale."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from depthrf.geometry.camera import Camera, View
from depthrf.geometry.paths.focus import focus_point, mean_up, subject_of, vertical
from depthrf.geometry.paths.ordering import order_views
from depthrf.geometry.paths.registry import KINDS
from depthrf.geometry.paths.route import length_unit
from depthrf.geometry.paths.timing import Timing, frames_of
from depthrf.geometry.transforms import Similarity, look_at, rigid, rotation_angle_deg

CAMERA = Camera(64, 48, 60.0, 60.0, 32.0, 24.0)
UP = np.array([0.0, 0.0, 1.0])


def views_at(centres: list[np.ndarray], targets: list[np.ndarray]) -> list[View]:
    return [
        View(f"v{i:02d}.jpg", CAMERA, look_at(c, t, UP)) for i, (c, t) in enumerate(zip(centres, targets, strict=True))
    ]


def arc(count: int = 12, degrees: float = 90.0) -> list[View]:
    """Views around the point (0, 0, 1), looking at it, with the unsteadiness of a hand."""
    rng = np.random.default_rng(3)
    angles = np.deg2rad(np.linspace(-degrees / 2, degrees / 2, count))
    centres = [np.array([3 * np.sin(a), -3 * np.cos(a), 1.5]) + 0.05 * rng.standard_normal(3) for a in angles]
    return views_at(centres, [np.array([0.0, 0.0, 1.0]) + 0.05 * rng.standard_normal(3) for _ in angles])


def ring(count: int = 16) -> list[View]:
    return arc(count, 360.0 * (1 - 1 / count))


def unpack(path: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Camera centres and rotations; checks that the poses are rigid and finite."""
    poses = np.stack(path)
    rotations = poses[:, :3, :3]
    assert np.isfinite(poses).all()
    np.testing.assert_allclose(
        rotations @ rotations.transpose(0, 2, 1), np.broadcast_to(np.eye(3), rotations.shape), atol=1e-9
    )
    assert np.linalg.det(rotations).min() > 0.999
    assert (poses[:, 3] == [0, 0, 0, 1]).all()
    return -(rotations.transpose(0, 2, 1) @ poses[:, :3, 3:])[..., 0], rotations


def steps(centres: np.ndarray, rotations: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return np.linalg.norm(np.diff(centres, axis=0), axis=1), rotation_angle_deg(rotations[1:], rotations[:-1])


def film(
    kind: str, views: list[View], num_frames: int, *, reach: float = 1.0, roll: bool = False, **timing: Any
) -> list[np.ndarray]:
    """The poses of a film of one frame a second."""
    subject = subject_of(views)
    route = KINDS[kind](views, subject, reach, loop=timing.get("loop", False))
    path = frames_of(
        route, Timing(seconds=num_frames, fps=1, **timing), length_unit(views), None if roll else subject.up
    )
    assert len(path) == num_frames
    return list(path.cam_from_world)


FLYING = [kind for kind in KINDS if kind != "still"]
NEAR = ["tour", "orbit"]


@pytest.mark.parametrize("loop", [False, True], ids=["open", "loop"])
@pytest.mark.parametrize("kind", NEAR)
@pytest.mark.parametrize("views", [arc(), ring(), arc(30, 40.0)], ids=["arc", "ring", "short"])
def test_continuous_upright_and_near_the_cameras(kind: str, views: list[View], loop: bool) -> None:
    centres, rotations = unpack(film(kind, views, 240, loop=loop))
    moved, turned = steps(centres, rotations)
    assert moved.max() < 0.2
    assert turned.max() < 4.0
    assert (-rotations[:, 1] @ UP).min() > 0.8
    cameras = np.stack([v.centre for v in views])
    gap = np.linalg.norm(np.diff(cameras, axis=0), axis=1).max()
    assert np.linalg.norm(centres[:, None] - cameras, axis=-1).min(1).max() < max(gap, 0.25)


def test_tour_has_constant_speed() -> None:
    moved, turned = steps(*unpack(film("tour", arc(), 240)))
    speed = np.hypot(moved, np.deg2rad(turned))
    assert speed.max() < 1.6 * speed.mean()


def test_tour_without_smoothing_passes_every_camera() -> None:
    views = arc()
    centres, rotations = unpack(film("tour", views, 4000, reach=0.0, roll=True))
    for v in views:
        at = int(np.argmin(np.linalg.norm(centres - v.centre, axis=1)))
        assert np.linalg.norm(centres[at] - v.centre) < 0.01
        assert rotation_angle_deg(rotations[at], v.cam_from_world[:3, :3]) < 0.5


def test_open_tour_begins_and_ends_at_cameras() -> None:
    views = arc()
    path = film("tour", views, 100, roll=True)
    np.testing.assert_allclose(path[0], views[0].cam_from_world, atol=1e-6)
    np.testing.assert_allclose(path[-1], views[-1].cam_from_world, atol=1e-6)


@pytest.mark.parametrize("kind", ["tour", "orbit", "sphere", "spiral"])
@pytest.mark.parametrize("views", [arc(), ring()], ids=["arc", "ring"])
def test_loops_close(kind: str, views: list[View]) -> None:
    frames = film(kind, views, 200, loop=True)
    moved, turned = steps(*unpack([*frames, frames[0]]))
    assert moved[-1] < 2.0 * np.median(moved) + 1e-9
    assert turned[-1] < 2.0 * np.median(turned) + 0.1
    assert moved[-1] > 0.0  # the first frame is not shown twice


def test_orbit_goes_round_a_ring_and_looks_at_the_focus() -> None:
    views = ring()
    centres, rotations = unpack(film("orbit", views, 90))
    azimuth = np.unwrap(np.arctan2(centres[:, 1], centres[:, 0]))
    assert abs(azimuth[-1] - azimuth[0]) > 5.5
    towards = focus_point(views) - centres
    towards /= np.linalg.norm(towards, axis=1, keepdims=True)
    assert (towards * rotations[:, 2]).sum(1).min() > 1 - 1e-9


@pytest.mark.parametrize("kind", KINDS)
def test_equivariant_to_a_similarity(kind: str) -> None:
    rng = np.random.default_rng(0)
    rotation, _ = np.linalg.qr(rng.standard_normal((3, 3)))
    rotation *= np.sign(np.linalg.det(rotation))
    world = Similarity(37.0, rotation, np.array([100.0, -20.0, 5.0]))
    for views in (arc(), ring()):
        moved = [View(v.name, v.camera, world.apply_to_pose(v.cam_from_world)) for v in views]
        expected = [world.apply_to_pose(p) for p in film(kind, views, 50)]
        np.testing.assert_allclose(np.stack(film(kind, moved, 50)), np.stack(expected), atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("unit", [2.0**-13, 2.0**20])  # powers of two leave ties between views as they are
@pytest.mark.parametrize("name", ["three", "in a line", "forwards", "outwards", "downwards"])
def test_paths_are_the_same_in_any_unit(kind: str, unit: float, name: str) -> None:
    views = DEGENERATE[name]
    scaled = [View(v.name, v.camera, rigid(v.cam_from_world[:3, :3], unit * v.cam_from_world[:3, 3])) for v in views]
    expected = np.stack(film(kind, views, 50))
    found = np.stack(film(kind, scaled, 50))
    found[:, :3, 3] /= unit
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_the_order_of_the_views_does_not_matter(kind: str) -> None:
    views = arc()
    shuffled = [views[i] for i in np.random.default_rng(1).permutation(len(views))]
    np.testing.assert_allclose(np.stack(film(kind, shuffled, 40)), np.stack(film(kind, views, 40)), atol=1e-9)
    assert [views[i].name for i in order_views(views)] == [shuffled[i].name for i in order_views(shuffled)]


def test_order_is_the_shortest_where_all_orders_can_be_tried() -> None:
    from itertools import permutations

    for seed in range(5):
        rng = np.random.default_rng(seed)
        views = views_at(list(rng.uniform(-1, 1, (6, 3))), [np.array([0.0, 5.0, 0.0])] * 6)
        centres = np.stack([v.centre for v in views])
        spread = np.sqrt(((centres - centres.mean(0)) ** 2).sum(1).mean())
        turns = np.deg2rad(
            [[rotation_angle_deg(a.cam_from_world[:3, :3], b.cam_from_world[:3, :3]) for b in views] for a in views]
        )
        costs = np.linalg.norm(centres[:, None] - centres, axis=-1) / spread + 0.6 * turns

        def cost(route: list[int], costs: np.ndarray = costs) -> float:
            return float(costs[route[:-1], route[1:]].sum())

        best = min(cost(list(p)) for p in permutations(range(6)))
        assert cost(order_views(views)) <= 1.05 * best


FORWARD = np.array([0.0, 1.0, 0.0])
DEGENERATE = {
    "one": views_at([np.zeros(3)], [FORWARD]),
    "three": arc(3, 50.0),
    "in a line": views_at([np.array([x, 0.0, 0.0]) for x in range(4)], [np.array([x, 1.0, 0.0]) for x in range(4)]),
    "forwards": views_at(
        [np.array([0.0, y, 0.0]) for y in range(4)], [np.array([0.0, y + 1.0, 0.0]) for y in range(4)]
    ),
    "one place": views_at(
        [np.ones(3)] * 5, [np.ones(3) + np.array([np.sin(a), np.cos(a), 0.0]) for a in np.linspace(0, 2, 5)]
    ),
    "same view": views_at([np.ones(3)] * 3, [np.ones(3) + FORWARD] * 3),
    "opposite": views_at(
        [np.array([x, 0.0, 0.0]) for x in range(4)], [np.array([x, (-1.0) ** x, 0.0]) for x in range(4)]
    ),
    "outwards": views_at(
        [np.array([np.sin(a), np.cos(a), 0.0]) for a in np.arange(8)],
        [3 * np.array([np.sin(a), np.cos(a), 0.0]) for a in np.arange(8)],
    ),
    "downwards": [
        View(f"{i}.jpg", CAMERA, look_at(np.array([x, y, 5.0]), np.array([x, y, 0.0]), FORWARD))
        for i, (x, y) in enumerate([(0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0)])
    ],
}


@pytest.mark.parametrize("kind", FLYING)
@pytest.mark.parametrize("name", DEGENERATE)
def test_degenerate_cameras_give_finite_continuous_paths(kind: str, name: str) -> None:
    frames = film(kind, DEGENERATE[name], 300)
    moved, turned = steps(*unpack(frames))
    assert moved.max() < 0.2
    assert turned.max() < 10.0


def test_focus_ignores_strays_and_up_is_the_cameras() -> None:
    views = arc(12)
    views[5] = views_at([views[5].centre], [np.array([3.0, -9.0, 4.0])])[0]
    np.testing.assert_allclose(focus_point(views), [0.0, 0.0, 1.0], atol=0.08)
    assert mean_up(arc()) @ UP > 0.95


def test_the_vertical_is_at_right_angles_to_level_cameras_that_look_down() -> None:
    """Cameras that look down from one side lean their own up forward; the horizon must not lean with it."""
    views = views_at(
        [np.array([2 * np.sin(a), -2 * np.cos(a), 3.0]) for a in np.linspace(-0.6, 0.6, 8)], [np.zeros(3)] * 8
    )
    assert mean_up(views) @ UP < 0.7
    assert vertical(views) @ UP > 0.99
    turned = rigid(np.array([[0.0, 1, 0], [-1, 0, 0], [0, 0, 1]]), np.zeros(3))
    views[2] = View(views[2].name, CAMERA, turned @ views[2].cam_from_world)
    assert vertical(views) @ UP > 0.98  # one camera held upright


@pytest.mark.parametrize("kind", FLYING)
def test_the_horizon_is_level(kind: str) -> None:
    rng = np.random.default_rng(5)
    views = []
    for v in arc():
        a = 0.2 * rng.standard_normal()
        roll = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])
        views.append(View(v.name, CAMERA, rigid(roll, np.zeros(3)) @ v.cam_from_world))
    _, rotations = unpack(film(kind, views, 60))
    assert np.abs(rotations[:, 0] @ vertical(views)).max() < 1e-6


def test_spiral_surrounds_the_middle_photo_and_reach_scales_it() -> None:
    views = arc(9, 40.0)
    wide, narrow = (unpack(film("spiral", views, 100, reach=r))[0] for r in (1.0, 0.25))
    np.testing.assert_allclose(wide.mean(0), views[4].centre, atol=0.1)
    np.testing.assert_allclose(narrow - views[4].centre, 0.25 * (wide - views[4].centre), atol=0.01)


def test_sphere_keeps_height_and_distance_all_round() -> None:
    views = arc(12, 150.0)
    focus = focus_point(views)
    offsets = unpack(film("sphere", views, 90))[0] - focus
    radii = np.linalg.norm(offsets, axis=1)
    assert radii.std() < 1e-3 * radii.mean()
    assert np.ptp(offsets @ vertical(views)) < 1e-3
    turned = np.unwrap(np.arctan2(offsets[:, 1], offsets[:, 0]))
    assert abs(turned[-1] - turned[0]) == pytest.approx(2 * np.pi * 89 / 90, rel=0.01)
    half = unpack(film("sphere", views, 90, reach=0.25))[0] - focus
    assert np.rad2deg(np.ptp(np.arctan2(half[:, 0], -half[:, 1]))) == pytest.approx(90, abs=2)


def test_dolly_goes_in_and_sees_parallax() -> None:
    views = arc(9, 40.0)
    focus = focus_point(views)
    centres, _ = unpack(film("dolly", views, 60))
    distance = np.linalg.norm(centres - focus, axis=1)
    assert (np.diff(distance) < 0).all()
    assert 0.6 < distance[-1] / distance[0] < 0.75
    straight = centres[0] + np.linspace(0, 1, 60)[:, None] * (centres[-1] - centres[0])
    assert np.linalg.norm(centres - straight, axis=1).max() > 0.05 * distance[0]


def test_still_shows_every_photo_equally_long() -> None:
    views = arc(5)
    frames = film("still", views, 20, roll=True)
    shown = [next(v.name for v in views if np.allclose(v.cam_from_world, f)) for f in frames]
    assert {name: shown.count(name) for name in set(shown)} == {v.name: 4 for v in views}
    assert sum(a != b for a, b in pairwise(shown)) == 4


def test_a_known_distance_mends_the_focus_of_parallel_cameras() -> None:
    views = DEGENERATE["in a line"]
    np.testing.assert_allclose(subject_of(views, distance=9.0).focus, [1.5, 9.0, 0.0], atol=1e-6)
    around = arc()
    np.testing.assert_allclose(subject_of(around, distance=3.0).focus, focus_point(around))
