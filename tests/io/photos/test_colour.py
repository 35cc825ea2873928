"""Colours come in as sRGB whatever a photo was saved in, by the published definitions of the colour spaces."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms

from depthrf.io.photos.images import inspect_photo, read_rgb
from tests.scenes import profiles

P3 = profiles.rgb_profile("Display P3", profiles.P3, profiles.srgb_curve())
ADOBE = profiles.rgb_profile("Adobe RGB (1998)", profiles.ADOBE_RGB, profiles.gamma(563 / 256))

COLOURS = {"skin": (224, 172, 105), "green": (60, 200, 70), "blue": (50, 70, 220), "grey": (119, 119, 119)}

# From linear sRGB to linear Display P3 (CSS Color 4, section 10.3).
_P3_OF_SRGB = np.array(
    [[0.82246197, 0.17753803, 0.0], [0.03319420, 0.96680580, 0.0], [0.01708263, 0.07239744, 0.91051993]]
)


def in_p3(srgb: tuple[int, int, int]) -> tuple[int, int, int]:
    v = np.array(srgb) / 255
    light = _P3_OF_SRGB @ np.where(v <= 0.04045, v / 12.92, ((v + 0.055) / 1.055) ** 2.4)
    encoded = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    red, green, blue = np.rint(encoded * 255).astype(int).tolist()
    return red, green, blue


def patches(values: tuple[int, int, int]) -> Image.Image:
    return Image.new("RGB", (96, 80), values)


def middle(path: Path) -> np.ndarray:
    rgb = read_rgb(path)
    assert rgb.shape == (80, 96, 3)
    return rgb[20:60, 20:76].reshape(-1, 3).astype(float).mean(0)


@pytest.mark.parametrize("colour", ["red", *COLOURS])
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif", ".webp", ".heic"])
def test_display_p3_becomes_srgb(tmp_path: Path, colour: str, suffix: str) -> None:
    import pillow_heif

    pillow_heif.register_heif_opener()
    wanted = (255, 0, 0) if colour == "red" else COLOURS[colour]
    stored = (234, 51, 35) if colour == "red" else in_p3(wanted)
    options: dict[str, Any] = {} if suffix in (".png", ".tif") else {"quality": 100}
    patches(stored).save(tmp_path / f"p{suffix}", icc_profile=P3, **options)
    assert np.abs(middle(tmp_path / f"p{suffix}") - wanted).max() <= 2
    info = inspect_photo(tmp_path / f"p{suffix}")
    assert not info.as_is
    assert info.remarks == ("Display P3 colours converted to sRGB",)


def test_adobe_rgb_by_profile_and_by_exif_alone(tmp_path: Path) -> None:
    stored = (219, 0, 0)  # sRGB red, (255, 0, 0), is (218.9, 0, 0) there
    patches(stored).save(tmp_path / "profile.png", icc_profile=ADOBE)
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0xA005] = {1: "R03"}
    exif.get_ifd(0x8769)[0xA001] = 0xFFFF
    patches(stored).save(tmp_path / "exif.jpg", quality=100, exif=exif.tobytes())
    for name in ("profile.png", "exif.jpg"):
        assert np.abs(middle(tmp_path / name) - (255, 0, 0)).max() <= 2, name
        assert "Adobe RGB" in inspect_photo(tmp_path / name).remarks[0]


def test_srgb_photos_stay_as_they_are(tmp_path: Path) -> None:
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for name, profile in (("with.png", srgb), ("without.png", None)):
        patches((200, 100, 50)).save(tmp_path / name, icc_profile=profile)
        info = inspect_photo(tmp_path / name)
        assert (info.as_is, info.remarks) == (True, ())
        assert (read_rgb(tmp_path / name) == (200, 100, 50)).all()


def test_grey_profiles(tmp_path: Path) -> None:
    """Linear grey: a fifth of the light is 124 in sRGB (0.2 ** (1 / 2.4) * 1.055 - 0.055)."""
    Image.new("L", (96, 80), 51).save(
        tmp_path / "linear.png", icc_profile=profiles.grey_profile("lin", profiles.gamma(1))
    )
    assert np.abs(middle(tmp_path / "linear.png") - 124).max() <= 2
    Image.new("L", (96, 80), 51).save(tmp_path / "rgb.png", icc_profile=P3)  # many grey photos keep such a profile
    assert np.abs(middle(tmp_path / "rgb.png") - 51).max() <= 1
    Image.new("LA", (96, 80), (51, 255)).save(
        tmp_path / "alpha.png", icc_profile=profiles.grey_profile("lin", profiles.gamma(1))
    )
    assert np.abs(middle(tmp_path / "alpha.png") - 124).max() <= 2


def test_alpha_is_blended_after_the_colours_are_converted(tmp_path: Path) -> None:
    image = patches((234, 51, 35)).convert("RGBA")
    image.putalpha(128)
    image.save(tmp_path / "a.png", icc_profile=P3)
    assert np.abs(middle(tmp_path / "a.png") - (255, 127, 127)).max() <= 2


@pytest.mark.parametrize(
    ("mode", "profile", "remark"),
    [
        ("RGB", b"no profile at all", "damaged"),
        ("RGB", P3[: len(P3) // 2], "damaged"),
        ("RGB", profiles.grey_profile("grey", profiles.gamma(2.2)), "is for GRAY, not for this picture"),
        ("CMYK", P3, "is for RGB, not for this picture"),
        ("CMYK", None, "CMYK without a colour profile"),
    ],
)
def test_what_cannot_be_converted_is_told(tmp_path: Path, mode: str, profile: bytes | None, remark: str) -> None:
    image = patches((200, 100, 50)).convert(mode)
    image.save(tmp_path / "a.jpg", quality=100, icc_profile=profile)
    assert np.abs(middle(tmp_path / "a.jpg") - (200, 100, 50)).max() <= 3
    (found,) = inspect_photo(tmp_path / "a.jpg").remarks
    assert remark in found


@pytest.mark.parametrize("suffix", [".heic", ".avif"])
def test_tags_stand_for_a_profile(tmp_path: Path, suffix: str) -> None:
    """A file that says Display P3 by its colour tags (H.273) and holds no profile."""
    import pillow_heif

    pillow_heif.register_heif_opener()
    path = tmp_path / f"a{suffix}"
    patches((234, 51, 35)).save(path, quality=100)
    data = bytearray(path.read_bytes())
    at = data.index(b"colrnclx") + 8
    assert np.abs(middle(path) - (234, 51, 35)).max() <= 2
    data[at : at + 2] = (12).to_bytes(2, "big")
    path.write_bytes(data)
    assert np.abs(middle(path) - (255, 0, 0)).max() <= 3
    assert inspect_photo(path).remarks == ("Display P3 colours converted to sRGB",)
