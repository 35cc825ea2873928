"""The reader of COLMAP models against pycolmap's own, binary and text."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from depthrf.errors import DepthrfError, UsageError
from depthrf.geometry.camera import Camera, View
from depthrf.geometry.lens import Lens
from depthrf.io.poses.colmap import ColmapImage, ColmapModel, load_scene, read_model
from depthrf.sfm.child._pycolmap import pycolmap


@pytest.fixture(scope="module")
def synthetic(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model made by pycolmap, with points off track and keypoints without points, as .bin and .txt."""
    options = pycolmap.SyntheticDatasetOptions()
    options.num_rigs = 2
    options.num_cameras_per_rig = 1
    options.num_frames_per_rig = 3
    options.num_points3D = 60
    options.num_points2D_without_point3D = 5
    options.camera_model_id = pycolmap.CameraModelId.PINHOLE
    options.camera_params = [1000.0, 1010.0, 512.0, 384.0]
    pycolmap.set_random_seed(0)
    model = pycolmap.synthesize_dataset(options)
    folder = tmp_path_factory.mktemp("model")
    for ending in ("bin", "txt"):
        (folder / ending).mkdir()
    for point_id in list(model.points3D)[:7]:
        model.delete_point3D(point_id)
    for point in model.points3D.values():
        point.color = np.random.default_rng(1).integers(0, 255, 3).astype(np.uint8)
    model.update_point_3d_errors()
    model.write_binary(folder / "bin")
    model.write_text(folder / "txt")
    return folder


@pytest.mark.parametrize("kind", ["bin", "txt"])
def test_same_as_pycolmap(synthetic: Path, kind: str) -> None:
    expected = pycolmap.Reconstruction(synthetic / kind)
    found = read_model(synthetic / kind)
    assert found.cameras.keys() == set(expected.cameras)
    for key, camera in found.cameras.items():
        other = expected.cameras[key]
        assert (camera.model, camera.width, camera.height) == (other.model_name, other.width, other.height)
        np.testing.assert_allclose(camera.params, other.params)
    assert found.images.keys() == set(expected.reg_image_ids())
    for key, image in found.images.items():
        theirs = expected.images[key]
        assert (image.name, image.camera_id) == (theirs.name, theirs.camera_id)
        np.testing.assert_allclose(image.cam_from_world[:3], theirs.cam_from_world().matrix(), atol=1e-9)
        np.testing.assert_allclose(image.xy, [p.xy for p in theirs.points2D], atol=1e-4)
        ids = [p.point3D_id if p.has_point3D() else -1 for p in theirs.points2D]
        np.testing.assert_array_equal(image.point_ids, ids)
    assert found.point_ids.tolist() == sorted(expected.points3D)
    points = [expected.points3D[i] for i in found.point_ids]
    np.testing.assert_allclose(found.xyz, [p.xyz for p in points], atol=1e-9)
    np.testing.assert_array_equal(found.rgb, [p.color for p in points])
    np.testing.assert_allclose(found.error_px, [p.error for p in points], atol=1e-6)


def test_scene_has_the_depth_of_every_observation(synthetic: Path) -> None:
    model = pycolmap.Reconstruction(synthetic / "bin")
    scene = load_scene(synthetic / "bin")
    assert [v.name for v in scene.views] == sorted(i.name for i in model.images.values())
    for view in scene.views:
        image = model.find_image_with_name(view.name)
        observed = [p for p in image.points2D if p.has_point3D()]
        depths = scene.depths[view.name]
        order = np.lexsort(depths.xy.T)
        theirs = np.array([p.xy for p in observed])
        same = np.lexsort(theirs.T)
        np.testing.assert_allclose(depths.xy[order], theirs[same])
        z = [(image.cam_from_world() * model.points3D[observed[i].point3D_id].xyz)[2] for i in same]
        np.testing.assert_allclose(depths.depth[order], z)
        lengths = [model.points3D[observed[i].point3D_id].track.length() for i in same]
        np.testing.assert_array_equal(depths.track_length[order], lengths)
        assert (depths.sigma > 0).all()
        reprojected = [
            np.linalg.norm(image.project_point(model.points3D[observed[i].point3D_id].xyz) - observed[i].xy)
            for i in same
        ]
        np.testing.assert_allclose(depths.error_px[order], reprojected, atol=1e-6)


