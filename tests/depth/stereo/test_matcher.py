"""Stereo depth on scenes whose depth is known exactly: recovered where there is texture, honest where there is none."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch

from depthrf.depth.stereo.fusion import DepthMap, Tolerance, calibration, enlarge, fuse, remove_specks, tolerance_of
from depthrf.depth.stereo.matcher import estimate
from depthrf.depth.stereo.matching import Photo, box_mean, matching_score, transfer
from depthrf.depth.stereo.neighbours import DepthRange, choose_neighbours, depth_range
from depthrf.depth.stereo.options import StereoOptions
from depthrf.depth.stereo.semi_global import semi_global
from depthrf.geometry.camera import Camera, SparseDepths, SparseScene, View
from depthrf.geometry.transforms import look_at
from tests.scenes.demo_room import demo_room

CAMERA = Camera(160, 120, 140.0, 140.0, 80.0, 60.0)
BOUNDS = DepthRange(1.2, 6.0)
OPTIONS = StereoOptions(max_side=160)
FLOOR = (np.array([0.0, 0.9, 1.0]), 3.2)
CARD_Z, CARD_HALF = 2.0, 0.35


def cameras(number: int = 5) -> list[View]:
    """Cameras side by side that look along +z; +y is down."""
    centres = [np.array([0.22 * (i - number // 2), 0.04 * (-1) ** i, 0.0]) for i in range(number)]
    return [
        View(f"{i}.png", CAMERA, look_at(c, np.array([0, 0, 3.0]), np.array([0, -1.0, 0])))
        for i, c in enumerate(centres)
    ]


def texture(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Smooth random values in [0, 1] at surface coordinates."""
    rng = np.random.default_rng(7)
    value = np.zeros_like(a)
    for _ in range(40):
        f, g = rng.normal(0, 14.0, 2)
        value += np.sin(f * a + g * b + rng.uniform(0, 6.28))
    return np.clip(0.5 + value / 20.0, 0.0, 1.0)


