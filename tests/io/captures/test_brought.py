"""What data sets look like on other machines than their makers': moved, thinned, renamed, half broken."""

from __future__ import annotations

import json
import shutil
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from depthrf.errors import UsageError
from depthrf.geometry.camera import Camera, View
from depthrf.geometry.transforms import look_at
from depthrf.io.captures import registry
from depthrf.io.captures.capture import Capture
from depthrf.io.captures.poses import read_poses
from depthrf.io.captures.registry import find_capture
from tests.io.captures import writers
from tests.io.captures.writers import WRITERS, Source

CAMERA = Camera(96, 64, 81.0, 81.0, 48.0, 32.0)
COUNT = 8


@pytest.fixture
def sources(tmp_path: Path) -> list[Source]:
    rng = np.random.default_rng(0)
    result = []
    for index in range(COUNT):
        angle = 0.2 * (index - 3.5)
        centre = 4.0 * np.array([np.sin(angle), -0.2 * angle, -np.cos(angle)])
        view = View(f"p{index}.jpg", CAMERA, look_at(centre, np.zeros(3), np.array([0.1, -1.0, 0.0])))
        photo = tmp_path / "photos" / f"p{index}.jpg"
        photo.parent.mkdir(exist_ok=True)
        Image.fromarray(rng.integers(0, 255, (64, 96, 3), np.uint8)).save(photo, quality=97)
        result.append(Source(view, photo, rng.uniform(0.5, 5.0, (32, 48))))
    return result


def opened(folder: Path) -> Capture:
    capture = find_capture(folder)
    assert capture is not None
    return capture


def edit_json(path: Path, change: Any) -> None:
    content = json.loads(path.read_text(encoding="utf-8-sig"))
    change(content)
    path.write_text(json.dumps(content))


def test_what_a_transforms_json_lists_and_is_not_there_is_told(sources: list[Source], tmp_path: Path) -> None:
    folder = tmp_path / "export"
    writers.nerfstudio(folder, sources)
    for index in range(3):
        (folder / "images" / f"p{index}.jpg").unlink()
    (folder / "depth" / "p5.png").unlink()
    capture = opened(folder)
    assert len(capture.shots) == COUNT - 3
    assert capture.remarks[0].startswith("3 of 8 listed photos and 1 of 5 depth maps are not there: ")
    assert [(photo.name, photo.reason) for photo in capture.left_out] == [
        (f"./images/p{index}.jpg", "listed, but not there") for index in range(3)
    ]


def test_photos_that_are_not_there_need_no_size(sources: list[Source], tmp_path: Path) -> None:
    """Blender's files tell no size: it comes from the pictures, of those that there are."""
    writers.blender(tmp_path, sources)
    (tmp_path / "train" / "r_2.png").unlink()
    capture = opened(tmp_path)
    assert len(capture.shots) == COUNT - 1
    assert capture.remarks == ("1 of 8 listed photos is not there: ./train/r_2",)


@pytest.mark.parametrize(
    "spell",
    [
        lambda name: "images\\" + name,
        lambda name: "C:\\Users\\me\\scene\\images\\" + name,
        lambda name: "/home/me/scene/images/" + name,
        lambda name: "images/" + name.removesuffix(".jpg"),
        lambda name: "images/" + name.replace("p", "%70"),
        lambda name: "../export/images/" + name,
    ],
)
@pytest.mark.parametrize("split", [False, True])
def test_every_field_of_a_transforms_json_follows_one_rule(
    spell: Any, split: bool, sources: list[Source], tmp_path: Path
) -> None:
    folder = tmp_path / "export"
    writers.nerfstudio(folder, sources)
    (folder / "masks").mkdir()
    for source in sources:
        Image.new("L", (96, 64), 255).save(folder / "masks" / f"{source.photo.stem}.png")

    def change(content: dict[str, Any]) -> None:
        for frame in content["frames"]:
            name = frame["file_path"].rpartition("/")[2]
            frame["file_path"] = spell(name)
            for key, place in (("depth_file_path", "depth"), ("mask_path", "masks")):
                frame[key] = spell(name.replace(".jpg", ".png")).replace("images", place)
        if split:
            names = [frame["file_path"] for frame in content["frames"]]
            content["train_filenames"], content["test_filenames"] = names[1:], names[:1]

    edit_json(folder / "transforms.json", change)
    capture = opened(folder)
    assert [shot.photo.name for shot in capture.shots] == [source.photo.name for source in sources]
    assert [shot.sensor.path.name for shot in capture.shots if shot.sensor] == [f"p{i}.png" for i in range(COUNT)]
    assert [shot.mask for shot in capture.shots] == [folder / "masks" / f"p{i}.png" for i in range(COUNT)]
    assert [shot.test for shot in capture.shots] == [split, *[False] * (COUNT - 1)]
    assert {shot.mask for shot in capture.shots} <= set(capture.files)
    assert not capture.remarks


