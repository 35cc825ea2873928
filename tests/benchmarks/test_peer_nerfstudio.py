from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from benchmarks.peer_nerfstudio import ratios
from benchmarks.peer_scene import Scene, export, z_depth
from depthrf.geometry.camera import Camera, DepthPrior, View
from depthrf.geometry.transforms import look_at
from depthrf.io.depth.depth_maps import read_sensor_depth, write_prior
from depthrf.io.photos.images import write_png
from depthrf.workspace import Workspace

METRES_PER_UNIT, UNITS_PER_METRE = 2.5, 0.4
CAMERA = Camera(64, 48, 55.0, 53.0, 30.0, 25.0)


def make_scene(root: Path) -> Scene:
    """Two views of a point in scene units; the second is held out, but has a prior that must not get out."""
    workspace = Workspace(root)
    up = np.array([0.0, -1.0, 0.0])
    centres = (np.array([0.3, -0.2, -1.0]), np.array([-0.5, 0.1, -1.2]))
    views = [View(f"{i}.jpg", CAMERA, look_at(c, np.array([0.1, 0.0, 1.0]), up)) for i, c in enumerate(centres)]
    for view in views:
        write_png(workspace.undistorted_images / view.name, np.full((48, 64, 3), 90, np.uint8))
        depth = np.full((48, 64), 1.75, np.float32)
        depth[:, :32] = 0.0
        depth[0, -2:] = 40.0  # 100 m: farther than 16-bit millimetres reach
        prior = DepthPrior(depth, 0.01 * depth)
        write_prior(workspace.prior_depth / f"{view.stem}.npz", prior, np.zeros((48, 64), np.uint8))
    train, test = (view.with_camera(CAMERA.fitted(32)) for view in views)
    return Scene(workspace, [train], [test], {}, METRES_PER_UNIT)


def test_a_point_of_the_scene_lies_where_the_export_says(tmp_path: Path) -> None:
    scene = make_scene(tmp_path / "workspace")
    export(scene, tmp_path / "data")
    document = json.loads((tmp_path / "data" / "transforms.json").read_text(encoding="utf-8"))
    assert document["train_filenames"] == ["images/0.png"]
    assert document["test_filenames"] == document["val_filenames"] == ["images/1.png"]
    point = np.array([0.2, 0.1, 0.9])
    for view, frame in zip((*scene.train, *scene.test), document["frames"], strict=True):
        in_cam = view.cam_from_world[:3, :3] @ point + view.cam_from_world[:3, 3]
        # OpenGL's camera looks along -z with y up, and rows are counted from the top.
        x, y, z, _ = np.linalg.inv(np.array(frame["transform_matrix"])) @ [*(METRES_PER_UNIT * point), 1.0]
        pixel = [frame["cx"] + frame["fl_x"] * x / -z, frame["cy"] - frame["fl_y"] * y / -z]
        np.testing.assert_allclose(pixel, view.camera.project(in_cam), atol=1e-9)
        np.testing.assert_allclose(-z, METRES_PER_UNIT * in_cam[2], atol=1e-9)
        assert (frame["w"], frame["h"]) == (32, 24)


def test_the_exported_depth_is_the_prior_in_millimetres_and_of_training_photos_only(tmp_path: Path) -> None:
    scene = make_scene(tmp_path / "workspace")
    export(scene, tmp_path / "data")
    train, test = (read_sensor_depth(tmp_path / "data" / "depth" / f"{i}.png") for i in (0, 1))
    expected = np.full((24, 32), 1.75 * METRES_PER_UNIT, np.float32)
    expected[:, :16] = 0.0
    expected[0, -1] = 0.0
    np.testing.assert_allclose(train, expected, atol=5e-4)
    assert not test.any()


def test_a_plane_across_the_view_has_one_z_depth() -> None:
    rays = CAMERA.directions(CAMERA.pixel_centres())
    plane_m = 3.0
    cosine = 1.0 / np.sqrt((rays**2).sum(-1))
    distance = (plane_m * UNITS_PER_METRE / cosine).astype(np.float32)
    assert np.ptp(distance) > 0.1
    np.testing.assert_allclose(z_depth(distance, CAMERA, UNITS_PER_METRE), plane_m, rtol=1e-6)


def test_the_peers_depth_error_is_that_of_its_better_depth() -> None:
    scores = {"psnr": 20.0, "psnr_exposure_fit": 21.0, "depth_median_abs_error": 0.1}
    speeds = {"rays_per_second": 100.0, "rays_per_cpu_second": 50.0, "rendered_rays_per_second": 400.0}
    peer = {**speeds, "mean": {**scores, "depth_median_abs_error_of_expected": 0.08}}
    speeds = {"rays_per_second": 300.0, "rays_per_cpu_second": 200.0, "rendered_rays_per_second": 800.0}
    ours = {**speeds, "mean": {**scores, "psnr": 22.0}}
    found = ratios(ours, peer)
    np.testing.assert_allclose(list(found.values()), [3.0, 4.0, 2.0, 2.0, 0.0, 1.25])
