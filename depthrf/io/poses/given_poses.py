"""Poses that come from outside: what a reader returns, and the checks that every reader makes."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from depthrf.errors import UsageError
from depthrf.geometry.lens import Lens
from depthrf.io.files import read_text

_ORTHONORMAL_TOLERANCE = 1e-2
_FOCAL_RANGE = (0.1, 50.0)  # of the longer side: from a fisheye to a telescope


@dataclass(frozen=True)
class PosedPhoto:
    """One photo's given camera. ``name`` is its path as the source gives it, without a leading ``./``."""

    name: str
    camera: Lens
    cam_from_world: NDArray[np.float64]  # (4, 4)


@dataclass(frozen=True)
class GivenPoses:
    """Poses from outside. ``train`` is None where the source does not split its photos."""

    photos: list[PosedPhoto]
    train: frozenset[str] | None
    test: frozenset[str]
    lost: tuple[str, ...] = ()  # photos whose pose is not finite: tracking was lost
    absent: tuple[str, ...] = ()  # photos that are not there and whose size is not told either


class SizeUnknownError(UsageError):
    """A photo is not there, and nothing tells its size, without which its intrinsics mean nothing."""


class PoseNotFiniteError(UsageError):
    """A pose holds a number that is not finite, as devices write when they have lost track."""


def user_json(path: Path) -> dict[str, Any]:
    """A JSON object that a user or another program wrote.

    Raises:
        UsageError: The file cannot be read or holds something else.
    """
    try:
        content = json.loads(read_text(path))
    except OSError as e:
        raise UsageError(f"{path} cannot be read: {e.strerror}.") from e
    except (ValueError, RecursionError) as e:
        raise UsageError(f"{path} is not readable JSON ({str(e)[:120]}).") from e
    if not isinstance(content, dict):
        raise UsageError(f"{path} should hold a JSON object.")
    return content


def checked_rigid(matrix: Any, where: str, what: str = "transform_matrix") -> NDArray[np.float64]:
    """A camera's pose (4, 4) with an exact rotation, from 4x4 or 3x4 numbers.

    Args:
        matrix: Nested lists or an array.
        where: File and frame, for messages.
        what: What the file calls the matrix, for messages.

    Raises:
        PoseNotFiniteError: It holds a number that is not finite.
        UsageError: It is no such matrix, or it scales, shears or mirrors.
    """
    try:
        # Through plain numbers: NumPy would take None for a number that is not finite.
        rows = [[float(value) for value in row] for row in matrix]
        pose = np.array(rows, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        pose = np.zeros(0)
    if pose.shape == (3, 4):
        pose = np.vstack([pose, [0.0, 0.0, 0.0, 1.0]])
    if pose.shape != (4, 4):
        raise UsageError(f"{where}: {what} should be 4x4 finite numbers.")
    if not np.isfinite(pose).all():
        raise PoseNotFiniteError(f"{where}: {what} should be 4x4 finite numbers.")
    rotation = pose[:3, :3]
    off = float(np.abs(rotation @ rotation.T - np.eye(3)).max())
    if off > _ORTHONORMAL_TOLERANCE:
        raise UsageError(
            f"{where}: the rotation part of {what} is not orthonormal (off by {off:.2g}); "
            "expected a rigid transform without scale."
        )
    if np.linalg.det(rotation) < 0:
        raise UsageError(
            f"{where}: {what} mirrors the scene (determinant -1); expected a right-handed camera pose. "
            "Usually one axis was negated too much or too little on export."
        )
    u, _, vt = np.linalg.svd(rotation)
    pose[:3, :3] = u @ vt
    return pose


def checked_lens(lens: Lens, where: str) -> Lens:
    """The lens, when a real camera can have it.

    Raises:
        UsageError: The size, the focal length or the principal point is not finite or out of bounds.
    """
    side = max(lens.width, lens.height)
    focals = lens.params[: lens.num_focals]
    low, high = _FOCAL_RANGE
    if lens.width <= 0 or lens.height <= 0:
        raise UsageError(f"{where}: the image size is {lens.width}x{lens.height}; expected positive pixels.")
    if not all(math.isfinite(p) for p in lens.params):
        raise UsageError(f"{where}: the intrinsics hold a number that is not finite: {lens.params}.")
    if any(f <= 0 for f in focals):
        raise UsageError(
            f"{where}: the focal length is {', '.join(f'{f:g}' for f in focals)}; expected positive pixels."
        )
    if not all(low * side <= f <= high * side for f in focals):
        raise UsageError(
            f"{where}: the focal length is {', '.join(f'{f:g}' for f in focals)} for a {lens.width}x{lens.height} "
            "image; expected pixels of that image (between a tenth and fifty times its longer side)."
        )
    if not (0 <= lens.cx <= lens.width and 0 <= lens.cy <= lens.height):
        raise UsageError(
            f"{where}: the principal point ({lens.cx:g}, {lens.cy:g}) lies outside the "
            f"{lens.width}x{lens.height} image; expected pixels of that image."
        )
    return lens


def check_unique(names: Iterable[str], where: Path) -> None:
    """Raises UsageError where one photo is listed twice."""
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise UsageError(f"{where} lists the photo {name} twice; expected one pose for each.")
        seen.add(name)
