"""What EXIF tells of a photo: how it lies, the camera, the focal length (Exif 3.0)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from PIL.Image import Exif, Image

DIAGONAL_35MM = 43.2666  # of a 36 x 24 mm frame
_ORIENTATION, _MAKE, _MODEL = 0x0112, 0x010F, 0x0110
_EXIF_IFD, _INTEROP_IFD, _INTEROP_INDEX = 0x8769, 0xA005, 0x0001
_FOCAL_MM, _FOCAL_35MM, _PLANE_X_RESOLUTION, _PLANE_UNIT = 0x920A, 0xA405, 0xA20E, 0xA210
_PIXEL_X, _PIXEL_Y = 0xA002, 0xA003
_MM_PER_PLANE_UNIT = {2: 25.4, 3: 10.0, 4: 1.0, 5: 0.001}


def read_exif(image: Image) -> Exif:
    """The EXIF block of a picture, empty where there is none or it is damaged."""
    from PIL import Image as Images

    try:
        exif = image.getexif()
        exif.get_ifd(_EXIF_IFD)
        return exif
    except Exception:  # decoders of damaged EXIF raise whatever comes; damaged EXIF is no EXIF
        return Images.Exif()


def orientation_of(exif: Exif) -> int:
    """1 to 8; 1 where the tag is absent or senseless."""
    value = exif.get(_ORIENTATION, 1)
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def camera_name(exif: Exif) -> str:
    """Make and model; empty where absent."""
    return " ".join(str(exif.get(tag, "")).strip(" \0") for tag in (_MAKE, _MODEL)).strip()


def is_adobe_rgb(exif: Exif) -> bool:
    """Whether the camera wrote Adobe RGB colours, which it tells by EXIF alone (DCF 2.0, "R03")."""
    return str(exif.get_ifd(_INTEROP_IFD).get(_INTEROP_INDEX, "")).startswith("R03")


def focal_px(exif: Exif, width: int, height: int) -> float | None:
    """Focal length in pixels: from its 35 mm equivalent (on the diagonal), else from millimetres and pixel pitch."""
    ifd = exif.get_ifd(_EXIF_IFD)
    focal = _number(ifd.get(_FOCAL_35MM)) / DIAGONAL_35MM * math.hypot(width, height)
    if not focal > 0:
        unit = ifd.get(_PLANE_UNIT, 2)
        pixels_per_mm = _number(ifd.get(_PLANE_X_RESOLUTION)) / _MM_PER_PLANE_UNIT.get(unit, 25.4)
        # Width and height of what the camera stored, which some programs leave lying when they turn the photo upright.
        stored = max(_number(ifd.get(_PIXEL_X)), _number(ifd.get(_PIXEL_Y)))
        resized = max(width, height) / (stored or max(width, height))
        focal = _number(ifd.get(_FOCAL_MM)) * pixels_per_mm * resized
    return focal if 0.2 < focal / max(width, height) < 20.0 else None


def camera_exif(make: str, model: str, focal_35mm: int) -> bytes:
    """EXIF block of a camera, as :func:`depthrf.io.photos.images.write_jpeg` takes it."""
    from PIL import Image

    exif = Image.Exif()
    exif[_MAKE], exif[_MODEL] = make, model
    exif.get_ifd(_EXIF_IFD)[_FOCAL_35MM] = focal_35mm
    return exif.tobytes()


def _number(value: Any) -> float:
    """0 for what is absent or no number."""
    try:
        number = float(value)
    except (TypeError, ValueError, ZeroDivisionError, OverflowError):
        return 0.0
    return number if math.isfinite(number) else 0.0
