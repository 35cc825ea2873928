"""Photos that structure from motion leaves out, placed by renderings of the workspace's trained field."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from depthrf import console
from depthrf.workspace import Workspace

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from depthrf.geometry.camera import Camera, View
    from depthrf.geometry.lens import Lens
    from depthrf.io.poses.colmap import ColmapModel
    from depthrf.io.trained_field import TrainedField
    from depthrf.nerf.rendering.views import RenderedView
    from depthrf.stages.adding.by_rendering import Match, Render

_MAX_SIDE = 640


def lost_photos(workspace: Workspace) -> list[Path]:
    """The workspace's photos that have no pose and are not only to be scored."""
    from depthrf.io.photos.table import read_copies
    from depthrf.io.poses.transforms_json import load_views

    train, test = load_views(workspace.transforms)
    placed = {view.name for view in (*train, *test)}
    copies = read_copies(workspace.photos)
    return [workspace.images / copy.name for copy in copies if copy.name not in placed and not copy.held_out]


def place_lost(
    workspace: Workspace, photos: Mapping[str, Path], device: str
) -> tuple[dict[str, NDArray[np.float64]], dict[str, str]]:
    """``cam_from_world`` (4, 4) in scene units of the photos that renderings place, and why the others are not placed.

    Args:
        workspace: With a trained field.
        photos: Upright photos by name.
        device: Where to render and to run the networks that match, if their weights are here.
    """
    import numpy as np

    from depthrf.device import resolve
    from depthrf.io.poses.colmap import load_scene, read_model
    from depthrf.io.trained_field import load_field
    from depthrf.io.weights.learned_features import installed
    from depthrf.nerf.normalise import normalise_view
    from depthrf.stages.adding.by_rendering import place_by_rendering, viewpoints
    from depthrf.stages.adding.matchers import ByNetworks, by_sift

    field = load_field(workspace.checkpoint, resolve(device))
    scene, model = load_scene(workspace.undistorted_sparse), read_model(workspace.sfm_model)
    weights = installed(device)
    match: Match = ByNetworks(weights) if weights else by_sift
    to_scene = field.normalised_from_scene.inverse()
    depth = float(np.median(np.concatenate([sparse.depth for sparse in scene.depths.values()])))
    views = [normalise_view(view, field.normalised_from_scene) for view in scene.views]
    around = viewpoints(views, depth * field.normalised_from_scene.scale)
    render = _remembering(field)
    poses, reasons = {}, {}
    for name, path in console.track(list(photos.items()), "matching with renderings"):
        seen = _undistorted(path, scene.views, model, min(field.max_side, _MAX_SIDE))
        if seen is None:
            reasons[name] = "no photo of the model has its size, so its lens is not known"
            continue
        found = place_by_rendering(*seen, around, render, match)
        if isinstance(found, str):
            reasons[name] = found
            continue
        poses[name] = to_scene.apply_to_pose(found.cam_from_world)
        console.note(
            f"  {name} is placed by renderings: {found.num_inliers} matches fit, correlation {found.correlation:.2f}"
        )
    return poses, reasons


def _remembering(field: TrainedField) -> Render:
    """Renders views of the normalised scene; each one once."""
    from depthrf.nerf.rendering.views import render_view

    done: dict[bytes, RenderedView] = {}

    def render(view: View) -> RenderedView:
        key = view.cam_from_world.tobytes() + repr(view.camera).encode()
        if key not in done:
            done[key] = render_view(field.model, view, field.bounds)
        return done[key]

    return render


def _undistorted(
    path: Path, views: list[View], model: ColmapModel, max_side: int
) -> tuple[NDArray[np.uint8], Camera] | None:
    """The photo as the undistorted camera of the model's photos of its size sees it, reduced, and that camera."""
    import numpy as np

    from depthrf.depth.resampling import to_undistorted
    from depthrf.io.photos.images import read_rgb

    photo = read_rgb(path)
    camera_of: dict[Lens, Camera] = {}
    used: Counter[Lens] = Counter()
    for view in views:
        lens = model.lens_of(view)
        if (lens.height, lens.width) == photo.shape[:2]:
            camera_of[lens] = view.camera
            used[lens] += 1
    if not used:
        return None
    lens = used.most_common(1)[0][0]
    camera = camera_of[lens].fitted(max_side)
    small = _reduced(photo, max_side)
    channels = [to_undistorted(small[..., c].astype(np.float32), camera, lens, smooth=True) for c in range(3)]
    return np.nan_to_num(np.stack(channels, axis=-1)).round().clip(0, 255).astype(np.uint8), camera


def _reduced(photo: NDArray[np.uint8], max_side: int) -> NDArray[np.uint8]:
    """Averaged down to about the size of the rendering, so that sampling does not alias."""
    import cv2
    import numpy as np

    factor = min(1.0, max_side / max(photo.shape[:2]))
    size = (round(photo.shape[1] * factor), round(photo.shape[0] * factor))
    return np.asarray(cv2.resize(photo, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
