"""A COLMAP project folder: ``images/`` with a model in ``sparse/0`` or ``sparse`` (https://colmap.github.io/format.html)."""

from __future__ import annotations

from pathlib import Path

from depthrf.io.captures.capture import Capture, Shot, left_out
from depthrf.io.colmap import is_model, read_poses

KIND = "COLMAP project"
_MODELS = ("sparse/0", "sparse", "colmap/sparse/0", "")


def matches(folder: Path) -> bool:
    return (folder / "images").is_dir() and _model(folder) is not None


def read(folder: Path) -> Capture:
    """Raises UsageError or DepthrfError where the model is damaged."""
    model = _model(folder)
    assert model is not None
    shots = [
        Shot(photo, pose.camera, pose.cam_from_world)
        for pose in read_poses(model).photos
        if (photo := folder / "images" / pose.name).is_file()
    ]
    files = tuple(p for p in model.iterdir() if p.suffix in (".bin", ".txt"))
    return Capture(KIND, folder, shots, files, left_out(shots))


def _model(folder: Path) -> Path | None:
    return next((folder / name for name in _MODELS if is_model(folder / name)), None)
