"""Scans of more than 8 bits, and of floating-point numbers, come in neither black nor washed out."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from depthrf.io.photos.images import inspect_photo, orient, read_rgb

RAMP = np.linspace(0.0, 1.0, 96 * 80).reshape(80, 96)
COLOUR = np.stack([RAMP, RAMP[::-1], RAMP[:, ::-1]], axis=-1)


def expected(values: np.ndarray) -> np.ndarray:
    rgb = np.rint(values * 255)
    return rgb if rgb.ndim == 3 else np.repeat(rgb[..., None], 3, axis=2)


@pytest.mark.parametrize("bits", [10, 12, 14, 16])
@pytest.mark.parametrize("suffix", [".png", ".tiff"])
@pytest.mark.parametrize("picture", [RAMP, COLOUR], ids=["grey", "colour"])
def test_bits_in_use_decide_what_is_white(tmp_path: Path, bits: int, suffix: str, picture: np.ndarray) -> None:
    path = tmp_path / f"scan{suffix}"
    stored = np.rint(picture * (2**bits - 1)).astype(np.uint16)
    cv2.imwrite(str(path), stored[..., ::-1] if stored.ndim == 3 else stored)
    assert np.abs(read_rgb(path) - expected(picture)).max() <= 1
    info = inspect_photo(path)
    assert info.white == 2**bits - 1
    assert info.remarks == (f"16-bit values from 0 to {2**bits - 1} scaled to 8 bits",)
    assert not info.as_is


@pytest.mark.parametrize("top", [1.0, 255.0, 4095.0, 65535.0, 2.5])
@pytest.mark.parametrize("picture", [RAMP, COLOUR], ids=["grey", "colour"])
def test_floating_point_tiffs(tmp_path: Path, top: float, picture: np.ndarray) -> None:
    path = tmp_path / "scan.tiff"
    stored = (picture * top).astype(np.float32)
    cv2.imwrite(str(path), stored[..., ::-1] if stored.ndim == 3 else stored)
    assert np.abs(read_rgb(path) - expected(picture)).max() <= 1
    assert "floating-point values" in inspect_photo(path).remarks[0]


def test_what_is_no_number_is_black(tmp_path: Path) -> None:
    stored = RAMP.astype(np.float32)
    stored[0], stored[1], stored[2] = np.nan, -3.0, np.inf
    Image.fromarray(stored).save(tmp_path / "a.tiff")
    rgb = read_rgb(tmp_path / "a.tiff")
    assert not rgb[:2].any()
    assert (rgb[2] == 255).all()
    assert np.abs(rgb[3:] - expected(RAMP)[3:]).max() <= 1


@pytest.mark.parametrize("orientation", [1, 3, 6])
def test_deep_pngs_are_turned_once(tmp_path: Path, orientation: int) -> None:
    stored = orient(np.rint(COLOUR * 65535).astype(np.uint16), {6: 8}.get(orientation, orientation))
    cv2.imwrite(str(tmp_path / "a.png"), stored[..., ::-1])
    data = (tmp_path / "a.png").read_bytes()
    body = b"eXIfMM\0*" + struct.pack(">IHHHIHHI", 8, 1, 274, 3, 1, orientation, 0, 0)
    chunk = struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
    (tmp_path / "a.png").write_bytes(data[:33] + chunk + data[33:])
    assert np.abs(read_rgb(tmp_path / "a.png") - expected(COLOUR)).max() <= 1
    assert inspect_photo(tmp_path / "a.png").orientation == orientation


@pytest.mark.parametrize("orientation", [1, 2, 3, 4, 5, 6, 7, 8])
@pytest.mark.parametrize("kind", ["grey", "colour", "float"])
def test_deep_tiffs_are_turned_once(tmp_path: Path, orientation: int, kind: str) -> None:
    inverse = {6: 8, 8: 6}.get(orientation, orientation)
    picture = RAMP if kind == "grey" else COLOUR
    scale, dtype = (1.0, np.float32) if kind == "float" else (65535, np.uint16)
    stored = orient((picture * scale).astype(dtype), inverse)
    path = tmp_path / "a.tiff"
    _write_tiff(path, stored, orientation)
    assert np.abs(read_rgb(path) - expected(picture)).max() <= 1
    info = inspect_photo(path)
    assert (info.width, info.height, info.orientation) == (96, 80, orientation)


def _write_tiff(path: Path, pixels: np.ndarray, orientation: int) -> None:
    """An uncompressed TIFF by hand: OpenCV writes no orientation tag (TIFF 6.0, section 2)."""
    height, width = pixels.shape[:2]
    channels = 1 if pixels.ndim == 2 else 3
    sample_format = 3 if pixels.dtype == np.float32 else 1
    data, count = pixels.tobytes(), 11
    extra = 8 + 2 + 12 * count + 4  # BitsPerSample and SampleFormat of three channels lie behind the directory
    start = extra + 12
    several = channels == 3
    tags = [
        (256, 4, 1, width),
        (257, 4, 1, height),
        (258, 3, channels, extra if several else pixels.itemsize * 8),
        (259, 3, 1, 1),
        (262, 3, 1, 2 if several else 1),
        (273, 4, 1, start),
        (274, 3, 1, orientation),
        (277, 3, 1, channels),
        (278, 4, 1, height),
        (279, 4, 1, len(data)),
        (339, 3, channels, extra + 6 if several else sample_format),
    ]
    directory = struct.pack("<H", count) + b"".join(struct.pack("<HHII", *tag) for tag in tags) + bytes(4)
    values = struct.pack("<6H", *[pixels.itemsize * 8] * 3, *[sample_format] * 3)
    path.write_bytes(b"II*\0" + struct.pack("<I", 8) + directory + values + data)
