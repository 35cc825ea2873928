"""The training photos and their depth priors of a workspace, at the size and in the scene that training uses."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from depthrf.device import require_memory
from depthrf.geometry.camera import Camera, DepthPrior, View, containing_pixels
from depthrf.geometry.transforms import Similarity
from depthrf.io.depth.depth_maps import read_prior
from depthrf.io.masks import read_used
from depthrf.io.photos.images import read_rgb
from depthrf.io.poses.colmap import NO_POINT, ColmapModel, read_model, scene_of
from depthrf.nerf.exposure import DIFFERS, colours_at, exposure_range, photo_gains
from depthrf.nerf.normalise import depth_bounds, normalise_view, normalising_similarity
from depthrf.nerf.options import PixelOptions
from depthrf.nerf.rays.batch import Bounds
from depthrf.nerf.rays.pixel_store import PixelStore, resize_prior
from depthrf.nerf.training.memory import pixel_bytes
from depthrf.stages.training.background import plain_background
from depthrf.stages.training.exposures import Exposures, PhotoExposure, read_exposures
from depthrf.workspace import Workspace


@dataclass(frozen=True)
class TrainingPhotos:
    """The photos as training draws from them.

    Attributes:
        store, bounds: Of the normalised scene.
        camera: The first photo's, at training size.
        background: Colour of a plain background (:func:`plain_background`); None where there is none.
        exposures: Each photo's exposure relative to their mean.
    """

    store: PixelStore
    normalised_from_scene: Similarity
    bounds: Bounds
    camera: Camera
    background: str | None
    exposures: Exposures


def load(
    workspace: Workspace,
    max_side: int,
    pixels: PixelOptions,
    target: torch.device,
    *,
    one_exposure: bool = True,
    frame: tuple[Similarity, Bounds] | None = None,
) -> TrainingPhotos:
    """All training photos, at most ``max_side`` pixels on the longer side.

    Args:
        workspace: Where they are.
        max_side, pixels: As training's options have them.
        target: Device of their pixels.
        one_exposure: Bring them to their mean exposure where it differs. A plain background in all of them says that
            it does not.
        frame: ``normalised_from_scene`` and depth range of a finished field: the former is kept, the latter is only
            widened, and exposures stay relative to those of the photos that it knows. None: all follow from the photos.

    Raises:
        DepthrfError: They do not fit into memory.
    """
    model = read_model(workspace.undistorted_sparse)
    scene = scene_of(model, workspace.undistorted_sparse)
    views = [view.with_camera(view.camera.fitted(max_side)) for view in scene.views]
    needed = 2 * pixel_bytes(sum(view.camera.width * view.camera.height for view in views), pixels)
    advice = f"Use smaller ones: --set train.max_side={max(64, max_side // 2)}"
    require_memory(needed, f"Loading {len(views)} photos at {max_side} pixels", advice)
    similarity = frame[0] if frame else normalising_similarity(views, scene.points)
    images, used, priors, depths = [], [], [], [np.concatenate([d.depth for d in scene.depths.values()])]
    for view in views:
        size = (view.camera.width, view.camera.height)
        photo = read_rgb(workspace.undistorted_images / view.name)
        images.append(cv2.resize(photo, size, interpolation=cv2.INTER_AREA))
        used.append(read_used(workspace.undistorted_masks, view.name, view.camera))
        prior, _ = read_prior(workspace.prior_depth / f"{view.stem}.npz")
        prior = resize_prior(prior, view.camera)
        depths.append(prior.depth[prior.depth > 0].astype(np.float64))
        scale = np.float32(similarity.scale)
        priors.append(DepthPrior(prior.depth * scale, prior.sigma * scale))
    bounds = depth_bounds(np.concatenate(depths) * similarity.scale)
    if frame:
        bounds = Bounds(min(bounds.near, frame[1].near), max(bounds.far, frame[1].far))
    normalised = [normalise_view(view, similarity) for view in views]
    background = plain_background(images)
    gains = np.ones((len(views), 3))
    if one_exposure and background is None:
        found = photo_gains(_observations(model, views, images, used), len(views))
        gains = found if exposure_range(found) >= DIFFERS else gains
    if frame:
        gains = read_exposures(workspace).continued([view.name for view in views], gains)
    store = PixelStore(normalised, images, priors, used, gains, bounds=bounds, device=target)
    exposures = Exposures(
        tuple(PhotoExposure(v.name, (r, g, b)) for v, (r, g, b) in zip(views, gains.tolist(), strict=True))
    )
    return TrainingPhotos(store, similarity, bounds, views[0].camera, background, exposures)


def _observations(
    model: ColmapModel, views: list[View], images: list[NDArray[np.uint8]], used: list[NDArray[np.bool_]]
) -> dict[int, tuple[NDArray[np.int64], NDArray[np.float64]]]:
    """By photo, the points that it sees in pixels that masks leave, and their colours in the reduced photo."""
    by_name = {image.name: image for image in model.images.values()}
    found = {}
    for index, (view, image, mask) in enumerate(zip(views, images, used, strict=True)):
        keypoints, camera = by_name[view.name], view.camera
        full = model.cameras[keypoints.camera_id]
        xy = keypoints.xy * (camera.width / full.width, camera.height / full.height)
        rows, columns = containing_pixels(xy)
        inside = (rows >= 0) & (rows < camera.height) & (columns >= 0) & (columns < camera.width)
        seen = (keypoints.point_ids != NO_POINT) & inside
        seen[seen] = mask[rows[seen], columns[seen]]
        found[index] = keypoints.point_ids[seen].astype(np.int64), colours_at(image, xy[seen])
    return found
