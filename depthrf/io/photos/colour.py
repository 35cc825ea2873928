"""Colours of photos to sRGB, by their ICC profile or by the tags that stand for one.

Recent phones write Display P3, cameras on request Adobe RGB, scanners and print programs grey and CMYK with profiles.
Taken as sRGB, P3 colours come out pale: its red (234, 51, 35) is the red (255, 0, 0) of sRGB.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from depthrf.io.photos.exif import is_adobe_rgb

if TYPE_CHECKING:
    from PIL.Image import Exif, Image
    from PIL.ImageCms import ImageCmsTransform

Array = NDArray[np.float64]

_NOTICEABLE = 2  # of 255: a profile that moves no colour farther is sRGB under another name
_SPACES = {"L": "GRAY", "RGB": "RGB", "CMYK": "CMYK"}  # ICC's names of what a picture's mode holds

# Chromaticities (x, y) of red, green, blue. White is D65 in all of them (ITU-T H.273, table 2; Adobe RGB (1998)).
_SRGB = ((0.64, 0.33), (0.30, 0.60), (0.15, 0.06))
_ADOBE_RGB = ((0.64, 0.33), (0.21, 0.71), (0.15, 0.06))
_BY_NCLX = {
    12: ("Display P3", ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060))),
    9: ("BT.2020", ((0.708, 0.292), (0.170, 0.797), (0.131, 0.046))),
}
_D65 = (0.3127, 0.3290)
_SDR_TRANSFERS = frozenset({1, 2, 6, 13, 14, 15})  # H.273, table 3: BT.709 and its like, unspecified, sRGB


# The light, 0 to 1, that each 8-bit value stands for (IEC 61966-2-1; Adobe RGB (1998), 4.3.1.2).
_VALUES = np.arange(256) / 255.0
_SRGB_LIGHT: Array = np.where(_VALUES <= 0.04045, _VALUES / 12.92, ((_VALUES + 0.055) / 1.055) ** 2.4)
_ADOBE_LIGHT: Array = _VALUES ** (563 / 256)


@dataclass(frozen=True)
class Colours:
    """What is done to a picture's colours. ``convert`` gives L or RGB in sRGB; None where nothing need be done."""

    convert: Callable[[Image], Image] | None = None
    remark: str | None = None


def nclx_of(data: bytes) -> dict[str, int] | None:
    """The colour tags of a HEIF or AVIF file (ISO 14496-12, 12.1.5) by pillow-heif's names; None where it has none."""
    at = data.find(b"colrnclx")
    if at < 0 or len(data) < at + 12:
        return None
    primaries, transfer = struct.unpack_from(">HH", data, at + 8)
    return {"color_primaries": primaries, "transfer_characteristics": transfer}


def colours_of(image: Image, exif: Exif) -> Colours:
    """How the colours of a picture (mode L, RGB or CMYK, without alpha) become sRGB, and what its user should know."""
    profile = image.info.get("icc_profile")
    if profile:
        return _by_profile(image, profile)
    if image.mode == "CMYK":
        return Colours(remark="CMYK without a colour profile: its colours are approximate")
    if image.mode == "RGB":
        nclx = image.info.get("nclx_profile") or {}
        if nclx.get("color_primaries") in _BY_NCLX and nclx.get("transfer_characteristics") in _SDR_TRANSFERS:
            name, primaries = _BY_NCLX[nclx["color_primaries"]]
            return Colours(_by_primaries(primaries, _SRGB_LIGHT), f"{name} colours converted to sRGB")
        if is_adobe_rgb(exif):
            return Colours(_by_primaries(_ADOBE_RGB, _ADOBE_LIGHT), "Adobe RGB colours converted to sRGB")
    return Colours()


def _by_profile(image: Image, data: bytes) -> Colours:
    from PIL import Image as Images
    from PIL import ImageCms

    try:
        profile = ImageCms.getOpenProfile(io.BytesIO(data))
        name = ImageCms.getProfileDescription(profile).strip(" \0\n") or "unnamed profile"
        space = str(profile.profile.xcolor_space).strip()
        mode = "RGB" if image.mode == "L" and space == "RGB" else image.mode  # grey photos often keep such a profile
        if space != _SPACES.get(mode):
            return Colours(remark=f"its colour profile is for {space}, not for this picture: ignored, taken as sRGB")
        transform = _transform(profile, mode)
        probe = _probe(mode)
        moved = np.asarray(_apply(transform, probe)).astype(int) - np.asarray(probe.convert("RGB"))
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError, AttributeError):
        return Colours(remark="its colour profile is damaged: ignored, taken as sRGB")
    if mode != "CMYK" and np.abs(moved).max() <= _NOTICEABLE:
        return Colours()

    def convert(picture: Images.Image) -> Images.Image:
        return _apply(transform, picture.convert(mode))

    return Colours(convert, f"{name} colours converted to sRGB")


def _transform(profile: Any, mode: str) -> ImageCmsTransform:
    from PIL import ImageCms

    return ImageCms.buildTransform(
        profile,
        ImageCms.createProfile("sRGB"),
        mode,
        "RGB",
        ImageCms.Intent.RELATIVE_COLORIMETRIC,
        ImageCms.Flags.BLACKPOINTCOMPENSATION,
    )


def _apply(transform: ImageCmsTransform, image: Image) -> Image:
    from PIL import ImageCms

    converted = ImageCms.applyTransform(image, transform)
    assert converted is not None  # it is only where it works in place
    return converted


def _probe(mode: str) -> Image:
    """A picture of colours all over the space."""
    from PIL import Image

    steps = np.array([0, 64, 128, 192, 255], np.uint8)
    grid = np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(1, -1, 3)
    return Image.fromarray(grid).convert(mode)


def _by_primaries(primaries: tuple[tuple[float, float], ...], linear: Array) -> Callable[[Image], Image]:
    """A conversion by primaries and the light that each 8-bit value stands for."""
    from PIL import Image

    matrix = np.linalg.inv(_xyz_of_rgb(_SRGB)) @ _xyz_of_rgb(primaries)

    def convert(image: Image.Image) -> Image.Image:
        pixels = np.asarray(image)
        result = np.empty_like(pixels)
        for rows, out in zip(np.array_split(pixels, 16), np.array_split(result, 16), strict=True):  # bounds the memory
            light = np.clip(linear[rows] @ matrix.T, 0.0, 1.0)
            encoded = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
            out[...] = np.rint(encoded * 255)
        return Image.fromarray(result)

    return convert


def _xyz_of_rgb(primaries: tuple[tuple[float, float], ...]) -> Array:
    """(3, 3) from linear RGB to XYZ, white at D65 (SMPTE RP 177)."""
    columns = np.array([[x / y, 1.0, (1 - x - y) / y] for x, y in primaries]).T
    x, y = _D65
    white = np.array([x / y, 1.0, (1 - x - y) / y])
    return np.asarray(columns * np.linalg.solve(columns, white))
