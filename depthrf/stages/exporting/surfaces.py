"""The field's surfaces as its photos' viewpoints show them: rendered colour and depth, where photos bear it out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from depthrf import console, device
from depthrf.errors import UsageError
from depthrf.geometry.camera import View
from depthrf.geometry.visibility import SeenDepth, sightings
from depthrf.io.depth.depth_maps import read_prior
from depthrf.io.trained_field import load_field
from depthrf.nerf.normalise import normalise_view
from depthrf.nerf.rendering.views import render_view
from depthrf.stages.exporting.target import Target

_SIDE = 480  # longer side of the rendered pictures, pixels
_PRIOR_SIDE = 320  # of the photos' depth that they are compared with
_SLACK = 0.01  # relative error that rendered depth is allowed on top of the prior's two sigmas
_OPAQUE = 0.5  # accumulation below which a ray meets no surface
_JUMP = 0.1  # of the depth: neighbouring pixels farther apart lie at an edge, where depth is of neither surface


@dataclass(frozen=True)
class RenderedPhoto:
    """A training view rendered: rgb (H, W, 3), z-depth (H, W) in scene units, 0 where no photo bears it out."""

    view: View
    rgb: NDArray[np.uint8]
    depth: NDArray[np.float32]

    def points(self) -> NDArray[np.float64]:
        """World points (H, W, 3), scene units; those of depth 0 lie in the camera."""
        pose = self.view.world_from_cam
        in_camera = self.view.camera.directions(self.view.camera.pixel_centres()) * self.depth[..., None]
        points: NDArray[np.float64] = in_camera @ pose[:3, :3].T + pose[:3, 3]
        return points


def render_photos(target: Target) -> list[RenderedPhoto]:
    """Every training view, rendered at up to 480 pixels.

    Depth is kept where at least one photo has its prior there, within two sigmas, and no more photos look through it.
    At edges none is kept: what a ray meets there lies between the surface in front and the one behind.

    Raises:
        UsageError: No field has been trained.
    """
    workspace = target.workspace
    if not workspace.checkpoint.is_file():
        raise UsageError(f"No field has been trained in {workspace.root} yet. Run: depthrf train {workspace.root}")
    field = load_field(workspace.checkpoint, device.resolve(target.device))
    priors = [
        SeenDepth.of(view, read_prior(workspace.prior_depth / f"{view.stem}.npz")[0], _PRIOR_SIDE)
        for view in target.views
    ]
    rendered = []
    for view in console.track(target.views, "rendering surfaces"):
        small = view.with_camera(view.camera.fitted(min(_SIDE, field.max_side)))
        picture = render_view(field.model, normalise_view(small, field.normalised_from_scene), field.bounds)
        depth = picture.depth / np.float32(field.normalised_from_scene.scale)
        photo = RenderedPhoto(small, picture.rgb, np.where(picture.accumulation > _OPAQUE, depth, np.float32(0.0)))
        rendered.append(RenderedPhoto(small, picture.rgb, without_edges(_borne_out(photo, priors))))
    return rendered


def _borne_out(photo: RenderedPhoto, priors: list[SeenDepth]) -> NDArray[np.float32]:
    """The photo's depth where the photos' priors agree with it, 0 elsewhere."""
    found = sightings(photo.points().reshape(-1, 3), priors, _SLACK * photo.depth.reshape(-1).astype(np.float64))
    agreed = (found.on > 0) & (found.on >= found.through)
    return np.where(agreed.reshape(photo.depth.shape), photo.depth, np.float32(0.0))


def without_edges(depth: NDArray[np.float32]) -> NDArray[np.float32]:
    """Depth (H, W) without the pixels whose 3 x 3 neighbours with depth differ by more than a tenth of it."""
    import cv2

    window, known = np.ones((3, 3), np.uint8), depth > 0
    farthest = cv2.dilate(depth, window)
    nearest = -cv2.dilate(np.where(known, -depth, np.float32(-np.inf)), window)
    kept = known.copy()
    kept[known] = farthest[known] <= (1.0 + _JUMP) * nearest[known]
    return np.where(kept, depth, np.float32(0.0))
