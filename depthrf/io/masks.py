"""Masks of photos: what moves or does not belong to the scene is black and is ignored; white is used.

As in COLMAP, pixels of value 0 are ignored, and in a workspace the mask of ``IMG_3.jpg`` is called ``IMG_3.jpg.png``;
there either every photo has a mask, of its own size, or none has. :mod:`depthrf.io.companions` finds a user's masks.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from depthrf.errors import DepthrfError
from depthrf.geometry.camera import Camera, View
from depthrf.io.photos.decoding import UnreadableImageError, read_file
from depthrf.io.photos.folder import UsablePhoto
from depthrf.io.photos.images import orient, turn_of, write_png

Used = NDArray[np.bool_]
"""(H, W): which pixels are used."""

_SAME_PROPORTIONS = 0.03
_FORMATS = ("PNG", "JPEG", "BMP", "TIFF", "WEBP", "GIF")
_LOSSY = ("JPEG", "WEBP")
_HALF = 128  # of 255
_NEARLY, _NEARLY_ALL = 4, 0.99  # of 255; share of the pixels
_MOST_LOOKED_AT = 100_000_000  # pixels
_ADVICE = "Save it as a black and white PNG."
_WHOLLY_USED = 0.999


def mask_path(folder: Path, name: str) -> Path:
    """Where the mask of the photo ``name`` lies in a workspace's folder of masks."""
    return folder / f"{name}.png"


def read_mask(path: Path) -> Used:
    """A mask as it is stored, any kind of picture.

    In formats that lose detail, black is nearly black: from half grey on, a pixel is used. Of a picture that is
    transparent somewhere, the opaque pixels are used, as of cut-outs; of black and white ones only the white of them.

    Raises:
        DepthrfError: The file is no readable picture.
    """
    from PIL import Image

    try:
        with Image.open(io.BytesIO(read_file(path)), formats=_FORMATS) as image:
            if image.mode.startswith(("I", "F")):
                return np.asarray(image) > 0
            used = np.asarray(image.convert("L")) >= (_HALF if image.format in _LOSSY else 1)
            if image.mode not in ("RGBA", "LA", "PA") and "transparency" not in image.info:
                return used
            rgba = np.asarray(image.convert("RGBA"))
    except UnreadableImageError as e:
        raise DepthrfError(f"The mask {path} {e}. {_ADVICE}") from e
    except Exception as e:  # decoders raise whatever comes
        raise DepthrfError(f"The mask {path} is no readable picture ({str(e)[:80]}). {_ADVICE}") from e
    opaque = rgba[..., 3] >= _HALF
    if opaque.all():
        return used
    levels = np.unique(rgba[opaque][:, :3])
    black_and_white = len(levels) == 2 and levels[0] == 0
    return opaque & used if black_and_white else opaque


def is_two_level(path: Path) -> bool:
    """Whether a picture is grey and nearly all of it black or white, both of them there, as a mask is."""
    from PIL import Image

    try:
        with Image.open(path) as image:
            if image.width * image.height > _MOST_LOOKED_AT:
                return False
            rgb = np.asarray(image.convert("RGB"))[::2, ::2].astype(np.int16)
    except Exception:  # what cannot be read is no mask
        return False
    grey = int(np.abs(rgb[..., :1] - rgb).max()) <= _NEARLY
    dark, light = (rgb[..., 0] <= _NEARLY).mean(), (rgb[..., 0] >= 255 - _NEARLY).mean()
    return grey and dark > 0 and light > 0 and dark + light > _NEARLY_ALL


def read_upright_mask(photo: UsablePhoto, mask: Path) -> Used:
    """The mask of a photo, turned upright as the photo is, (h, w) at the mask's resolution.

    Raises:
        DepthrfError: The mask cannot be read or has other proportions than the photo.
    """
    used, info = read_mask(mask), photo.info
    turn = turn_of(used.shape, info, _SAME_PROPORTIONS)
    if turn is None:
        raise DepthrfError(
            f"The mask {mask} is {used.shape[1]}×{used.shape[0]} but {photo.path.name} is {info.width}×{info.height}: "
            "it should cover the whole photo (any resolution, same proportions)."
        )
    return orient(used, turn)


def write_masks(photos: Sequence[UsablePhoto], found: Mapping[Path, Path], folder: Path) -> float:
    """Writes a mask of every photo, upright and as large as its copy; all white where none is found.

    Args:
        photos: The photos.
        found: Mask files by photo.
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
        if photo.path in found:
            used = nearest(read_upright_mask(photo, found[photo.path]), width, height)
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
    from depthrf.depth.resampling import to_undistorted
    from depthrf.io.poses.colmap import read_model

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
