"""The training photos and their depth priors of a workspace, at the size and in the scene that training uses."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import torch

from depthrf import device
from depthrf.errors import DepthrfError
from depthrf.geometry.camera import Camera, DepthPrior
from depthrf.geometry.transforms import Similarity
from depthrf.io.colmap import load_scene
from depthrf.io.depth_maps import read_prior
from depthrf.io.images import read_rgb
from depthrf.io.masks import read_used
from depthrf.nerf.memory import pixel_bytes
from depthrf.nerf.normalise import depth_bounds, normalise_view, normalising_similarity
from depthrf.nerf.options import PixelOptions
from depthrf.nerf.pixel_store import PixelStore, resize_prior
from depthrf.nerf.rays import Bounds
from depthrf.workspace import Workspace


@dataclass(frozen=True)
class TrainingPhotos:
    """store, bounds: of the normalised scene. camera: the first photo's, at training size."""

    store: PixelStore
    normalised_from_scene: Similarity
    bounds: Bounds
    camera: Camera


def load(workspace: Workspace, max_side: int, pixels: PixelOptions, target: torch.device) -> TrainingPhotos:
    """All training photos, at most ``max_side`` pixels on the longer side.

    Raises:
        DepthrfError: They do not fit into memory.
    """
    scene = load_scene(workspace.undistorted_sparse)
    views = [view.with_camera(view.camera.fitted(max_side)) for view in scene.views]
    needed = 2 * pixel_bytes(sum(view.camera.width * view.camera.height for view in views), pixels)
    free = device.free_memory(torch.device("cpu"))
    if free is not None and needed > free:
        raise DepthrfError(
            f"Loading {len(views)} photos at {max_side} pixels takes {needed / 1e9:.1f} GB of memory, "
            f"{free / 1e9:.1f} GB are free. Use smaller ones: --set train.max_side={max(64, max_side // 2)}"
        )
    similarity = normalising_similarity(views, scene.points)
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
    normalised = [normalise_view(view, similarity) for view in views]
    store = PixelStore(normalised, images, priors, used, bounds=bounds, device=target)
    return TrainingPhotos(store, similarity, bounds, views[0].camera)
