"""The field's surfaces as its photos' viewpoints show them: rendered colour and depth, where photos bear it out."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from depthrf import console, device
from depthrf.errors import UsageError
from depthrf.geometry.camera import View, surface_normals
from depthrf.geometry.visibility import SeenDepth, sightings
from depthrf.io.depth.depth_maps import read_prior
from depthrf.io.trained_field import load_field
from depthrf.nerf.normalise import normalise_view
from depthrf.nerf.rendering.views import render_view
from depthrf.stages.exporting.target import Target

_SIDE = 480  # longer side of the rendered pictures, pixels
_PRIOR_SIDE = 320  # of the photos' depth that they are compared with
_SLACK = 0.01  # relative error that rendered depth is allowed on top of the prior's two sigmas
_AGREES = 0.02  # relative difference of depth up to which renderings agree
_OPAQUE = 0.5  # accumulation below which a ray meets no surface
_JUMP = 0.1  # of the depth: neighbouring pixels farther apart lie at an edge, where depth is of neither surface


@dataclass(frozen=True)
class RenderedPhoto:
    """A training view rendered: rgb (H, W, 3), z-depth (H, W) in scene units, 0 where there is none.

    depth: where photos bear it out. uncontested: also where none of them says anything else; what one photo alone shows
    and no prior knows is as likely to lie elsewhere.
    """

    view: View
    rgb: NDArray[np.uint8]
    depth: NDArray[np.float32]
    uncontested: NDArray[np.float32]

    def points(self) -> NDArray[np.float64]:
        """World points (H, W, 3) of the uncontested depth, scene units; those of depth 0 lie in the camera."""
        pose = self.view.world_from_cam
        in_camera = self.view.camera.directions(self.view.camera.pixel_centres()) * self.uncontested[..., None]
        points: NDArray[np.float64] = in_camera @ pose[:3, :3].T + pose[:3, 3]
        return points

    def normals(self) -> NDArray[np.float64]:
        """Unit normals (H, W, 3) of the surface through each pixel and its four neighbours, towards the camera; zero
        where one of them has no depth."""
        points, known = self.points(), self.uncontested > 0
        whole = np.zeros_like(known)
        whole[1:-1, 1:-1] = known[1:-1, 1:-1] & known[:-2, 1:-1] & known[2:, 1:-1] & known[1:-1, :-2] & known[1:-1, 2:]
        return np.where(whole[..., None], surface_normals(points), 0.0)


def render_photos(target: Target) -> list[RenderedPhoto]:
    """Every training view, rendered at up to 480 pixels.

    Depth is borne out where at least one photo has its prior there, within two sigmas, and no more photos look through
    it. It is uncontested where no photo's prior looks through it, nor more renderings than agree with it. At edges
    there is none: what a ray meets there lies between the surface in front and the one behind.

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
        depth = np.where(picture.accumulation > _OPAQUE, depth, np.float32(0.0))
        rendered.append(RenderedPhoto(small, picture.rgb, depth, depth))
    seen = [SeenDepth(photo.view, photo.depth, np.float32(_AGREES / 2.0) * photo.depth) for photo in rendered]
    return [judge(photo, priors, seen) for photo in rendered]


def judge(photo: RenderedPhoto, priors: list[SeenDepth], seen: list[SeenDepth]) -> RenderedPhoto:
    """The photo with the depth that the photos' ``priors`` bear out, and that which neither they nor what the field
    shows from their places, ``seen``, contest."""
    points, depth = photo.points().reshape(-1, 3), photo.depth.reshape(-1)
    by_prior = sightings(points, priors, _SLACK * depth.astype(np.float64))
    by_field = sightings(points, seen, 0.0)
    borne_out = (by_prior.on > 0) & (by_prior.on >= by_prior.through)
    # The rendering itself is among those that agree.
    uncontested = borne_out | ((by_prior.through == 0) & (by_field.on > by_field.through))
    kept, more = (
        without_edges(np.where(chosen, depth, np.float32(0.0)).reshape(photo.depth.shape))
        for chosen in (borne_out, uncontested)
    )
    return replace(photo, depth=kept, uncontested=more)


def without_edges(depth: NDArray[np.float32]) -> NDArray[np.float32]:
    """Depth (H, W) without the pixels whose 3 x 3 neighbours with depth differ by more than a tenth of it."""
    import cv2

    window, known = np.ones((3, 3), np.uint8), depth > 0
    farthest = cv2.dilate(depth, window)
    nearest = -cv2.dilate(np.where(known, -depth, np.float32(-np.inf)), window)
    kept = known.copy()
    kept[known] = farthest[known] <= (1.0 + _JUMP) * nearest[known]
    return np.where(kept, depth, np.float32(0.0))
