"""One real reconstruction that the tests of this folder share; they only read it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from depthrf.geometry.camera import View
from depthrf.stages import sfm
from depthrf.workspace import Workspace
from tests.scenes import corner


@dataclass(frozen=True)
class Reconstructed:
    workspace: Workspace
    summary: sfm.Summary
    truth: dict[str, View]


@pytest.fixture(scope="session")
def reconstructed(tmp_path_factory: pytest.TempPathFactory) -> Reconstructed:
    """Five photos of the textured corner, placed by the sfm stage."""
    shot = corner.views(5)
    workspace = corner.make_workspace(tmp_path_factory.mktemp("corner") / "workspace", shot)
    return Reconstructed(workspace, sfm.run(workspace, sfm.Options()), {v.name: v for v in shot})


@pytest.fixture
def photos(tmp_path: Path) -> Workspace:
    """The same five photos, not yet reconstructed."""
    return corner.make_workspace(tmp_path / "workspace", corner.views(5))
