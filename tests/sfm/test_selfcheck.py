"""The self-check accepts right models and finds what is wrong in wrong ones."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from depthrf.geometry.camera import Camera
from depthrf.geometry.lens import Lens
from depthrf.geometry.transforms import invert_rigid, look_at, rigid
from depthrf.sfm.recipes import Trust
from depthrf.sfm.selfcheck import PlacedPhoto, RayPair, check, epipolar_error_px

FOCAL = 500.0
LENS = Lens("SIMPLE_RADIAL", 640, 480, (FOCAL, 320.0, 240.0, 0.01))
CAMERA = Camera(640, 480, FOCAL, FOCAL, 320.0, 240.0)
Model = tuple[dict[str, PlacedPhoto], list[RayPair]]


@pytest.fixture
def right() -> Model:
    """Seven photos on an arc around a cloud of points; every pair matches, with noise and some outliers."""
    rng = np.random.default_rng(0)
    points = rng.uniform(-1, 1, (150, 3))
    poses = {}
    for i in range(7):
        a = 0.25 * (i - 3)
        centre = np.array([4 * np.sin(a), 0.4 * (i % 2), -4 * np.cos(a)])
        poses[f"{i}.jpg"] = look_at(centre, np.zeros(3), np.array([0.0, -1.0, 0.0]))
    rays = {}
    for name, pose in poses.items():
        in_cam = points @ pose[:3, :3].T + pose[:3, 3]
        rays[name] = in_cam[:, :2] / in_cam[:, 2:] + rng.standard_normal((150, 2)) * 0.7 / FOCAL
    names = sorted(poses)
    pairs = []
    for i, a in enumerate(names):
        for b in names[i + 1 :]:
            second = rays[b].copy()
            second[:8] = rng.uniform(-0.5, 0.5, (8, 2))
            pairs.append(RayPair(a, b, rays[a], second))
    return {name: PlacedPhoto(pose, LENS, 100) for name, pose in poses.items()}, pairs


def turned(photo: PlacedPhoto, degrees: float) -> PlacedPhoto:
    """The photo's camera turned about its own vertical axis."""
    c, s = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    turn = rigid(np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]]), np.zeros(3))
    return replace(photo, cam_from_world=turn @ photo.cam_from_world)


def test_a_right_model_is_trusted(right: Model) -> None:
    verdict = check(*right, Trust())
    assert not verdict.untrusted
    assert verdict.consistency > 0.85
    assert verdict.worst > 0.85


def test_one_wrong_photo_is_found_and_the_others_stay(right: Model) -> None:
    photos, pairs = right
    moved = rigid(np.eye(3), np.array([0.0, 1.0, 0.0])) @ photos["3.jpg"].cam_from_world
    wrong = {**photos, "3.jpg": replace(photos["3.jpg"], cam_from_world=moved)}
    verdict = check(wrong, pairs, Trust())
    assert set(verdict.untrusted) == {"3.jpg"}
    assert verdict.per_photo["3.jpg"] < 0.3
    assert "agree" in verdict.untrusted["3.jpg"]


def test_a_few_degrees_are_enough_to_be_found(right: Model) -> None:
    photos, pairs = right
    up_down = np.array([[1, 0, 0], [0, np.cos(0.05), -np.sin(0.05)], [0, np.sin(0.05), np.cos(0.05)]])
    tilted = rigid(up_down, np.zeros(3)) @ photos["0.jpg"].cam_from_world
    verdict = check({**photos, "0.jpg": replace(photos["0.jpg"], cam_from_world=tilted)}, pairs, Trust())
    assert set(verdict.untrusted) == {"0.jpg"}


def test_two_swapped_photos_are_found(right: Model) -> None:
    photos, pairs = right
    verdict = check({**photos, "1.jpg": photos["4.jpg"], "4.jpg": photos["1.jpg"]}, pairs, Trust())
    assert {"1.jpg", "4.jpg"} <= set(verdict.untrusted)
    assert len(verdict.trusted) >= 4