def _nan_in(kind: str, folder: Path) -> None:
    """One pose, the second, is not finite."""
    if kind == "Polycam export":
        edit_json(folder / "keyframes" / "corrected_cameras" / "1333.json", lambda c: c.update(t_00=float("nan")))
    elif kind == "Record3D export":
        edit_json(folder / "EXR_RGBD" / "metadata.json", lambda c: c["poses"][1].__setitem__(0, float("nan")))
    elif kind == "Stray Scanner recording":
        lines = (folder / "odometry.csv").read_text().splitlines()
        values = lines[2].split(",")
        lines[2] = ",".join([*values[:2], "nan", *values[3:]])
        (folder / "odometry.csv").write_text("\n".join(lines))
    elif kind == "3D Scanner App export":
        change = lambda c: c["cameraPoseARFrame"].__setitem__(0, float("nan"))  # noqa: E731
        edit_json(folder / "frame_00002.json", change)
    elif kind == "ScanNet folder":
        np.savetxt(folder / "pose" / "1.txt", np.full((4, 4), np.nan))
    elif kind == "LLFF folder":
        rows = np.load(folder / "poses_bounds.npy")
        rows[1, 0] = np.nan
        np.save(folder / "poses_bounds.npy", rows)
    elif kind == "folder with transforms.json":
        edit_json(
            folder / "transforms.json", lambda c: c["frames"][1]["transform_matrix"][0].__setitem__(0, float("nan"))
        )
    else:
        path = folder / "sparse" / "0" / "images.txt"
        lines = path.read_text().splitlines()
        values = lines[3].split()
        lines[3] = " ".join([*values[:5], "nan", *values[6:]])
        path.write_text("\n".join(lines) + "\n")


@pytest.mark.parametrize("kind", WRITERS)
def test_one_pose_that_is_not_finite_leaves_out_one_photo(kind: str, sources: list[Source], tmp_path: Path) -> None:
    folder = tmp_path / "export"
    folder.mkdir()
    WRITERS[kind](folder, sources)
    _nan_in(kind, folder)
    capture = opened(folder)
    assert len(capture.shots) == COUNT - 1
    assert [photo.reason for photo in capture.left_out] == ["its pose is not finite: tracking was lost"]
    assert "1 photo whose pose is not finite (tracking was lost) is left out" in capture.remarks[-1]


@pytest.mark.parametrize("kind", [k for k in WRITERS if k not in ("COLMAP project", "LLFF folder", "ScanNet folder")])
def test_a_byte_order_mark_is_no_mistake(kind: str, sources: list[Source], tmp_path: Path) -> None:
    folder = tmp_path / "export"
    folder.mkdir()
    WRITERS[kind](folder, sources)
    texts = [*folder.rglob("*.json"), *folder.rglob("*.csv")]
    assert texts
    for path in texts:
        path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert len(opened(folder).shots) == COUNT


def test_sizes_that_polycam_leaves_out_come_from_its_other_file_or_the_picture(
    sources: list[Source], tmp_path: Path
) -> None:
    writers.polycam(tmp_path, sources)
    for path in (tmp_path / "keyframes" / "corrected_cameras").iterdir():
        edit_json(path, lambda c: (c.pop("width"), c.pop("height")))
    lens = opened(tmp_path).shots[0].lens
    assert (lens.width, lens.height) == (96, 64)
    originals = tmp_path / "keyframes" / "cameras"
    shutil.copytree(tmp_path / "keyframes" / "corrected_cameras", originals)
    edit_json(originals / "1000.json", lambda c: c.update(width=192, height=128))
    shots = opened(tmp_path).shots
    assert [(shot.lens.width, shot.lens.height) for shot in shots[:2]] == [(192, 128), (96, 64)]


