"""Camera paths in files: round trips in every format, other programs' conventions, and what users get wrong."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from depthrf.errors import UsageError
from depthrf.geometry.camera import Camera, View
from depthrf.geometry.transforms import Similarity, look_at
from depthrf.io.camera_paths.path_file import FilmPlan, PathFile, focal_of, fov_of
from depthrf.io.camera_paths.registry import WRITERS, read_path_file

UP = np.array([0.0, 0.0, 1.0])
CAMERA = Camera(640, 480, 500.0, 500.0, 320.0, 240.0)
VIEWS = [
    View(f"IMG_{i}.jpg", CAMERA, look_at(np.array([float(i), -3.0, 0.5]), np.array([0.0, 0.0, 1.0]), UP))
    for i in range(4)
]


def plan() -> FilmPlan:
    rng = np.random.default_rng(2)
    poses = [look_at(rng.uniform(-1, 1, 3), np.array([0.0, 6.0, 0.0]), UP) for _ in range(50)]
    return FilmPlan(np.stack(poses), np.linspace(60, 30, 50), (960, 540), 24.0)


def written(tmp_path: Path, kind: str, film: FilmPlan) -> PathFile:
    path = tmp_path / ("model" if kind == "colmap" else "path.json")
    WRITERS[kind](path, film)
    return read_path_file(path, VIEWS)


@pytest.mark.parametrize("kind", WRITERS)
def test_round_trip(tmp_path: Path, kind: str) -> None:
    film = plan()
    found = written(tmp_path, kind, film)
    np.testing.assert_allclose(np.stack([k.cam_from_world for k in found.keyframes]), film.cam_from_world, atol=1e-9)
    np.testing.assert_allclose([k.fov for k in found.keyframes], film.fov, atol=1e-9)
    assert (found.every_frame, found.fps, found.size) == (True, 24.0, (960, 540))


def test_field_of_view_is_vertical() -> None:
    assert fov_of(focal_of(50.0, 480), 480) == pytest.approx(50.0)
    assert focal_of(90.0, 480) == pytest.approx(240.0)


def viser_export(matrix: list[float]) -> dict[str, object]:
    """As nerfstudio's viewer writes it (viewer/render_panel.py)."""
    frame = {"camera_to_world": matrix, "fov": 75.0, "aspect": 16 / 9}
    key = {"matrix": matrix, "fov": 75.0, "aspect": 16 / 9, "override_transition_enabled": False}
    return {
        "default_fov": 75.0,
        "keyframes": [key],
        "camera_type": "perspective",
        "render_height": 1080,
        "render_width": 1920,
        "fps": 30,
        "seconds": 4,
        "is_cycle": True,
        "smoothness_value": 0.5,
        "camera_path": [frame, frame],
    }


def test_nerfstudio_is_by_rows_with_opengl_axes(tmp_path: Path) -> None:
    """A camera at (1, 2, 3) that looks along the world's -z with y up: the identity in OpenGL."""
    path = tmp_path / "camera_path.json"
    path.write_text(json.dumps(viser_export([1, 0, 0, 1, 0, 1, 0, 2, 0, 0, 1, 3, 0, 0, 0, 1])))
    found = read_path_file(path, VIEWS)
    assert (found.fps, found.size, found.loop, len(found.keyframes)) == (30.0, (1920, 1080), True, 2)
    key = found.keyframes[0]
    np.testing.assert_allclose(key.centre, [1, 2, 3])
    np.testing.assert_allclose(key.cam_from_world[2, :3], [0, 0, -1], atol=1e-12)
    np.testing.assert_allclose(key.cam_from_world[1, :3], [0, -1, 0], atol=1e-12)


def test_nerfstudios_own_frame_is_undone(tmp_path: Path) -> None:
    """With the dataparser_transforms.json of its run beside it: x_nerfstudio = scale (R x + t)."""
    rng = np.random.default_rng(0)
    rotation, _ = np.linalg.qr(rng.standard_normal((3, 3)))
    rotation *= np.sign(np.linalg.det(rotation))
    scale, shift = 0.3, np.array([1.0, -2.0, 0.5])
    film = plan()
    moved = Similarity(scale, rotation, scale * shift)
    WRITERS["nerfstudio"](
        tmp_path / "path.json",
        FilmPlan(np.stack([moved.apply_to_pose(p) for p in film.cam_from_world]), film.fov, film.size, film.fps),
    )
    frame = {"transform": np.column_stack([rotation, shift]).tolist(), "scale": scale}
    (tmp_path / "dataparser_transforms.json").write_text(json.dumps(frame))
    found = read_path_file(tmp_path / "path.json", VIEWS)
    np.testing.assert_allclose(np.stack([k.cam_from_world for k in found.keyframes]), film.cam_from_world, atol=1e-9)


@pytest.mark.parametrize("observations", ["\n", "", "1.5 2.5 -1 3 4 7\n"])
def test_keyframes_of_a_splat_editor(tmp_path: Path, observations: str) -> None:
    """images.txt and cameras.txt alone, with, without or with empty lines of observations."""
    (tmp_path / "cameras.txt").write_text("# cameras\n1 PINHOLE 800 600 700 700 400 300\n")
    lines = [f"{i} 1 0 0 0 {-i} 0 0 1 key {i}.png\n{observations}" for i in (2, 1, 3)]
    (tmp_path / "images.txt").write_text("# images\n" + "".join(lines))
    for given in (tmp_path, tmp_path / "images.txt"):
        found = read_path_file(given, VIEWS)
        assert not found.every_frame
        np.testing.assert_allclose([k.centre for k in found.keyframes], [[1, 0, 0], [2, 0, 0], [3, 0, 0]], atol=1e-12)
        assert found.keyframes[0].fov == pytest.approx(fov_of(700, 600))


