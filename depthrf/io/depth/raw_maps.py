"""Maps of numbers as other programs write them: NumPy, 16-bit PNG and OpenEXR files, values as they are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from depthrf.errors import DepthrfError
from depthrf.geometry.lens import Lens
from depthrf.io.depth.numpy_files import read_npy
from depthrf.io.files import why_not_regular
from depthrf.storage import atomic_path

SUFFIXES = (".npy", ".png", ".exr")

# In order of preference: a depth channel, else one of a grey picture that was saved in colour.
_EXR_CHANNELS = ("Z", "depth.Z", "Y", "V", "R")


def read_raw_map(path: Path) -> NDArray[Any]:
    """The stored values (H, W): floating-point, or integers of at least 16 bits.

    Raises:
        DepthrfError: The file is damaged, of another type, or no single map of such values.
    """
    if (reason := why_not_regular(path)) is not None:  # a reader would wait for a named pipe
        raise DepthrfError(f"The depth map {path} is {reason}; expected a file.")
    suffix = path.suffix.lower()
    if suffix == ".png":
        from depthrf.io.photos.images import read_png_uint16

        return read_png_uint16(path)
    if suffix not in SUFFIXES:
        raise DepthrfError(f"{path} is no map; expected one of {', '.join(SUFFIXES)}.")
    values = read_npy(path) if suffix == ".npy" else _read_exr(path)
    if values.ndim == 3 and 1 in (values.shape[0], values.shape[2]):
        values = values.reshape(values.shape[1:] if values.shape[0] == 1 else values.shape[:2])
    wide = np.issubdtype(values.dtype, np.floating) or (
        np.issubdtype(values.dtype, np.integer) and values.dtype.itemsize > 1
    )
    if values.ndim != 2 or not wide:
        raise DepthrfError(
            f"{path} holds {values.dtype} of shape {values.shape}; expected (height, width) of floating-point numbers "
            "or of integers of 16 bits or more."
        )
    if values.size == 0:
        raise DepthrfError(f"{path} is an empty map of shape {values.shape}; expected one value a pixel.")
    return values


def check_proportions(path: Path, shape: tuple[int, ...], lens: Lens, expected: str) -> None:
    """Checks that a map (height, width) has the proportions of the photo that a lens took.

    Raises:
        DepthrfError: It has others; ``expected`` ends the message.
    """
    height, width = shape
    # An honest resize rounds each side by at most half a pixel.
    if abs(width * lens.height - height * lens.width) > max(lens.width, lens.height):
        raise DepthrfError(
            f"The depth map {path} is {width}x{height}, its photo {lens.width}x{lens.height}: another shape. "
            f"Expected {expected}"
        )


def write_exr(path: Path, depth: NDArray[np.float32]) -> None:
    """Writes depth (H, W) as the channel ``Z`` of an OpenEXR file, float32, atomically."""
    import OpenEXR

    header = {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage}
    with atomic_path(path) as temporary, OpenEXR.File(header, {"Z": np.ascontiguousarray(depth)}) as file:
        file.write(str(temporary))


def _read_exr(path: Path) -> NDArray[Any]:
    try:
        import OpenEXR
    except ImportError as e:
        raise DepthrfError(f"Reading {path.name} needs the OpenEXR package: pip install OpenEXR") from e
    try:
        with OpenEXR.File(str(path), separate_channels=True) as file:
            channels = {name: np.asarray(channel.pixels) for name, channel in file.channels().items()}
    except Exception as e:  # the binding raises plain RuntimeError and TypeError
        raise DepthrfError(f"{path} is no readable OpenEXR file.") from e
    name = next((n for n in _EXR_CHANNELS if n in channels), None)
    if name is None:
        raise DepthrfError(f"{path} has the channels {', '.join(sorted(channels))}; expected one of Z, Y and R.")
    others = [channels[n] for n in ("G", "B") if n in channels]
    if name == "R" and any(not np.array_equal(channels["R"], other, equal_nan=True) for other in others):
        raise DepthrfError(f"{path} is a coloured picture (R, G and B differ); expected one value a pixel.")
    return channels[name]
