"""Exports of other programs: known points land on the right pixels, and what is wrong is told in one message."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pytest
from PIL import Image

from depthrf.errors import UsageError
from depthrf.geometry.camera import Camera, View
from depthrf.geometry.distortion import project_through
from depthrf.geometry.transforms import look_at
from depthrf.io.captures.capture import thinned
from depthrf.io.captures.poses import join_poses, read_poses
from depthrf.io.captures.registry import READERS, find_capture
from tests.io.captures import writers
from tests.io.captures.writers import WRITERS, Source

CAMERA = Camera(96, 64, 81.0, 81.0, 48.0, 32.0)
POINTS = np.random.default_rng(1).uniform([-1, -1, -0.5], [1, 1, 0.5], (50, 3))


@pytest.fixture
def sources(tmp_path: Path) -> list[Source]:
    """Four photos around some points, with depth and confidence."""
    rng = np.random.default_rng(0)
    result = []
    for index, angle in enumerate((-0.6, -0.2, 0.2, 0.6)):
        centre = 4.0 * np.array([np.sin(angle), -0.2 * angle, -np.cos(angle)])
        view = View(f"p{index}.jpg", CAMERA, look_at(centre, np.zeros(3), np.array([0.1, -1.0, 0.0])))
        photo = tmp_path / "photos" / f"p{index}.jpg"
        photo.parent.mkdir(exist_ok=True)
        Image.fromarray(rng.integers(0, 255, (64, 96, 3), np.uint8)).save(photo, quality=97)
        depth = rng.uniform(0.5, 5.0, (32, 48))
        result.append(Source(view, photo, depth, rng.integers(0, 3, (32, 48)).astype(np.uint8)))
    return result


def pixels(view: View) -> np.ndarray:
    return view.camera.project(POINTS @ view.cam_from_world[:3, :3].T + view.cam_from_world[:3, 3])


def test_every_reader_is_tested() -> None:
    assert {r.KIND for r in READERS} == {*WRITERS, "7-Scenes sequence"}


@pytest.mark.parametrize("kind", WRITERS)
def test_known_points_land_on_their_pixels(kind: str, sources: list[Source], tmp_path: Path) -> None:
    folder = tmp_path / "export"
    folder.mkdir()
    WRITERS[kind](folder, sources)
    capture = find_capture(folder)
    assert capture is not None
    assert capture.kind == kind
    assert len(capture.shots) == 4
    for shot, source in zip(capture.shots, sources, strict=True):
        in_cam = POINTS @ shot.cam_from_world[:3, :3].T + shot.cam_from_world[:3, 3]
        projected = project_through(shot.lens, in_cam / in_cam[:, 2:])
        np.testing.assert_allclose(projected, pixels(source.view), atol=1e-4)
        assert shot.photo.is_file()
        assert shot.photo in capture.files
    given = read_poses(folder, {})
    assert [p.name for p in given.photos] == [s.photo.relative_to(folder).as_posix() for s in capture.shots]


@pytest.mark.parametrize(
    "kind", ["Polycam export", "Record3D export", "Stray Scanner recording", "3D Scanner App export", "ScanNet folder"]
)
def test_sensor_depth_is_found(kind: str, sources: list[Source], tmp_path: Path) -> None:
    from depthrf.io.depth.sensor_depth import read_confidence, read_depth_file

    folder = tmp_path / "export"
    folder.mkdir()
    WRITERS[kind](folder, sources)
    capture = find_capture(folder)
    assert capture is not None
    for shot, source in zip(capture.shots, sources, strict=True):
        assert shot.sensor is not None
        metres = read_depth_file(shot.sensor.path, shot.sensor.metres_per_count)
        np.testing.assert_allclose(metres, source.depth, atol=0.0006)
        confidence = read_confidence(shot.sensor, metres.shape)
        if confidence is not None:
            np.testing.assert_array_equal(confidence, source.confidence)
    with_confidence = {"Polycam export", "Stray Scanner recording", "3D Scanner App export"}
    assert (capture.shots[0].sensor.confidence is not None) == (kind in with_confidence)


def test_blender_folders_hold_out_their_test_photos(sources: list[Source], tmp_path: Path) -> None:
    writers.blender(tmp_path, sources)
    capture = find_capture(tmp_path)
    assert capture is not None
    assert [s.test for s in capture.shots] == [False, False, False, True]
    np.testing.assert_allclose(capture.shots[3].cam_from_world, sources[3].view.cam_from_world, atol=1e-9)
    assert capture.shots[0].lens.focal == pytest.approx(CAMERA.fx)
    assert capture.poses().test == {"test/r_0.png"}


def test_an_export_is_thinned_at_equal_steps(sources: list[Source], tmp_path: Path) -> None:
    writers.blender(tmp_path, sources * 5)
    capture = find_capture(tmp_path)
    assert capture is not None
    kept = thinned(capture, 4).shots
    assert "of its 19 training photos 4 are used" in thinned(capture, 4).remarks[-1]
    assert thinned(capture, 19) is capture
    train = [s for s in capture.shots if not s.test]
    assert [s.test for s in kept] == [False] * 4 + [True]
    assert [train.index(s) for s in kept[:4]] == [0, 6, 12, 18]


def test_stray_scanner_without_frames_gives_frames_of_its_video(sources: list[Source], tmp_path: Path) -> None:
    from depthrf.io.video import read_frames

    folder = tmp_path / "export"
    flat = [Image.new("RGB", (96, 64), (60 * i, 200 - 50 * i, 90)) for i in range(4)]
    for picture, source in zip(flat, sources, strict=True):
        picture.save(source.photo, quality=97)
    writers.stray_scanner_video(folder, sources)
    capture = find_capture(folder)
    assert capture is not None
    assert [s.frame for s in capture.shots] == [0, 1, 2, 3]
    assert (capture.shots[0].lens.width, capture.shots[0].lens.height) == (96, 64)
    frames = read_frames(folder / "rgb.mp4", [1, 3, 9], turned=False)  # there is no tenth
    for frame, index in zip(frames, (1, 3), strict=True):
        error = np.abs(frame.astype(int) - np.asarray(flat[index]))
        assert error.mean() < 6


def test_a_mark_that_turns_the_video_turns_no_frame(sources: list[Source], tmp_path: Path) -> None:
    writers.stray_scanner_video(tmp_path, sources)
    (tmp_path / "rgb.mp4").rename(tmp_path / "straight.mp4")
    marked = [imageio_ffmpeg.get_ffmpeg_exe(), "-loglevel", "error", "-display_rotation", "90"]
    marked += ["-i", str(tmp_path / "straight.mp4"), "-c", "copy", str(tmp_path / "rgb.mp4")]
    subprocess.run(marked, check=True)
    capture = find_capture(tmp_path)
    assert capture is not None
    camera = sources[0].view.camera
    assert (capture.shots[0].lens.width, capture.shots[0].lens.height) == (camera.width, camera.height)


def test_a_lost_scannet_pose_is_left_out(sources: list[Source], tmp_path: Path) -> None:
    writers.scannet(tmp_path, sources)
    np.savetxt(tmp_path / "pose" / "1.txt", np.full((4, 4), -np.inf))
    capture = find_capture(tmp_path)
    assert capture is not None
    assert [s.photo.name for s in capture.shots] == ["0.jpg", "2.jpg", "3.jpg"]
    assert "1 photo whose pose is not finite (tracking was lost) is left out: 1.jpg" in capture.remarks[0]


def test_polycam_without_corrected_poses_says_so(sources: list[Source], tmp_path: Path) -> None:
    writers.polycam(tmp_path, sources)
    for name in ("images", "cameras"):
        (tmp_path / "keyframes" / f"corrected_{name}").rename(tmp_path / "keyframes" / name)
    capture = find_capture(tmp_path)
    assert capture is not None
    assert len(capture.shots) == 4
    assert "not optimised" in capture.remarks[0]


def test_polycam_depth_shows_what_the_uncorrected_image_shows(sources: list[Source], tmp_path: Path) -> None:
    writers.polycam(tmp_path, sources)
    cameras = tmp_path / "keyframes" / "cameras"
    cameras.mkdir()
    content = json.loads((tmp_path / _POLYCAM).read_text())
    (cameras / "1000.json").write_text(json.dumps({**content, "fx": 83.0}))
    capture = find_capture(tmp_path)
    assert capture is not None
    first, second = (s.sensor for s in capture.shots[:2])
    assert first is not None
    assert second is not None
    assert first.camera is not None
    assert first.camera.params[0] == 83.0
    assert capture.shots[0].lens.params[0] == 81.0
    assert second.camera is None


def test_llff_photos_at_a_fraction_of_their_size(sources: list[Source], tmp_path: Path) -> None:
    writers.llff(tmp_path, sources)
    for path in sorted((tmp_path / "images").iterdir()):
        (tmp_path / "images_2").mkdir(exist_ok=True)
        Image.open(path).resize((48, 32)).save(tmp_path / "images_2" / path.name)
    capture = find_capture(tmp_path)
    assert capture is not None
    assert {s.photo.parent.name for s in capture.shots} == {"images"}  # as long as they are there
    shutil.rmtree(tmp_path / "images")
    given = read_poses(tmp_path / "poses_bounds.npy", {})
    sizes = {f"p{i}.jpg": (48, 32) for i in range(4)}
    joined = join_poses(given, sizes, {}, tmp_path)
    assert joined.poses["p2.jpg"].camera.params == pytest.approx((40.5, 40.5, 24.0, 16.0))


@pytest.mark.parametrize("kind", ["folder with transforms.json", "COLMAP project"])
def test_photos_without_a_pose_are_told(kind: str, sources: list[Source], tmp_path: Path) -> None:
    folder = tmp_path / "export"
    folder.mkdir()
    WRITERS[kind](folder, sources)
    shutil.copyfile(sources[0].photo, folder / "images" / "another.jpg")
    capture = find_capture(folder)
    assert capture is not None
    assert len(capture.shots) == 4
    assert capture.remarks == ("1 photo without a pose is left out: another.jpg",)


def test_a_folder_of_photos_is_no_export(sources: list[Source]) -> None:
    assert find_capture(sources[0].photo.parent) is None
    assert find_capture(sources[0].photo) is None


def _edit_json(name: str, **values: object) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        path = folder / name
        path.write_text(json.dumps({**json.loads(path.read_text()), **values}))

    return edit


def _write(name: str, text: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).write_text(text) and None


_POLYCAM = "keyframes/corrected_cameras/1000.json"
_SCANNED = "frame_00000.json"
_RECORDED = "EXR_RGBD/metadata.json"


@pytest.mark.parametrize(
    ("kind", "damage", "message"),
    [
        ("Polycam export", _edit_json(_POLYCAM, t_00=None), r"1000.json lacks t_00"),
        ("Polycam export", _edit_json(_POLYCAM, fx=None), r"1000.json lacks fx"),
        ("Polycam export", _edit_json(_POLYCAM, fx=8000.0), "focal length"),
        ("Polycam export", _edit_json(_POLYCAM, cx=500.0), "principal point"),
        ("Polycam export", _write(_POLYCAM, "{"), "not readable JSON"),
        ("3D Scanner App export", _edit_json(_SCANNED, cameraPoseARFrame=np.diag([1, 1, -1, 1]).tolist()), "mirrors"),
        (
            "3D Scanner App export",
            _edit_json(_SCANNED, cameraPoseARFrame=np.diag([2, 2, 2, 1]).tolist()),
            "orthonormal",
        ),
        ("3D Scanner App export", _edit_json(_SCANNED, intrinsics=[1, 2, 3]), "3 x 3 numbers"),
        ("Record3D export", _edit_json(_RECORDED, poses=[[0, 0, 0, 1, 0, 0, 0]]), "has 1 poses"),
        ("Record3D export", _edit_json(_RECORDED, poses=[[0, 0, 0, 2, 0, 0, 0]] * 4), "length 2"),
        ("Stray Scanner recording", _write("odometry.csv", "1,2,3\n"), "should begin with"),
        ("Stray Scanner recording", _write("camera_matrix.csv", "1,2\n3,4\n"), "3x3"),
        ("Stray Scanner recording", lambda folder: shutil.rmtree(folder / "rgb"), "neither rgb.mp4 nor"),
        ("ScanNet folder", _write("pose/0.txt", "hello"), "matrix as text"),
        ("ScanNet folder", lambda folder: shutil.rmtree(folder / "pose") or (folder / "pose").mkdir(), "no photo with"),
        ("LLFF folder", lambda folder: (folder / "images" / "p0.jpg").unlink(), "has 4 rows"),
        ("LLFF folder", lambda folder: np.save(folder / "poses_bounds.npy", np.ones((4, 14))), "17"),
        ("COLMAP project", _write("sparse/0/cameras.txt", "1 PINHOLE 96 64 9000 9000 1 1\n"), "focal length"),
    ],
)
def test_one_message_for_each_damage(
    kind: str, damage: Callable[[Path], object], message: str, sources: list[Source], tmp_path: Path
) -> None:
    folder = tmp_path / "export"
    folder.mkdir()
    WRITERS[kind](folder, sources)
    damage(folder)
    with pytest.raises(UsageError, match=message):
        find_capture(folder)