def own(tmp_path: Path, *keyframes: dict[str, object], **more: object) -> Path:
    path = tmp_path / "own.json"
    path.write_text(json.dumps({"format": "depthrf camera path", "keyframes": list(keyframes), **more}))
    return path


def test_a_path_that_a_person_wrote(tmp_path: Path) -> None:
    path = own(
        tmp_path,
        {"photo": "IMG_1.jpg", "time": 0, "fov": 60},
        {"position": [0, -1, 1], "look_at": [0, 5, 1], "time": 2.5},
        {"photo": "IMG_2", "look_at": "IMG_0.jpg", "time": 3},
        {"cam_from_world": np.eye(4).tolist(), "time": 4},
        fps=12,
        width=320,
        height=240,
        loop=True,
    )
    found = read_path_file(path, VIEWS)
    assert (found.every_frame, found.fps, found.size, found.loop) == (False, 12.0, (320, 240), True)
    assert [k.time for k in found.keyframes] == [0, 2.5, 3, 4]
    assert [k.fov for k in found.keyframes] == [60, None, None, None]
    np.testing.assert_allclose(found.keyframes[0].cam_from_world, VIEWS[1].cam_from_world, atol=0.02)
    np.testing.assert_allclose(found.keyframes[1].centre, [0, -1, 1], atol=1e-12)
    np.testing.assert_allclose(found.keyframes[1].cam_from_world[2, :3], [0, 1, 0], atol=1e-12)
    towards = VIEWS[0].centre - VIEWS[2].centre
    np.testing.assert_allclose(found.keyframes[2].centre, VIEWS[2].centre)
    np.testing.assert_allclose(found.keyframes[2].cam_from_world[2, :3], towards / np.linalg.norm(towards), atol=1e-9)


@pytest.mark.parametrize(
    ("keyframes", "message"),
    [
        ([{"photo": "nothing.jpg"}], r"no photo 'nothing.jpg'.*IMG_0.jpg"),
        ([{"position": [0, 0, 0]}], "no look_at"),
        ([{"time": 1}], "photo, position or cam_from_world"),
        ([{"photo": "IMG_0", "tmie": 1}], "unknown key 'tmie'"),
        ([{"photo": "IMG_0", "fov": 500}], "1 to 170"),
        ([{"photo": "IMG_0", "time": 1}, {"photo": "IMG_1"}], "1 of 2 keyframes have a time"),
        ([{"photo": "IMG_0", "time": 1}, {"photo": "IMG_1", "time": 1}], "ascend"),
        ([{"position": [0, 0, 0], "look_at": [0, 0.02, 9]}], "straight up or down"),
        ([{"position": [0, 0], "look_at": "IMG_0"}], "three numbers"),
        ([{"cam_from_world": [[2, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0]]}], "orthonormal"),
        ([], "no keyframes"),
        (["IMG_0.jpg"], "should be an object"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, keyframes: list[dict[str, object]], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        read_path_file(own(tmp_path, *keyframes), VIEWS)


_POSE = np.eye(4).ravel().tolist()
_HUGE = 10**400  # JSON has integers that no float can hold


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"render_width": float("inf"), "render_height": 5}, "render_width should be a positive number; found inf"),
        ({"render_width": 4, "render_height": "tall"}, "render_height should be a positive number; found tall"),
        ({"fps": float("nan")}, "fps should be a positive number"),
        ({"fps": _HUGE}, "fps should be a positive number"),
        ({"seconds": 0}, "seconds should be a positive number"),
        ({"camera_path": [{"camera_to_world": _POSE, "fov": _HUGE}]}, "frame 0: fov should be a positive number"),
        ({"camera_path": [{"camera_to_world": [_HUGE, *_POSE[1:]], "fov": 50}]}, "16 numbers"),
        ({"camera_path": [5]}, "frame 0 should have camera_to_world"),
    ],
)
def test_mistakes_in_nerfstudios_files_are_named(tmp_path: Path, changes: dict[str, object], message: str) -> None:
    content = {"camera_path": [{"camera_to_world": _POSE, "fov": 50}], "seconds": 2} | changes
    (tmp_path / "path.json").write_text(json.dumps(content))
    with pytest.raises(UsageError, match=message):
        read_path_file(tmp_path / "path.json", VIEWS)


@pytest.mark.parametrize("fps", [-1, 0, "fast", _HUGE, float("inf")])
def test_a_path_has_a_positive_number_of_frames_per_second(tmp_path: Path, fps: object) -> None:
    (tmp_path / "path.json").write_text(json.dumps({"keyframes": [{"photo": "IMG_0"}], "fps": fps}))
    with pytest.raises(UsageError, match="fps should be a positive number"):
        read_path_file(tmp_path / "path.json", VIEWS)


def test_a_place_out_of_all_bounds_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="position should be three numbers"):
        read_path_file(own(tmp_path, {"position": [_HUGE, 0, 0], "look_at": "IMG_0"}), VIEWS)


def test_files_that_are_no_paths(tmp_path: Path) -> None:
    (tmp_path / "other.json").write_text("{}")
    (tmp_path / "fisheye.json").write_text(json.dumps({"camera_path": [{}], "camera_type": "fisheye"}))
    (tmp_path / "images.txt").write_text("")
    for name, message in {
        "other.json": "no camera path",
        "fisheye.json": "expected perspective",
        "images.txt": "no cameras.txt",
        "absent.json": "No such camera path",
    }.items():
        with pytest.raises(UsageError, match=message):
            read_path_file(tmp_path / name, VIEWS)