def test_sizes_that_record3d_leaves_out_come_from_the_picture(sources: list[Source], tmp_path: Path) -> None:
    writers.record3d(tmp_path, sources)
    path = tmp_path / "EXR_RGBD" / "metadata.json"
    edit_json(path, lambda c: (c.pop("w"), c.pop("h")))
    lens = opened(tmp_path).shots[0].lens
    assert (lens.width, lens.height) == (96, 64)
    edit_json(path, lambda c: (c.pop("perFrameIntrinsicCoeffs"), c.pop("K")))
    with pytest.raises(UsageError, match=r"metadata.json lacks K"):
        find_capture(tmp_path)


def write_model(folder: Path, sources: list[Source]) -> None:
    writers.colmap(folder.parent.parent / "scratch" / folder.name, sources)
    folder.parent.mkdir(exist_ok=True)
    shutil.move(folder.parent.parent / "scratch" / folder.name / "sparse" / "0", folder)


def test_the_largest_of_several_models_is_taken(sources: list[Source], tmp_path: Path) -> None:
    writers.colmap(tmp_path / "p", sources)
    shutil.rmtree(tmp_path / "p" / "sparse")
    write_model(tmp_path / "p" / "sparse" / "0", sources[:3])
    write_model(tmp_path / "p" / "sparse" / "1", sources)
    shutil.rmtree(tmp_path / "p" / "scratch")
    capture = opened(tmp_path / "p")
    assert len(capture.shots) == COUNT
    assert capture.remarks == (
        "model 1 with 8 photos, the largest, is used; there is also model 0 with 3 photos (--model N takes another)",
    )
    chosen = find_capture(tmp_path / "p", 0)
    assert chosen is not None
    assert [shot.photo.name for shot in chosen.shots] == ["p0.jpg", "p1.jpg", "p2.jpg"]
    assert "5 photos without a pose are left out" in chosen.remarks[1]
    with pytest.raises(UsageError, match="no model 7; found 0, 1"):
        find_capture(tmp_path / "p", 7)
    assert len(read_poses(tmp_path / "p" / "sparse", {}).photos) == COUNT
    (tmp_path / "p" / "sparse" / "1" / "images.txt").write_text("nonsense\n")
    assert "its model 1 is left out" in opened(tmp_path / "p").remarks[0]


def test_names_of_a_colmap_model_in_another_spelling(sources: list[Source], tmp_path: Path) -> None:
    writers.colmap(tmp_path, sources)
    (tmp_path / "images" / "cam0").mkdir()
    for path in sorted((tmp_path / "images").glob("*.jpg"))[:4]:
        path.rename(tmp_path / "images" / "cam0" / path.name)
    path = tmp_path / "sparse" / "0" / "images.txt"
    text = path.read_text()
    for index in range(4):
        text = text.replace(f"p{index}.jpg", f"cam0\\p{index}.jpg")
    path.write_text(text)
    capture = opened(tmp_path)
    assert len(capture.shots) == COUNT
    assert not capture.remarks


def test_7_scenes_sequences(sources: list[Source], tmp_path: Path) -> None:
    folder = tmp_path / "seq-01"
    folder.mkdir()
    for index, source in enumerate(sources):
        name = f"frame-{index:06d}"
        Image.open(source.photo).resize((64, 48)).save(folder / f"{name}.color.png")
        assert source.depth is not None
        writers.millimetres(folder / f"{name}.depth.png", source.depth)
        np.savetxt(folder / f"{name}.pose.txt", source.view.world_from_cam, fmt="%.9f")
    capture = opened(folder)
    assert (capture.kind, len(capture.shots)) == ("7-Scenes sequence", COUNT)
    shot = capture.shots[2]
    np.testing.assert_allclose(shot.cam_from_world, sources[2].view.cam_from_world, atol=1e-6)
    assert shot.sensor is not None
    assert shot.sensor.path.name == "frame-000002.depth.png"
    assert shot.lens.params == pytest.approx((58.5, 58.5, 32.0, 24.0))
    assert "no intrinsics" in capture.remarks[0]


