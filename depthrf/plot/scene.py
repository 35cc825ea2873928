"""What the pictures of poses show: cameras as pyramids with their photos, and the sparse points, up pointing up."""

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
    """A camera: centre (3,) and image corners (4, 3), from the top left clockwise. ``photo`` None where not found."""

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
    """Views with the files of their photos, held-out names, points and colours."""

    views: list[View]
    photos: dict[str, Path]
    held_out: frozenset[str]
    points: Array
    colors: Image


def load_scene(source: Path, photos: Path | None = None, *, photo_side: int = 160) -> PoseScene:
    """The cameras of a workspace, a nerf_synthetic scene, or anything that gives poses (``io.poses.read_poses``).

    Args:
        source: File or folder.
        photos: Where the photos lie, if not where the source says.
        photo_side: Longer side of the small photos in pixels.

    Raises:
        UsageError: There are no poses.
    """
    found = _workspace(source) or _blender(source) or _given(source)
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


def _workspace(source: Path) -> _Source | None:
    from depthrf.io.colmap import is_model, read_model
    from depthrf.io.transforms_json import load_views
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


def _blender(source: Path) -> _Source | None:
    from depthrf.io.blender import read_split

    if not (source / "transforms_train.json").is_file():
        return None
    frames = read_split(source, "train")
    files = {frame.view.name: frame.image for frame in frames}
    return _Source([f.view for f in frames], files, frozenset(), np.zeros((0, 3)), np.zeros((0, 3), np.uint8))


def _given(source: Path) -> _Source:
    from depthrf.geometry.camera import Camera
    from depthrf.io.colmap import is_model, read_model
    from depthrf.io.poses import read_poses

    given = read_poses(source, {})
    folder = source if source.is_dir() else source.parent
    views, files = [], {}
    for photo in given.photos:
        lens = photo.camera
        focals, centre = lens.params[: lens.num_focals], lens.params[lens.num_focals :][:2]
        camera = Camera(lens.width, lens.height, focals[0], focals[-1], *centre)
        views.append(View(photo.name, camera, photo.cam_from_world))
        path = _photo_file(photo.name, folder)
        if path is not None:
            files[photo.name] = path
    points, colors = np.zeros((0, 3)), np.zeros((0, 3), np.uint8)
    if is_model(source):
        model = read_model(source)
        points, colors = model.xyz, model.rgb
    return _Source(views, files, given.test, points, colors)


def _photo_file(name: str, folder: Path) -> Path | None:
    """The photo called ``name``, with or without an ending, in ``folder`` or its ``images``."""
    stems = (folder / name, folder / Path(name).name, folder / "images" / Path(name).name)
    return next((p for stem in stems for e in _ENDINGS if (p := stem.with_name(stem.name + e)).is_file()), None)


def _small(path: Path, side: int) -> Image | None:
    import cv2

    from depthrf.io.images import UnreadableImageError, read_rgb

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
    """The points (P,) without the few far ones that would shrink all others."""
    if not len(points):
        return np.zeros(0, dtype=bool)
    distance = np.linalg.norm(points - np.median(points, axis=0), axis=1)
    return np.asarray(distance <= 3.0 * np.median(distance))


def _frustum_size(centres: Array, points: Array) -> float:
    """Long enough to be seen, short enough that neighbours do not hide each other."""
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
