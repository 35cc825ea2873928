"""Opens pictures of any common format, as stored: safely, fully decoded, with what their user should know."""

from __future__ import annotations

import contextlib
import io
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from depthrf.errors import DepthrfError
from depthrf.io.files import open_regular, read_regular
from depthrf.io.photos import deep
from depthrf.io.photos.colour import nclx_of
from depthrf.io.photos.exif import orientation_of, read_exif

if TYPE_CHECKING:
    from PIL.Image import Exif, Image

_FORMATS = ("JPEG", "MPO", "PNG", "TIFF", "WEBP", "BMP", "HEIF", "AVIF", "JPEG2000", "GIF", "PPM")
JPEG_FORMATS = ("JPEG", "MPO")  # MPO: a JPEG with further pictures behind it, as many phones write
LOSSLESS_FORMATS = ("PNG", "TIFF", "BMP", "GIF", "PPM")

LARGE = 64_000_000  # pixels; larger pictures are read at a half, a quarter or an eighth of their sides
_MOST_PIXELS = {"JPEG": 1_000_000_000, "MPO": 1_000_000_000}  # decoded reduced, so they need little memory
_MOST_PIXELS_ELSE = 300_000_000
MOST_BYTES = 2**30  # of a file
_HEAD = 16
# Beginnings of files that may be pictures: JPEG, PNG, TIFF and BigTIFF, GIF, BMP, RIFF (WebP), JPEG 2000, PPM.
_MAGIC = (b"\xff\xd8\xff", b"\x89PNG", b"II*\0", b"MM\0*", b"II+\0", b"MM\0+", b"GIF8", b"BM", b"RIFF", b"\xff\x4f\xff")
_MAGIC_JP2 = b"\0\0\0\x0cjP"
_ONE_LARGE_AT_A_TIME = threading.Lock()
_PILLOWS_LIMIT = threading.Lock()


class UnreadableImageError(DepthrfError):
    """The file is not a whole picture; the message is the reason alone, without the file's name."""


@dataclass(frozen=True)
class Decoded:
    """A picture as stored, 8 bits a channel.

    Attributes:
        image: Mode L, RGB, CMYK, P, 1 or one of these with alpha.
        format: Pillow's name of the file's format.
        exif: Its EXIF block.
        orientation: How ``image`` must still be turned: some decoders turn the pixels themselves.
        stored_orientation: As the file says.
        white: The value that became 255, of pictures with more than 8 bits; None of others.
        remarks: What was done to it that its user should know.
    """

    image: Image
    format: str
    exif: Exif
    orientation: int
    stored_orientation: int
    white: float | None
    remarks: tuple[str, ...]


def may_be_picture(path: Path) -> bool:
    """Whether the first bytes of a regular file are those of a picture; nothing else of it is read."""
    try:
        with open_regular(path) as file:
            head = file.read(_HEAD)
    except OSError:
        return False
    known = head.startswith((*_MAGIC, _MAGIC_JP2)) or head[4:8] == b"ftyp"
    return known or (head[:1] == b"P" and head[1:2] in b"123456" and head[2:3].isspace())


def read_file(path: Path) -> bytes:
    """The bytes of a picture's file.

    Raises:
        UnreadableImageError: It is empty, too large, no regular file or cannot be read.
    """
    try:
        data = read_regular(path, MOST_BYTES)
    except OSError as e:
        raise UnreadableImageError(f"cannot be read ({e.strerror})") from e
    if not data:
        raise UnreadableImageError("empty (0 bytes)")
    return data


def stored_size(path: Path) -> tuple[int, int]:
    """Width and height as stored, without decoding the picture.

    Raises:
        UnreadableImageError: Empty or not a picture.
    """
    try:
        file = open_regular(path)
    except OSError as e:
        raise UnreadableImageError(f"cannot be read ({e.strerror})") from e
    with reasons(), file:
        return _open(file).size


def stored_orientation(path: Path) -> int:
    """How a picture is stored (EXIF, 1 to 8); 1 where it cannot be read."""
    try:
        with reasons(), open_regular(path) as file:
            image = _open(file)
            return image.info.get("original_orientation") or orientation_of(read_exif(image))
    except UnreadableImageError:
        return 1


