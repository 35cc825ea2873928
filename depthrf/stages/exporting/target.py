"""What every exporter is given, and what it tells of its result."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from depthrf.workspace import Workspace

if TYPE_CHECKING:
    from depthrf.geometry.camera import Array, View


@dataclass(frozen=True)
class Target:
    """One export.

    Attributes:
        workspace: Where photos, poses and depth are read from.
        views: The undistorted photos that train, in scene units.
        folder: Where to write.
        unit: Length of a scene unit in the unit that is written: 1, or metres per scene unit.
        units: ``scene`` or ``metres``.
        max_sigma: Prior depth less sure than this share of itself is left out.
        spacing: Distance between points in the unit that is written; 0: by the photos' resolution.
        triangles: Most triangles of a mesh.
        device: Where the field is rendered.
    """

    workspace: Workspace
    views: list[View]
    folder: Path
    unit: float
    units: str
    max_sigma: float
    spacing: float
    triangles: int
    device: str


@dataclass(frozen=True)
class Exported:
    """One thing that was written: its file or folder relative to ``export/``, and how many of what it holds."""

    path: str
    count: int
    of: str


def in_unit(cam_from_world: Array, unit: float) -> Array:
    """The pose (4, 4) of a camera in a scene whose lengths are ``unit`` times as large."""
    pose = cam_from_world.copy()
    pose[:3, 3] *= unit
    return pose
