"""Writes COLMAP models in the binary format (https://colmap.github.io/format.html), in which names may hold spaces."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from depthrf.geometry.lens import LENS_MODELS
from depthrf.io.poses.colmap import OBSERVATION, ColmapModel
from depthrf.storage import atomic_open


def write_binary_model(folder: Path, model: ColmapModel) -> None:
    """Writes ``cameras.bin``, ``images.bin`` and ``points3D.bin``, each atomically."""
    for name, data in (("cameras", _cameras(model)), ("images", _images(model)), ("points3D", _points(model))):
        with atomic_open(folder / f"{name}.bin", "wb") as handle:
            handle.write(data)


def _cameras(model: ColmapModel) -> bytes:
    numbers = {name: number for number, (name, _) in LENS_MODELS.items()}
    parts = [struct.pack("<Q", len(model.cameras))]
    for key, lens in sorted(model.cameras.items()):
        parts.append(struct.pack("<IiQQ", key, numbers[lens.model], lens.width, lens.height))
        parts.append(struct.pack(f"<{len(lens.params)}d", *lens.params))
    return b"".join(parts)


def _images(model: ColmapModel) -> bytes:
    parts = [struct.pack("<Q", len(model.images))]
    for key, image in sorted(model.images.items()):
        quaternion = Rotation.from_matrix(image.cam_from_world[:3, :3]).as_quat(scalar_first=True)
        parts.append(struct.pack("<I7dI", key, *quaternion, *image.cam_from_world[:3, 3], image.camera_id))
        parts.append(image.name.encode() + b"\0" + struct.pack("<Q", len(image.xy)))
        observed = np.zeros(len(image.xy), OBSERVATION)
        observed["xy"], observed["point"] = image.xy, image.point_ids
        parts.append(observed.tobytes())
    return b"".join(parts)


def _points(model: ColmapModel) -> bytes:
    tracks: dict[int, list[int]] = {}
    for key, image in sorted(model.images.items()):
        for index in np.flatnonzero(image.point_ids >= 0):
            tracks.setdefault(int(image.point_ids[index]), []).extend((key, int(index)))
    parts = [struct.pack("<Q", len(model.point_ids))]
    rows = zip(model.point_ids.tolist(), model.xyz, model.rgb.tolist(), model.error_px.tolist(), strict=True)
    for point, xyz, rgb, error in rows:
        track = tracks.get(point, [])
        parts.append(struct.pack("<Q3d3BdQ", point, *xyz, *rgb, error, len(track) // 2))
        parts.append(struct.pack(f"<{len(track)}I", *track))
    return b"".join(parts)
