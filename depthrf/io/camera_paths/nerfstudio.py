"""nerfstudio's camera paths, as its viewer exports and ``ns-render camera-path`` reads them.

Every frame of ``camera_path`` has ``camera_to_world``, 16 numbers by rows with OpenGL axes, and ``fov``, the vertical
field of view in degrees. (nerfstudio ``cameras/camera_paths.py``, ``get_path_from_json``; ``viewer/render_panel.py``.)

nerfstudio moves and scales a scene before training, and its paths are in that frame. Where the
``dataparser_transforms.json`` of its training run lies beside the path, that is undone. Else the path is taken to be
in the frame of transforms.json, as it is after training with ``--orientation-method none --center-method none
--auto-scale-poses False``.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from depthrf.errors import UsageError
from depthrf.geometry.paths.keyframes import Keyframe
from depthrf.geometry.transforms import Similarity, cam_from_world_of_opengl, opengl_of_cam_from_world
from depthrf.io.camera_paths.path_file import FilmPlan, PathFile, film_size, number
from depthrf.io.poses.given_poses import checked_rigid, user_json
from depthrf.storage import write_json

_FRAME_FILE = "dataparser_transforms.json"


def recognises(content: Mapping[str, Any]) -> bool:
    """Whether a JSON object is such a path."""
    return "camera_path" in content


def read(path: Path, content: Mapping[str, Any]) -> PathFile:
    """Reads a path; each of its poses is a frame.

    Raises:
        UsageError: It is not as nerfstudio writes it, or its cameras are not perspective.
    """
    frames, kind = content["camera_path"], content.get("camera_type", "perspective")
    if kind != "perspective":
        raise UsageError(f"{path} has camera_type {kind}; expected perspective.")
    if not isinstance(frames, list) or not frames:
        raise UsageError(f"{path}: camera_path should be a list of at least one frame.")
    scene_from_file = _scene_from_file(path.parent / _FRAME_FILE)
    keyframes = []
    for index, frame in enumerate(frames):
        where = f"{path}: frame {index}"
        try:
            matrix = np.array(frame["camera_to_world"], dtype=np.float64).reshape(4, 4)
            fov = number({"fov": frame["fov"]}, "fov", where, positive=True)
        except (KeyError, TypeError, ValueError, OverflowError) as e:
            raise UsageError(f"{where} should have camera_to_world (16 numbers) and fov (degrees): {e}") from e
        pose = cam_from_world_of_opengl(checked_rigid(matrix, where, "camera_to_world"))
        keyframes.append(Keyframe(scene_from_file.apply_to_pose(pose), fov=fov))
    fps, seconds = (number(content, key, str(path), positive=True) for key in ("fps", "seconds"))
    fps = fps or (len(frames) / seconds if seconds else 24.0)
    size = film_size(content, "render_width", "render_height", str(path))
    return PathFile(keyframes, True, fps, size, bool(content.get("is_cycle", False)))


def _scene_from_file(path: Path) -> Similarity:
    """The frame of transforms.json from that of the path: the inverse of what nerfstudio did, x -> scale (R x + t)."""
    if not path.is_file():
        return Similarity(1.0, np.eye(3), np.zeros(3))
    content = user_json(path)
    pose = checked_rigid(content.get("transform"), str(path), "transform")
    scale = number(content, "scale", str(path), positive=True) or 1.0
    return Similarity(scale, pose[:3, :3], scale * pose[:3, 3]).inverse()


def write(path: Path, plan: FilmPlan) -> None:
    """Writes every frame, and about one a second as the keyframes that nerfstudio's viewer shows."""
    width, height = plan.size
    aspect = width / height
    poses = [opengl_of_cam_from_world(pose).flatten().tolist() for pose in plan.cam_from_world]
    frames = [
        {"camera_to_world": pose, "fov": float(fov), "aspect": aspect}
        for pose, fov in zip(poses, plan.fov, strict=True)
    ]
    every = max(1, round(plan.fps))
    keyframes = [
        {
            "matrix": frame["camera_to_world"],
            "fov": frame["fov"],
            "aspect": aspect,
            "override_transition_enabled": False,
            "override_transition_sec": None,
        }
        for frame in frames[::every]
    ]
    content = {
        "default_fov": float(plan.fov[0]),
        "default_transition_sec": every / plan.fps,
        "keyframes": keyframes,
        "camera_type": "perspective",
        "render_height": height,
        "render_width": width,
        "fps": plan.fps,
        "seconds": len(frames) / plan.fps,
        "is_cycle": plan.loop,
        "smoothness_value": 0.0,
        "camera_path": frames,
    }
    write_json(path, content)
