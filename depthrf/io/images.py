"""Photos and pictures: any common format in, upright 8-bit RGB out. Paths may hold any characters."""

from __future__ import annotations

import contextlib
import hashlib
import io
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar

import numpy as np
from numpy.typing import NDArray

from depthrf.errors import DepthrfError
from depthrf.workspace import atomic_path

if TYPE_CHECKING:
    from PIL.Image import Exif, Image

Scalar = TypeVar("Scalar", bound=np.generic)

JPEG_QUALITY = 95
DIAGONAL_35MM = 43.2666  # of a 36 x 24 mm frame
_FORMATS = ("JPEG", "MPO", "PNG", "TIFF", "WEBP", "BMP", "HEIF", "AVIF", "JPEG2000", "GIF", "PPM")
_JPEG_FORMATS = ("JPEG", "MPO")  # MPO: a JPEG with further pictures behind it, as many phones write
_LOSSLESS_FORMATS = ("PNG", "TIFF", "BMP", "GIF", "PPM")
_ORIENTATION, _MAKE, _MODEL, _EXIF_IFD = 0x0112, 0x010F, 0x0110, 0x8769
_FOCAL_MM, _FOCAL_35MM, _PLANE_X_RESOLUTION, _PLANE_UNIT = 0x920A, 0xA405, 0xA20E, 0xA210
_PIXEL_X, _PIXEL_Y = 0xA002, 0xA003
_MM_PER_PLANE_UNIT = {2: 25.4, 3: 10.0, 4: 1.0, 5: 0.001}


class UnreadableImageError(DepthrfError):
    """The file is not a whole picture; the message is the reason alone, without the file's name."""


@dataclass(frozen=True)
class PhotoInfo:
    """What a photo file holds. ``width`` and ``height`` are of the upright photo."""

    width: int
    height: int
    orientation: int  # EXIF, 1 to 8: how the sensor's own rows lay; also where a decoder has turned them already
    as_is: bool  # upright 8-bit RGB JPEG or PNG: later stages can read the file itself
    suffix: str  # for the upright copy
    focal_px: float | None  # from EXIF
    camera_name: str  # EXIF make and model; empty where absent
    digest: str  # of the file's bytes


def inspect_photo(path: Path) -> PhotoInfo:
    """Decodes a photo fully and tells what it is.

    Raises:
        UnreadableImageError: Empty, cut off, damaged or not a picture.
    """
    data = _read(path)
    image = _decode(data)
    exif = _exif(image)
    tag = _orientation(exif)
    raw_tag = image.info["original_orientation"] or 1
    width, height = image.size[::-1] if 5 <= tag <= 8 else image.size
    is_jpeg, is_png = image.format in _JPEG_FORMATS, image.format == "PNG"
    eight_bit_rgb = image.mode == "RGB" and "transparency" not in image.info and not (is_png and data[24] == 16)
    suffix = ".png" if image.format in _LOSSLESS_FORMATS else ".jpg"
    if path.suffix.lower() == suffix or (is_jpeg and path.suffix.lower() == ".jpeg"):
        suffix = path.suffix
    return PhotoInfo(
        width=width,
        height=height,
        orientation=raw_tag if 1 <= raw_tag <= 8 else 1,
        as_is=eight_bit_rgb and (is_jpeg or is_png) and tag == 1,
        suffix=suffix,
        focal_px=_focal_px(exif, width, height),
        camera_name=" ".join(str(exif.get(t, "")).strip(" \0") for t in (_MAKE, _MODEL)).strip(),
        digest=hashlib.blake2b(data, digest_size=16).hexdigest(),
    )


def read_rgb(path: Path) -> NDArray[np.uint8]:
    """The upright picture, (H, W, 3): EXIF orientation applied, alpha on white, 16 bits cut to 8.

    Raises:
        UnreadableImageError: Empty, cut off, damaged or not a picture.
    """
    image = _decode(_read(path))
    return orient(_as_rgb(image), _orientation(_exif(image)))


def read_rgba(path: Path) -> NDArray[np.uint8]:
    """The picture as stored with its alpha, (H, W, 4); opaque where it has none.

    Raises:
        UnreadableImageError: Empty, cut off, damaged or not a picture.
    """
    return np.asarray(_decode(_read(path)).convert("RGBA"))


def stored_size(path: Path) -> tuple[int, int]:
    """Width and height as stored, without decoding the picture.

    Raises:
        UnreadableImageError: Empty or not a picture.
    """
    with _reasons(), path.open("rb") as file:
        return _open(file).size


def orient(pixels: NDArray[Scalar], orientation: int) -> NDArray[Scalar]:
    """Turns stored pixels (H, W, ...) upright by their EXIF orientation (Exif 3.0, section 4.6.5.1; 1 to 8)."""
    if orientation in (5, 6, 7, 8):
        pixels = np.swapaxes(pixels, 0, 1)
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return np.ascontiguousarray(pixels)


def read_png_uint16(path: Path) -> NDArray[np.uint16]:
    """A 16-bit grey PNG, (H, W).

    Raises:
        DepthrfError: The file is no 16-bit grey PNG.
    """
    from PIL import Image

    try:
        with Image.open(path, formats=("PNG",)) as image:
            if image.mode.startswith("I;16") or image.mode == "I":
                return np.asarray(image).astype(np.uint16)
            found = {"L": "8-bit grey", "P": "8-bit palette", "RGB": "RGB", "RGBA": "RGB with alpha"}.get(image.mode)
    except (OSError, SyntaxError, ValueError):
        found = None
    found = f"a PNG of {found} pixels" if found else "no readable PNG"
    raise DepthrfError(f"{path} is {found}; depth maps are 16-bit grey PNG files in millimetres, 0 = missing.")


