"""Every kind of picture comes in upright as 8-bit RGB; nothing damaged does."""

from __future__ import annotations

import errno
import resource
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from depthrf.errors import DepthrfError
from depthrf.io.photos import images
from depthrf.io.photos.decoding import UnreadableImageError, stored_size
from depthrf.io.photos.exif import camera_exif


def picture(height: int = 80, width: int = 120) -> np.ndarray:
    """A smooth picture without any symmetry, (H, W, 3) uint8."""
    y, x = np.mgrid[0:height, 0:width]
    return np.stack([x * 255 // width, y * 255 // height, (x + 2 * y) * 255 // (width + 2 * height)], -1).astype(
        np.uint8
    )


def test_png_round_trip_keeps_every_bit(tmp_path: Path) -> None:
    rgb, grey, depth = picture(), picture()[..., 0], np.arange(80 * 120, dtype=np.uint16).reshape(80, 120) * 6
    for name, pixels in (("ä b.png", rgb), ("grau.png", grey), ("tiefe ü.png", depth)):
        images.write_png(tmp_path / name, pixels)
    assert (images.read_rgb(tmp_path / "ä b.png") == rgb).all()
    assert (images.read_rgb(tmp_path / "grau.png") == grey[..., None]).all()
    assert (images.read_png_uint16(tmp_path / "tiefe ü.png") == depth).all()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["grau.png", "tiefe ü.png", "ä b.png"]  # no temporary files


@pytest.mark.parametrize(
    "wrong", [np.zeros((4, 4), np.float32), np.zeros((4, 4), np.int32), np.zeros((4, 4, 4), np.uint8)]
)
def test_png_of_another_type_raises_instead_of_overflowing(tmp_path: Path, wrong: np.ndarray) -> None:
    with pytest.raises(ValueError, match="PNG needs"):
        images.write_png(tmp_path / "x.png", wrong)
    assert not list(tmp_path.iterdir())


def test_jpeg_is_near_the_picture_and_carries_the_camera(tmp_path: Path) -> None:
    path = tmp_path / "日本.JPG"
    images.write_jpeg(path, picture(), camera_exif("Maker", "Model 1", 28))
    assert np.abs(images.read_rgb(path).astype(int) - picture()).mean() < 1.5
    info = images.inspect_photo(path)
    assert info.as_is
    assert info.suffix == ".JPG"
    assert info.camera_name == "Maker Model 1"
    assert info.focal_px == pytest.approx(28 / 43.267 * np.hypot(120, 80), rel=1e-4)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orient_agrees_with_pillow(orientation: int) -> None:
    stored = Image.fromarray(picture())
    exif = stored.getexif()
    exif[0x0112] = orientation
    assert (images.orient(picture(), orientation) == np.asarray(ImageOps.exif_transpose(stored))).all()


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tiff", ".heic"])
def test_exif_rotation_is_undone_once(tmp_path: Path, orientation: int, suffix: str) -> None:
    import pillow_heif

    pillow_heif.register_heif_opener()
    upright = picture()
    inverse = {6: 8, 8: 6}.get(orientation, orientation)
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"photo{suffix}"
    Image.fromarray(images.orient(upright, inverse)).save(path, exif=exif.tobytes(), quality=95)
    rgb = images.read_rgb(path)
    assert rgb.shape == upright.shape
    assert np.abs(rgb.astype(int) - upright).mean() < 4
    info = images.inspect_photo(path)
    assert (info.width, info.height) == (120, 80)
    assert info.orientation == orientation  # of the stored rows, also where the decoder turned them
    assert info.as_is == (orientation == 1 and suffix in (".jpg", ".png"))


def test_stored_size_of_a_phones_photo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import pillow_heif

    pillow_heif.register_heif_opener()
    Image.new("RGB", (120, 80)).save(tmp_path / "photo.heic")
    monkeypatch.delitem(Image.OPEN, "HEIF")  # as before the first such photo
    assert stored_size(tmp_path / "photo.heic") == (120, 80)
    (tmp_path / "empty.png").touch()
    with pytest.raises(UnreadableImageError, match="empty"):
        stored_size(tmp_path / "empty.png")


def test_modes_become_rgb(tmp_path: Path) -> None:
    import cv2

    rgb = picture()
    alpha = np.dstack([rgb, np.full((80, 120), 255, np.uint8)])
    alpha[:40, :, 3] = 0
    for name, image in {
        "rgba.png": Image.fromarray(alpha),
        "palette.png": Image.fromarray(rgb).quantize(256),
        "grey.jpg": Image.fromarray(rgb[..., 0]),
        "cmyk.jpg": Image.fromarray(rgb).convert("CMYK"),
        "la.png": Image.fromarray(alpha).convert("LA"),
        "bits.bmp": Image.fromarray(rgb),
    }.items():
        image.save(tmp_path / name)
    deep = (rgb.astype(np.uint16) << 8) + 77
    cv2.imwrite(str(tmp_path / "deep.png"), deep[..., ::-1])
    cv2.imwrite(str(tmp_path / "deep_grey.png"), deep[..., 0])
    cv2.imwrite(str(tmp_path / "deep.tiff"), deep[..., ::-1])
    expected = dict.fromkeys(("palette.png", "cmyk.jpg", "bits.bmp", "deep.png", "deep.tiff"), rgb)
    expected["rgba.png"] = np.where(alpha[..., 3:] == 0, 255, rgb)
    expected["grey.jpg"] = expected["deep_grey.png"] = np.repeat(rgb[..., :1], 3, 2)
    for name, wanted in expected.items():
        found = images.read_rgb(tmp_path / name)
        assert found.shape == (80, 120, 3), name
        assert np.abs(found.astype(int) - wanted).mean() < 6, name
        assert not images.inspect_photo(tmp_path / name).as_is, name
    assert (images.read_rgb(tmp_path / "la.png")[:40] == 255).all()


def test_focal_from_millimetres_and_pixel_pitch(tmp_path: Path) -> None:
    exif = Image.Exif()
    ifd = exif.get_ifd(0x8769)
    # 10 mm at 100 pixels per mm, of a photo since halved to 120 pixels: 500 px.
    ifd[0x920A], ifd[0xA20E], ifd[0xA210], ifd[0xA002] = 10.0, 1000.0, 3, 240
    Image.fromarray(picture()).save(tmp_path / "a.jpg", exif=exif.tobytes())
    assert images.inspect_photo(tmp_path / "a.jpg").focal_px == pytest.approx(500.0)
    for sides in ((180, 240), (240, 180)):  # upright portrait, with its own sides or those before it was turned
        ifd[0xA002], ifd[0xA003] = sides
        Image.fromarray(picture().swapaxes(0, 1)).save(tmp_path / "b.jpg", exif=exif.tobytes())
        assert images.inspect_photo(tmp_path / "b.jpg").focal_px == pytest.approx(500.0)


@pytest.mark.parametrize("focal", [0, 9999])
def test_a_senseless_focal_is_no_focal(tmp_path: Path, focal: int) -> None:
    images.write_jpeg(tmp_path / "a.jpg", picture(), camera_exif("M", "N", focal))
    assert images.inspect_photo(tmp_path / "a.jpg").focal_px is None


def test_truncated_empty_and_foreign_files_are_refused(tmp_path: Path) -> None:
    images.write_jpeg(tmp_path / "whole.jpg", picture(300, 400))
    data = (tmp_path / "whole.jpg").read_bytes()
    for name, content, reason in (
        ("cut.jpg", data[: len(data) // 2], "damaged or cut off"),
        ("empty.jpg", b"", "empty"),
        ("text.jpg", b"no picture at all", "not a picture"),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(UnreadableImageError, match=reason):
            images.inspect_photo(tmp_path / name)
    with pytest.raises(UnreadableImageError, match="cannot be read"):
        images.read_rgb(tmp_path / "nowhere.jpg")


def test_depth_png_must_have_16_bits(tmp_path: Path) -> None:
    images.write_png(tmp_path / "eight.png", picture()[..., 0])
    with pytest.raises(DepthrfError, match=r"8-bit grey.*16-bit"):
        images.read_png_uint16(tmp_path / "eight.png")
    (tmp_path / "no.png").write_bytes(b"no")
    with pytest.raises(DepthrfError, match="no readable PNG"):
        images.read_png_uint16(tmp_path / "no.png")


@pytest.mark.parametrize("write", [images.write_jpeg, images.write_png])
def test_a_write_that_falls_short_says_why(tmp_path: Path, write: Callable[[Path, np.ndarray], None]) -> None:
    """As on a full disk: the system's reason reaches the user, and nothing half written is left."""
    limits, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    noise = np.random.default_rng(0).integers(0, 255, (200, 200, 3), np.uint8)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(OSError, match="File too large") as error:
            write(tmp_path / "a.png", noise)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert error.value.errno == errno.EFBIG
    assert not list(tmp_path.iterdir())
