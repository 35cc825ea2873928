"""Ingest of exports and depth folders: photos, poses, sensor depth and confidence end in the workspace together."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from depthrf.errors import DepthrfError, UsageError
from depthrf.geometry.camera import Camera, View
from depthrf.geometry.distortion import project_through
from depthrf.geometry.lens import Lens
from depthrf.geometry.transforms import look_at
from depthrf.io.captures.registry import find_capture
from depthrf.io.depth.depth_maps import read_sensor
from depthrf.io.masks import read_mask
from depthrf.io.photos.table import read_photos
from depthrf.io.poses.given_poses import PosedPhoto
from depthrf.io.poses.transforms_json import read_transforms, write_given_poses, write_transforms
from depthrf.io.poses.turning import upright
from depthrf.stages import ingest
from depthrf.workspace import Workspace, create_workspace
from tests.io.captures import writers
from tests.io.captures.writers import Source

CAMERA = Camera(96, 72, 81.0, 81.0, 48.0, 36.0)


@pytest.fixture
def sources(tmp_path: Path) -> list[Source]:
    """Four photos with depth; confidence is low in the left column, medium in the next, high elsewhere."""
    rng = np.random.default_rng(0)
    confidence = np.full((36, 48), 2, np.uint8)
    confidence[:, 0], confidence[:, 1] = 0, 1
    result = []
    for index, x in enumerate((-0.6, -0.2, 0.2, 0.6)):
        view = View(f"p{index}.jpg", CAMERA, look_at(np.array([x, 0.1 * x, -3.0]), np.zeros(3), np.array([0, -1.0, 0])))
        photo = tmp_path / "photos" / f"p{index}.jpg"
        photo.parent.mkdir(exist_ok=True)
        Image.fromarray(rng.integers(0, 255, (72, 96, 3), np.uint8)).save(photo, quality=97)
        result.append(Source(view, photo, np.round(rng.uniform(0.5, 5.0, (36, 48)), 3), confidence))
    return result


def run(folder: Path, **options: object) -> tuple[ingest.Summary, Workspace]:
    workspace = create_workspace(folder.parent / "out", folder)
    chosen = ingest.Options(photos=folder, **options)  # type: ignore[arg-type]
    assert all(path.is_file() for path in ingest.inputs(workspace, chosen))
    return ingest.run(workspace, chosen), workspace


@pytest.mark.parametrize("writer", [writers.polycam, writers.stray_scanner_video, writers.scanner_app])
def test_a_phones_export_gives_everything(writer: writers.Writer, sources: list[Source], tmp_path: Path) -> None:
    writer(tmp_path / "export", sources)
    summary, workspace = run(tmp_path / "export")
    assert (summary.num_photos, summary.num_poses, summary.num_sensor_depth) == (4, 4, 4)
    given = read_transforms(workspace.given_poses)
    assert json.loads(workspace.given_poses.read_text(encoding="utf-8"))["tracked"]
    assert {p.name for p in given.photos} == {f"images/{p.name}" for p in workspace.images.iterdir()}
    for posed, source in zip(given.photos, sources, strict=True):
        np.testing.assert_allclose(posed.cam_from_world, source.view.cam_from_world, atol=1e-9)
        sensor = read_sensor(workspace, Path(posed.name).stem)
        assert sensor is not None
        assert sensor.confidence is not None
        assert source.depth is not None
        assert not sensor.metres[:, 0].any()
        np.testing.assert_allclose(sensor.metres[:, 1:], source.depth[:, 1:], atol=1e-6)
        assert sensor.confidence[0, :4].tolist() == [0, 1, 2, 2]
        assert sensor.camera is None
    assert not (workspace.root / "video_frames").exists()


@pytest.mark.parametrize("kind", sorted(writers.WRITERS))
def test_poses_and_split_of_every_reader_come_back(kind: str, sources: list[Source], tmp_path: Path) -> None:
    """From the export to given_poses.json and back: poses, lenses, and which photo is held out."""
    writers.WRITERS[kind](tmp_path / "export", [replace(s, depth=None, confidence=None) for s in sources])
    _, workspace = run(tmp_path / "export", holdout="every:4")
    given = read_transforms(workspace.given_poses)
    points = np.random.default_rng(0).uniform([-0.5, -0.4, -0.3], [0.5, 0.4, 0.3], (20, 3))
    for posed, source in zip(given.photos, sources, strict=True):
        seen = points @ source.view.cam_from_world[:3, :3].T + source.view.cam_from_world[:3, 3]
        in_cam = points @ posed.cam_from_world[:3, :3].T + posed.cam_from_world[:3, 3]
        projected = project_through(posed.camera, in_cam / in_cam[:, 2:])
        np.testing.assert_allclose(projected, source.view.camera.project(seen), atol=1e-4)
    assert given.test == {given.photos[0].name}
    assert given.train == {photo.name for photo in given.photos[1:]}


def test_what_sfm_writes_can_be_a_photo_folder(sources: list[Source], tmp_path: Path) -> None:
    """A workspace's transforms.json with its undistorted photos is read as nerfstudio would, with its split."""
    for source in sources:
        writers.copy(source, tmp_path / "ws" / "undistorted" / source.view.name)
    views = [source.view for source in sources]
    test = [views[2].name]
    write_transforms(tmp_path / "ws" / "transforms.json", views, image_folder="undistorted", test_names=test)
    capture = find_capture(tmp_path / "ws")
    assert capture is not None
    assert [shot.photo.name for shot in capture.shots if shot.test] == test
    for shot, view in zip(capture.shots, views, strict=True):
        np.testing.assert_allclose(shot.cam_from_world, view.cam_from_world, atol=1e-12)
        assert shot.lens.params == (view.camera.fx, view.camera.fy, view.camera.cx, view.camera.cy)


