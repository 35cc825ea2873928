"""A ``transforms.json`` with its photos (nerfstudio, instant-ngp), or Blender's ``transforms_train.json`` and others.

Photos and depth maps are named relative to the file: nerfstudio's ``depth_file_path`` with ``depth_unit_scale_factor``
(metres per count, 0.001 when left out), instant-ngp's ``depth_path`` with ``integer_depth_scale``, ``mask_path`` of
both (black is ignored).
https://docs.nerf.studio/quickstart/data_conventions.html
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from depthrf.errors import UsageError
from depthrf.io.captures.capture import MILLIMETRE, Capture, SensorFile, Shot, spare_photos
from depthrf.io.captures.listed import Listed
from depthrf.io.dataset_paths import DEPTH_MAP, MASK, plain_name
from depthrf.io.files import parsing
from depthrf.io.poses.given_poses import GivenPoses, user_json
from depthrf.io.poses.transforms_json import frames_of, read_transforms

KIND = "folder with transforms.json"
_WHOLE = "transforms.json"
_TRAIN, _TEST, _VALIDATION = "transforms_train.json", "transforms_test.json", "transforms_val.json"


def matches(folder: Path) -> bool:
    return (folder / _WHOLE).is_file() or (folder / _TRAIN).is_file()


def read(folder: Path, *, outside: bool = False) -> Capture:
    """Raises UsageError where a file is not as its writers make it, or none of its photos is there."""
    names = (_WHOLE,) if (folder / _WHOLE).is_file() else (_TRAIN, _TEST)
    files = tuple(folder / name for name in names if (folder / name).is_file())
    listed = Listed(folder, outside=outside)
    shots, remarks = [], []
    for file in files:
        with parsing(file, "a transforms.json"):
            found, said = _shots(file, listed, test=file.name == _TEST)
        shots += found
        remarks += said
    if names == (_WHOLE,):
        shots.sort(key=lambda shot: shot.photo)  # as nerfstudio, for splits by number
    elif (folder / _VALIDATION).is_file():
        remarks.append(f"{_VALIDATION} is not used: photos are for training or tests here")
    if not shots:
        told = "; ".join(listed.remarks())
        raise UsageError(f"None of the photos that the transforms.json in {folder} lists is there ({told}).")
    listed.without_pose(spare_photos(shots))
    return Capture(KIND, folder, shots, files, (*remarks, *listed.remarks()), left_out=listed.left_out)


def _shots(path: Path, listed: Listed, *, test: bool) -> tuple[list[Shot], list[str]]:
    """The photos of one file, and what its user should know."""
    content = user_json(path)
    given = read_transforms(path)
    posed = {photo.name: photo for photo in given.photos}
    unit = content.get("depth_unit_scale_factor") or content.get("integer_depth_scale") or MILLIMETRE
    shots, unlisted, rolling = [], 0, False
    for frame in frames_of(path, content):
        name = plain_name(frame["file_path"])
        if name in given.absent:
            listed.expect(str(frame["file_path"]), None)
        if name not in posed:
            continue
        if not _is_in_split(given, name):
            unlisted += 1
            continue
        image = listed.find(str(frame["file_path"]))
        if image is None:
            continue
        sensor = _sensor(path, frame, unit, listed)
        mask = listed.find(str(frame["mask_path"]), MASK) if frame.get("mask_path") else None
        held_out = test or (name in given.test and name not in (given.train or ()))
        shots.append(Shot(image, posed[name].camera, posed[name].cam_from_world, sensor, test=held_out, mask=mask))
        rolling = rolling or any(frame.get("rolling_shutter") or ())
    listed.lost(given.lost)
    remarks = [f"{unlisted} photos are in neither its train nor its test list and are not used"] if unlisted else []
    if rolling:
        remarks.append("its rolling_shutter is not modelled: each photo counts as taken at one instant")
    return shots, remarks


def _is_in_split(given: GivenPoses, name: str) -> bool:
    return given.train is None or name in given.train | given.test


def _sensor(path: Path, frame: dict[str, Any], unit: Any, listed: Listed) -> SensorFile | None:
    name = frame.get("depth_file_path") or frame.get("depth_path")
    depth = listed.find(str(name), DEPTH_MAP) if name else None
    if depth is None:
        return None
    try:
        return SensorFile(depth, metres_per_count=float(unit))
    except (TypeError, ValueError, OverflowError):
        raise UsageError(f"{path}: the depth unit should be a number, found {unit!r}.") from None
