"""Depth files: sensor depth (16-bit PNG in millimetres), raw and aligned maps (.npy) and merged priors (.npz)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from depthrf.errors import DepthrfError
from depthrf.geometry.camera import Camera, DepthPrior
from depthrf.io.depth.numpy_files import read_npy, read_npz
from depthrf.io.photos.images import read_png_uint16, write_png
from depthrf.storage import atomic_open, atomic_path, read_json
from depthrf.workspace import Workspace

Map = NDArray[np.float32]


def read_sensor_depth(path: Path) -> Map:
    """Reads a 16-bit PNG of millimetres as float32 metres (H, W); 0 = missing.

    Raises:
        DepthrfError: The file is missing or damaged, or is not a single-channel 16-bit PNG.
    """
    return read_png_uint16(path).astype(np.float32) / np.float32(1000.0)


@dataclass(frozen=True)
class SensorMap:
    """A photo's sensor depth. metres: (H, W), 0 = missing. confidence: (H, W) uint8, 1 medium, 2 high; None where all
    is high. camera: the depth map's own intrinsics; None where it covers the photo's field of view.
    """

    metres: Map
    confidence: NDArray[np.uint8] | None
    camera: Camera | None


def read_sensor(workspace: Workspace, stem: str) -> SensorMap | None:
    """The sensor depth that ingest kept for a photo, on the sensor's own pixel grid; None where it has none.

    Raises:
        DepthrfError: A file is damaged or of the wrong type.
    """
    from PIL import Image

    path = workspace.sensor_depth / f"{stem}.png"
    if not path.is_file():
        return None
    confidence = None
    if (workspace.sensor_confidence / path.name).is_file():
        with Image.open(workspace.sensor_confidence / path.name) as image:
            confidence = np.asarray(image, dtype=np.uint8)
    own = read_json(workspace.sensor_cameras).get(stem) if workspace.sensor_cameras.is_file() else None
    camera = Camera(*(own[k] for k in ("w", "h", "fl_x", "fl_y", "cx", "cy"))) if own else None
    return SensorMap(read_sensor_depth(path), confidence, camera)


def write_sensor_depth(path: Path, metres: NDArray[Any]) -> None:
    """Writes depth (H, W) in metres, 0 = missing, as a 16-bit PNG of millimetres, atomically.

    Raises:
        DepthrfError: A value does not fit: negative, not finite, or above 65.535 m.
    """
    millimetres = np.rint(np.asarray(metres, dtype=np.float64) * 1000.0)
    if not np.isfinite(millimetres).all() or millimetres.min(initial=0) < 0 or millimetres.max(initial=0) > 65535:
        raise DepthrfError(
            f"Depth for {path} does not fit 16-bit millimetres: found {np.min(metres):g} to {np.max(metres):g} m, "
            "expected finite values from 0 to 65.535 m. Mark missing or farther pixels with 0."
        )
    write_png(path, millimetres.astype(np.uint16))


def write_map(path: Path, values: NDArray[Any]) -> None:
    """Writes a map (H, W) as float32 ``.npy``, atomically."""
    with atomic_open(path, "wb") as handle:
        np.save(handle, np.ascontiguousarray(values, dtype=np.float32))


def read_map(path: Path) -> Map:
    """Reads a map (H, W) written by :func:`write_map`.

    Raises:
        DepthrfError: The file is damaged or not a map.
    """
    values = read_npy(path)
    if values.ndim != 2 or not np.issubdtype(values.dtype, np.floating):
        raise DepthrfError(
            f"The depth map {path} holds {values.dtype} of shape {values.shape}; expected floating-point numbers of "
            "shape (height, width). Remove it and run the command again."
        )
    return np.asarray(values, dtype=np.float32)


def write_prior(path: Path, prior: DepthPrior, source: NDArray[np.uint8]) -> None:
    """Writes a merged prior as ``.npz`` with ``depth``, ``sigma`` and ``source``, atomically."""
    with atomic_path(path) as temporary:
        np.savez_compressed(
            temporary,
            depth=prior.depth.astype(np.float32),
            sigma=prior.sigma.astype(np.float32),
            source=source.astype(np.uint8),
        )


def read_prior(path: Path) -> tuple[DepthPrior, NDArray[np.uint8]]:
    """Reads what :func:`write_prior` wrote.

    Raises:
        DepthrfError: The file is damaged or lacks an array.
    """
    depth, sigma, source = read_npz(path, ("depth", "sigma", "source"))
    if depth.ndim != 2 or not depth.shape == sigma.shape == source.shape:
        raise DepthrfError(
            f"The depth prior {path} has arrays of shape {depth.shape}, {sigma.shape} and {source.shape}; expected "
            "(height, width), the same for all. Run: depthrf merge --force"
        )
    return DepthPrior(depth, sigma), source
