"""A COLMAP project folder: ``images/`` with a model in ``sparse/0`` or ``sparse`` (https://colmap.github.io/format.html).

The mapper writes a model for each part of the photos that hangs together; of several, the one with the most photos is
taken unless a number is given.
"""

from __future__ import annotations

from pathlib import Path

from depthrf.errors import DepthrfError, UsageError
from depthrf.io.captures.capture import Capture, Shot, spare_photos
from depthrf.io.captures.listed import Listed
from depthrf.io.naming import counted
from depthrf.io.poses.colmap import is_model, read_poses
from depthrf.io.poses.given_poses import GivenPoses

KIND = "COLMAP project"
_PLACES = ("sparse", "colmap/sparse", "")


def matches(folder: Path) -> bool:
    return (folder / "images").is_dir() and bool(_models(folder))


def read(folder: Path, number: int | None = None, *, outside: bool = False) -> Capture:
    """Reads the model of the given number, or the largest.

    Raises:
        UsageError: There is no model of this number.
        DepthrfError: The model is damaged.
    """
    model, poses, remarks = largest_model(_models(folder), number, "--model N takes another")
    listed = Listed(folder / "images", outside=outside)
    shots = [
        Shot(photo, pose.camera, pose.cam_from_world)
        for pose in poses.photos
        if (photo := listed.find(pose.name)) is not None
    ]
    listed.lost(poses.lost)
    listed.without_pose(spare_photos(shots))
    files = tuple(p for p in sorted(model.iterdir()) if p.suffix in (".bin", ".txt"))
    return Capture(KIND, folder, shots, files, (*remarks, *listed.remarks()), left_out=listed.left_out)


def largest_model(models: dict[int, Path], number: int | None, choose: str) -> tuple[Path, GivenPoses, tuple[str, ...]]:
    """The folder and poses of one of several models, and what was not taken, for the user.

    Args:
        models: Their folders, by number.
        number: Which one to take; None takes the one with the most photos.
        choose: How to take another, for the user.

    Raises:
        UsageError: There is no model of this number.
        DepthrfError: The only model is damaged.
    """
    if number is not None and number not in models:
        raise UsageError(f"There is no model {number}; found {', '.join(map(str, models))}.")
    poses, broken = {}, {}
    for key, path in models.items():
        try:
            poses[key] = read_poses(path)
        except DepthrfError as e:
            if number == key or len(models) == 1:
                raise
            broken[key] = str(e)
    if not poses:
        raise UsageError(next(iter(broken.values())))
    chosen = number if number is not None else max(poses, key=lambda key: (len(poses[key].photos), -key))
    others = [f"model {key} with {counted(len(p.photos), 'photo')}" for key, p in poses.items() if key != chosen]
    remarks = [f"its model {key} is left out: {reason}" for key, reason in broken.items()]
    if others:
        count = counted(len(poses[chosen].photos), "photo")
        why = "" if number is not None else ", the largest"
        remarks.append(f"model {chosen} with {count}{why}, is used; there is also {', '.join(others)} ({choose})")
    return models[chosen], poses[chosen], tuple(remarks)


def numbered_models(folder: Path) -> dict[int, Path]:
    """The models in the numbered sub-folders of a folder that the mapper wrote to; of the folder itself, number 0."""
    if is_model(folder):
        return {0: folder}
    numbered = [p for p in folder.iterdir() if p.name.isascii() and p.name.isdigit()] if folder.is_dir() else []
    return {int(p.name): p for p in sorted(numbered, key=lambda p: int(p.name)) if is_model(p)}


def _models(folder: Path) -> dict[int, Path]:
    return next((models for place in _PLACES if (models := numbered_models(folder / place))), {})
