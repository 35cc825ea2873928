"""LLFF's ``poses_bounds.npy`` beside the photos it belongs to.

A row a photo, photos by name: a 3x5 matrix [camera-to-world 3x4 | height, width, focal length] and the near and far
bounds. Its camera axes are (down, right, backward). Photos lie in ``images/``, or at a fraction of their size, to which
the intrinsics are then scaled, in ``images_4/`` and the like, which are read only where ``images/`` is missing: the
usual 504x378 of photos of 4032x3024 is ``train.max_side=504``, at which ``evaluate`` scores too.
https://github.com/Fyusion/LLFF, "Using your own poses".
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from depthrf.errors import UsageError
from depthrf.geometry.lens import Lens
from depthrf.geometry.transforms import cam_from_world_of_opengl
from depthrf.io.captures.capture import PICTURES, Capture, Shot, files_by_stem
from depthrf.io.captures.listed import Listed
from depthrf.io.files import open_regular, parsing
from depthrf.io.poses.given_poses import checked_lens, checked_rigid

KIND = "LLFF folder"
_FILE = "poses_bounds.npy"


def matches(folder: Path) -> bool:
    return (folder / _FILE).is_file()


def read(folder: Path) -> Capture:
    """Raises UsageError where the file is no LLFF file, or its rows are not as many as the photos."""
    path = folder / _FILE
    with parsing(path, "a NumPy file of LLFF"), open_regular(path) as file:
        shape, _, dtype = _header(file)
        if len(shape) != 2 or shape[1] != 17 or dtype.hasobject:
            raise UsageError(f"{path} has shape {shape}; expected (number of photos, 17).")
        photos = _photos(folder, shape[0])
        file.seek(0)
        rows = np.load(file, allow_pickle=False).astype(np.float64)
    listed = Listed(folder)
    shots = []
    for photo, row in zip(photos, rows, strict=True):
        where = f"{path}: {photo.name}"
        matrix = row[:15].reshape(3, 5)
        with listed.frame(photo.name):
            down, right, backward, position = matrix[:, :4].T
            pose = checked_rigid(np.column_stack([right, -down, backward, position]), where, "the pose")
            height, width, focal = matrix[:, 4].tolist()
            lens = Lens("PINHOLE", _side(width), _side(height), (focal, focal, width / 2, height / 2))
            shots.append(Shot(photo, checked_lens(lens, where), cam_from_world_of_opengl(pose)))
    return Capture(KIND, folder, shots, (path,), listed.remarks(), left_out=listed.left_out)


def _header(file: BinaryIO) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Shape, order and type, so that nothing is allocated for what is not there."""
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    return read(file)


def _side(value: float) -> int:
    return round(value) if np.isfinite(value) else 0


def _photos(folder: Path, count: int) -> list[Path]:
    """The photos of ``images/``, or where that is missing of the largest ``images_N/``, by name."""
    reduced = sorted(folder.glob("images_[0-9]*"), key=lambda p: (len(p.name), p.name))
    for place in (folder / "images", *reduced, folder):
        photos = sorted(files_by_stem(place, *PICTURES).values(), key=lambda p: p.name)
        if photos:
            break
    if len(photos) != count:
        raise UsageError(
            f"{folder / _FILE} has {count} rows, {photos[0].parent if photos else folder} has {len(photos)} photos; "
            "expected one row for each photo, photos by name."
        )
    return photos
