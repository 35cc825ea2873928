"""transforms.json: round trips, the dialects of its writers, and what is wrong with wrong ones."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from depthrf.errors import UsageError
from depthrf.geometry.camera import Camera, View
from depthrf.geometry.transforms import look_at, opengl_of_cam_from_world
from depthrf.io.poses.transforms_json import load_views, read_transforms, write_transforms

UP = np.array([0.0, -1.0, 0.0])


def make_views() -> list[View]:
    rng = np.random.default_rng(0)
    return [
        View(f"ä {i}.jpg", Camera(64 + i, 48, 50.5 + i, 51.0, 32.25, 23.0), look_at(rng.normal(size=3), np.ones(3), UP))
        for i in range(4)
    ]


def write(path: Path, frames: list[dict[str, Any]], **content: Any) -> Path:
    path.write_text(json.dumps({**content, "frames": frames}))
    return path


def frame(name: str = "images/a.jpg", matrix: Any = None, **values: Any) -> dict[str, Any]:
    pose = look_at(np.array([1.0, 2.0, 3.0]), np.zeros(3), UP)
    return {
        "file_path": name,
        "transform_matrix": opengl_of_cam_from_world(pose).tolist() if matrix is None else matrix,
        **values,
    }


def test_round_trip(tmp_path: Path) -> None:
    views = make_views()
    path = tmp_path / "transforms.json"
    write_transforms(
        path, views, image_folder="undistorted/images", test_names={views[2].name}, point_cloud="sparse_pc.ply"
    )
    train, test = load_views(path)
    assert [v.name for v in test] == [views[2].name]
    assert [v.name for v in train] == [views[i].name for i in (0, 1, 3)]
    for written, read in zip([views[0], views[1], views[3], views[2]], [*train, *test], strict=True):
        assert read.camera == written.camera
        np.testing.assert_allclose(read.cam_from_world, written.cam_from_world, atol=1e-12)


def test_export_has_what_nerfstudio_reads(tmp_path: Path) -> None:
    path = tmp_path / "transforms.json"
    views = make_views()
    write_transforms(path, views, image_folder="images", test_names=[views[0].name], point_cloud="sparse_pc.ply")
    content = json.loads(path.read_text(encoding="utf-8"))
    assert content["ply_file_path"] == "sparse_pc.ply"
    assert content["camera_model"] == "PINHOLE"
    assert content["test_filenames"] == [f"images/{views[0].name}"]
    assert len(content["train_filenames"]) == 3
    assert {f["file_path"] for f in content["frames"]} == {f"images/{v.name}" for v in views}
    centre = np.array(content["frames"][1]["transform_matrix"])[:3, 3]
    np.testing.assert_allclose(centre, views[1].centre, atol=1e-12)


def test_global_and_per_frame_intrinsics(tmp_path: Path) -> None:
    path = write(
        tmp_path / "t.json",
        [frame("./images/a.jpg"), frame("b", fl_x=70.0, cx=30.0, k1=0.0, k2=0.0, p1=0, p2=0)],
        w=64.0,
        h=48.0,
        fl_x=50.0,
        fl_y=51.0,
        k1=0.1,
        k2=0.2,
        p1=0.3,
        p2=0.4,
    )
    a, b = read_transforms(path).photos
    assert (a.name, a.camera.model) == ("images/a.jpg", "OPENCV")
    assert a.camera.params == (50.0, 51.0, 32.0, 24.0, 0.1, 0.2, 0.3, 0.4)
    assert (b.name, b.camera.model) == ("b", "PINHOLE")
    assert b.camera.params == (70.0, 51.0, 30.0, 24.0)


def test_blender_takes_the_size_from_the_image(tmp_path: Path) -> None:
    (tmp_path / "train").mkdir()
    Image.new("RGBA", (80, 60)).save(tmp_path / "train" / "r_0.png")
    angle = 0.7
    path = write(tmp_path / "transforms_train.json", [frame("./train/r_0")], camera_angle_x=angle)
    camera = read_transforms(path).photos[0].camera
    focal = 40 / math.tan(angle / 2)
    assert (camera.width, camera.height) == (80, 60)
    assert camera.params == pytest.approx((focal, focal, 40.0, 30.0))


def test_size_may_come_from_the_photos(tmp_path: Path) -> None:
    path = write(tmp_path / "t.json", [frame("images/r_0")], camera_angle_x=0.7)
    assert read_transforms(path, {"r_0": (30, 20)}).photos[0].camera.width == 30
    with pytest.raises(UsageError, match="no image size"):
        read_transforms(path)


def test_split_is_read(tmp_path: Path) -> None:
    frames = [frame("a.jpg"), frame("b.jpg"), frame("c.jpg")]
    size = {"w": 4, "h": 4, "fl_x": 4}
    given = read_transforms(
        write(tmp_path / "t.json", frames, train_filenames=["./a.jpg"], test_filenames=["b.jpg"], **size)
    )
    assert given.train == {"a.jpg"}
    assert given.test == {"b.jpg"}
    assert read_transforms(write(tmp_path / "u.json", frames, **size)).train is None


def _scaled() -> Any:
    return (2 * np.eye(4)).tolist()


def _mirrored() -> Any:
    return np.diag([1.0, 1.0, -1.0, 1.0]).tolist()


@pytest.mark.parametrize(
    ("frames", "message"),
    [
        ([], "no frames"),
        ([{"file_path": "a"}], "transform_matrix"),
        ([frame(matrix=_scaled(), fl_x=3, w=4, h=4)], "orthonormal"),
        ([frame(matrix=_mirrored(), fl_x=3, w=4, h=4)], "mirrors"),
        ([frame(matrix=[[1, 2], [3, 4]], fl_x=3, w=4, h=4)], "4x4"),
        ([frame(matrix="x", fl_x=3, w=4, h=4)], "4x4"),
        ([frame(w=4, h=4)], "no focal length"),
        ([frame(fl_x="wide", w=4, h=4)], "not numbers"),
        ([frame(fl_x=3, w=4, h=4, camera_model="EQUIRECTANGULAR")], "not supported"),
    ],
)
def test_one_clear_message(tmp_path: Path, frames: list[dict[str, Any]], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        read_transforms(write(tmp_path / "t.json", frames))


def test_slightly_rounded_rotations_become_exact(tmp_path: Path) -> None:
    rounded = np.round(np.array(frame()["transform_matrix"]), 4).tolist()
    path = write(tmp_path / "t.json", [frame(matrix=rounded, fl_x=3, w=4, h=4)])
    rotation = read_transforms(path).photos[0].cam_from_world[:3, :3]
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-12)
