"""The contents of pose plots: cameras as pyramids with their photos, and sparse points, with z pointing up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from depthrf.errors import UsageError
from depthrf.geometry.camera import View

Array = NDArray[np.float64]
Image = NDArray[np.uint8]

_MAX_POINTS = 6000
_ENDINGS = (".png", ".jpg", ".jpeg", ".JPG", ".PNG", "")


@dataclass(frozen=True)
class Frustum:
    """A camera: centre (3,) and image corners (4, 3), clockwise from the top left. ``photo``: None if not found."""

    name: str
    centre: Array
    corners: Array
    photo: Image | None
    held_out: bool


@dataclass(frozen=True)
class PoseScene:
    """All cameras, and points (P, 3) with colours (P, 3), in a frame whose z axis points up."""

    frusta: list[Frustum]
    points: Array
    colors: Image


@dataclass(frozen=True)
class _Source:
    """What a source provides: views, photo files by view name, held-out names, points and their colours."""

    views: list[View]
    photos: dict[str, Path]
    held_out: frozenset[str]
    points: Array
    colors: Image


def load_scene(source: Path, photos: Path | None = None, *, photo_side: int = 160) -> PoseScene:
    """The cameras of a workspace, a nerf_synthetic scene, or anything that gives poses (``io.poses.read_poses``).

    Args:
        source: File or folder.
        photos: Folder of the photos, if not where the source says.
        photo_side: Longer side of the thumbnails, pixels.

    Raises:
        UsageError: The source has no poses.
    """
    found = _from_workspace(source) or _from_blender(source) or _from_pose_files(source)
    up_from_world = _upright(found.views)
    keep = _without_far(found.points)
    points, colors = found.points[keep], found.colors[keep]
    size = _frustum_size(np.stack([view.centre for view in found.views]), points)
    frusta = []
    for view in found.views:
        centre, corners = _pyramid(view, size)
        path = _photo_file(view.name, photos) if photos else found.photos.get(view.name)
        photo = _small(path, photo_side) if path is not None else None
        held_out = view.name in found.held_out
        frusta.append(Frustum(view.name, centre @ up_from_world.T, corners @ up_from_world.T, photo, held_out))
    drawn = np.random.default_rng(0).permutation(len(points))[:_MAX_POINTS]
    return PoseScene(frusta, points[drawn] @ up_from_world.T, colors[drawn])


def _from_workspace(source: Path) -> _Source | None:
    from depthrf.io.poses.colmap import is_model, read_model
    from depthrf.io.poses.transforms_json import load_views
    from depthrf.workspace import open_workspace

    if not (source / "workspace.json").is_file():
        return None
    workspace = open_workspace(source)
    if not workspace.transforms.is_file():
        raise UsageError(f"{source} has no poses yet. Run: depthrf sfm {source}")
    train, test = load_views(workspace.transforms)
    views = [*train, *test]
    points, colors = np.zeros((0, 3)), np.zeros((0, 3), np.uint8)
    if is_model(workspace.undistorted_sparse):
        model = read_model(workspace.undistorted_sparse)
        points, colors = model.xyz, model.rgb
    files = {view.name: workspace.undistorted_images / view.name for view in views}
    return _Source(views, files, frozenset(view.name for view in test), points, colors)


def _from_blender(source: Path) -> _Source | None:
    from depthrf.io.dataset_paths import DatasetFiles
    from depthrf.io.poses.blender import read_split

    if not (source / "transforms_train.json").is_file():
        return None
    frames = read_split(source, "train")
    inside = DatasetFiles(source)
    files = {frame.view.name: frame.image for frame in frames if not inside.is_outside(frame.image)}
    return _Source([f.view for f in frames], files, frozenset(), np.zeros((0, 3)), np.zeros((0, 3), np.uint8))


def _from_pose_files(source: Path) -> _Source:
    from depthrf.io.captures.poses import read_poses
    from depthrf.io.poses.colmap import is_model, read_model

    given = read_poses(source, {})
    folder = source if source.is_dir() else source.parent
    views, files = [], {}
    for photo in given.photos:
        views.append(View(photo.name, photo.camera.pinhole, photo.cam_from_world))
        path = _photo_file(photo.name, folder)
        if path is not None:
            files[photo.name] = path
    points, colors = np.zeros((0, 3)), np.zeros((0, 3), np.uint8)
    if is_model(source):
        model = read_model(source)
        points, colors = model.xyz, model.rgb
    return _Source(views, files, given.test, points, colors)


def _photo_file(name: str, folder: Path) -> Path | None:
    """The photo called ``name``, with or without an ending, in ``folder`` or its ``images``; none outside of them."""
    from depthrf.io.dataset_paths import DatasetFiles

    stems = (folder / name, folder / Path(name).name, folder / "images" / Path(name).name)
    found = (p for stem in stems for e in _ENDINGS if (p := stem.with_name(stem.name + e)).is_file())
    files = DatasetFiles(folder)
    return next((path for path in found if not files.is_outside(path)), None)


def _small(path: Path, side: int) -> Image | None:
    import cv2

    from depthrf.io.photos.decoding import UnreadableImageError
    from depthrf.io.photos.images import read_rgb

    try:
        photo = read_rgb(path)
    except UnreadableImageError:
        return None
    scale = side / max(photo.shape[:2])
    size = (max(1, round(photo.shape[1] * scale)), max(1, round(photo.shape[0] * scale)))
    return np.asarray(cv2.resize(photo, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)


def _pyramid(view: View, size: float) -> tuple[Array, Array]:
    """Centre (3,) and image corners (4, 3) at distance ``size`` before it, in world coordinates."""
    camera = view.camera
    corners = np.array([[0, 0], [camera.width, 0], [camera.width, camera.height], [0, camera.height]], dtype=np.float64)
    in_cam = camera.directions(corners) * size
    world_from_cam = view.world_from_cam
    return view.centre, in_cam @ world_from_cam[:3, :3].T + world_from_cam[:3, 3]


def _without_far(points: Array) -> NDArray[np.bool_]:
    """Which points (P,) to draw: without the few distant ones that would make everything else tiny."""
    if not len(points):
        return np.zeros(0, dtype=bool)
    distance = np.linalg.norm(points - np.median(points, axis=0), axis=1)
    return np.asarray(distance <= 3.0 * np.median(distance))


def _frustum_size(centres: Array, points: Array) -> float:
    """Length of the pyramids: long enough to see, short enough that neighbours do not overlap."""
    extent = float(np.linalg.norm(np.ptp(np.concatenate([centres, points]), axis=0))) or 1.0
    if len(centres) < 2:
        return 0.15 * extent
    distance = np.linalg.norm(centres[:, None] - centres[None], axis=-1)
    nearest = float(np.median(np.sort(distance, axis=1)[:, 1]))
    return float(np.clip(nearest, 0.035 * extent, 0.15 * extent))


def _upright(views: Sequence[View]) -> Array:
    """Rotation (3, 3) that turns the mean up direction of the cameras to +z."""
    up = -np.mean([view.cam_from_world[1, :3] for view in views], axis=0)
    norm = float(np.linalg.norm(up))
    up = up / norm if norm > 1e-6 else np.array([0.0, 0.0, 1.0])
    side = np.cross(np.array([0.0, 1.0, 0.0]) if abs(up[1]) < 0.9 else np.array([1.0, 0.0, 0.0]), up)
    side /= np.linalg.norm(side)
    return np.stack([side, np.cross(up, side), up])
