"""7-Scenes sequences (Microsoft Research), and folders laid out like them.

``frame-000000.color.png``, ``frame-000000.depth.png`` (16-bit, millimetres, 65535 = missing) and
``frame-000000.pose.txt`` (4x4 camera-to-world, OpenCV's axes) lie in one folder. No file holds intrinsics; the data
set's page gives a focal length of 585 pixels and the centre (320, 240) for both cameras at 640x480.
https://www.microsoft.com/en-us/research/project/rgb-d-dataset-7-scenes/
"""

from __future__ import annotations

from pathlib import Path

from depthrf.geometry.lens import Lens
from depthrf.geometry.transforms import invert_rigid
from depthrf.io.captures.capture import Capture, SensorFile, Shot, image_size, text_matrix
from depthrf.io.captures.listed import Listed
from depthrf.io.dataset_paths import DEPTH_MAP
from depthrf.io.files import parsing, why_not_regular
from depthrf.io.poses.given_poses import checked_rigid

KIND = "7-Scenes sequence"
_LENS = Lens("PINHOLE", 640, 480, (585.0, 585.0, 320.0, 240.0))
_COLOR, _DEPTH, _POSE = ".color.png", ".depth.png", ".pose.txt"


def matches(folder: Path) -> bool:
    return any(path.with_name(path.name.removesuffix(_POSE) + _COLOR).is_file() for path in folder.glob(f"*{_POSE}"))


def read(folder: Path) -> Capture:
    """Raises UsageError where a pose is no matrix."""
    listed = Listed(folder)
    poses = sorted(folder.glob(f"*{_POSE}"))
    has_depth = any(folder.glob(f"*{_DEPTH}"))
    shots = []
    for path in poses:
        frame = path.name.removesuffix(_POSE)
        photo = listed.expect(frame + _COLOR, _there(folder / (frame + _COLOR)))
        if photo is None:
            continue
        with parsing(path, "a pose of 7-Scenes"), listed.frame(photo.name):
            pose = checked_rigid(text_matrix(path), str(path), "the pose")
            depth = _there(folder / (frame + _DEPTH)) if has_depth else None
            if has_depth:
                listed.expect(frame + _DEPTH, depth, DEPTH_MAP)
            sensor = SensorFile(depth) if depth is not None else None
            shots.append(Shot(photo, _LENS.resized(*image_size(photo)), invert_rigid(pose), sensor))
    listed.without_pose(path for path in sorted(folder.glob(f"*{_COLOR}")) if not (folder / _pose_name(path)).is_file())
    remarks = ("it holds no intrinsics: those of the data set's page are used", *listed.remarks())
    return Capture(KIND, folder, shots, tuple(poses), remarks, tracked=True, left_out=listed.left_out)


def _pose_name(photo: Path) -> str:
    return photo.name.removesuffix(_COLOR) + _POSE


def _there(path: Path) -> Path | None:
    return path if why_not_regular(path) is None else None