def test_random_poses_are_not_trusted(right: Model) -> None:
    photos, pairs = right
    rng = np.random.default_rng(1)
    wrong = {
        name: replace(
            photo,
            cam_from_world=look_at(rng.uniform(-4, 4, 3), rng.uniform(-1, 1, 3), np.array([0.0, -1.0, 0.0])),
        )
        for name, photo in photos.items()
    }
    assert len(check(wrong, pairs, Trust()).trusted) <= 2


def test_a_wrong_focal_length_lowers_the_consistency(right: Model) -> None:
    """Rays of a model with 0.6 of the true focal length, its poses unchanged."""
    photos, pairs = right
    stretched = [replace(p, rays_first=p.rays_first / 0.6, rays_second=p.rays_second / 0.6) for p in pairs]
    verdict = check(photos, stretched, Trust())
    assert verdict.untrusted
    assert verdict.consistency < check(*right, Trust()).consistency - 0.2


@pytest.mark.parametrize(
    ("lens", "word"),
    [
        (replace(LENS, params=(23000.0, 320.0, 240.0, 0.0)), "focal"),
        (replace(LENS, params=(100.0, 320.0, 240.0, 0.0)), "focal"),
        (replace(LENS, params=(FOCAL, 320.0, 240.0, -99.0)), "distortion"),
    ],
)
def test_degenerate_intrinsics_are_not_trusted(right: Model, lens: Lens, word: str) -> None:
    photos, pairs = right
    verdict = check({n: replace(p, lens=lens) for n, p in photos.items()}, pairs, Trust())
    assert not verdict.trusted
    assert all(word in reason for reason in verdict.untrusted.values())


def test_photos_without_points_or_matches_are_not_trusted(right: Model) -> None:
    photos, pairs = right
    lonely = {**photos, "lonely.jpg": photos["0.jpg"], "2.jpg": replace(photos["2.jpg"], num_points=3)}
    verdict = check(lonely, pairs, Trust())
    assert set(verdict.untrusted) == {"lonely.jpg", "2.jpg"}


def test_empty_and_single_models() -> None:
    assert check({}, [], Trust()).trusted == []
    assert check({"a": PlacedPhoto(np.eye(4), LENS, 100)}, [], Trust()).trusted == []


def test_coinciding_cameras_confirm_nothing(right: Model) -> None:
    photos, pairs = right
    same = dict.fromkeys(photos, photos["0.jpg"])
    assert check(same, pairs, Trust()).trusted == []


def test_epipolar_error_is_the_distance_to_the_projected_ray() -> None:
    """Brute force: the nearest of many depths along the first photo's ray, projected into the second photo."""
    rng = np.random.default_rng(2)
    pose = look_at(np.array([0.8, 0.1, 0.2]), np.array([0.0, 0.0, 4.0]), np.array([0.0, -1.0, 0.0]))
    first, second = rng.uniform(-0.2, 0.2, (6, 2)), rng.uniform(-0.2, 0.2, (6, 2))

    def brute(a: NDArray[np.float64], b: NDArray[np.float64], b_from_a: NDArray[np.float64]) -> NDArray[np.float64]:
        inverse_depth = np.linspace(-40, 40, 400001)  # negative depths too: lines, not rays
        homogeneous = (b_from_a[:3, :3] @ [*a, 1.0])[:, None] + b_from_a[:3, 3:] * inverse_depth
        line = CAMERA.fx * homogeneous[:2] / homogeneous[2]
        return np.asarray(np.linalg.norm(line - CAMERA.fx * b[:, None], axis=0).min())

    found = epipolar_error_px(RayPair("a", "b", first, second), pose, FOCAL, FOCAL)
    expected = [max(brute(a, b, pose), brute(b, a, invert_rigid(pose))) for a, b in zip(first, second, strict=True)]
    np.testing.assert_allclose(found, expected, rtol=1e-2, atol=0.05)


def test_turning_about_the_baseline_axis_is_seen(right: Model) -> None:
    photos, pairs = right
    verdict = check({**photos, "6.jpg": turned(photos["6.jpg"], 20.0)}, pairs, Trust())
    assert "6.jpg" in verdict.untrusted
