"""Stray Scanner recordings (ARKit with LiDAR).

``odometry.csv`` has a line a frame: timestamp, frame, x, y, z, qx, qy, qz, qw, camera-to-world. The app turns ARKit's
camera by half a turn about x before it writes, so the axes are OpenCV's (x right, y down, z forward).
``camera_matrix.csv`` is for the video ``rgb.mp4`` (or its frames in ``rgb/``, named by number); ``depth/<frame>.png``
(16-bit, millimetres) and ``confidence/<frame>.png`` (0, 1, 2) cover the same view at 256x192.
https://github.com/strayrobots/scanner: ``docs/format.md`` and ``Helpers/OdometryEncoder.swift`` (``q_AC``).
"""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

from depthrf.errors import UsageError
from depthrf.geometry.transforms import invert_rigid
from depthrf.io.captures.capture import (
    PICTURES,
    Array,
    Capture,
    SensorFile,
    Shot,
    files_by_stem,
    image_size,
    numbers,
    pinhole,
    text_matrix,
    world_from_quaternion,
)
from depthrf.io.captures.listed import Listed
from depthrf.io.dataset_paths import DEPTH_MAP
from depthrf.io.files import parsing, read_text
from depthrf.io.poses.given_poses import checked_lens
from depthrf.io.video import read_frames

KIND = "Stray Scanner recording"
_COLUMNS = ("x", "y", "z", "qx", "qy", "qz", "qw")


def matches(folder: Path) -> bool:
    return all((folder / name).is_file() for name in ("odometry.csv", "camera_matrix.csv"))


def read(folder: Path) -> Capture:
    """Raises UsageError where a file is missing or not as the app writes it."""
    pictures = {int(stem): path for stem, path in files_by_stem(folder / "rgb", *PICTURES).items() if stem.isdigit()}
    video = folder / "rgb.mp4"
    if not pictures and not video.is_file():
        raise UsageError(f"{folder} has neither rgb.mp4 nor frames in rgb/; expected a whole {KIND}.")
    width, height = _video_size(video) if video.is_file() else image_size(next(iter(pictures.values())))
    matrix = text_matrix(folder / "camera_matrix.csv")
    if matrix.shape != (3, 3):
        raise UsageError(f"{folder / 'camera_matrix.csv'} should hold 3x3 numbers.")
    lens = checked_lens(pinhole(matrix, width, height), str(folder / "camera_matrix.csv"))
    depths = _by_number(folder / "depth")
    confidences = _by_number(folder / "confidence")
    listed = Listed(folder)
    shots = []
    for row, (number, values, where) in enumerate(_odometry(folder / "odometry.csv")):
        name = f"rgb/{number:06d}"
        with listed.frame(name):
            pose = invert_rigid(world_from_quaternion(values[3:], values[:3], where))
            photo = listed.expect(name, pictures.get(number)) if pictures else video
            if photo is None:
                continue
            sensor = None
            if depths and listed.expect(f"depth/{number:06d}.png", depths.get(number), DEPTH_MAP):
                sensor = SensorFile(depths[number], confidence=confidences.get(number))
            shots.append(Shot(photo, lens, pose, sensor, frame=None if pictures else row))
    files = (folder / "odometry.csv", folder / "camera_matrix.csv")
    return Capture(KIND, folder, shots, files, listed.remarks(), tracked=True, left_out=listed.left_out)


def _by_number(folder: Path) -> dict[int, Path]:
    return {int(stem): path for stem, path in files_by_stem(folder, ".png", ".npy").items() if stem.isdigit()}


def _odometry(path: Path) -> list[tuple[int, Array, str]]:
    """Of each frame its number, its position and quaternion (7,), and where they stand."""
    with parsing(path, "the odometry of Stray Scanner"):
        header, *lines = list(csv.reader(read_text(path).splitlines(), skipinitialspace=True)) or [[]]
        names = [name.strip() for name in header]
        if not {"frame", *_COLUMNS} <= set(names):
            raise UsageError(f"{path} should begin with the line: timestamp, frame, {', '.join(_COLUMNS)}")
        columns = [names.index(name) for name in _COLUMNS]
        result = []
        for number, line in enumerate(filter(None, lines), 2):
            if len(line) < len(names):
                raise UsageError(f"{path}: line {number} has {len(line)} values; expected {len(names)}.")
            where = f"{path}: line {number}"
            frame = numbers([line[names.index("frame")]], (1,), f"{where}: frame")
            if not np.isfinite(frame).all():
                raise UsageError(f"{where}: the frame's number is {frame[0]:g}.")
            result.append((int(frame[0]), numbers([line[c] for c in columns], (7,), where), where))
        return result


def _video_size(path: Path) -> tuple[int, int]:
    """Of the frames as recorded: some programs add a mark by which players turn them."""
    height, width, _ = next(read_frames(path, [0], turned=False)).shape
    return width, height
