"""``sfm/poses.json``: where the poses of the model come from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from depthrf.storage import read_typed, write_json

PoseOrigin = Literal["estimated", "given", "refined"]
"""Found by SfM, taken as they came with the photos, or those adjusted to the photos."""


@dataclass(frozen=True)
class _File:
    poses: PoseOrigin


def write_pose_origin(path: Path, origin: PoseOrigin) -> None:
    """Writes the file atomically."""
    write_json(path, _File(origin))


def read_pose_origin(path: Path) -> PoseOrigin | None:
    """What ``sfm`` wrote; None where it has not run.

    Raises:
        DepthrfError: The file is damaged.
    """
    return read_typed(path, _File).poses if path.is_file() else None
