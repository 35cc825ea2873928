"""What does not fit into memory is refused before it starts, with its size and what to do."""

from __future__ import annotations

from pathlib import Path

import pytest

from depthrf import device
from depthrf.errors import DepthrfError
from depthrf.stages import depth, merge, render, sfm
from depthrf.workspace import Workspace
from tests.stages.test_render import OPTIONS, trained


def test_free_memory_is_less_than_all_and_more_than_nothing() -> None:
    device.require_memory(1e6, "A megabyte", "")
    if device.free_main_memory() is not None:
        with pytest.raises(DepthrfError, match=r"^Too much takes 1000000.0 GB of memory, .* GB are free. Take less.$"):
            device.require_memory(1e15, "Too much", "Take less.")


def test_keypoints(photos: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "free_main_memory", lambda: 1_000_000)
    with pytest.raises(DepthrfError, match=r"Finding keypoints in photos of .* sfm.max_image_size="):
        sfm.run(photos, sfm.Options())


def test_depth_and_film(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    workspace = trained(tmp_path / "ws")
    monkeypatch.setattr(device, "free_main_memory", lambda: 10_000)
    with pytest.raises(DepthrfError, match=r"Stereo depth at .* depth.stereo.max_side="):
        depth.run(workspace, depth.Options(device="cpu"))
    with pytest.raises(DepthrfError, match="Merging the depth of a photo of"):
        merge.run(workspace, merge.Options())
    with pytest.raises(DepthrfError, match=r"Rendering 48x36 takes .* render.max_side=24"):
        render.run(workspace, OPTIONS)
