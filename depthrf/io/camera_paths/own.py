"""depthrf's own camera paths: JSON that a person can write.

    {"format": "depthrf camera path",
     "keyframes": [{"photo": "IMG_1.jpg", "time": 0, "fov": 60},
                   {"position": [0, -1, 2], "look_at": "IMG_7.jpg", "time": 2.5},
                   {"cam_from_world": [[1, 0, 0, 0], ...], "time": 4}]}

A keyframe is at a photo's place or at ``position``; it looks as the photo does, or at the point or photo ``look_at``;
or it is a whole ``cam_from_world``. ``time`` is in seconds, in all keyframes or in none; ``fov`` is the vertical field
of view in degrees. Instead of ``keyframes``, ``frames`` of the same kind are the film's frames one by one. ``fps``,
``width``, ``height`` and ``loop`` may stand beside them. Positions are in the frame of the workspace's transforms.json
with OpenCV axes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from depthrf.errors import UsageError
from depthrf.geometry.camera import Array, View
from depthrf.geometry.paths.focus import vertical
from depthrf.geometry.paths.keyframes import Keyframe
from depthrf.geometry.paths.timing import level
from depthrf.geometry.transforms import look_at, rigid
from depthrf.io.camera_paths.path_file import FilmPlan, PathFile, film_size, number
from depthrf.io.poses.given_poses import checked_rigid
from depthrf.storage import write_json

FORMAT = "depthrf camera path"
_KEYS = {"photo", "position", "look_at", "cam_from_world", "time", "fov", "trust"}


def recognises(content: Mapping[str, Any]) -> bool:
    """Whether a JSON object is such a path."""
    return content.get("format") == FORMAT or ("keyframes" in content and "camera_path" not in content)


def read(path: Path, content: Mapping[str, Any], views: Sequence[View]) -> PathFile:
    """Reads a path.

    Args:
        path: The file, for messages.
        content: Its JSON.
        views: The workspace's photos.

    Raises:
        UsageError: A keyframe is not as described above, or names a photo that is not there.
    """
    every_frame = "frames" in content
    listed = content.get("frames" if every_frame else "keyframes")
    if not isinstance(listed, list) or not listed:
        raise UsageError(f"{path} has no keyframes; expected a list `keyframes` or `frames`.")
    up = vertical(views)
    keyframes = [_keyframe(entry, f"{path}: keyframe {i}", views, up) for i, entry in enumerate(listed)]
    times = [k.time for k in keyframes if k.time is not None]
    if times and not every_frame:
        if len(times) < len(keyframes):
            raise UsageError(f"{path}: {len(times)} of {len(keyframes)} keyframes have a time; give all one, or none.")
        if any(b <= a for a, b in pairwise(times)):
            raise UsageError(f"{path}: the times of the keyframes should ascend; found {times}.")
    fps = number(content, "fps", str(path), positive=True)
    size = film_size(content, "width", "height", str(path))
    return PathFile(keyframes, every_frame, fps, size, bool(content.get("loop", False)))


def write(path: Path, plan: FilmPlan) -> None:
    """Writes every frame; :func:`read` gives them back."""
    write_json(path, content_of(plan))


def content_of(plan: FilmPlan) -> dict[str, Any]:
    """The JSON object of a plan."""
    frames = [
        {"time": round(i / plan.fps, 6), "fov": float(fov), "cam_from_world": pose.tolist()}
        for i, (pose, fov) in enumerate(zip(plan.cam_from_world, plan.fov, strict=True))
    ]
    for frame, trust in zip(frames, plan.trust, strict=False):
        frame["trust"] = trust
    width, height = plan.size
    return {
        "format": FORMAT,
        "fps": plan.fps,
        "width": width,
        "height": height,
        "loop": plan.loop,
        "frames": frames,
    }


def _keyframe(entry: Any, where: str, views: Sequence[View], up: Array) -> Keyframe:
    if not isinstance(entry, dict):
        raise UsageError(f"{where} should be an object with photo, position or cam_from_world; found {entry!r}")
    if unknown := sorted(set(entry) - _KEYS):
        raise UsageError(f"{where} has the unknown key {unknown[0]!r}; known keys: {', '.join(sorted(_KEYS))}")
    if "cam_from_world" in entry:
        pose = checked_rigid(entry["cam_from_world"], where, "cam_from_world")
    else:
        pose = _placed(entry, where, views, up)
    fov = number(entry, "fov", where)
    if fov is not None and not 1.0 <= fov <= 170.0:
        raise UsageError(f"{where}: fov is the vertical field of view, 1 to 170 degrees; found {fov:g}")
    return Keyframe(pose, number(entry, "time", where), fov)


def _placed(entry: Mapping[str, Any], where: str, views: Sequence[View], up: Array) -> Array:
    """``cam_from_world`` of a keyframe that says where it is and what it looks at, with a level horizon."""
    photo = _view(entry["photo"], where, views) if "photo" in entry else None
    if photo is None and "position" not in entry:
        raise UsageError(f"{where} should have photo, position or cam_from_world.")
    if photo is None and "look_at" not in entry:
        raise UsageError(f"{where} has a position but no look_at (a point [x, y, z] or a photo's name).")
    centre = _point(entry["position"], f"{where}: position") if "position" in entry else None
    centre = photo.centre if centre is None and photo is not None else centre
    assert centre is not None
    if "look_at" in entry:
        at = entry["look_at"]
        target = _view(at, where, views).centre if isinstance(at, str) else _point(at, f"{where}: look_at")
        if np.linalg.norm(np.cross(target - centre, up)) <= 0.02 * np.linalg.norm(target - centre):
            raise UsageError(f"{where} looks straight up or down, or at its own place; give a cam_from_world instead.")
        return look_at(centre, target, up)
    assert photo is not None
    rotation = level(photo.cam_from_world[None, :3, :3], up)[0]
    return rigid(rotation, -rotation @ centre)


def _view(name: Any, where: str, views: Sequence[View]) -> View:
    found = next((v for v in views if name in (v.name, v.stem)), None)
    if found is None:
        names = ", ".join(v.name for v in views[:8]) + (", ..." if len(views) > 8 else "")
        raise UsageError(f"{where}: there is no photo {name!r} in the workspace; photos: {names}")
    return found


def _point(value: Any, where: str) -> Array:
    try:
        point = np.array(value, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        point = np.zeros(0)
    if point.shape != (3,) or not np.isfinite(point).all():
        raise UsageError(f"{where} should be three numbers [x, y, z]; found {str(value)[:80]}")
    return point