def decode(data: bytes, white: float | None = None) -> Decoded:
    """Decodes a picture fully.

    Args:
        data: The file.
        white: Of a picture with more than 8 bits, the value that becomes 255; None takes what its own values tell.

    Raises:
        UnreadableImageError: Cut off, damaged, not a picture, or too large.
    """
    from PIL import UnidentifiedImageError

    with reasons():
        try:
            image = _open(io.BytesIO(data))
        except UnidentifiedImageError:
            if not deep.is_tiff(data):
                raise
            return _decode_unknown_tiff(data, white)
        width, height = image.size
        factor = _reduction(width, height, image.format or "")
        with _ONE_LARGE_AT_A_TIME if factor > 1 else contextlib.nullcontext():
            return _decode_opened(data, image, white, factor)


def _decode_opened(data: bytes, image: Image, white: float | None, factor: int) -> Decoded:
    from PIL import Image as Images

    kind, (width, height) = image.format or "", image.size
    stored = orientation_of(read_exif(image))
    # Some decoders (HEIF when opening, TIFF when loading) turn the pixels themselves and then say 1.
    stored = image.info.get("original_orientation") or stored
    is_deep = deep.is_deep(data, image)
    if kind in JPEG_FORMATS and factor > 1:
        image.draft(image.mode, (width // factor, height // factor))
    image.load()
    if kind == "AVIF" and (tags := nclx_of(data)) is not None:  # which Pillow does not tell
        image.info["nclx_profile"] = tags
    exif, info = read_exif(image), image.info
    orientation, remarks = orientation_of(exif), []
    values = deep.read_deep(data, image) if is_deep else None
    if values is not None:
        white = white or deep.white_of(values)
        remarks.append(deep.describe(values, white))
        if kind == "TIFF":  # Pillow and OpenCV both turn these
            orientation = 1
        image = Images.fromarray(deep.to_eight_bits(values, white))
        image.info = {k: v for k, v in info.items() if k != "transparency"}
    if factor > 1:
        if image.width * image.height > LARGE:
            image = image.reduce(factor)
            image.info = info
        remarks.append(f"{width}×{height} pixels are read at 1/{factor} of the sides")
    return Decoded(image, kind, exif, orientation, stored, white if values is not None else None, tuple(remarks))


def _decode_unknown_tiff(data: bytes, white: float | None) -> Decoded:
    """A TIFF of a kind that Pillow does not know, such as one with three floating-point channels."""
    from PIL import Image as Images

    values = deep.read_deep(data, None)
    if values is None:
        raise UnreadableImageError("a TIFF of a kind that cannot be read; save it with 8 or 16 bits a channel")
    if values.shape[0] * values.shape[1] > LARGE:
        raise UnreadableImageError(f"too large for a TIFF of this kind ({values.shape[1]}×{values.shape[0]} pixels)")
    white = white or deep.white_of(values)
    image = Images.fromarray(deep.to_eight_bits(values, white))  # which OpenCV has turned already
    remarks = (deep.describe(values, white),)
    return Decoded(image, "TIFF", Images.Exif(), 1, deep.tiff_orientation(data), white, remarks)


def _open(file: BinaryIO) -> Image:
    """The picture, of which no more than the head need have been read."""
    from PIL import Image

    head = file.read(8)
    if not head:
        raise UnreadableImageError("empty (0 bytes)")
    file.seek(0)
    if head[4:] == b"ftyp":  # HEIF
        import pillow_heif

        pillow_heif.register_heif_opener()
    Image.init()
    with _PILLOWS_LIMIT:  # ours is by format: what a JPEG of 200 megapixels needs is little when it is read reduced
        most, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            image = Image.open(file, formats=[f for f in _FORMATS if f in Image.OPEN])
        finally:
            Image.MAX_IMAGE_PIXELS = most
    _reduction(image.width, image.height, image.format or "")
    return image


def _reduction(width: int, height: int, kind: str) -> int:
    """By which factor, a power of two up to 8, the sides of a picture are reduced.

    Raises:
        UnreadableImageError: Its pixels would not fit into memory.
    """
    most = _MOST_PIXELS.get(kind, _MOST_PIXELS_ELSE)
    if width * height > most:
        raise UnreadableImageError(f"too large ({width * height / 1e6:.0f} megapixels; at most {most / 1e6:.0f})")
    return next((f for f in (1, 2, 4) if width * height <= LARGE * f * f), 8)


@contextlib.contextmanager
def reasons() -> Iterator[None]:
    """Says in a few words what a decoder could not stand."""
    from PIL import UnidentifiedImageError

    try:
        yield
    except DepthrfError:
        raise
    except UnidentifiedImageError as e:
        raise UnreadableImageError("not a picture, or its beginning is damaged") from e
    except Exception as e:  # decoders raise whatever comes: the file is damaged all the same
        raise UnreadableImageError(f"damaged or cut off ({str(e) or type(e).__name__})") from e
