"""Record3D exports: "EXR + RGB", and unpacked ``.r3d`` files.

``metadata.json`` (``metadata`` in .r3d) holds ``w``, ``h``, the calibration matrix ``K`` column by column,
``perFrameIntrinsicCoeffs`` [fx, fy, cx, cy] and ``poses`` [qx, qy, qz, qw, x, y, z]: camera-to-world with ARKit's axes
(x right, y up, z backward) of the photo as it is stored. ``EXR + RGB`` puts photos in ``rgb/N.jpg`` and depth in metres
in ``depth/N.exr``, below ``EXR_RGBD/`` or not; ``.r3d`` (a ZIP archive) in ``rgbd/N.jpg`` and LZFSE-compressed
``rgbd/N.depth``. https://github.com/marek-simonik/record3d/issues/7 and nerfstudio's ``record3d_utils.py``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from depthrf.errors import UsageError
from depthrf.geometry.lens import Lens
from depthrf.geometry.transforms import cam_from_world_of_opengl
from depthrf.io.captures.capture import (
    PICTURES,
    Capture,
    SensorFile,
    Shot,
    by_number,
    fields,
    files_by_stem,
    image_size,
    numbers,
    pixels,
    world_from_quaternion,
)
from depthrf.io.captures.listed import Listed
from depthrf.io.dataset_paths import DEPTH_MAP
from depthrf.io.files import parsing
from depthrf.io.poses.given_poses import checked_lens, user_json

KIND = "Record3D export"
_OFF_CENTRE = 0.15  # of the side; farther principal points are of an image that was turned afterwards


def matches(folder: Path) -> bool:
    return _base(folder) is not None


def read(folder: Path) -> Capture:
    """Raises UsageError where the metadata are not as Record3D writes them."""
    base = _base(folder)
    assert base is not None
    path = _metadata(base) or _metadata(folder)
    assert path is not None
    raw = (base / "rgbd").is_dir()
    photos = files_by_stem(base / ("rgbd" if raw else "rgb"), *PICTURES)
    depths = files_by_stem(base / "depth", ".exr", ".png")
    confidences = files_by_stem(base / "confidence", ".png") or files_by_stem(base / "conf", ".png")
    listed = Listed(base)
    shots = []
    with parsing(path, "the metadata of Record3D"):
        metadata = user_json(path)
        poses = metadata.get("poses")
        if not isinstance(poses, list) or not poses:
            raise UsageError(f"{path} lacks poses; expected a list with seven numbers for each photo.")
        for index, stem in enumerate(by_number(photos)):
            number = int(stem) if stem.isdigit() else index
            photo, where = photos[stem], f"{path}: pose {number}"
            if number >= len(poses):
                raise UsageError(f"{path} has {len(poses)} poses, none for {photo.name}.")
            with listed.frame(photo.name):
                values = numbers(poses[number], (7,), where)
                world_from_glcam = world_from_quaternion(values[:4], values[4:], where)
                sensor = None
                if depths and listed.expect(f"depth/{stem}", depths.get(stem), DEPTH_MAP):
                    sensor = SensorFile(depths[stem], confidence=confidences.get(stem))
                lens = checked_lens(_lens(metadata, number, str(path), photo), str(path))
                shots.append(Shot(photo, lens, cam_from_world_of_opengl(world_from_glcam), sensor))
    unread = ("the depth of .r3d files is not read (LZFSE); export as EXR + RGB to use it",) if raw else ()
    remarks = (*unread, *listed.remarks())
    return Capture(KIND, folder, shots, (path,), remarks, tracked=True, left_out=listed.left_out)


def _base(folder: Path) -> Path | None:
    """Where the photos lie, if this is an export."""
    for base in (folder, folder / "EXR_RGBD"):
        if ((base / "rgb").is_dir() or (base / "rgbd").is_dir()) and (_metadata(base) or _metadata(folder)):
            return base
    return None


def _metadata(folder: Path) -> Path | None:
    return next((p for n in ("metadata.json", "metadata") if (p := folder / n).is_file()), None)


def _lens(metadata: dict[str, Any], number: int, where: str, photo: Path) -> Lens:
    if metadata.get("w") is None or metadata.get("h") is None:
        width, height = image_size(photo)
    else:
        width, height = pixels(fields(metadata, ("w", "h"), where), where)
    per_frame = metadata.get("perFrameIntrinsicCoeffs") or []
    if number < len(per_frame):
        fx, fy, cx, cy = numbers(per_frame[number], (4,), f"{where}: perFrameIntrinsicCoeffs {number}").tolist()
    else:
        if metadata.get("K") is None:
            raise UsageError(f"{where} lacks K, the calibration matrix; expected nine numbers.")
        matrix = numbers(metadata["K"], (9,), f"{where}: K").reshape(3, 3).T
        fx, fy, cx, cy = matrix[0, 0], matrix[1, 1], matrix[0, 2], matrix[1, 2]
    if np.hypot(cx / width - 0.5, cy / height - 0.5) > _OFF_CENTRE:
        cx, cy = width / 2, height / 2
    return Lens("PINHOLE", width, height, (float(fx), float(fy), float(cx), float(cy)))
