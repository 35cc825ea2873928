"""3D Scanner App (Laan Labs), "All Data" export: ARKit frames as JSON.

``frame_00012.json`` holds ``cameraPoseARFrame``, 16 numbers row by row, camera-to-world with ARKit's axes (x right,
y up, z backward), and ``intrinsics``, 9 numbers row by row, for ``frame_00012.jpg``. Only some frames have a photo.
Depth is ``depth_00012.png`` (16-bit, millimetres) or ``frame_00012.exr`` (metres), confidence ``conf_00012.png``
(0, 1, 2). Conventions as used by https://github.com/pwais/psegs (``psegs/datasets/ios_lidar.py``) and others.
"""

from __future__ import annotations

import re
from pathlib import Path

from depthrf.geometry.transforms import cam_from_world_of_opengl
from depthrf.io.captures.capture import Capture, SensorFile, Shot, image_size, numbers, pinhole
from depthrf.io.captures.listed import Listed
from depthrf.io.files import parsing, why_not_regular
from depthrf.io.poses.given_poses import checked_lens, checked_rigid, user_json

KIND = "3D Scanner App export"
_FRAME = re.compile(r"frame_(\d+)\.json")


def matches(folder: Path) -> bool:
    return any(_FRAME.fullmatch(p.name) for p in folder.glob("frame_*.json"))


def read(folder: Path) -> Capture:
    """Raises UsageError where a frame is not as the app writes it."""
    listed = Listed(folder)
    shots = []
    for path in sorted(folder.glob("frame_*.json")):
        match, photo = _FRAME.fullmatch(path.name), path.with_suffix(".jpg")
        if match is None or why_not_regular(photo) is not None:
            continue  # most frames have no photo
        with parsing(path, "a frame of 3D Scanner App"), listed.frame(photo.name):
            frame, where = user_json(path), str(path)
            key = "cameraPoseARFrame"
            pose = checked_rigid(numbers(frame.get(key), (4, 4), f"{where}: {key}"), where, key)
            matrix = numbers(frame.get("intrinsics"), (3, 3), f"{where}: intrinsics")
            lens = checked_lens(pinhole(matrix, *image_size(photo)), where)
            shots.append(Shot(photo, lens, cam_from_world_of_opengl(pose), _sensor(folder, match[1])))
    listed.without_pose(path for path in sorted(folder.glob("frame_*.jpg")) if not path.with_suffix(".json").is_file())
    files = tuple(shot.photo.with_suffix(".json") for shot in shots)
    return Capture(KIND, folder, shots, files, listed.remarks(), tracked=True, left_out=listed.left_out)


def _sensor(folder: Path, number: str) -> SensorFile | None:
    confidence = folder / f"conf_{number}.png"
    for depth in (folder / f"depth_{number}.png", folder / f"frame_{number}.exr"):
        if depth.is_file():
            return SensorFile(depth, confidence=confidence if confidence.is_file() else None)
    return None
