"""A ``transforms.json`` with its photos (nerfstudio, instant-ngp), or Blender's ``transforms_train.json`` and others.

Photos and depth maps are named relative to the file: nerfstudio's ``depth_file_path`` with ``depth_unit_scale_factor``
(metres per count, 0.001 when left out), instant-ngp's ``depth_path`` with ``integer_depth_scale``.
https://docs.nerf.studio/quickstart/data_conventions.html
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from depthrf.errors import UsageError
from depthrf.io.captures.capture import MILLIMETRE, Capture, SensorFile, Shot, left_out
from depthrf.io.given_poses import user_json
from depthrf.io.transforms_json import find_image, read_transforms

KIND = "folder with transforms.json"
_WHOLE = "transforms.json"
_TRAIN, _TEST = "transforms_train.json", "transforms_test.json"


def matches(folder: Path) -> bool:
    return (folder / _WHOLE).is_file() or (folder / _TRAIN).is_file()


def read(folder: Path) -> Capture:
    """Raises UsageError where a file is not as its writers make it, or none of its photos is there."""
    names = (_WHOLE,) if (folder / _WHOLE).is_file() else (_TRAIN, _TEST)
    files = tuple(folder / name for name in names if (folder / name).is_file())
    shots = [shot for file in files for shot in _shots(file, test=file.name == _TEST)]
    if names == (_WHOLE,):
        shots.sort(key=lambda shot: shot.photo)  # as nerfstudio, for splits by number
    if not shots:
        raise UsageError(f"None of the photos that the transforms.json in {folder} lists is there.")
    return Capture(KIND, folder, shots, files, left_out(shots))


def _shots(path: Path, *, test: bool) -> list[Shot]:
    content = user_json(path)
    given = read_transforms(path)
    unit = content.get("depth_unit_scale_factor") or content.get("integer_depth_scale") or MILLIMETRE
    shots = []
    for photo, frame in zip(given.photos, content["frames"], strict=True):
        image = find_image(path.parent, photo.name)
        listed = given.train is None or photo.name in given.train | given.test
        if image is None or not listed:
            continue
        held_out = test or (photo.name in given.test and photo.name not in (given.train or ()))
        sensor = _sensor(path, frame, unit)
        shots.append(Shot(image, photo.camera, photo.cam_from_world, sensor, test=held_out))
    return shots


def _sensor(path: Path, frame: dict[str, Any], unit: Any) -> SensorFile | None:
    name = frame.get("depth_file_path") or frame.get("depth_path")
    depth = path.parent / str(name)
    if not name or not depth.is_file():
        return None
    try:
        return SensorFile(depth, metres_per_count=float(unit))
    except (TypeError, ValueError):
        raise UsageError(f"{path}: the depth unit should be a number, found {unit!r}.") from None
