"""Pictures of more than 8 bits a channel, and of floating-point numbers: read as they are, then scaled to 8 bits.

Scanners and scientific cameras put 10, 12 or 14 bits into 16, so which value is white is told by the values alone.
Photos of one folder are scaled alike (``folder.examine_photos``), or their exposures would differ.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from PIL.Image import Image

_BITS = (8, 10, 12, 14, 16)
_TIFF = (b"II*\0", b"MM\0*")
_BITS_PER_SAMPLE = 258
_DARKEST_FLOAT_WHITE = 1 / 16


def is_tiff(data: bytes) -> bool:
    return data[:4] in _TIFF


def is_deep(data: bytes, image: Image) -> bool:
    """Whether the file behind an opened picture holds more than 8 bits a channel."""
    if image.mode.startswith(("I", "F")):
        return True
    if image.format == "PNG":
        return data[24:25] == b"\x10"  # the bit depth of IHDR
    return image.format == "TIFF" and max(_as_tuple(image.tag_v2.get(_BITS_PER_SAMPLE, 8))) > 8  # type: ignore[attr-defined]


def read_deep(data: bytes, image: Image | None) -> NDArray[Any] | None:
    """The values as stored, (H, W) or (H, W, 3); None where the file cannot be read so.

    Args:
        data: The file.
        image: The opened picture; None where Pillow does not know this kind of TIFF.
    """
    import cv2

    if image is not None and len(image.getbands()) == 1:
        return np.asarray(image)
    # It would print what it finds wrong with a damaged file.
    level = cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        values = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error:
        return None
    finally:
        cv2.utils.logging.setLogLevel(level)
    if values is None or values.dtype == np.uint8:
        return None
    if values.ndim == 3 and values.shape[2] == 4:
        values = _on_white(values)
    elif values.ndim == 3 and values.shape[2] == 2:
        values = values[..., 0]
    return values[..., ::-1] if values.ndim == 3 else values


def white_of(values: NDArray[Any]) -> float:
    """The value that shows as white: of integers, the most that the bits in use hold; of floating-point numbers 1, or
    where they go far beyond or stay far below, what they reach."""
    finite = values[np.isfinite(values)] if np.issubdtype(values.dtype, np.floating) else values
    top = float(finite.max()) if finite.size else 0.0
    if np.issubdtype(values.dtype, np.floating) and top < 16.0:
        return 1.0 if _DARKEST_FLOAT_WHITE < top <= 1.0 or top <= 0.0 else top
    return next((float(2**bits - 1) for bits in _BITS if top <= 2**bits - 1), top)


def to_eight_bits(values: NDArray[Any], white: float) -> NDArray[np.uint8]:
    """0 to ``white`` as 0 to 255; what lies outside or is not a number is cut to that range."""
    result = np.empty(values.shape, np.uint8)
    for row, out in zip(values, result, strict=True):  # row by row: a scan may have hundreds of megapixels
        out[...] = np.rint(np.clip(np.nan_to_num(row.astype(np.float64), nan=0.0), 0.0, white) * (255.0 / white))
    return result


def describe(values: NDArray[Any], white: float) -> str:
    """What was done, for the user."""
    if np.issubdtype(values.dtype, np.floating):
        return f"floating-point values from 0 to {white:g} scaled to 8 bits"
    return f"16-bit values from 0 to {white:g} scaled to 8 bits"


def tiff_orientation(data: bytes) -> int:
    """The orientation tag of a TIFF that Pillow cannot open; 1 where there is none."""
    from PIL.TiffImagePlugin import ImageFileDirectory_v2

    try:
        directory = ImageFileDirectory_v2(data[:8])
        file = io.BytesIO(data)
        file.seek(directory.next or 8)
        directory.load(file)
        value = directory.get(0x0112, 1)
    except Exception:  # damaged tags are no tags
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _on_white(values: NDArray[Any]) -> NDArray[Any]:
    """BGRA on a white background, BGR."""
    top = float(np.iinfo(values.dtype).max) if np.issubdtype(values.dtype, np.integer) else 1.0
    alpha = values[..., 3:].astype(np.float64) / top
    if alpha.min() >= 1.0:
        return values[..., :3]
    mixed = values[..., :3] * alpha + white_of(values[..., :3]) * (1.0 - alpha)
    return mixed.astype(values.dtype)


def _as_tuple(value: Any) -> tuple[int, ...]:
    return tuple(value) if isinstance(value, (tuple, list)) else (int(value),)
