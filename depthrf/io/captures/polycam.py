"""Polycam's "raw data" export (LiDAR or room captures with developer mode on).

``keyframes/`` holds ``corrected_images`` with ``corrected_cameras`` (undistorted, poses optimised; absent in large
captures) beside the phone's own ``images`` with ``cameras``, and ``depth`` (16-bit PNG, millimetres) with
``confidence`` (8-bit PNG: 0 low, 127 medium, 255 high), all named by the frame's time. A camera's ``t_ij`` are rows of
camera-to-world with ARKit's axes (x right, y up, z backward). https://github.com/PolyCam/polyform, README and
``core/capture_folder.py``.
"""

from __future__ import annotations

from pathlib import Path

from depthrf.geometry.lens import Lens
from depthrf.geometry.transforms import cam_from_world_of_opengl
from depthrf.io.captures.capture import (
    PICTURES,
    Array,
    Capture,
    SensorFile,
    Shot,
    by_number,
    files_by_stem,
    numbers,
)
from depthrf.io.given_poses import checked_lens, checked_rigid, user_json

KIND = "Polycam export"
_LEVELS = (1, 255)


def matches(folder: Path) -> bool:
    return any((folder / "keyframes" / name).is_dir() for name in ("cameras", "corrected_cameras"))


def read(folder: Path) -> Capture:
    """Raises UsageError where a camera's file is not as Polycam writes it."""
    frames = folder / "keyframes"
    corrected = (frames / "corrected_cameras").is_dir() and (frames / "corrected_images").is_dir()
    prefix = "corrected_" if corrected else ""
    photos = files_by_stem(frames / f"{prefix}images", *PICTURES)
    cameras = files_by_stem(frames / f"{prefix}cameras", ".json")
    originals = files_by_stem(frames / "cameras", ".json")
    depths = files_by_stem(frames / "depth", ".png")
    confidences = files_by_stem(frames / "confidence", ".png")
    shots = []
    for stem in by_number(photos):
        if stem not in cameras:
            continue
        lens, cam_from_world = _camera(cameras[stem])
        sensor = None
        if stem in depths:
            # Depth shows what the phone's own image shows, not the corrected one.
            own = _camera(originals[stem])[0] if corrected and stem in originals else None
            sensor = SensorFile(depths[stem], confidence=confidences.get(stem), levels=_LEVELS, camera=own)
        shots.append(Shot(photos[stem], lens, cam_from_world, sensor))
    remarks = () if corrected else ("its poses are the phone's own, not optimised by Polycam",)
    return Capture(KIND, folder, shots, (*cameras.values(), *originals.values()), remarks, tracked=True)


def _camera(path: Path) -> tuple[Lens, Array]:
    values = user_json(path)
    where = str(path)
    size = numbers([values.get(k) for k in ("width", "height")], (2,), f"{where}: width, height")
    params = numbers([values.get(k) for k in ("fx", "fy", "cx", "cy")], (4,), f"{where}: fx, fy, cx, cy")
    rows = numbers([values.get(f"t_{i}{j}") for i in range(3) for j in range(4)], (3, 4), f"{where}: t_00 to t_23")
    lens = Lens("PINHOLE", int(size[0]), int(size[1]), tuple(params.tolist()))
    return checked_lens(lens, where), cam_from_world_of_opengl(checked_rigid(rows, where, "t_ij"))
