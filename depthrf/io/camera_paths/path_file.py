"""What a file of a camera path says, whatever its format."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from depthrf.errors import UsageError
from depthrf.geometry.camera import Array
from depthrf.geometry.paths.keyframes import Keyframe


@dataclass(frozen=True)
class PathFile:
    """A path as read from a file, in the frame of the workspace's transforms.json.

    keyframes: At least one. every_frame: each is a frame of the film; else a smooth curve joins them. fps: frames per
    second that the file asks for. size: (width, height) it asks for. loop: it ends where it starts.
    """

    keyframes: list[Keyframe]
    every_frame: bool
    fps: float | None = None
    size: tuple[int, int] | None = None
    loop: bool = False


@dataclass(frozen=True)
class FilmPlan:
    """What is written: poses (N, 4, 4) ``cam_from_world``, vertical fields of view (N,) in degrees, and the film's
    (width, height) and frames per second. trust: per frame, what only depthrf's own format keeps."""

    cam_from_world: Array
    fov: Array
    size: tuple[int, int]
    fps: float
    loop: bool = False
    trust: Sequence[dict[str, float]] = ()


def number(content: Mapping[str, Any], key: str, where: str, *, positive: bool = False) -> float | None:
    """The number that a JSON object has under a key; None where it has none.

    Raises:
        UsageError: It is something else, or not finite, or not ``positive``.
    """
    value = content.get(key)
    if value is None:
        return None
    kind = "positive number" if positive else "number"
    try:
        found = float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else np.nan
    except OverflowError:
        found = np.inf
    if not np.isfinite(found) or (positive and found <= 0.0):
        raise UsageError(f"{where}: {key} should be a {kind}; found {str(value)[:40]}")
    return found


def film_size(content: Mapping[str, Any], width: str, height: str, where: str) -> tuple[int, int] | None:
    """Width and height in pixels under these keys; None where one of them is missing.

    Raises:
        UsageError: They are not positive.
    """
    size = number(content, width, where, positive=True), number(content, height, where, positive=True)
    return None if size[0] is None or size[1] is None else (max(int(size[0]), 1), max(int(size[1]), 1))


def focal_of(fov: float, height: int) -> float:
    """Focal length in pixels of a vertical field of view in degrees."""
    return float(0.5 * height / np.tan(np.deg2rad(fov) / 2.0))


def fov_of(focal: float, height: int) -> float:
    """Vertical field of view in degrees of a focal length in pixels."""
    return float(2.0 * np.rad2deg(np.arctan(0.5 * height / focal)))
