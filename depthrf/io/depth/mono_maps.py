"""Monocular depth maps that the user brings, one file for each photo."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from depthrf import console
from depthrf.errors import DepthrfError, UsageError
from depthrf.geometry.lens import Lens
from depthrf.io.depth.raw_maps import SUFFIXES, check_proportions, read_raw_map

Map = NDArray[np.float32]


def find_maps(folder: Path, names: Sequence[str]) -> dict[str, Path]:
    """The map of each photo that has one, by photo name; warns of photos without.

    Raises:
        UsageError: There is no such folder, no map in it is named like a photo, or a photo has two.
    """
    if not folder.is_dir():
        raise UsageError(f"No such folder of depth maps: {folder}")
    files: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() in SUFFIXES and not path.name.startswith("."):
            if path.stem in files:
                raise UsageError(f"{folder} has both {files[path.stem].name} and {path.name}. Keep one map a photo.")
            files[path.stem] = path
    found = {name: files[Path(name).stem] for name in names if Path(name).stem in files}
    if not found:
        such = f" such as {next(iter(files.values())).name}" if files else ""
        raise UsageError(
            f"No depth map in {folder} is named like a photo: found {len(files)} maps{such}; expected names such as "
            f"{Path(names[0]).stem}.npy, .png or .exr."
        )
    missing = [name for name in names if name not in found]
    if missing:
        more = ", ..." if len(missing) > 5 else ""
        console.warn(f"{len(missing)} photos have no depth map in {folder}: {', '.join(missing[:5])}{more}")
    return found


def read_mono_map(path: Path, kind: str, lens: Lens) -> Map:
    """A map (h, w) of the photo as taken, nan where nothing is known.

    Args:
        path: The file.
        kind: ``metric`` maps come back in metres (PNG files hold millimetres); the scale of the others is unknown, and
            the ends of a PNG file's range are counted as saturated.
        lens: The photo's; the map must have its proportions.

    Raises:
        DepthrfError: The file is damaged, of another type, or of other proportions than the photo.
    """
    stored = read_raw_map(path)
    check_proportions(
        path, stored.shape, lens, "a map of the whole photo as taken (upright, not cropped), at any resolution."
    )
    with np.errstate(over="ignore"):  # what float32 cannot hold is not finite, and so not known
        values = stored.astype(np.float32)
    known = np.isfinite(values)
    if kind == "metric":
        known &= values > 0
        values = values if np.issubdtype(stored.dtype, np.floating) else values / np.float32(1000.0)
    elif stored.dtype == np.uint16:
        known &= (stored > 0) & (stored < 65535)
    if not known.any():
        raise DepthrfError(f"The depth map {path} holds no value: all are missing or not finite.")
    return np.where(known, values, np.float32(np.nan))
