"""Writes COLMAP models in the text format (https://colmap.github.io/format.html), and models without some photos."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from depthrf.geometry.lens import Lens
from depthrf.geometry.triangulation import triangulate
from depthrf.io.poses.colmap import NO_POINT, ColmapModel
from depthrf.storage import atomic_open


def write_model(folder: Path, model: ColmapModel) -> None:
    """Writes ``cameras.txt``, ``images.txt`` and ``points3D.txt``, each atomically."""
    tracks: dict[int, list[str]] = {}
    images = []
    for key, image in sorted(model.images.items()):
        quaternion = Rotation.from_matrix(image.cam_from_world[:3, :3]).as_quat(scalar_first=True)
        pose = (*quaternion, *image.cam_from_world[:3, 3])
        images.append(f"{key} {_numbers(pose)} {image.camera_id} {image.name}")
        images.append(" ".join(f"{_numbers(xy)} {p}" for xy, p in zip(image.xy, image.point_ids, strict=True)))
        for index in np.flatnonzero(image.point_ids != NO_POINT):
            tracks.setdefault(int(image.point_ids[index]), []).append(f"{key} {index}")
    cameras = [f"{k} {c.model} {c.width} {c.height} {_numbers(c.params)}" for k, c in sorted(model.cameras.items())]
    rows = zip(model.point_ids.tolist(), model.xyz, model.rgb.tolist(), model.error_px, strict=True)
    points = [
        f"{key} {_numbers(xyz)} {' '.join(map(str, rgb))} {error!r} {' '.join(tracks.get(key, []))}".rstrip()
        for key, xyz, rgb, error in ((k, x, c, float(e)) for k, x, c, e in rows)
    ]
    for name, lines in (("cameras", cameras), ("images", images), ("points3D", points)):
        with atomic_open(folder / f"{name}.txt") as handle:
            handle.write("".join(f"{line}\n" for line in lines))


def _numbers(values: Iterable[float]) -> str:
    return " ".join(repr(float(v)) for v in values)


def without_photo(model: ColmapModel, name: str) -> ColmapModel:
    """The undistorted model as if the photo ``name`` had never been matched: its observations are gone, and the points
    it saw are triangulated again from those of the others, or dropped where fewer than two are left."""
    images = {key: image for key, image in model.images.items() if image.name != name}
    left_out = [i for i in model.images.values() if i.name == name]
    touched = np.unique(np.concatenate([i.point_ids for i in left_out])) if left_out else np.zeros(0, np.int64)
    keys = list(images)
    seen = [np.flatnonzero(np.isin(images[k].point_ids, touched[touched != NO_POINT])) for k in keys]
    xyz, kept = model.xyz.copy(), ~np.isin(model.point_ids, touched)
    if sum(map(len, seen)):
        view = np.concatenate([np.full(len(s), i, dtype=np.int64) for i, s in enumerate(seen)])
        point = np.searchsorted(
            model.point_ids, np.concatenate([images[k].point_ids[s] for k, s in zip(keys, seen, strict=True)])
        )
        xy = np.concatenate([images[k].xy[s] for k, s in zip(keys, seen, strict=True)])
        poses = np.stack([images[k].cam_from_world for k in keys])
        pinhole = np.array([_pinhole(model.cameras[images[k].camera_id]) for k in keys])
        found, fixed = triangulate(poses, pinhole, view, point, xy, len(xyz))
        xyz[fixed], kept = found[fixed], kept | fixed
    gone = model.point_ids[~kept]
    images = {
        k: replace(i, point_ids=np.where(np.isin(i.point_ids, gone), NO_POINT, i.point_ids)) for k, i in images.items()
    }
    used = {image.camera_id for image in images.values()}
    cameras = {key: camera for key, camera in model.cameras.items() if key in used}
    return ColmapModel(cameras, images, model.point_ids[kept], xyz[kept], model.rgb[kept], model.error_px[kept])


def _pinhole(camera: Lens) -> NDArray[np.float64]:
    """fx, fy, cx, cy of an undistorted camera."""
    return np.array([camera.fx, camera.fy, camera.cx, camera.cy])