def test_an_export_is_read_once(sources: list[Source], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writers.nerfstudio(tmp_path / "export", sources)
    reads = []
    read = registry.nerf_dataset.read

    def counting(folder: Path, *, outside: bool = False) -> Capture:
        reads.append(folder)
        return read(folder, outside=outside)

    monkeypatch.setattr(registry.nerf_dataset, "read", counting)
    for _ in range(3):
        opened(tmp_path / "export")
    assert len(reads) == 1
    (tmp_path / "export" / "images" / "p0.jpg").unlink()
    assert len(opened(tmp_path / "export").shots) == COUNT - 1
    assert len(reads) == 2


def _npy_header(shape: str) -> bytes:
    header = f"{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode()


_DAMAGES: list[tuple[str, str, bytes]] = [
    ("folder with transforms.json", "transforms.json", b"[" * 100_000),
    ("folder with transforms.json", "transforms.json", b'{"frames": {"a": 1}}'),
    ("folder with transforms.json", "transforms.json", b'{"frames": [1, 2]}'),
    ("folder with transforms.json", "transforms.json", b'{"frames": [{"file_path": [], "transform_matrix": {}}]}'),
    ("folder with transforms.json", "transforms.json", b'{"w": 1e999, "h": "x", "fl_x": [], "frames": 7}'),
    ("folder with transforms.json", "transforms.json", b"\xff\xfe\x00"),
    ("folder with transforms.json", "transforms.json", b'{"a": ' + b"9" * 6000 + b"}"),
    ("Polycam export", "keyframes/corrected_cameras/1000.json", b"[]"),
    ("Polycam export", "keyframes/corrected_cameras/1000.json", b'{"t_00": {}, "width": "wide"}'),
    ("Record3D export", "EXR_RGBD/metadata.json", b'{"poses": 7}'),
    ("Record3D export", "EXR_RGBD/metadata.json", b'{"poses": [[]], "w": [1], "h": null}'),
    ("Record3D export", "EXR_RGBD/metadata.json", b'{"w": 1e300, "h": 1, "poses": [[0,0,0,1,0,0,0]]}'),
    ("Stray Scanner recording", "odometry.csv", b"timestamp, frame, x, y, z, qx, qy, qz, qw\n1,2\n"),
    ("Stray Scanner recording", "odometry.csv", b"timestamp, frame, x, y, z, qx, qy, qz, qw\n1,inf,1,1,1,0,0,0,1\n"),
    ("Stray Scanner recording", "odometry.csv", b"\0\xff"),
    ("Stray Scanner recording", "camera_matrix.csv", b"1,2,3\n4,5\n"),
    ("3D Scanner App export", "frame_00000.json", b'{"cameraPoseARFrame": "x"}'),
    ("3D Scanner App export", "frame_00000.json", b'{"cameraPoseARFrame": [[[1]]], "intrinsics": {}}'),
    ("ScanNet folder", "pose/0.txt", b"1 2 3"),
    ("ScanNet folder", "intrinsic/intrinsic_color.txt", b""),
    ("ScanNet folder", "intrinsic/intrinsic_color.txt", b"nan nan nan\n" * 3),
    ("LLFF folder", "poses_bounds.npy", _npy_header("(1000000000000, 17)")),
    ("LLFF folder", "poses_bounds.npy", _npy_header("(8,")),
    ("LLFF folder", "poses_bounds.npy", b"PK\x03\x04 garbage"),
    ("LLFF folder", "poses_bounds.npy", b""),
    ("COLMAP project", "sparse/0/images.txt", b"1 0 0 0 0 0 0 0 1 p0.jpg\n\n"),
    ("COLMAP project", "sparse/0/images.txt", b"1 1 0 0 0 0 0 0 9 p0.jpg\n\n"),
    ("COLMAP project", "sparse/0/cameras.txt", b"1 PINHOLE x y\n"),
    ("COLMAP project", "sparse/0/points3D.txt", b"\xff\xff"),
]


@pytest.mark.parametrize(("kind", "name", "content"), _DAMAGES)
def test_whatever_a_parser_raises_becomes_one_sentence(
    kind: str, name: str, content: bytes, sources: list[Source], tmp_path: Path
) -> None:
    from depthrf.errors import DepthrfError

    folder = tmp_path / "export"
    folder.mkdir()
    WRITERS[kind](folder, sources)
    (folder / name).write_bytes(content)
    with pytest.raises(DepthrfError) as error:
        find_capture(folder)
    message = str(error.value)
    assert Path(name).name in message or "images/" in message or str(folder) in message
    assert message.endswith((".", ")"))
    assert len(message) < 400


def test_a_named_pipe_in_place_of_a_file_is_not_opened(sources: list[Source], tmp_path: Path) -> None:
    import os

    writers.polycam(tmp_path, sources)
    path = tmp_path / "keyframes" / "corrected_cameras" / "1000.json"
    path.unlink()
    os.mkfifo(path)
    assert len(opened(tmp_path).shots) == COUNT - 1
