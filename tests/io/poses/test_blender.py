from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from depthrf.errors import UsageError
from depthrf.geometry.transforms import look_at, opengl_of_cam_from_world
from depthrf.io.poses import blender

SIDE = 32
CENTRE = np.array([0.0, -4.0, 1.0])


@pytest.fixture
def scene(tmp_path: Path) -> Path:
    """Three views of a plane through the origin that faces the camera; the left half of each picture is transparent."""
    pose = look_at(CENTRE, np.zeros(3), np.array([0.0, 0.0, 1.0]))
    frames = []
    (tmp_path / "train").mkdir()
    (tmp_path / "train_depth").mkdir()
    x, y = (np.stack(np.meshgrid(np.arange(SIDE), np.arange(SIDE))) + 0.5 - SIDE / 2) / SIDE  # focal length SIDE
    distance = np.linalg.norm(CENTRE) * np.sqrt(x**2 + y**2 + 1.0)
    for index in range(3):
        rgba = np.zeros((SIDE, SIDE, 4), dtype=np.uint8)
        rgba[:, SIDE // 2 :] = (200, 100, 50, 255)
        Image.fromarray(rgba).save(tmp_path / "train" / f"r_{index}.png")
        depth = np.where(rgba[..., 3] > 0, distance * 10000, 0).astype(np.uint16)
        Image.fromarray(depth).save(tmp_path / "train_depth" / f"r_{index}_depth.png")
        frames.append({"file_path": f"./train/r_{index}", "transform_matrix": opengl_of_cam_from_world(pose).tolist()})
    content = {"camera_angle_x": 2 * np.arctan(0.5), "frames": frames}
    (tmp_path / "transforms_train.json").write_text(json.dumps(content))
    return tmp_path


def test_cameras_are_where_blender_put_them(scene: Path) -> None:
    frames = blender.read_split(scene, "train")
    assert [f.view.name for f in frames] == ["r_0.png", "r_1.png", "r_2.png"]
    assert frames[0].view.camera.fx == pytest.approx(SIDE)
    np.testing.assert_allclose(frames[0].view.centre, CENTRE, atol=1e-9)


def test_distance_along_the_ray_becomes_z_depth(scene: Path) -> None:
    """All points of a plane that faces the camera have one z-depth."""
    frame = blender.read_split(scene, "train")[0]
    depth = blender.read_depth(frame)
    assert (depth[:, : SIDE // 2] == 0).all()
    np.testing.assert_allclose(depth[:, SIDE // 2 :], np.linalg.norm(CENTRE), atol=2e-4)


@pytest.mark.parametrize(("background", "value"), [("white", 255), ("black", 0)])
def test_transparent_pixels_show_the_background(scene: Path, background: str, value: int) -> None:
    frame = blender.read_split(scene, "train")[0]
    image = blender.read_image(frame, background)
    assert (image[:, : SIDE // 2] == value).all()
    assert (image[:, SIDE // 2 :] == (200, 100, 50)).all()
    half = blender.read_image(frame, background, frame.view.camera.resized(2, 1))
    np.testing.assert_array_equal(half[0], [[value] * 3, [200, 100, 50]])


def test_views_are_in_the_files_order(scene: Path) -> None:
    assert [f.view.stem for f in blender.read_split(scene, "train")] == ["r_0", "r_1", "r_2"]
    with pytest.raises(UsageError, match="transforms_test"):
        blender.read_split(scene, "test")


def test_depth_of_lego_is_the_same_surface_from_all_sides(evaluation_data: Path) -> None:
    """Points of one view, lifted by its depth, lie on the depth of another view where both see them."""
    frames = blender.read_split(evaluation_data / "lego", "train")[:2]
    first, second = ((f.view, blender.read_depth(f)) for f in frames)
    view, depth = first
    rays = view.camera.directions(view.camera.pixel_centres())[::4, ::4].reshape(-1, 3)
    z = depth[::4, ::4].reshape(-1, 1)
    in_world = (rays * z)[z[:, 0] > 0] @ view.world_from_cam[:3, :3].T + view.world_from_cam[:3, 3]
    other, other_depth = second
    in_cam = in_world @ other.cam_from_world[:3, :3].T + other.cam_from_world[:3, 3]
    column, row = np.floor(other.camera.project(in_cam)).astype(int).T
    found = other_depth[row, column]
    seen = (found > 0) & (found > in_cam[:, 2] - 0.05)
    assert seen.sum() > 300
    assert np.median(np.abs(found[seen] - in_cam[seen, 2])) < 0.02
