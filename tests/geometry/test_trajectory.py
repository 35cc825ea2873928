"""Camera paths: continuous, upright, near the cameras, and the same whatever the views' order, frame and scale."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from depthrf.errors import UsageError
from depthrf.geometry.camera import Camera, View
from depthrf.geometry.quaternions import quaternions_of, rotations_of
from depthrf.geometry.trajectory import PATHS, find_path, focus_point, mean_up, orbit, order_views, tour
from depthrf.geometry.transforms import Similarity, look_at, rotation_angle_deg

CAMERA = Camera(64, 48, 60.0, 60.0, 32.0, 24.0)
UP = np.array([0.0, 0.0, 1.0])
Path = Callable[[list[View], int], list[np.ndarray]]


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


def looped(views: list[View], num_frames: int) -> list[np.ndarray]:
    return tour(views, num_frames, loop=True)


ALL: dict[str, Path] = {"tour": tour, "loop": looped, "orbit": orbit}


@pytest.mark.parametrize("path", ALL.values(), ids=ALL)
@pytest.mark.parametrize("views", [arc(), ring(), arc(30, 40.0)], ids=["arc", "ring", "short"])
def test_continuous_upright_and_near_the_cameras(path: Path, views: list[View]) -> None:
    centres, rotations = unpack(path(views, 240))
    moved, turned = steps(centres, rotations)
    assert moved.max() < 0.2
    assert turned.max() < 4.0
    assert (-rotations[:, 1] @ UP).min() > 0.8
    cameras = np.stack([v.centre for v in views])
    gap = np.linalg.norm(np.diff(cameras, axis=0), axis=1).max()
    assert np.linalg.norm(centres[:, None] - cameras, axis=-1).min(1).max() < max(gap, 0.25)


def test_tour_has_constant_speed() -> None:
    moved, turned = steps(*unpack(tour(arc(), 240)))
    speed = np.hypot(moved, np.deg2rad(turned))
    assert speed.max() < 1.6 * speed.mean()


def test_tour_without_smoothing_passes_every_camera() -> None:
    views = arc()
    centres, rotations = unpack(tour(views, 4000, smoothness=0.0))
    for v in views:
        at = int(np.argmin(np.linalg.norm(centres - v.centre, axis=1)))
        assert np.linalg.norm(centres[at] - v.centre) < 0.01
        assert rotation_angle_deg(rotations[at], v.cam_from_world[:3, :3]) < 0.5


def test_open_tour_begins_and_ends_at_cameras() -> None:
    views = arc()
    path = tour(views, 100)
    np.testing.assert_allclose(path[0], views[0].cam_from_world, atol=1e-6)
    np.testing.assert_allclose(path[-1], views[-1].cam_from_world, atol=1e-6)


@pytest.mark.parametrize("path", [looped, orbit])
@pytest.mark.parametrize("views", [arc(), ring()], ids=["arc", "ring"])
def test_loops_close(path: Path, views: list[View]) -> None:
    frames = path(views, 200)
    moved, turned = steps(*unpack([*frames, frames[0]]))
    assert moved[-1] < 2.0 * np.median(moved) + 1e-9
    assert turned[-1] < 2.0 * np.median(turned) + 0.1
    assert moved[-1] > 0.0  # the first frame is not shown twice


def test_orbit_goes_round_a_ring_and_looks_at_the_focus() -> None:
    views = ring()
    centres, rotations = unpack(orbit(views, 90))
    azimuth = np.unwrap(np.arctan2(centres[:, 1], centres[:, 0]))
    assert abs(azimuth[-1] - azimuth[0]) > 5.5
    towards = focus_point(views) - centres
    towards /= np.linalg.norm(towards, axis=1, keepdims=True)
    assert (towards * rotations[:, 2]).sum(1).min() > 1 - 1e-9


@pytest.mark.parametrize("path", ALL.values(), ids=ALL)
def test_equivariant_to_a_similarity(path: Path) -> None:
    rng = np.random.default_rng(0)
    rotation, _ = np.linalg.qr(rng.standard_normal((3, 3)))
    rotation *= np.sign(np.linalg.det(rotation))
    world = Similarity(37.0, rotation, np.array([100.0, -20.0, 5.0]))
    for views in (arc(), ring()):
        moved = [View(v.name, v.camera, world.apply_to_pose(v.cam_from_world)) for v in views]
        expected = [world.apply_to_pose(p) for p in path(views, 50)]
        np.testing.assert_allclose(np.stack(path(moved, 50)), np.stack(expected), atol=1e-5)


@pytest.mark.parametrize("path", ALL.values(), ids=ALL)
def test_the_order_of_the_views_does_not_matter(path: Path) -> None:
    views = arc()
    shuffled = [views[i] for i in np.random.default_rng(1).permutation(len(views))]
    np.testing.assert_allclose(np.stack(path(shuffled, 40)), np.stack(path(views, 40)), atol=1e-9)
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


@pytest.mark.parametrize("path", ALL.values(), ids=ALL)
@pytest.mark.parametrize("name", DEGENERATE)
def test_degenerate_cameras_give_finite_continuous_paths(path: Path, name: str) -> None:
    frames = path(DEGENERATE[name], 300)
    assert len(frames) == 300
    moved, turned = steps(*unpack(frames))
    assert moved.max() < 0.2
    assert turned.max() < 10.0


def test_focus_ignores_strays_and_up_is_the_cameras() -> None:
    views = arc(12)
    views[5] = views_at([views[5].centre], [np.array([3.0, -9.0, 4.0])])[0]
    np.testing.assert_allclose(focus_point(views), [0.0, 0.0, 1.0], atol=0.08)
    assert mean_up(arc()) @ UP > 0.95


def test_quaternions_round_trip_at_every_angle() -> None:
    rng = np.random.default_rng(0)
    axes = rng.standard_normal((200, 3))
    axes /= np.linalg.norm(axes, axis=1, keepdims=True)
    half = np.linspace(0, np.pi / 2, 200)[:, None]
    rotations = rotations_of(np.concatenate([np.cos(half), np.sin(half) * axes], 1))
    np.testing.assert_allclose(rotations_of(quaternions_of(rotations)), rotations, atol=1e-12)


def test_paths_are_found_by_name() -> None:
    assert find_path("orbit") is PATHS["orbit"]
    with pytest.raises(UsageError, match=r"'spiral'.*tour, orbit"):
        find_path("spiral")
