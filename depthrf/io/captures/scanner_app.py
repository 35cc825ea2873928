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
from depthrf.io.given_poses import checked_lens, checked_rigid, user_json

KIND = "3D Scanner App export"
_FRAME = re.compile(r"frame_(\d+)\.json")


def matches(folder: Path) -> bool:
    return any(_FRAME.fullmatch(p.name) for p in folder.glob("frame_*.json"))


def read(folder: Path) -> Capture:
    """Raises UsageError where a frame is not as the app writes it."""
    shots = []
    for path in sorted(folder.glob("frame_*.json")):
        match, photo = _FRAME.fullmatch(path.name), path.with_suffix(".jpg")
        if match is None or not photo.is_file():
            continue
        frame, where = user_json(path), str(path)
        pose = checked_rigid(
            numbers(frame.get("cameraPoseARFrame"), (4, 4), f"{where}: cameraPoseARFrame"), where, "cameraPoseARFrame"
        )
        matrix = numbers(frame.get("intrinsics"), (3, 3), f"{where}: intrinsics")
        lens = checked_lens(pinhole(matrix, *image_size(photo)), where)
        shots.append(Shot(photo, lens, cam_from_world_of_opengl(pose), _sensor(folder, match[1])))
    return Capture(KIND, folder, shots, tuple(shot.photo.with_suffix(".json") for shot in shots), tracked=True)


def _sensor(folder: Path, number: str) -> SensorFile | None:
    confidence = folder / f"conf_{number}.png"
    for depth in (folder / f"depth_{number}.png", folder / f"frame_{number}.exr"):
        if depth.is_file():
            return SensorFile(depth, confidence=confidence if confidence.is_file() else None)
    return None