def write_png(path: Path, pixels: NDArray[Any], compression: int = 4) -> None:
    """Writes (H, W, 3) or (H, W) uint8, or (H, W) uint16, atomically.

    Raises:
        ValueError: Another type or shape: silently cut depth would be worse.
    """
    from PIL import Image

    kinds = {("uint8", 3), ("uint8", 2), ("uint16", 2)}
    if (pixels.dtype.name, pixels.ndim) not in kinds or (pixels.ndim == 3 and pixels.shape[2] != 3):
        raise ValueError(f"PNG needs uint8 (H, W, 3) or (H, W), or uint16 (H, W); found {pixels.dtype} {pixels.shape}")
    with atomic_path(path) as temporary:
        Image.fromarray(np.ascontiguousarray(pixels)).save(temporary, "PNG", compress_level=compression)


def write_jpeg(path: Path, rgb: NDArray[np.uint8], exif: bytes = b"") -> None:
    """Writes (H, W, 3) uint8 atomically, quality 95 without chroma subsampling."""
    from PIL import Image

    with atomic_path(path) as temporary:
        Image.fromarray(np.ascontiguousarray(rgb)).save(
            temporary, "JPEG", quality=JPEG_QUALITY, subsampling="4:4:4", exif=exif
        )


def camera_exif(make: str, model: str, focal_35mm: int) -> bytes:
    """EXIF block of a camera, as :func:`write_jpeg` takes it."""
    from PIL import Image

    exif = Image.Exif()
    exif[_MAKE], exif[_MODEL] = make, model
    exif.get_ifd(_EXIF_IFD)[_FOCAL_35MM] = focal_35mm
    return exif.tobytes()


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as e:
        raise UnreadableImageError(f"cannot be read ({e.strerror})") from e


@contextlib.contextmanager
def _reasons() -> Iterator[None]:
    """Says in a few words what a decoder could not stand."""
    from PIL import Image, UnidentifiedImageError

    try:
        yield
    except UnidentifiedImageError as e:
        raise UnreadableImageError("not a picture, or its beginning is damaged") from e
    except Image.DecompressionBombError as e:
        raise UnreadableImageError("too large (more than 178 megapixels)") from e
    except (OSError, SyntaxError, ValueError, EOFError, IndexError) as e:
        raise UnreadableImageError(f"damaged or cut off ({e})") from e


def _open(file: BinaryIO) -> Image:
    """The picture, as stored, of which no more than the head need have been read."""
    from PIL import Image

    head = file.read(8)
    if not head:
        raise UnreadableImageError("empty (0 bytes)")
    file.seek(0)
    if head[4:] == b"ftyp":  # HEIF
        import pillow_heif

        pillow_heif.register_heif_opener()
    Image.init()
    return Image.open(file, formats=[f for f in _FORMATS if f in Image.OPEN])


def _decode(data: bytes) -> Image:
    """The fully decoded picture, as stored."""
    with _reasons():
        image = _open(io.BytesIO(data))
        # Some decoders (HEIF when opening, TIFF when loading) turn the pixels themselves and then say 1.
        image.info.setdefault("original_orientation", _orientation(_exif(image)))
        image.load()
    if image.mode == "F":
        raise UnreadableImageError("pixels are floating-point numbers; save it with 8 or 16 bits")
    return image


def _as_rgb(image: Image) -> NDArray[np.uint8]:
    from PIL import Image

    if image.mode.startswith("I"):  # 16-bit grey
        grey = np.clip(np.asarray(image).astype(np.int64) >> 8, 0, 255).astype(np.uint8)
        return np.repeat(grey[..., None], 3, axis=2)
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, (255, 255, 255, 255)), image)
    return np.asarray(image.convert("RGB"))


def _exif(image: Image) -> Exif:
    from PIL import Image as Images

    try:
        return image.getexif()
    except (OSError, SyntaxError, ValueError, KeyError, TypeError, IndexError):  # damaged EXIF is no EXIF
        return Images.Exif()


def _orientation(exif: Exif) -> int:
    value = exif.get(_ORIENTATION, 1)
    return value if isinstance(value, int) else 1


def _focal_px(exif: Exif, width: int, height: int) -> float | None:
    """Focal length in pixels: from its 35 mm equivalent (on the diagonal), else from millimetres and pixel pitch."""
    ifd = exif.get_ifd(_EXIF_IFD)
    focal = _number(ifd.get(_FOCAL_35MM)) / DIAGONAL_35MM * math.hypot(width, height)
    if not focal > 0:
        pixels_per_mm = _number(ifd.get(_PLANE_X_RESOLUTION)) / _MM_PER_PLANE_UNIT.get(ifd.get(_PLANE_UNIT, 2), 25.4)
        # Width and height of what the camera stored, which some programs leave lying when they turn the photo upright.
        stored = max(_number(ifd.get(_PIXEL_X)), _number(ifd.get(_PIXEL_Y)))
        resized = max(width, height) / (stored or max(width, height))
        focal = _number(ifd.get(_FOCAL_MM)) * pixels_per_mm * resized
    return focal if 0.2 < focal / max(width, height) < 20.0 else None


def _number(value: Any) -> float:
    """0 for what is absent or no number."""
    try:
        number = float(value)
    except (TypeError, ValueError, ZeroDivisionError):
        return 0.0
    return number if math.isfinite(number) else 0.0
