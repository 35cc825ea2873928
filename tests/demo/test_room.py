"""The demo room: depth and poses agree with the pictures, and the files say what was rendered."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from depthrf.demo import photos, raycast
from depthrf.demo.furniture import ROOM_HALF
from depthrf.demo.room import RoomScene, demo_views, render
from depthrf.geometry.camera import View
from depthrf.geometry.transforms import cam_from_world_of_opengl
from depthrf.io.photos.images import inspect_photo, read_png_uint16, read_rgb, write_jpeg
from tests.scenes.demo_room import demo_room


@pytest.fixture(scope="module")
def scene() -> RoomScene:
    return demo_room()


def lift(view: View, depth: NDArray[np.float32]) -> NDArray[np.float64]:
    """World points of all pixels, (H, W, 3)."""
    in_cam = view.camera.directions(view.camera.pixel_centres()) * depth[..., None]
    return np.asarray(in_cam @ view.world_from_cam[:3, :3].T + view.world_from_cam[:3, 3])


def test_views_agree_on_colour_and_depth(scene: RoomScene) -> None:
    train, test = demo_views(12, 2, 160, 120)
    for a, b in ((train[4], train[5]), (train[5], test[0])):
        (rgb_a, depth_a), (rgb_b, depth_b) = render(scene, a), render(scene, b)
        points = lift(a, depth_a).reshape(-1, 3)
        in_b = points @ b.cam_from_world[:3, :3].T + b.cam_from_world[:3, 3]
        xy = np.nan_to_num(b.camera.project(in_b), nan=-1.0)
        column, row = np.floor(xy).astype(int).T
        inside = (column >= 0) & (column < 160) & (row >= 0) & (row < 120)
        error = np.abs(depth_b[row[inside], column[inside]] - in_b[inside, 2])
        seen = error < 0.03
        assert inside.mean() > 0.5
        assert seen.mean() > 0.8  # the others are hidden by something in one of the views
        difference = rgb_a.reshape(-1, 3)[inside][seen].astype(int) - rgb_b[row[inside], column[inside]][seen]
        assert np.median(np.abs(difference)) < 12


def test_depth_of_a_wall_is_exact(scene: RoomScene) -> None:
    view = demo_views(9, 0, 160, 120)[0][4]
    rgb, depth = render(scene, view)
    points = lift(view, depth)
    x, y, z = ROOM_HALF
    assert (np.abs(points[..., 0]) < x + 1e-3).all()
    assert (np.abs(points[..., 1]) < y + 1e-3).all()
    assert points[..., 2].min() > -1e-3
    assert points[..., 2].max() < 2 * z + 1e-3
    wall = np.abs(points[..., 1] - y) < 1e-3
    assert wall.mean() > 0.1
    assert 0.8 < depth.min() < depth.max() < 6.0
    assert rgb.std() > 30
    assert ((rgb > 2) & (rgb < 253)).mean() > 0.85  # neither black nor burnt out


def test_ray_casting_agrees_with_brute_force(scene: RoomScene) -> None:
    """A ray's hit is the nearest over all primitives tried one by one, the tree left aside."""
    solids = scene.solids
    rng = np.random.default_rng(0)
    for _ in range(300):
        origin, direction = rng.uniform((-1, -2, 1), (1, -1.5, 2)), rng.standard_normal(3)
        best, hit = np.inf, -1
        for p in range(len(solids.kind)):
            o, d = solids.rotation[p] @ (origin - solids.centre[p]), solids.rotation[p] @ direction
            t, _ = raycast._hit_local(solids.kind[p], tuple(o), tuple(d), solids.half[p])
            if 0 < t < best:
                best, hit = t, p
        found = raycast.cast(solids, tuple(origin), tuple(direction))
        assert found[1] == hit
        assert found[0] == pytest.approx(best)


def test_held_out_views_lie_between_training_views() -> None:
    train, test = demo_views(20, 4)
    assert len({v.name for v in [*train, *test]}) == 24
    centres = np.stack([v.centre for v in train])
    for view in test:
        nearest = np.sort(np.linalg.norm(centres - view.centre, axis=1))
        assert nearest[0] < 0.25
        assert centres[:, 0].min() < view.centre[0] < centres[:, 0].max()


def test_files_carry_camera_poses_and_depth(scene: RoomScene, tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    files = photos.write_demo(
        tmp_path / "dé mo", num_train=4, num_test=1, width=80, height=60, on_step=lambda *at: told.append(at)
    )
    assert told == [(i, 6) for i in range(7)]
    meta = json.loads(files.transforms.read_text(encoding="utf-8"))
    train, test = demo_views(4, 1, 80, 60)
    assert [Path(n).name for n in meta["train_filenames"]] == [v.name for v in train]
    assert [Path(n).name for n in meta["test_filenames"]] == [v.name for v in test]
    for frame, view in zip(meta["frames"], [*train, *test], strict=True):
        pose = cam_from_world_of_opengl(np.array(frame["transform_matrix"]))
        np.testing.assert_allclose(pose, view.cam_from_world, atol=1e-9)
        photo = files.transforms.parent / frame["file_path"]
        info = inspect_photo(photo)
        assert info.as_is
        assert info.focal_px == pytest.approx(meta["fl_x"], rel=1e-6)
        rgb, depth = render(scene, view)
        write_jpeg(tmp_path / "again.jpg", rgb)  # same seed, same picture
        assert (read_rgb(photo) == read_rgb(tmp_path / "again.jpg")).all()
        stored = read_png_uint16(files.transforms.parent / frame["depth_file_path"])
        np.testing.assert_allclose(stored / 1000.0, depth, atol=6e-4)
