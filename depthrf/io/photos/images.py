"""Photos and pictures: any common format in, upright 8-bit sRGB out. Paths may hold any characters."""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from depthrf.errors import DepthrfError
from depthrf.io.photos.colour import Colours, colours_of
from depthrf.io.photos.decoding import JPEG_FORMATS, LOSSLESS_FORMATS, Decoded, decode, read_file, reasons
from depthrf.io.photos.exif import camera_name, focal_px
from depthrf.io.photos.panorama import is_panorama
from depthrf.storage import atomic_path

if TYPE_CHECKING:
    from PIL.Image import Image

Scalar = TypeVar("Scalar", bound=np.generic)

JPEG_QUALITY = 95


@dataclass(frozen=True)
class PhotoInfo:
    """What a photo file holds. ``width`` and ``height`` are of the upright photo, as it is read.

    Attributes:
        orientation: EXIF, 1 to 8: how the sensor's own rows lay; also where a decoder has turned them already.
        as_is: Upright 8-bit sRGB JPEG or PNG: later stages can read the file itself.
        suffix: For the upright copy.
        focal_px: From EXIF.
        camera_name: EXIF make and model; empty where absent.
        digest: Of the file's bytes.
        white: Of a picture with more than 8 bits a channel, the value that becomes 255.
        remarks: What is done to the photo that its user should know.
        is_panorama: It shows all around (360°), which no lens does.
    """

    width: int
    height: int
    orientation: int
    as_is: bool
    suffix: str
    focal_px: float | None
    camera_name: str
    digest: str
    white: float | None = None
    remarks: tuple[str, ...] = ()
    is_panorama: bool = False


def inspect_photo(path: Path) -> PhotoInfo:
    """Decodes a photo fully and tells what it is.

    Raises:
        UnreadableImageError: Empty, cut off, damaged or not a picture.
    """
    data = read_file(path)
    found = decode(data)
    image = found.image
    with reasons():
        base, alpha = _opaque(image)
        colours = colours_of(base, found.exif)
        panorama = is_panorama(base)
    width, height = image.size[::-1] if found.orientation >= 5 else image.size
    changed = found.remarks or colours.convert is not None or alpha is not None or image.mode != "RGB"
    suffix = ".png" if found.format in LOSSLESS_FORMATS else ".jpg"
    is_jpeg = found.format in JPEG_FORMATS
    if path.suffix.lower() == suffix or (is_jpeg and path.suffix.lower() == ".jpeg"):
        suffix = path.suffix
    return PhotoInfo(
        width=width,
        height=height,
        orientation=found.stored_orientation,
        as_is=not changed and found.format in (*JPEG_FORMATS, "PNG") and found.orientation == 1,
        suffix=suffix,
        focal_px=focal_px(found.exif, width, height),
        camera_name=camera_name(found.exif),
        digest=digest_of(data),
        white=found.white,
        remarks=(*found.remarks, *([colours.remark] if colours.remark else [])),
        is_panorama=panorama,
    )


def digest_of(data: bytes) -> str:
    """What equal files have in common."""
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def read_rgb(path: Path, white: float | None = None) -> NDArray[np.uint8]:
    """The upright picture in sRGB, (H, W, 3): EXIF orientation applied, alpha on white.

    Args:
        path: The file.
        white: Of a picture with more than 8 bits a channel, the value that becomes 255; None takes what its own
            values tell.

    Raises:
        UnreadableImageError: Empty, cut off, damaged or not a picture.
    """
    found = decode(read_file(path), white)
    with reasons():
        return orient(_as_rgb(found), found.orientation)


def read_rgba(path: Path) -> NDArray[np.uint8]:
    """The picture as stored with its alpha, (H, W, 4); opaque where it has none.

    Raises:
        UnreadableImageError: Empty, cut off, damaged or not a picture.
    """
    return np.asarray(decode(read_file(path)).image.convert("RGBA"))


def orient(pixels: NDArray[Scalar], orientation: int) -> NDArray[Scalar]:
    """Turns stored pixels (H, W, ...) upright by their EXIF orientation (Exif 3.0, section 4.6.5.1; 1 to 8)."""
    if orientation in (5, 6, 7, 8):
        pixels = np.swapaxes(pixels, 0, 1)
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return np.ascontiguousarray(pixels)


def turn_of(shape: tuple[int, ...], info: PhotoInfo, tolerance: float) -> int | None:
    """The EXIF orientation by which a map of a photo's whole view, a mask or depth, must be turned.

    Args:
        shape: (H, W) of the map, at any resolution.
        info: The photo.
        tolerance: Relative difference of the proportions that rounding may leave.

    Returns:
        The photo's own orientation where the map lies as the photo is stored, 1 where it is upright already, None
        where its proportions are others.
    """
    ratio, upright = shape[1] / shape[0], info.width / info.height
    stored = 1.0 / upright if info.orientation >= 5 else upright
    if abs(ratio / stored - 1.0) < tolerance:
        return info.orientation
    return 1 if abs(ratio / upright - 1.0) < tolerance else None


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
    encoded = io.BytesIO()  # Pillow does not say that a disk is full when it writes to it itself
    Image.fromarray(np.ascontiguousarray(pixels)).save(encoded, "PNG", compress_level=compression)
    with atomic_path(path) as temporary:
        temporary.write_bytes(encoded.getbuffer())


def write_jpeg(path: Path, rgb: NDArray[np.uint8], exif: bytes = b"") -> None:
    """Writes (H, W, 3) uint8 atomically, quality 95 without chroma subsampling."""
    from PIL import Image

    encoded = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(rgb)).save(
        encoded, "JPEG", quality=JPEG_QUALITY, subsampling="4:4:4", exif=exif
    )
    with atomic_path(path) as temporary:
        temporary.write_bytes(encoded.getbuffer())


def _as_rgb(found: Decoded) -> NDArray[np.uint8]:
    from PIL import Image

    base, alpha = _opaque(found.image)
    colours: Colours = colours_of(base, found.exif)
    rgb = (colours.convert(base) if colours.convert is not None else base).convert("RGB")
    if alpha is not None:
        rgb = Image.composite(rgb, Image.new("RGB", rgb.size, (255, 255, 255)), alpha)
    return np.asarray(rgb)


def _opaque(image: Image) -> tuple[Image, Image | None]:
    """A picture in mode L, RGB or CMYK, and apart from it its alpha where it has one."""
    info = image.info
    alpha = None
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in info:
        grey = image.mode in ("LA", "La", "L", "1")
        with_alpha = image.convert("RGBA")
        image, alpha = with_alpha.convert("L" if grey else "RGB"), with_alpha.getchannel("A")
    elif image.mode not in ("L", "RGB", "CMYK"):
        image = image.convert("L" if image.mode == "1" else "RGB")
    image.info = {key: info[key] for key in ("icc_profile", "nclx_profile", "xmp") if key in info}
    return image, alpha
