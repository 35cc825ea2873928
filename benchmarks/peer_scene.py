"""A prepared workspace at one size, for this program and for nerfstudio: the same photos, poses and depth for both."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from depthrf.errors import UsageError
from depthrf.geometry.camera import Camera, View
from depthrf.geometry.transforms import Similarity
from depthrf.io.depth.depth_maps import read_prior, write_sensor_depth
from depthrf.io.depth.scale import metres_per_unit
from depthrf.io.photos.images import read_rgb, write_png
from depthrf.io.poses.transforms_json import load_views, write_transforms
from depthrf.nerf.normalise import normalise_view
from depthrf.nerf.rays.pixel_store import resize_prior
from depthrf.stages.scoring import held_out
from depthrf.storage import read_json, write_json
from depthrf.workspace import Workspace

Map = NDArray[np.float32]
_FARTHEST_M = 65.0  # what 16-bit millimetres hold


@dataclass(frozen=True)
class Scene:
    """A workspace at the size of training: all views in scene units, and the scored ones with their reference depth."""

    workspace: Workspace
    train: list[View]
    test: list[View]
    depth: dict[str, Map]
    metres_per_unit: float


def load_scene(workspace: Workspace, size: int) -> Scene:
    """Views with cameras of ``size`` pixels at their longer side; ``depth`` by name is the sensor's, in scene units.

    Raises:
        UsageError: The workspace lacks what makes the two comparable.
    """
    unit = metres_per_unit(workspace)
    if unit is None or workspace.held_out.is_dir() or workspace.undistorted_masks.is_dir():
        raise UsageError(f"{workspace.root}: expected given poses with test_filenames, sensor depth and no masks.")
    found = held_out.find(workspace, None)
    trained = [view.with_camera(view.camera.fitted(size)) for view in load_views(workspace.transforms)[0]]
    tested = [view.with_camera(view.camera.fitted(size)) for view in found.views]
    return Scene(workspace, trained, tested, found.depth, unit)


def export(scene: Scene, folder: Path) -> None:
    """Writes the scene as nerfstudio reads it, in metres; test photos get depth without a valid pixel."""
    trained = {view.name for view in scene.train}
    for view in (*scene.train, *scene.test):
        size = view.camera.width, view.camera.height
        photo = read_rgb(scene.workspace.undistorted_images / view.name)
        write_png(folder / "images" / f"{view.stem}.png", cv2.resize(photo, size, interpolation=cv2.INTER_AREA))
        metres = np.zeros((view.camera.height, view.camera.width), np.float32)
        if view.name in trained:
            prior, _ = read_prior(scene.workspace.prior_depth / f"{view.stem}.npz")
            metres = resize_prior(prior, view.camera).depth * np.float32(scene.metres_per_unit)
        write_sensor_depth(folder / "depth" / f"{view.stem}.png", np.where(metres < _FARTHEST_M, metres, 0.0))
    write_peer_transforms(folder / "transforms.json", scene)


def write_peer_transforms(path: Path, scene: Scene) -> None:
    """All views in metres with PNG photos and depth, one frame each."""
    to_metres = Similarity(scene.metres_per_unit, np.eye(3), np.zeros(3))
    views = [replace(normalise_view(v, to_metres), name=f"{v.stem}.png") for v in (*scene.train, *scene.test)]
    tests = {f"{v.stem}.png" for v in scene.test}
    write_transforms(path, views, image_folder="images", test_names=tests)
    content = read_json(path)
    for frame in content["frames"]:
        frame["depth_file_path"] = f"depth/{Path(frame['file_path']).name}"
    write_json(path, content)


def z_depth(distance: Map, camera: Camera, units_per_metre: float) -> Map:
    """z-depth (H, W) in metres of distances (H, W) along the rays in a scene of another scale."""
    norm = np.linalg.norm(camera.directions(camera.pixel_centres()), axis=-1)
    return np.asarray(distance / (norm * units_per_metre), dtype=np.float32)
