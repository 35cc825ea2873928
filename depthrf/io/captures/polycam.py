"""Polycam's "raw data" export (LiDAR or room captures with developer mode on).

``keyframes/`` holds ``corrected_images`` with ``corrected_cameras`` (undistorted, poses optimised; absent in large
captures) beside the phone's own ``images`` with ``cameras``, and ``depth`` (16-bit PNG, millimetres) with
``confidence`` (8-bit PNG: 0 low, 127 medium, 255 high), all named by the frame's time. A camera's ``t_ij`` are rows of
camera-to-world with ARKit's axes (x right, y up, z backward). https://github.com/PolyCam/polyform, README and
``core/capture_folder.py``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from depthrf.geometry.lens import Lens
from depthrf.geometry.transforms import cam_from_world_of_opengl
from depthrf.io.captures.capture import (
    PICTURES,
    Array,
    Capture,
    SensorFile,
    Shot,
    by_number,
    fields,
    files_by_stem,
    image_size,
    pixels,
)
from depthrf.io.captures.listed import Listed
from depthrf.io.dataset_paths import DEPTH_MAP
from depthrf.io.files import parsing
from depthrf.io.poses.given_poses import checked_lens, checked_rigid, user_json

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
    listed = Listed(frames)
    shots = []
    for stem in by_number(cameras):
        photo = listed.expect(f"{prefix}images/{stem}.jpg", photos.get(stem))
        if photo is None:
            continue
        own = _values(originals[stem]) if corrected and stem in originals else {}
        with listed.frame(photo.name):
            lens, cam_from_world = _camera(cameras[stem], _values(cameras[stem]), own, photo)
            sensor = None
            if depths and listed.expect(f"depth/{stem}.png", depths.get(stem), DEPTH_MAP):
                # Depth shows what the phone's own image shows, not the corrected one.
                camera = _lens(originals[stem], own, {}, photo) if own else None
                sensor = SensorFile(depths[stem], confidence=confidences.get(stem), levels=_LEVELS, camera=camera)
            shots.append(Shot(photo, lens, cam_from_world, sensor))
    listed.without_pose(path for stem, path in photos.items() if stem not in cameras)
    own_poses = () if corrected else ("its poses are the phone's own, not optimised by Polycam",)
    return Capture(
        KIND,
        folder,
        shots,
        (*cameras.values(), *originals.values()),
        (*own_poses, *listed.remarks()),
        tracked=True,
        left_out=listed.left_out,
    )


def _values(path: Path) -> dict[str, Any]:
    with parsing(path, "a camera of Polycam"):
        return user_json(path)


def _camera(path: Path, values: dict[str, Any], own: dict[str, Any], photo: Path) -> tuple[Lens, Array]:
    keys = [f"t_{row}{column}" for row in range(3) for column in range(4)]
    rows = fields(values, keys, str(path)).reshape(3, 4)
    lens = _lens(path, values, own, photo)
    return lens, cam_from_world_of_opengl(checked_rigid(rows, str(path), "t_ij"))


def _lens(path: Path, values: dict[str, Any], own: dict[str, Any], photo: Path) -> Lens:
    """The lens; where the file leaves the size out, that of the phone's own camera file, or of the picture."""
    known = {**{key: own[key] for key in ("width", "height") if own.get(key)}, **values}
    if known.get("width") is None or known.get("height") is None:
        known["width"], known["height"] = image_size(photo)
    found = fields(known, ("width", "height", "fx", "fy", "cx", "cy"), str(path))
    return checked_lens(Lens("PINHOLE", *pixels(found[:2], str(path)), tuple(found[2:].tolist())), str(path))