def test_text_image_without_observations(synthetic: Path, tmp_path: Path) -> None:
    model = pycolmap.Reconstruction(synthetic / "bin")
    for point_id in list(model.points3D):
        model.delete_point3D(point_id)
    model.write_text(tmp_path)
    (tmp_path / "images.txt").write_text(
        "# comment\n1 1 0 0 0 0.5 0 0 1 a b.jpg\n\n2 1 0 0 0 0 0 0 1 c.jpg\n\n", encoding="utf-8"
    )
    found = read_model(tmp_path)
    assert {i.name: len(i.xy) for i in found.images.values()} == {"a b.jpg": 0, "c.jpg": 0}
    scene = load_scene(tmp_path)
    assert len(scene.depths["c.jpg"].depth) == 0
    np.testing.assert_array_equal(scene.views[0].cam_from_world[:3, 3], [0.5, 0, 0])


def test_damaged_and_missing_models(synthetic: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="not a COLMAP model"):
        read_model(tmp_path)
    for file in (synthetic / "bin").iterdir():
        content = file.read_bytes()
        (tmp_path / file.name).write_bytes(content[: len(content) // 2] if file.stem == "images" else content)
    with pytest.raises(DepthrfError, match=r"images\.bin is damaged"):
        read_model(tmp_path)


def test_distorted_models_are_no_scenes(synthetic: Path, tmp_path: Path) -> None:
    for file in (synthetic / "txt").iterdir():
        (tmp_path / file.name).write_text(file.read_text().replace(" PINHOLE ", " SIMPLE_RADIAL "))
    with pytest.raises(UsageError, match="undistorted"):
        load_scene(tmp_path)


def test_a_view_without_a_lens_of_its_own_has_the_one_like_it() -> None:
    """Undistorting changes size and focal length a little: neither another zoom nor the turned camera is meant."""
    lenses = {
        1: Lens("SIMPLE_RADIAL", 640, 480, (500.0, 320.0, 240.0, 0.1)),
        2: Lens("SIMPLE_RADIAL", 480, 640, (500.0, 240.0, 320.0, 0.1)),
        3: Lens("SIMPLE_RADIAL", 640, 480, (900.0, 320.0, 240.0, 0.1)),
    }
    named = ColmapImage("a.jpg", 2, np.eye(4), np.zeros((0, 2)), np.zeros(0, dtype=np.int64))
    empty = np.zeros((0, 3))
    model = ColmapModel(lenses, {1: named}, named.point_ids, empty, empty.astype(np.uint8), np.zeros(0))
    landscape, zoomed = Camera(668, 490, 500.0, 500.0, 334.0, 245.0), Camera(656, 490, 900.0, 900.0, 328.0, 245.0)
    portrait = Camera(490, 668, 500.0, 500.0, 245.0, 334.0)
    for name, camera, key in (
        ("a.jpg", landscape, 2),
        ("new.jpg", landscape, 1),
        ("new.jpg", portrait, 2),
        ("new.jpg", zoomed, 3),
    ):
        assert model.lens_of(View(name, camera, np.eye(4))) == lenses[key]


@pytest.mark.parametrize("kind", ["bin", "txt"])
def test_a_camera_of_an_unknown_kind_is_named(synthetic: Path, tmp_path: Path, kind: str) -> None:
    for file in (synthetic / kind).iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    cameras = tmp_path / f"cameras.{kind}"
    if kind == "bin":
        data = bytearray(cameras.read_bytes())
        data[12:16] = (17).to_bytes(4, "little")
        cameras.write_bytes(data)
    else:
        cameras.write_text("1 EQUIRECTANGULAR 1024 512 1024 512\n", encoding="utf-8")
    with pytest.raises(UsageError, match=r"not supported.*Expected one of SIMPLE_PINHOLE, PINHOLE"):
        read_model(tmp_path)
