"""ScanNet's exported frames, and folders laid out like them.

``color/N.jpg``, ``depth/N.png`` (16-bit, millimetres), ``pose/N.txt`` (4x4 camera-to-world, OpenCV's axes: x right,
y down, z forward; -inf where tracking was lost), ``intrinsic/intrinsic_color.txt``, ``intrinsic_depth.txt`` (4x4, the
first pixel's centre at 0). Depth has its own intrinsics and the photo's axis: ScanNet's frames share one pose.

Room scenes with 18 training photos and 8 tests: ``--holdout tests.txt --max-photos 18`` with the published test frames
one a line (``120`` or ``120.jpg``), or of N frames ``--holdout every:K`` with K = N / 8, rounded up. Frames count by
number, and the training photos lie at equal steps between the tests.
https://github.com/ScanNet/ScanNet, ``SensReader``.
"""

from __future__ import annotations

from pathlib import Path

from depthrf.errors import UsageError
from depthrf.geometry.lens import Lens
from depthrf.geometry.transforms import invert_rigid
from depthrf.io.captures.capture import (
    PICTURES,
    Capture,
    SensorFile,
    Shot,
    by_number,
    files_by_stem,
    image_size,
    pinhole,
    text_matrix,
)
from depthrf.io.captures.listed import Listed
from depthrf.io.dataset_paths import DEPTH_MAP
from depthrf.io.files import parsing
from depthrf.io.poses.given_poses import checked_lens, checked_rigid

KIND = "ScanNet folder"


def matches(folder: Path) -> bool:
    return (folder / "pose").is_dir() and (folder / "color").is_dir() and _intrinsics(folder, "color") is not None


def read(folder: Path) -> Capture:
    """Raises UsageError where a pose or the intrinsics are not matrices."""
    photos = files_by_stem(folder / "color", *PICTURES)
    poses = files_by_stem(folder / "pose", ".txt")
    depths = files_by_stem(folder / "depth", ".png")
    color, depth_intrinsics = _intrinsics(folder, "color"), _intrinsics(folder, "depth")
    assert color is not None
    listed = Listed(folder)
    shots = []
    for stem in by_number(poses):
        photo = listed.expect(f"color/{stem}.jpg", photos.get(stem))
        if photo is None:
            continue
        with parsing(poses[stem], "a pose of ScanNet"), listed.frame(photo.name):
            pose = checked_rigid(text_matrix(poses[stem]), str(poses[stem]), "the pose")
            sensor = None
            if depths and listed.expect(f"depth/{stem}.png", depths.get(stem), DEPTH_MAP):
                sensor = _sensor(depths[stem], depth_intrinsics)
            shots.append(Shot(photo, _lens(color, photo), invert_rigid(pose), sensor))
    listed.without_pose(path for stem, path in photos.items() if stem not in poses)
    files = (color, *poses.values(), *([depth_intrinsics] if depth_intrinsics else []))
    return Capture(KIND, folder, shots, files, listed.remarks(), tracked=True, left_out=listed.left_out)


def _sensor(path: Path, intrinsics: Path | None) -> SensorFile:
    return SensorFile(path, camera=_lens(intrinsics, path) if intrinsics is not None else None)


def _intrinsics(folder: Path, of: str) -> Path | None:
    places = (folder / "intrinsic" / f"intrinsic_{of}.txt", folder / f"intrinsic_{of}.txt")
    return next((p for p in places if p.is_file()), None)


def _lens(path: Path, picture: Path) -> Lens:
    matrix = text_matrix(path)
    if matrix.ndim != 2 or min(matrix.shape) < 3:
        raise UsageError(f"{path} should hold a 4x4 or 3x3 calibration matrix.")
    return checked_lens(pinhole(matrix, *image_size(picture), first_pixel=0.0), str(path))