def test_depth_with_its_own_intrinsics(sources: list[Source], tmp_path: Path) -> None:
    writers.scannet(tmp_path / "export", sources)
    summary, workspace = run(tmp_path / "export")
    assert summary.num_sensor_depth == 4
    sensor = read_sensor(workspace, "2")
    assert sensor is not None
    assert sensor.camera == Camera(48, 36, 40.5, 40.5, 24.0, 18.0)


def test_poses_of_an_export_can_be_left(sources: list[Source], tmp_path: Path) -> None:
    writers.polycam(tmp_path / "export", sources)
    run(tmp_path / "export")
    summary, workspace = run(tmp_path / "export", export_poses=False)
    assert (summary.num_photos, summary.num_poses, summary.num_sensor_depth) == (4, 0, 4)
    assert not workspace.given_poses.exists()


def test_an_export_whose_poses_do_not_fit_can_be_used_without_them(
    sources: list[Source], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """LLFF with a row less than photos, and a transforms.json of photos that are no longer there."""
    writers.llff(tmp_path / "llff", sources)
    rows = np.load(tmp_path / "llff" / "poses_bounds.npy")
    np.save(tmp_path / "llff" / "poses_bounds.npy", rows[:-1])
    writers.nerfstudio(tmp_path / "stale", sources)
    for index, path in enumerate(sorted((tmp_path / "stale" / "images").iterdir())):
        path.rename(path.with_name(f"new{index}.jpg"))
    for folder in (tmp_path / "llff", tmp_path / "stale"):
        with pytest.raises(UsageError, match="use its photos without these poses: --no-export-poses"):
            run(folder)
        summary, workspace = run(folder, export_poses=False)
        assert (summary.num_photos, summary.num_poses) == (4, 0)
        assert not workspace.given_poses.exists()
        assert "Its poses and sensor depth are left out" in " ".join(capsys.readouterr().err.split())
        shutil.rmtree(workspace.root)


def test_masks_that_a_transforms_json_names(sources: list[Source], tmp_path: Path) -> None:
    folder = tmp_path / "export"
    writers.nerfstudio(folder, sources)
    used = np.full((72, 96), 255, np.uint8)
    used[:36] = 0
    content = json.loads((folder / "transforms.json").read_text())
    for frame in content["frames"][:3]:
        frame["mask_path"] = f"ignore\\{Path(frame['file_path']).stem}_m.png"
        writers.grey(folder / "ignore" / f"{Path(frame['file_path']).stem}_m.png", used)
    (folder / "transforms.json").write_text(json.dumps(content))
    summary, workspace = run(folder)
    assert (summary.num_masks, summary.masked_share) == (3, 0.5)
    np.testing.assert_array_equal(read_mask(workspace.masks / "p1.jpg.png"), used > 0)
    assert read_mask(workspace.masks / "p3.jpg.png").all()


def test_what_an_export_lists_and_is_not_there_has_a_fate(sources: list[Source], tmp_path: Path) -> None:
    writers.nerfstudio(tmp_path / "export", sources)
    (tmp_path / "export" / "images" / "p2.jpg").unlink()
    summary, workspace = run(tmp_path / "export")
    assert (summary.num_photos, summary.num_files) == (3, 4)
    rows = {row.source: row for row in read_photos(workspace.photos)}
    assert (rows["./images/p2.jpg"].status, rows["./images/p2.jpg"].reason) == ("rejected", "listed, but not there")


@pytest.mark.parametrize("allowed", [False, True])
def test_files_outside_a_data_set_are_used_only_if_allowed(
    sources: list[Source], tmp_path: Path, allowed: bool
) -> None:
    folder = tmp_path / "export"
    writers.nerfstudio(folder, sources)
    content = json.loads((folder / "transforms.json").read_text())
    for key, frame in (("file_path", content["frames"][0]), ("depth_file_path", content["frames"][1])):
        path, secret = folder / frame[key], tmp_path / f"secret {key}"
        secret.mkdir()
        path.rename(secret / path.name)
        frame[key] = str(secret / path.name)
    (folder / "transforms.json").write_text(json.dumps(content))
    summary, workspace = run(folder, allow_outside=allowed)
    absent = 0 if allowed else 1
    assert summary.num_photos == len(sources) - absent
    assert len(list(workspace.sensor_depth.glob("*.png"))) == len(sources) - 2 * absent
    fates = [p for p in json.loads(workspace.photos.read_text())["photos"] if p["status"] == "rejected"]
    assert [p["reason"] for p in fates] == ["lies outside the data set's folder"] * absent


def test_large_exports_are_thinned(sources: list[Source], tmp_path: Path) -> None:
    writers.nerfstudio(tmp_path / "export", sources)
    summary, workspace = run(tmp_path / "export", max_photos=3)
    assert summary.num_photos == 3
    assert sorted(p.name for p in workspace.images.iterdir()) == ["p0.jpg", "p2.jpg", "p3.jpg"]


def test_photos_of_one_name_in_several_folders(sources: list[Source], tmp_path: Path) -> None:
    writers.blender(tmp_path / "export", sources)
    summary, workspace = run(tmp_path / "export")
    assert (summary.num_photos, summary.num_poses) == (4, 4)
    given = read_transforms(workspace.given_poses)
    assert len({p.name for p in given.photos}) == 4
    assert len(given.test) == 1
    (held_out,) = (p for p in given.photos if p.name in given.test)
    np.testing.assert_allclose(held_out.cam_from_world, sources[3].view.cam_from_world, atol=1e-9)


def test_a_folder_of_other_formats(sources: list[Source], tmp_path: Path) -> None:
    folder = tmp_path / "depth"
    folder.mkdir()
    for index, source in enumerate(sources[:2]):
        assert source.depth is not None
        np.save(folder / f"p{index}.npy", source.depth.astype(np.float32))
    assert sources[2].depth is not None
    Image.fromarray((sources[2].depth * 5000).round().astype(np.uint16)).save(folder / "p2.png")
    summary, workspace = run(tmp_path / "photos", sensor_depth=folder, depth_unit=0.0002)
    assert summary.num_sensor_depth == 3
    for index in range(3):
        sensor = read_sensor(workspace, f"p{index}")
        assert sensor is not None
        assert sensor.confidence is None
        np.testing.assert_allclose(sensor.metres, sources[index].depth, atol=6e-4)


def test_a_depth_camera_for_maps_of_another_field_of_view(sources: list[Source], tmp_path: Path) -> None:
    folder = tmp_path / "depth"
    folder.mkdir()
    np.save(folder / "p0.npy", np.ones((40, 40), np.float32))
    with pytest.raises(DepthrfError, match="--depth-camera"):
        run(tmp_path / "photos", sensor_depth=folder)
    (tmp_path / "camera.json").write_text(json.dumps({"fl_x": 30, "fl_y": 30, "cx": 21, "cy": 19}))
    _, workspace = run(tmp_path / "photos", sensor_depth=folder, depth_camera=tmp_path / "camera.json")
    sensor = read_sensor(workspace, "p0")
    assert sensor is not None
    assert sensor.camera == Camera(40, 40, 30.0, 30.0, 21.0, 19.0)
    run(tmp_path / "photos")
    assert not workspace.sensor_cameras.exists()


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_poses_turn_with_their_photos(orientation: int) -> None:
    """A point projected and then turned like the picture is the point seen by the turned camera."""
    lens = Lens("PINHOLE", 96, 72, (81.0, 79.0, 50.0, 33.0))
    pose = look_at(np.array([0.3, 0.2, -3.0]), np.zeros(3), np.array([0.1, -1.0, 0.0]))
    point = np.array([0.2, -0.3, 0.4, 1.0])
    stored = Camera(96, 72, *lens.params).project((pose @ point)[:3])
    picture = np.zeros((72, 96), np.uint8)
    picture[int(stored[1]), int(stored[0])] = 1
    from depthrf.io.photos.images import orient

    turned = orient(picture, orientation)
    height, width = turned.shape
    photo = upright(PosedPhoto("a", lens, pose), orientation, width, height)
    seen = Camera(width, height, *photo.camera.params).project((photo.cam_from_world @ point)[:3])
    assert turned[int(seen[1]), int(seen[0])] == 1
    assert np.linalg.det(photo.cam_from_world[:3, :3]) == pytest.approx(1.0)


@pytest.mark.parametrize(
    "lens",
    [
        Lens("PINHOLE", 96, 72, (81.0, 79.0, 50.0, 33.0)),
        Lens("SIMPLE_RADIAL", 96, 72, (81.0, 50.0, 33.0, 0.05)),
        Lens("OPENCV", 96, 72, (81.0, 79.0, 50.0, 33.0, 0.1, -0.02, 0.001, 0.002)),
        Lens("FULL_OPENCV", 96, 72, (81.0, 79.0, 50.0, 33.0, 0.1, -0.02, 0.001, 0.002, 0.003, 0.0, 0.0, 0.0)),
        Lens("OPENCV_FISHEYE", 96, 72, (81.0, 79.0, 50.0, 33.0, 0.1, -0.02, 0.003, 0.004)),
    ],
    ids=lambda lens: lens.model,
)
def test_given_poses_round_trip_with_distortion(lens: Lens, tmp_path: Path) -> None:
    pose = look_at(np.array([0.3, 0.2, -3.0]), np.zeros(3), np.array([0.1, -1.0, 0.0]))
    write_given_poses(tmp_path / "t.json", [PosedPhoto("images/ä.jpg", lens, pose), PosedPhoto("b.jpg", lens, pose)])
    found = read_transforms(tmp_path / "t.json")
    assert [p.name for p in found.photos] == ["images/ä.jpg", "b.jpg"]
    np.testing.assert_allclose(found.photos[0].cam_from_world, pose, atol=1e-12)
    rays = np.random.default_rng(0).uniform([-0.5, -0.4, 1], [0.5, 0.4, 1], (20, 3))
    np.testing.assert_allclose(project_through(found.photos[0].camera, rays), project_through(lens, rays), atol=1e-9)


@pytest.mark.data
def test_real_frames_with_transforms_and_depth(evaluation_data: Path, tmp_path: Path) -> None:
    workspace = create_workspace(tmp_path / "out", evaluation_data / "kitchen")
    summary = ingest.run(workspace, ingest.Options(photos=evaluation_data / "kitchen"))
    assert (summary.num_photos, summary.num_poses, summary.num_sensor_depth) == (30, 30, 30)
    given = read_transforms(workspace.given_poses)
    assert len(given.test) == 12
    stem = next(iter(workspace.images.iterdir())).stem
    sensor = read_sensor(workspace, stem)
    assert sensor is not None
    stored = np.asarray(Image.open(evaluation_data / "kitchen" / "depth" / f"{stem}.png"))
    np.testing.assert_array_equal(np.rint(sensor.metres * 1000), stored)
