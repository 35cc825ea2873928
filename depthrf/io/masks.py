"""Masks of photos: what moves or does not belong to the scene is black and is ignored; white is used.

As in COLMAP, pixels of value 0 are ignored, and the mask of ``IMG_3.jpg`` is called ``IMG_3.jpg.png``; a user's may
also be called ``IMG_3.png``. In a workspace either every photo has a mask, of its own size, or none has.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from depthrf.errors import DepthrfError, UsageError
from depthrf.geometry.camera import Camera, View
from depthrf.io.images import orient, write_png
from depthrf.io.photo_folder import MASKS, UsablePhoto

Used = NDArray[np.bool_]
"""(H, W): which pixels are used."""

_SAME_PROPORTIONS = 0.03
_WHOLLY_USED = 0.999


def find_masks(photos: Path, names: Iterable[str], given: Path | None) -> dict[str, Path]:
    """Mask files by photo file name: of ``given``, else of a folder ``masks`` in or beside a photo folder.

    Args:
        photos: The photo folder, or a video.
        names: File names of the photos.
        given: A folder the user names.

    Raises:
        UsageError: The given folder does not exist, or none of its files is named like a photo.
    """
    names = list(names)
    if given is not None and not given.is_dir():
        raise UsageError(f"No such folder of masks: {given}")
    usual = [photos / MASKS, photos.absolute().parent / MASKS] if photos.is_dir() else []
    for folder in usual if given is None else [given]:
        if folder.is_dir():
            files = {p.name.casefold(): p for p in sorted(folder.iterdir()) if p.suffix.lower() == ".png"}
            found = {name: mask for name in names if (mask := _mask_of(name, files)) is not None}
            if found:
                return found
    if given is not None and names:
        raise UsageError(
            f"No mask in {given} is named like a photo; expected names such as {Path(names[0]).stem}.png or "
            f"{names[0]}.png."
        )
    return {}


def _mask_of(name: str, files: dict[str, Path]) -> Path | None:
    return files.get(f"{name}.png".casefold()) or files.get(f"{Path(name).stem}.png".casefold())


def mask_path(folder: Path, name: str) -> Path:
    """Where the mask of the photo ``name`` lies in a workspace's folder of masks."""
    return folder / f"{name}.png"


def read_mask(path: Path) -> Used:
    """A mask as it is stored, any kind of PNG.

    Raises:
        DepthrfError: The file is no readable PNG.
    """
    from PIL import Image

    try:
        with Image.open(path, formats=("PNG",)) as image:
            grey = image if image.mode.startswith("I") or image.mode == "1" else image.convert("L")
            return np.asarray(grey) > 0
    except (OSError, SyntaxError, ValueError) as e:
        raise DepthrfError(f"The mask {path} is no readable PNG ({e}). Save it as a black and white PNG.") from e


def read_upright_mask(photo: UsablePhoto, mask: Path) -> Used:
    """The mask of a photo, turned upright as the photo is, (h, w) at the mask's resolution.

    Raises:
        DepthrfError: The mask cannot be read or has other proportions than the photo.
    """
    used, info = read_mask(mask), photo.info
    ratio, upright = used.shape[1] / used.shape[0], info.width / info.height
    stored = 1.0 / upright if info.orientation >= 5 else upright
    if abs(ratio / stored - 1.0) < _SAME_PROPORTIONS:
        return orient(used, info.orientation)
    if abs(ratio / upright - 1.0) < _SAME_PROPORTIONS:
        return used
    raise DepthrfError(
        f"The mask {mask} is {used.shape[1]}×{used.shape[0]} but {photo.path.name} is {info.width}×{info.height}: "
        "it should cover the whole photo (any resolution, same proportions)."
    )


def write_masks(photos: Sequence[UsablePhoto], found: Mapping[str, Path], folder: Path) -> float:
    """Writes a mask of every photo, upright and as large as its copy; all white where none is found.

    Args:
        photos: The photos.
        found: Mask files by photo file name.
        folder: Where to write.

    Returns:
        The share of the masked photos' pixels that is left out.

    Raises:
        DepthrfError: A mask cannot be read or has other proportions than its photo.
    """
    shares = []
    for photo in photos:
        width, height = photo.info.width, photo.info.height
        used = np.ones((height, width), dtype=bool)
        if photo.path.name in found:
            used = nearest(read_upright_mask(photo, found[photo.path.name]), width, height)
            shares.append(1.0 - float(used.mean()))
        write_png(mask_path(folder, photo.name), used.astype(np.uint8) * 255)
    return float(np.mean(shares)) if shares else 0.0


def undistort_masks(masks: Path, model: Path, views: Sequence[View], output: Path) -> None:
    """Masks of photos as taken, brought onto the pixel grids of their undistorted views (nearest pixel).

    Args:
        masks: Folder of masks, one of each view.
        model: COLMAP model with the lenses the photos were taken with.
        views: The undistorted views.
        output: Folder to write to.
    """
    from depthrf.depth.merging import to_undistorted
    from depthrf.io.colmap import read_model

    read = read_model(model)
    for view in views:
        used = read_mask(mask_path(masks, view.name)).astype(np.float32)
        moved = to_undistorted(used, view.camera, read.lens_of(view)) > 0
        write_png(mask_path(output, view.name), moved.astype(np.uint8) * 255)


def read_used(folder: Path, name: str, camera: Camera) -> Used:
    """The pixels of a view that are used, (camera.height, camera.width); all where there are no masks.

    A smaller pixel is used only where all that it averages is.
    """
    import cv2

    path = mask_path(folder, name)
    if not path.is_file():
        return np.ones((camera.height, camera.width), dtype=bool)
    used = read_mask(path).astype(np.float32)
    share = np.asarray(cv2.resize(used, (camera.width, camera.height), interpolation=cv2.INTER_AREA))
    return share >= _WHOLLY_USED


def nearest(used: Used, width: int, height: int) -> Used:
    """A mask at another resolution."""
    rows = ((np.arange(height) + 0.5) * used.shape[0] / height).astype(np.int64)
    columns = ((np.arange(width) + 0.5) * used.shape[1] / width).astype(np.int64)
    return np.asarray(used[rows[:, None], columns])
