"""Sensor depth as cameras and programs write it: PNG, NumPy or OpenEXR files, with confidence where there is any."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from depthrf.errors import DepthrfError, UsageError
from depthrf.geometry.camera import Camera
from depthrf.io.captures.capture import SensorFile, numbers, pinhole, pixels, text_matrix
from depthrf.io.depth.raw_maps import read_raw_map
from depthrf.io.poses.given_poses import checked_lens, user_json

Map = NDArray[np.float32]

LOW, MEDIUM, HIGH = 0, 1, 2
_FARTHEST_M = 100.0  # no depth camera sees farther; a median beyond it is in millimetres
_MAX_FLOAT32 = float(np.finfo(np.float32).max)


def read_depth_file(path: Path, metres_per_count: float) -> Map:
    """Depth in metres, float32 (H, W), 0 = missing, as stored (not turned upright).

    Args:
        path: ``.png`` (16-bit), ``.npy`` (integers, or floating-point metres) or ``.exr`` (metres).
        metres_per_count: Unit of integer values.

    Raises:
        DepthrfError: The file is damaged, of another type, or its values cannot be depth.
    """
    values = read_raw_map(path)
    is_float = np.issubdtype(values.dtype, np.floating)
    metres = values.astype(np.float64) * (1.0 if is_float else metres_per_count)
    metres = np.where(np.isfinite(metres) & (metres > 0), np.minimum(metres, _MAX_FLOAT32), 0.0)
    _check_range(path, metres, is_float)
    return metres.astype(np.float32)


def _check_range(path: Path, metres: NDArray[np.float64], is_float: bool) -> None:
    median = float(np.median(metres[metres > 0])) if (metres > 0).any() else 0.0
    if median <= _FARTHEST_M:
        return
    if is_float:
        raise DepthrfError(
            f"The depth map {path} has a median of {median:g}, which would be metres; it looks like millimetres. "
            "Expected floating-point metres: divide by 1000, or save 16-bit PNG in millimetres."
        )
    raise DepthrfError(
        f"The depth map {path} has a median of {median:g} m with this unit. Give the metres of one count with "
        "--depth-unit (0.001 for millimetres, 0.0002 for TUM RGB-D)."
    )


def read_confidence(sensor: SensorFile, shape: tuple[int, int]) -> NDArray[np.uint8] | None:
    """Confidence (H, W) of a depth map as stored: LOW, MEDIUM or HIGH; None where there is no file.

    Raises:
        DepthrfError: The file is damaged or of another size than the depth map.
    """
    if sensor.confidence is None:
        return None
    from PIL import Image

    try:
        with Image.open(sensor.confidence) as image:
            values = np.asarray(image)
    except (OSError, SyntaxError, ValueError) as e:
        raise DepthrfError(f"The confidence map {sensor.confidence} is not a readable PNG ({e}).") from e
    if values.shape != shape:
        raise DepthrfError(
            f"The confidence map {sensor.confidence} is {_size(values.shape)}, its depth map {_size(shape)}; "
            "expected the same size."
        )
    medium, high = sensor.levels
    return np.where(values >= high, HIGH, np.where(values >= medium, MEDIUM, LOW)).astype(np.uint8)


def _size(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape[1::-1] if len(shape) == 2 else shape))


def read_depth_camera(path: Path, width: int, height: int) -> Camera:
    """Intrinsics of a depth camera whose maps are ``width`` x ``height``.

    Args:
        path: JSON with fl_x, fl_y, cx, cy and perhaps w, h (the names of transforms.json), or a 3x3 or 4x4 matrix as
            text, of maps of this size.
        width, height: Size of the depth maps; intrinsics of another size are rescaled.

    Raises:
        UsageError: The file holds something else.
    """
    where = str(path)
    if path.suffix.lower() == ".json":
        content = user_json(path)
        fx, fy, cx, cy = numbers([content.get(k) for k in ("fl_x", "fl_y", "cx", "cy")], (4,), f"{where}: fl_x to cy")
        size = numbers([content.get("w", width), content.get("h", height)], (2,), f"{where}: w, h")
        camera = Camera(*pixels(size, where), float(fx), float(fy), float(cx), float(cy))
    else:
        matrix = text_matrix(path)
        if matrix.ndim != 2 or min(matrix.shape) < 3:
            raise UsageError(f"{path} should hold JSON with fl_x, fl_y, cx, cy, or a 3x3 matrix.")
        camera = pinhole(matrix, width, height).pinhole
    lens = checked_lens(pinhole(camera.matrix, camera.width, camera.height), where)
    return lens.pinhole.resized(width, height)
