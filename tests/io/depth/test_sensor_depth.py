"""Sensor depth of every format is metres with 0 for missing; what is no depth is told in one message."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from depthrf.depth.sensor import sensor_range
from depthrf.errors import DepthrfError, UsageError
from depthrf.io.captures.capture import SensorFile
from depthrf.io.depth.sensor_depth import HIGH, LOW, MEDIUM, read_confidence, read_depth_camera, read_depth_file

METRES = np.array([[0.0, 0.5, 1.25], [3.0, 2.0, 7.5]])


def write_exr(path: Path, channels: dict[str, np.ndarray], compression: str = "ZIP_COMPRESSION") -> None:
    OpenEXR = pytest.importorskip("OpenEXR")
    header = {"compression": getattr(OpenEXR, compression), "type": OpenEXR.scanlineimage}
    with OpenEXR.File(header, channels) as file:
        file.write(str(path))


def test_png_counts_have_a_unit(tmp_path: Path) -> None:
    Image.fromarray(np.rint(METRES * 5000).astype(np.uint16)).save(tmp_path / "d.png")
    found = read_depth_file(tmp_path / "d.png", 0.0002)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, METRES, atol=1e-4)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_npy_of_numbers_is_metres_whatever_the_unit(tmp_path: Path, dtype: type) -> None:
    values: np.ndarray = np.where(METRES > 0, METRES, np.nan).astype(dtype)
    values[1, 2] = np.inf
    np.save(tmp_path / "d.npy", values)
    found = read_depth_file(tmp_path / "d.npy", 0.001)
    np.testing.assert_allclose(found, np.where(METRES < 7, METRES, 0.0), rtol=1e-3)


def test_npy_of_counts_has_the_unit(tmp_path: Path) -> None:
    np.save(tmp_path / "d.npy", (METRES * 1000).astype(np.uint16)[None])
    np.testing.assert_allclose(read_depth_file(tmp_path / "d.npy", 0.001), METRES, atol=1e-6)


@pytest.mark.parametrize("compression", ["NO_COMPRESSION", "ZIP_COMPRESSION", "PIZ_COMPRESSION"])
@pytest.mark.parametrize("channel", ["R", "Z", "Y"])
def test_exr_is_metres(tmp_path: Path, channel: str, compression: str) -> None:
    write_exr(tmp_path / "d.exr", {channel: METRES.astype(np.float32)}, compression)
    np.testing.assert_allclose(read_depth_file(tmp_path / "d.exr", 0.001), METRES)


def test_grey_exr_in_three_half_channels(tmp_path: Path) -> None:
    half = METRES.astype(np.float16)
    write_exr(tmp_path / "d.exr", {"R": half, "G": half, "B": half})
    np.testing.assert_allclose(read_depth_file(tmp_path / "d.exr", 0.001), METRES)


def test_what_is_no_depth_is_told(tmp_path: Path) -> None:
    def told(name: str, message: str, unit: float = 0.001) -> None:
        with pytest.raises(DepthrfError, match=message) as error:
            read_depth_file(tmp_path / name, unit)
        assert name in str(error.value)

    Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(tmp_path / "coloured.png")
    told("coloured.png", "16-bit")
    Image.fromarray(np.zeros((4, 4), np.uint8)).save(tmp_path / "eight.png")
    told("eight.png", "8-bit grey")
    np.save(tmp_path / "millimetres.npy", METRES.astype(np.float32) * 1000)
    told("millimetres.npy", "looks like millimetres")
    np.save(tmp_path / "bytes.npy", METRES.astype(np.uint8))
    told("bytes.npy", "uint8")
    np.save(tmp_path / "volume.npy", np.ones((2, 3, 4), np.float32))
    told("volume.npy", r"\(2, 3, 4\)")
    (tmp_path / "cut.npy").write_bytes((tmp_path / "volume.npy").read_bytes()[:50])
    told("cut.npy", "damaged")
    Image.fromarray(np.full((4, 4), 5000, np.uint16)).save(tmp_path / "unit.png")
    told("unit.png", "--depth-unit", unit=1.0)
    write_exr(tmp_path / "picture.exr", {c: np.full((4, 4), i, np.float32) for i, c in enumerate("RGB")})
    told("picture.exr", "coloured picture")
    write_exr(tmp_path / "alpha.exr", {"A": np.ones((4, 4), np.float32)})
    told("alpha.exr", "expected one of Z, Y and R")
    (tmp_path / "damaged.exr").write_bytes(b"nothing")
    told("damaged.exr", "no readable OpenEXR")


def test_all_missing_is_depth(tmp_path: Path) -> None:
    np.save(tmp_path / "d.npy", np.zeros((4, 5), np.float32))
    assert not read_depth_file(tmp_path / "d.npy", 0.001).any()


@pytest.mark.parametrize(
    ("levels", "values"), [((1, 2), (0, 1, 2)), ((1, 255), (0, 127, 255)), ((1, 255), (0, 54, 255))]
)
def test_confidence_levels(tmp_path: Path, levels: tuple[int, int], values: tuple[int, ...]) -> None:
    Image.fromarray(np.array([values], np.uint8)).save(tmp_path / "c.png")
    sensor = SensorFile(tmp_path / "d.png", confidence=tmp_path / "c.png", levels=levels)
    found = read_confidence(sensor, (1, 3))
    assert found is not None
    assert found.tolist() == [[LOW, MEDIUM, HIGH]]
    with pytest.raises(DepthrfError, match=r"is 3x1, its depth map 4x1"):
        read_confidence(sensor, (1, 4))


@pytest.mark.parametrize("size", ["1e999", "-1e999", "NaN"])
def test_a_depth_camera_of_no_finite_size_is_named(tmp_path: Path, size: str) -> None:
    file = tmp_path / "camera.json"
    file.write_text(f'{{"w": 48, "h": {size}, "fl_x": 40.0, "fl_y": 40.0, "cx": 24.0, "cy": 16.0}}')
    with pytest.raises(UsageError, match="width and height should be finite numbers; found 48 and"):
        read_depth_camera(file, 48, 32)


def test_depth_camera_files(tmp_path: Path) -> None:
    (tmp_path / "c.json").write_text(json.dumps({"w": 640, "h": 480, "fl_x": 580, "fl_y": 582, "cx": 318, "cy": 242}))
    camera = read_depth_camera(tmp_path / "c.json", 320, 240)
    assert (camera.width, camera.fx, camera.fy, camera.cx, camera.cy) == (320, 290, 291, 159, 121)
    (tmp_path / "m.txt").write_text("580 0 318 0\n0 582 242 0\n0 0 1 0\n0 0 0 1\n")
    assert read_depth_camera(tmp_path / "m.txt", 640, 480).cx == 318
    (tmp_path / "no.txt").write_text("580 318")
    with pytest.raises(UsageError, match="3x3 matrix"):
        read_depth_camera(tmp_path / "no.txt", 640, 480)
    (tmp_path / "half.json").write_text(json.dumps({"fl_x": 580}))
    with pytest.raises(UsageError, match="expected 4 numbers"):
        read_depth_camera(tmp_path / "half.json", 640, 480)


# What lies out of range, and the unit that explains it


@pytest.mark.parametrize(
    ("metres", "factor"),
    [
        (np.linspace(0.5, 4.0, 100), None),
        (np.linspace(0.5, 4.0, 100) * 5.0, 0.2),  # 1/5000 m read as millimetres
        (np.linspace(0.5, 4.0, 100) * 10.0, 0.1),
        (np.linspace(0.5, 4.0, 100) / 1000.0, 1000.0),
        (np.r_[np.linspace(1.0, 5.0, 85), np.linspace(11.0, 30.0, 15)], None),  # a hall: far, but not its median
    ],
)
def test_the_unit_is_guessed_from_the_median(metres: np.ndarray, factor: float | None) -> None:
    maps = [metres.reshape(10, 10).astype(np.float32), np.zeros((10, 10), np.float32)]
    found = sensor_range(maps, near=0.1, far=10.0)
    assert found is not None
    assert found.median == pytest.approx(np.median(metres), rel=0.02)
    assert found.share_far == pytest.approx(np.mean(metres > 10.0))
    assert found.share_near == pytest.approx(np.mean(metres < 0.1))
    if factor == 1000.0:
        assert found.likely_factor is not None
        assert 0.5 <= found.likely_factor * found.median <= 4.0
    else:
        assert found.likely_factor == factor


def test_without_depth_there_is_no_range() -> None:
    assert sensor_range([], near=0.1, far=10.0) is None
    assert sensor_range([np.zeros((4, 5), np.float32)], near=0.1, far=10.0) is None