def photograph(view: View, *, card: bool = False, blank: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Grey photo and z-depth (H, W) of a slanted plane; ``card``: a square before it; ``blank``: uniform right."""
    rays = view.camera.directions(view.camera.pixel_centres()) @ view.cam_from_world[:3, :3]
    normal, offset = FLOOR
    depth = (offset - view.centre @ normal) / (rays @ normal)
    point = view.centre + rays * depth[..., None]
    gray = texture(point[..., 0], point[..., 1])
    if blank:
        gray = np.where(point[..., 0] > 0.2, 0.6, gray)
    if card:
        near = (CARD_Z - view.centre[2]) / rays[..., 2]
        hit = view.centre + rays * near[..., None]
        on = (np.abs(hit[..., 0]) < CARD_HALF) & (np.abs(hit[..., 1]) < CARD_HALF)
        gray = np.where(on, texture(hit[..., 0] + 9.0, hit[..., 1]), gray)
        depth = np.where(on, near, depth)
    return gray.astype(np.float32), depth.astype(np.float32)


def pyramid(view: View, gray: np.ndarray, device: str = "cpu") -> list[Photo]:
    photos = []
    for side in (80, 160):
        camera = view.camera.fitted(side)
        small = cv2.resize(gray, (camera.width, camera.height), interpolation=cv2.INTER_AREA)
        photos.append(Photo(torch.as_tensor(small, device=device), view.with_camera(camera)))
    return photos


def match(grays: list[np.ndarray], own: int = 2, device: str = "cpu") -> tuple[np.ndarray, np.ndarray]:
    views = cameras(len(grays))
    photos = [pyramid(v, g, device) for v, g in zip(views, grays, strict=True)]
    depth, sigma = estimate(photos[own], [p for i, p in enumerate(photos) if i != own], BOUNDS, OPTIONS)
    return depth.cpu().numpy(), sigma.cpu().numpy()


def relative_error(depth: np.ndarray, true: np.ndarray) -> np.ndarray:
    return np.asarray(np.abs(depth - true) / true)


def test_slanted_plane_is_recovered_with_honest_sigma() -> None:
    shots = [photograph(v) for v in cameras()]
    depth, sigma = match([s[0] for s in shots])
    has = depth > 0
    error = relative_error(depth, shots[2][1])[has]
    assert has.mean() > 0.9
    # A tenth of a pixel of disparity is 0.5 % of depth here.
    assert np.median(error) < 0.007
    assert np.quantile(error, 0.9) < 0.02
    assert np.mean(error < 3 * (sigma / depth.clip(1e-9))[has] + 0.003) > 0.8


def test_exposure_does_not_change_depth() -> None:
    grays = [photograph(v)[0] for v in cameras()]
    depth, _ = match(grays)
    darker = [
        g * gain + offset
        for g, gain, offset in zip(grays, (0.6, 0.8, 1.0, 0.7, 0.9), (0.1, 0, 0, 0.2, 0.05), strict=True)
    ]
    changed, _ = match([g.astype(np.float32) for g in darker])
    both = (depth > 0) & (changed > 0)
    assert both.mean() > 0.85
    assert np.quantile(relative_error(changed[both], depth[both]), 0.95) < 0.005


def test_uniform_surface_becomes_a_hole() -> None:
    shots = [photograph(v, blank=True) for v in cameras()]
    depth, _ = match([s[0] for s in shots])
    flat = box_mean(torch.as_tensor(shots[2][0] != np.float32(0.6)).float(), 5).numpy() < 1e-6
    assert flat.mean() > 0.2
    assert (depth[flat] > 0).mean() < 0.02
    textured = shots[2][0] != np.float32(0.6)
    assert (depth[textured] > 0).mean() > 0.85


def all_maps(**scene: bool) -> tuple[list[DepthMap], list[np.ndarray]]:
    views = cameras()
    shots = [photograph(v, **scene) for v in views]
    found = [match([s[0] for s in shots], own=i) for i in range(len(views))]
    maps = [DepthMap(v, torch.as_tensor(d), torch.as_tensor(s)) for v, (d, s) in zip(views, found, strict=True)]
    return maps, [s[1] for s in shots]


def test_what_no_other_photo_sees_becomes_a_hole() -> None:
    """Two cameras: what the card hides from the other one cannot be matched."""
    views = [cameras()[0], cameras()[4]]
    shots = [photograph(v, card=True) for v in views]
    photos = [pyramid(v, s[0]) for v, s in zip(views, shots, strict=True)]
    maps = [DepthMap(v, *estimate(photos[i], [photos[1 - i]], BOUNDS, OPTIONS)) for i, v in enumerate(views)]
    own, true = fuse(maps[0], maps[1:], Tolerance(), min_agree=1), shots[0][1]
    x, y, w = transfer(views[0], views[1], torch.as_tensor(1.0 / true))
    column, row = x.long().clamp(0, 159).numpy(), y.long().clamp(0, 119).numpy()
    hidden = shots[1][1][row, column] < 0.9 * (w.numpy() * true)
    hidden = cv2.erode(hidden.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    assert hidden.sum() > 100
    has = own.depth.numpy() > 0
    assert has[hidden].mean() < 0.15
    assert has[~hidden].mean() > 0.5


def test_cross_check_keeps_the_scene_and_its_edges() -> None:
    maps, true = all_maps(card=True)
    fused = fuse(maps[2], [m for i, m in enumerate(maps) if i != 2], Tolerance(), min_agree=2)
    depth = fused.depth.numpy()
    has = depth > 0
    assert has.mean() > 0.75
    error = relative_error(depth, true[2])[has]
    assert np.median(error) < 0.007
    assert np.mean(error > 0.1) < 0.03


def exact_maps() -> list[DepthMap]:
    made = []
    for view in cameras():
        depth = torch.as_tensor(photograph(view)[1])
        made.append(DepthMap(view, depth, 0.005 * depth))
    return made


@pytest.mark.parametrize("factor", [0.8, 1.25])
def test_planted_wrong_depth_is_rejected_and_the_rest_kept(factor: float) -> None:
    own, *others = exact_maps()[2:] + exact_maps()[:2]
    depth = own.depth.clone()
    depth[40:60, 70:100] *= factor
    fused = fuse(replace(own, depth=depth), others, Tolerance(), min_agree=2)
    assert (fused.depth[40:60, 70:100] == 0).all()
    outside = torch.ones_like(depth, dtype=torch.bool)
    outside[40:60, 70:100] = False
    outside[:, :25] = outside[:, -25:] = False
    assert (fused.depth[outside] > 0).float().mean() > 0.97
    kept = fused.depth > 0
    assert float(((fused.depth - own.depth).abs() / own.depth)[kept & outside].max()) < 0.015
    assert float((fused.sigma / fused.depth)[kept].min()) >= 0.005


def test_a_photo_alone_confirms_nothing() -> None:
    own = exact_maps()[0]
    assert fuse(own, [], Tolerance(), min_agree=1).depth.max() == 0
    empty = replace(own, depth=torch.zeros_like(own.depth), sigma=torch.zeros_like(own.depth))
    fused = fuse(empty, [own], Tolerance(), min_agree=1)
    assert fused.depth.max() == 0
    assert torch.isfinite(fused.sigma).all()


def test_tolerance_follows_the_keypoints_within_limits() -> None:
    assert tolerance_of(0.0) == Tolerance()
    assert tolerance_of(0.02).least == pytest.approx(0.03)
    assert tolerance_of(np.inf).most == pytest.approx(0.12)


def test_specks_go_and_surfaces_stay() -> None:
    depth = torch.zeros(40, 40)
    depth[10:30, 10:30] = 2.0
    depth[3:5, 3:5] = 2.0
    depth[20, 20] = 3.0
    cleaned = remove_specks(depth)
    assert cleaned[3:5, 3:5].max() == 0
    assert cleaned[20, 20] == 0
    assert (cleaned[13:27, 13:27] > 0).sum() == 14 * 14 - 1


def test_enlarging_keeps_planes_exact_and_never_mixes_surfaces() -> None:
    x = torch.arange(20) + 0.5
    q = (0.5 + 0.005 * x).expand(16, 20).clone()
    q[:, 10:] = 0.2
    fine, _ = enlarge(1.0 / q, 0.01 / q, 64, 80)
    column = (torch.arange(80) + 0.5) / 4
    np.testing.assert_allclose(fine[10, 8:30], 1.0 / (0.5 + 0.005 * column[8:30]), rtol=1e-4)
    assert ((fine < 2.1) | ((fine - 5.0).abs() < 1e-4)).all()
    holes = 1.0 / q
    holes[4:8] = 0.0
    fine, sigma = enlarge(holes, 0.01 * holes, 64, 80)
    assert (fine[16:32] == 0).all()
    assert ((fine > 0) == (sigma > 0)).all()


def test_calibration_finds_the_factor_within_its_limits() -> None:
    generator = torch.Generator().manual_seed(0)
    sigma = torch.rand(4000, generator=generator) + 0.1
    noise = torch.randn(4000, generator=generator) * sigma
    assert calibration(2.5 * noise, sigma) == pytest.approx(2.5, rel=0.05)
    assert calibration(0.2 * noise, sigma) == 1.0
    assert calibration(50 * noise, sigma) == 4.0
    assert calibration(50 * noise[:5], sigma[:5]) == 1.0


@pytest.mark.slow
def test_demo_room_is_recovered() -> None:
    """Five small photos of the room as the demo takes them: half the pixels, to 1 %, with few gross errors."""
    from depthrf.demo.room import demo_views, render

    room = demo_room()
    views = [*demo_views(20, 1, 240, 180)[0][7:12]]
    shots = [render(room, view) for view in views]
    photos = []
    for view, (rgb, _) in zip(views, shots, strict=True):
        gray = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY).astype(np.float32) / 255.0
        half = view.with_camera(view.camera.fitted(120))
        small = cv2.resize(gray, (120, 90), interpolation=cv2.INTER_AREA)
        photos.append([Photo(torch.as_tensor(small), half), Photo(torch.as_tensor(gray), view)])
    bounds, options = DepthRange(1.0, 8.0), StereoOptions(max_side=240)
    maps = [
        DepthMap(v, *estimate(photos[i], [p for j, p in enumerate(photos) if j != i], bounds, options))
        for i, v in enumerate(views)
    ]
    fused = fuse(maps[2], maps[:2] + maps[3:], Tolerance(), min_agree=2)
    has = fused.depth.numpy() > 0
    error = relative_error(fused.depth.numpy(), shots[2][1])[has]
    assert has.mean() > 0.5
    assert np.median(error) < 0.01
    assert np.mean(error > 0.1) < 0.05


# Parts


@pytest.mark.parametrize("radius", [1, 3])
def test_box_mean_against_brute_force(radius: int) -> None:
    values = torch.rand(2, 9, 11, generator=torch.Generator().manual_seed(1))
    expected = torch.empty_like(values)
    for y in range(9):
        for x in range(11):
            window = values[:, max(0, y - radius) : y + radius + 1, max(0, x - radius) : x + radius + 1]
            expected[:, y, x] = window.mean((1, 2))
    torch.testing.assert_close(box_mean(values, radius), expected)


def test_semi_global_against_brute_force() -> None:
    generator = torch.Generator().manual_seed(2)
    cost, gray = torch.rand(5, 6, 7, generator=generator), torch.rand(6, 7, generator=generator)
    small, large, edge = 0.1, 0.5, 0.2
    expected = torch.zeros_like(cost)
    for dy, dx in ((0, 1), (0, -1), (1, 0), (-1, 0), (1, 1), (1, -1), (-1, 1), (-1, -1)):
        path = torch.zeros_like(cost)
        for y in range(6) if dy >= 0 else range(5, -1, -1):
            for x in range(7) if dx >= 0 else range(6, -1, -1):
                py, px = y - dy, x - dx
                path[:, y, x] = cost[:, y, x]
                if 0 <= py < 6 and 0 <= px < 7:
                    p2 = max(small, large / (1 + abs(float(gray[y, x] - gray[py, px])) / edge))
                    before = path[:, py, px]
                    for d in range(5):
                        jumps = [
                            float(before[e]) + (0 if e == d else small if abs(e - d) == 1 else p2) for e in range(5)
                        ]
                        path[d, y, x] += min(jumps) - float(before.min())
        expected += path / 8
    torch.testing.assert_close(semi_global(cost, gray, small=small, large=large, edge=edge), expected)


def test_points_transfer_as_the_cameras_project_them() -> None:
    first, second = cameras()[0], cameras()[3]
    depth = torch.as_tensor(photograph(first)[1])
    x, y, w = transfer(first, second, 1.0 / depth)
    in_first = CAMERA.directions(CAMERA.pixel_centres()) * depth.numpy()[..., None].astype(np.float64)
    world = (in_first - first.cam_from_world[:3, 3]) @ first.cam_from_world[:3, :3]
    in_second = world @ second.cam_from_world[:3, :3].T + second.cam_from_world[:3, 3]
    np.testing.assert_allclose(torch.stack([x, y], -1), CAMERA.project(in_second), atol=2e-3)
    np.testing.assert_allclose(w * depth, in_second[..., 2], rtol=1e-4)


def test_true_depth_matches_best() -> None:
    views = cameras()
    grays = [photograph(v) for v in views]
    photos = [pyramid(v, g[0])[1] for v, g in zip(views, grays, strict=True)]
    q = 1.0 / torch.as_tensor(grays[2][1])
    hypotheses = torch.stack([0.95 * q, q, 1.05 * q])
    score = matching_score(photos[2], [photos[0], photos[4]], hypotheses, radius=3, best=1)
    assert (score[1] > 0.95).float().mean() > 0.9
    assert (score.argmax(0) == 1).float().mean() > 0.9


def sparse(depth: list[float]) -> SparseDepths:
    n = len(depth)
    return SparseDepths(np.zeros((n, 2)), np.array(depth), np.zeros(n), np.full(n, 2), np.ones(n))


def test_depth_range_and_its_fallback() -> None:
    found = depth_range(sparse([1.0] * 50 + [4.0] * 50 + [np.nan, -1.0]), None)
    assert found is not None
    assert found.near < 1.0 / 1.3
    assert found.far > 4.0 * 1.3
    assert depth_range(sparse([1.0] * 3), BOUNDS) is BOUNDS


def test_neighbours_are_those_that_see_the_same_from_a_useful_angle() -> None:
    points = np.random.default_rng(3).uniform((-1, -1, 2.5), (1, 1, 3.5), (200, 3))
    centres = [0.0, 0.0, 0.4, 2.5]  # the second stands where the first does
    views = [
        View(f"{i}", CAMERA, look_at(np.array([x, 0, 0.0]), np.array([0, 0, 3.0]), np.array([0, -1.0, 0])))
        for i, x in enumerate(centres)
    ]
    away = View("away", CAMERA, look_at(np.zeros(3), np.array([0, 0, -3.0]), np.array([0, -1.0, 0])))
    scene = SparseScene([*views, away], points, np.zeros((200, 3), np.uint8), np.zeros(200))
    chosen = choose_neighbours(scene, 3)
    assert chosen[0] == [2, 3]
    assert chosen[4] == []
    assert choose_neighbours(scene, 1)[0] == [2]


@pytest.mark.gpu
@pytest.mark.skipif("not torch.cuda.is_available()")
def test_cuda_agrees_with_cpu() -> None:
    grays = [photograph(v, card=True)[0] for v in cameras()]
    (cpu, _), (cuda, _) = match(grays), match(grays, device="cuda")
    both = (cpu > 0) & (cuda > 0)
    assert both.mean() > 0.95 * (cpu > 0).mean()
    assert np.quantile(relative_error(cuda[both], cpu[both]), 0.99) < 1e-3
