"""Given poses: matches along their epipolar lines, their refinement, and focal lengths the user gives."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from depthrf.errors import DepthrfError, UsageError
from depthrf.geometry.camera import View
from depthrf.geometry.lens import Lens
from depthrf.geometry.quaternions import rotations_of
from depthrf.geometry.transforms import invert_rigid, look_at, rigid, rotation_angle_deg
from depthrf.io.given_poses import PosedPhoto
from depthrf.io.transforms_json import load_views, write_given_poses, write_transforms
from depthrf.sfm.epipolar_matching import Keypoints, match_along_lines
from depthrf.stages import sfm
from depthrf.workspace import Workspace
from tests.sfm import corner


def keypoints(view: View, points: np.ndarray, descriptors: np.ndarray) -> Keypoints:
    in_cam = points @ view.cam_from_world[:3, :3].T + view.cam_from_world[:3, 3]
    return Keypoints(in_cam[:, :2] / in_cam[:, 2:], descriptors, view.camera.fx)


def repeated_texture(
    count: int, copies: int, noise: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.random.Generator]:
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
    nothing = Keypoints(np.zeros((0, 2)), np.zeros((0, 128), np.float32), 200.0)
    assert match_along_lines(nothing, nothing, np.eye(4), 4.0).shape == (0, 2)
    one_spot = look_at(np.zeros(3), np.array([0.0, 0.0, 1.0]), np.array([0.0, -1.0, 0.0]))
    points, first, second, _ = repeated_texture(50, 1, 0.01)
    same = View("a", corner.CAMERA, one_spot)
    assert match_along_lines(keypoints(same, points, first), keypoints(same, points, second), np.eye(4), 4.0).size == 0


def disturbed(views: list[View], degrees: float, shift: float) -> list[View]:
    rng = np.random.default_rng(0)
    result = []
    for view in views:
        axis = rng.normal(size=3)
        half = math.radians(degrees) / 2
        quaternion = np.r_[math.cos(half), math.sin(half) * axis / np.linalg.norm(axis)]
        offset = rng.normal(size=3)
        turn = rigid(rotations_of(quaternion[None])[0], shift * offset / np.linalg.norm(offset))
        result.append(View(view.name, view.camera, turn @ view.cam_from_world))
    return result


def test_disturbed_poses_are_refined_towards_the_truth(photos: Workspace, tmp_path: Path) -> None:
    truth = corner.views(5)
    given = tmp_path / "transforms.json"
    wrong = disturbed(truth, degrees=0.8, shift=0.02)
    write_transforms(given, wrong, image_folder="x")
    before = sfm.run(photos, sfm.Options(poses=given))
    (warning,) = json.loads((photos.sfm / "ledger.json").read_text(encoding="utf-8"))["warnings"]
    assert "--refine-poses" in warning
    after = sfm.run(photos, sfm.Options(poses=given, refine_poses="yes"))
    assert (before.poses, after.poses) == ("given", "refined")
    assert after.consistency > 0.99 > before.consistency
    assert after.num_points >= before.num_points
    views, _ = load_views(photos.transforms)

    def relative_error(views: list[View]) -> float:
        pairs = [
            (v.cam_from_world @ views[0].world_from_cam, t.cam_from_world @ truth[0].world_from_cam)
            for v, t in zip(views[1:], truth[1:], strict=True)
        ]
        return max(float(rotation_angle_deg(a[:3, :3], b[:3, :3])) for a, b in pairs)

    assert relative_error(wrong) > 0.8
    assert relative_error(views) < 0.1
    for refined, start in zip(views, wrong, strict=True):  # the world stays where it was
        assert np.linalg.norm(refined.centre - start.centre) < 0.05
        assert rotation_angle_deg(refined.cam_from_world[:3, :3], start.cam_from_world[:3, :3]) < 1.5


@pytest.mark.parametrize(("tracked", "poses"), [(True, "refined"), (False, "given")])
def test_only_tracked_poses_of_an_export_are_refined_unasked(photos: Workspace, tracked: bool, poses: str) -> None:
    truth = [PosedPhoto(v.name, _lens(v), v.cam_from_world) for v in disturbed(corner.views(5), 0.5, 0.01)]
    write_given_poses(photos.given_poses, truth, tracked=tracked)
    assert sfm.run(photos, sfm.Options()).poses == poses
    views, _ = load_views(photos.transforms)
    moved = max(np.abs(v.cam_from_world - t.cam_from_world).max() for v, t in zip(views, truth, strict=True))
    assert (moved > 1e-3) == tracked


def test_tracked_poses_that_fit_already_are_kept(photos: Workspace) -> None:
    truth = [PosedPhoto(v.name, _lens(v), v.cam_from_world) for v in corner.views(5)]
    write_given_poses(photos.given_poses, truth, tracked=True)
    assert sfm.run(photos, sfm.Options()).poses == "given"


def _lens(view: View) -> Lens:
    camera = view.camera
    return Lens("PINHOLE", camera.width, camera.height, (camera.fx, camera.fy, camera.cx, camera.cy))


def test_right_poses_stay_exact_when_refined(photos: Workspace, tmp_path: Path) -> None:
    truth = corner.views(5)
    given = tmp_path / "transforms.json"
    write_transforms(given, truth, image_folder="x")
    sfm.run(photos, sfm.Options(poses=given, refine_poses="yes"))
    for view, true in zip(load_views(photos.transforms)[0], truth, strict=True):
        np.testing.assert_allclose(view.cam_from_world, true.cam_from_world, atol=2e-3)


def test_a_field_of_view_fixes_the_focal_length(photos: Workspace) -> None:
    fov = math.degrees(2 * math.atan(0.5 * corner.CAMERA.width / corner.CAMERA.fx))
    assert sfm.run(photos, sfm.Options(fov=fov)).focal_px == pytest.approx(corner.CAMERA.fx, abs=1e-6)


def test_a_focal_length_replaces_that_of_given_poses(photos: Workspace, tmp_path: Path) -> None:
    given = tmp_path / "transforms.json"
    write_transforms(given, corner.views(5), image_folder="x")
    assert sfm.run(photos, sfm.Options(poses=given, focal_px=230.0)).focal_px == pytest.approx(230.0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (sfm.Options(fov=60.0, focal_px=200.0), "not both"),
        (sfm.Options(fov=200.0), "from 1 to 170"),
        (sfm.Options(focal_px=-3.0), "positive"),
        (sfm.Options(focal="free", fov=60.0), "looks for the focal length itself"),
        (sfm.Options(focal="fixed"), "tells no focal length"),
    ],
)
def test_impossible_focal_lengths_are_told(photos: Workspace, options: sfm.Options, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        sfm.run(photos, options)


@pytest.mark.parametrize(
    ("size", "options", "message"),
    [
        ((120, 90), sfm.Options(focal_px=200.0), "Give --fov"),
        ((180, 240), sfm.Options(fov=60.0), "Give --focal-px"),
    ],
)
def test_one_focal_length_for_several_sizes(
    photos: Workspace, size: tuple[int, int], options: sfm.Options, message: str
) -> None:
    content = json.loads(photos.photos.read_text(encoding="utf-8"))
    content["photos"][0] |= {"width": size[0], "height": size[1]}
    photos.photos.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(UsageError, match=message):
        sfm.run(photos, options)


@pytest.mark.parametrize("inverted", [False, True])
def test_poses_of_other_axes_are_recognised(photos: Workspace, tmp_path: Path, inverted: bool) -> None:
    """A transforms.json should hold OpenGL camera-to-world; these hold OpenCV's."""
    truth = corner.views(5)
    given = tmp_path / "transforms.json"
    write_transforms(given, truth, image_folder="x")
    content = json.loads(given.read_text(encoding="utf-8"))
    for frame, view in zip(content["frames"], truth, strict=True):
        frame["transform_matrix"] = (view.cam_from_world if inverted else view.world_from_cam).tolist()
    given.write_text(json.dumps(content), encoding="utf-8")
    expected = "world-to-camera with OpenCV's axes" if inverted else "camera-to-world with OpenCV's axes"
    try:
        sfm.run(photos, sfm.Options(poses=given))
    except DepthrfError as e:
        message = str(e)
    else:
        (message,) = json.loads((photos.sfm / "ledger.json").read_text(encoding="utf-8"))["warnings"]
    assert expected in message
