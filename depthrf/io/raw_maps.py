"""Maps of numbers as other programs write them: NumPy, 16-bit PNG and OpenEXR files, values as they are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from depthrf.errors import DepthrfError

SUFFIXES = (".npy", ".png", ".exr")

# In order of preference: a depth channel, else one of a grey picture that was saved in colour.
_EXR_CHANNELS = ("Z", "depth.Z", "Y", "V", "R")


def read_raw_map(path: Path) -> NDArray[Any]:
    """The stored values (H, W): floating-point, or integers of at least 16 bits.

    Raises:
        DepthrfError: The file is damaged, of another type, or no single map of such values.
    """
    suffix = path.suffix.lower()
    if suffix == ".png":
        from depthrf.io.images import read_png_uint16

        return read_png_uint16(path)
    if suffix not in SUFFIXES:
        raise DepthrfError(f"{path} is no map; expected one of {', '.join(SUFFIXES)}.")
    values = _read_npy(path) if suffix == ".npy" else _read_exr(path)
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
    return values


def _read_npy(path: Path) -> NDArray[Any]:
    try:
        return np.asarray(np.load(path, allow_pickle=False))
    except (ValueError, OSError, EOFError) as e:
        raise DepthrfError(f"{path} is damaged or no NumPy array ({e}).") from e


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
