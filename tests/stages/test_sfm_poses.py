"""The sfm stage with given poses and given focal lengths; pycolmap really runs."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from depthrf.errors import DepthrfError, UsageError
from depthrf.geometry.camera import View
from depthrf.geometry.lens import Lens
from depthrf.geometry.transforms import invert_rigid, look_at, rigid, rotation_angle_deg
from depthrf.io.poses.given_poses import PosedPhoto
from depthrf.io.poses.transforms_json import load_views, write_given_poses, write_transforms
from depthrf.options import build
from depthrf.sfm.judging.given_focal import given_focals
from depthrf.stages import sfm
from depthrf.workspace import Workspace
from tests.scenes import corner

Array = NDArray[np.float64]


def disturbed(views: list[View], degrees: float, shift: float) -> list[View]:
    rng = np.random.default_rng(0)
    result = []
    for view in views:
        axis = rng.normal(size=3)
        rotation = Rotation.from_rotvec(degrees * axis / np.linalg.norm(axis), degrees=True)
        offset = rng.normal(size=3)
        turn = rigid(rotation.as_matrix(), shift * offset / np.linalg.norm(offset))
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
        (sfm.Options(focal="free", fov=60.0), "looks for the focal length itself"),
        (sfm.Options(focal="fixed"), "tells no focal length"),
    ],
)
def test_impossible_focal_lengths_are_told(photos: Workspace, options: sfm.Options, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        sfm.run(photos, options)


@pytest.mark.parametrize(
    "table", [{"fov": 0.5}, {"fov": 170.5}, {"fov": float("nan")}, {"focal_px": 0}, {"focal_px": -3.0}]
)
def test_focal_lengths_out_of_bounds_are_refused_where_options_are_read(table: dict[str, float]) -> None:
    with pytest.raises(UsageError, match="at least 1"):
        build(sfm.Options, table, "[sfm]")


@pytest.mark.parametrize("fov", [1.0, 170.0])
def test_the_bounds_of_the_field_of_view_are_taken(fov: float) -> None:
    """What the option admits is not refused later."""
    assert given_focals({(200, 100)}, None, build(sfm.Options, {"fov": fov}, "[sfm]").fov)[200, 100] > 0


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


def convert_matrices(path: Path, convert: Callable[[Array], Array]) -> None:
    """Changes every matrix of a transforms.json."""
    content = json.loads(path.read_text(encoding="utf-8"))
    for frame in content["frames"]:
        frame["transform_matrix"] = convert(np.array(frame["transform_matrix"])).tolist()
    path.write_text(json.dumps(content), encoding="utf-8")


def refusal(photos: Workspace, options: sfm.Options) -> str:
    """The message with which the stage stops; nothing may be left that looks like a result."""
    with pytest.raises(DepthrfError) as caught:
        sfm.run(photos, options)
    assert not photos.transforms.exists()
    return str(caught.value)


def told(photos: Workspace, options: sfm.Options) -> str:
    """What the stage says of the poses, whether it stops or goes on."""
    try:
        sfm.run(photos, options)
    except DepthrfError as e:
        return str(e)
    (warning,) = json.loads((photos.sfm / "ledger.json").read_text(encoding="utf-8"))["warnings"]
    return str(warning)


FLIP = np.diag([1.0, -1.0, -1.0, 1.0])
MISTAKES: dict[str, tuple[Callable[[Array], Array], str]] = {
    "OpenCV's axes": (lambda m: m @ FLIP, "y and z axes have the wrong sign"),
    "world-to-camera": (invert_rigid, "matrices are inverted"),
    "transposed rotation": (lambda m: rigid(m[:3, :3].T, m[:3, 3]), "rotations are transposed"),
    "translations of the inverse": (lambda m: rigid(m[:3, :3], invert_rigid(m)[:3, 3]), "camera centres where"),
}


@pytest.mark.parametrize(("name", "refine"), [*((name, "yes") for name in MISTAKES), ("OpenCV's axes", "no")])
def test_mistaken_poses_stop_the_run_with_their_cause(
    photos: Workspace, tmp_path: Path, name: str, refine: str
) -> None:
    mistake, words = MISTAKES[name]
    given = tmp_path / "transforms.json"
    write_transforms(given, corner.views(5), image_folder="x")
    convert_matrices(given, mistake)
    message = refusal(photos, sfm.Options(poses=given, refine_poses=refine))
    assert words in message
    assert float(re.findall(r"(\d+)% would agree", message)[0]) > 90


@pytest.mark.parametrize("scale", [2.0, 4 / 3, 0.5])
def test_intrinsics_of_another_size_are_told_and_giving_their_size_mends_them(
    photos: Workspace, tmp_path: Path, scale: float
) -> None:
    """The camera of photos ``scale`` times as large as those that are there."""
    given = tmp_path / "transforms.json"
    original = corner.CAMERA.resized(round(240 * scale), round(180 * scale))
    truth = corner.views(5)
    write_transforms(given, [v.with_camera(replace(original, width=240, height=180)) for v in truth], image_folder="x")
    size = f"{original.width}x{original.height}"
    assert f"photos of about {size} pixels" in told(photos, sfm.Options(poses=given))
    write_transforms(given, [v.with_camera(original) for v in truth], image_folder="x")
    assert sfm.run(photos, sfm.Options(poses=given)).consistency > 0.95


def test_a_focal_length_far_off_is_told(photos: Workspace, tmp_path: Path) -> None:
    given = tmp_path / "transforms.json"
    camera = replace(corner.CAMERA, fx=2.2 * corner.CAMERA.fx, fy=2.2 * corner.CAMERA.fy)
    write_transforms(given, [v.with_camera(camera) for v in corner.views(5)], image_folder="x")
    message = told(photos, sfm.Options(poses=given))
    (found,) = re.findall(r"focal length is about (\d+) pixels", message)
    assert float(found) == pytest.approx(corner.CAMERA.fx, rel=0.1)
    assert "--refine-intrinsics" in message


@pytest.mark.parametrize("refine", ["no", "yes"])
def test_poses_of_something_else_stop_the_run(photos: Workspace, tmp_path: Path, refine: str) -> None:
    rng = np.random.default_rng(0)
    down = np.array([0.0, -1.0, 0.0])
    others = [replace(v, cam_from_world=look_at(rng.uniform(-2, 2, 3), np.zeros(3), down)) for v in corner.views(5)]
    given = tmp_path / "transforms.json"
    write_transforms(given, others, image_folder="x")
    message = refusal(photos, sfm.Options(poses=given, refine_poses=refine))
    assert "belong to these photos" in message


def test_a_photo_with_a_wrong_pose_is_left_out_and_named(
    photos: Workspace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One far away would shrink the rest of the scene to a dot."""
    truth = corner.views(5)
    far = rigid(truth[3].cam_from_world[:3, :3], np.array([1e5, 2e5, 1e5]))
    given = tmp_path / "transforms.json"
    write_transforms(given, [*truth[:3], replace(truth[3], cam_from_world=far), truth[4]], image_folder="x")
    summary = sfm.run(photos, sfm.Options(poses=given))
    assert [photo.name for photo in summary.dropped] == [truth[3].name]
    assert "agree with its given pose" in summary.dropped[0].reason
    assert truth[3].name in " ".join(capsys.readouterr().err.split())
    assert summary.consistency > 0.99
    views, _ = load_views(photos.transforms)
    for view, true in zip(views, [*truth[:3], truth[4]], strict=True):  # the others stay where they are
        np.testing.assert_allclose(view.cam_from_world, true.cam_from_world, atol=1e-9)


@pytest.mark.parametrize(("degrees", "scale"), [(0.0, 1e-4), (0.0, 1e6), (0.5, 1.0)])
def test_poses_of_another_unit_and_slightly_noisy_ones_pass(
    photos: Workspace, tmp_path: Path, degrees: float, scale: float
) -> None:
    given = tmp_path / "transforms.json"
    write_transforms(given, disturbed(corner.views(5), degrees, 0.01), image_folder="x")
    convert_matrices(given, lambda m: rigid(m[:3, :3], scale * m[:3, 3]))
    summary = sfm.run(photos, sfm.Options(poses=given))
    assert summary.num_registered == 5
    assert summary.consistency > (0.95 if degrees == 0.0 else 0.3)
