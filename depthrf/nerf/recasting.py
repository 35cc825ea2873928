"""Random ray casting (RapNeRF, Zhang et al. 2022): a pixel's ray, cast at the same surface from beside its camera.

A surface looks much the same from a little to the side, so where the depth prior knows the surface, its pixel also
tells what cameras between the photos see. Few photos leave room for haze and ghosts there that none of them shows.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from depthrf.nerf.options import RecastOptions
from depthrf.nerf.pixel_layout import PixelLayout
from depthrf.nerf.rays import CameraRays, RayBatch
from depthrf.nerf.rotations import rotation_matrices

_SURE = 0.02  # greatest standard deviation as a share of depth
_MOST_ANGLE = 0.2  # radians
_STEP = 0.05  # difference from one pixel to the next, as a share of depth, from which on there may be an edge
_NEARBY = 9  # photos that tell whether a ray is free, its own among them
_POINTS = 12  # of a ray that are looked at before it counts as free
_THICKNESS = 0.005  # share of depth by which a point lies behind a surface that hides it


@dataclass(frozen=True)
class SurfaceMaps:
    """The depth priors of P photos as surfaces that rays are cast at.

    depth, sigma (N,): of all pixels in the order of ``layout``, 0 = none.
    """

    cameras: CameraRays
    layout: PixelLayout
    depth: Tensor
    sigma: Tensor

    @cached_property
    def sure(self) -> Tensor:
        """Pixels with a depth of little doubt and without an edge beside it, (N,) bool."""
        steady = torch.cat([steady_mask(depth).flatten() for depth in self.layout.pictures(self.depth)])
        return steady & (self.sigma <= _SURE * self.depth)

    @cached_property
    def distances(self) -> Tensor:
        """Between all cameras, (P, P)."""
        centres = self.cameras.world_from_cam[:, :3, 3]
        return torch.cdist(centres, centres)

    @cached_property
    def spacing(self) -> float:
        """Distance from a camera to the next one, median over the photos; 0 of a single photo."""
        return float(self.distances.kthvalue(2).values.median()) if len(self.distances) > 1 else 0.0

    @cached_property
    def nearby(self) -> Tensor:
        """Each photo and those taken nearest to it, (P, at most 9)."""
        return self.distances.topk(min(_NEARBY, len(self.distances)), largest=False).indices

    def recast(self, rays: RayBatch, pixel: Tensor, options: RecastOptions, generator: torch.Generator) -> RayBatch:
        """The rays of pixels (R,), turned about the point where they meet their surface.

        They turn as far as takes them to the next photo's camera, or less: farther off nobody asks what the surface
        looks like, and what is wrong with depth and poses shows more. They keep colour, prior, cone, distance to the
        surface, and the ``viewdirs`` of their pixel: colour that depends on the view is learnt from where it was seen.
        Where the prior is not sure, or another surface may stand in the way, a ray stays as it is.
        """
        turned = _turned(rays, options.reach * self.spacing, generator)
        way = torch.linspace(0.1, 0.97, _POINTS, device=pixel.device) * rays.depth[:, None]
        points = turned.origins[:, None] + way[..., None] * turned.directions[:, None]
        moved = (self.sure[pixel] & ~self.hidden(rays.camera_idx, points).any(-1))[:, None]
        return replace(
            rays,
            origins=torch.where(moved, turned.origins, rays.origins),
            directions=torch.where(moved, turned.directions, rays.directions),
        )

    def hidden(self, photo: Tensor, points: Tensor) -> Tensor:
        """Which of the points (R, K, 3) lie behind a surface that a photo near the photo (R,) shows, and before none.

        Returns (R, K) bool. What no photo shows may be free or not: it does not count as hidden.
        """
        photo = self.nearby[photo][:, :, None]  # (R, P', 1)
        pose = self.cameras.world_from_cam[photo[..., 0]]
        local = (points[:, None] - pose[..., None, :3, 3]) @ pose[..., :3, :3]
        fx, fy, cx, cy = self.cameras.intrinsics[photo].unbind(-1)
        z = local[..., 2]
        x, y = (local[..., i] / z.clamp_min(1e-9) * f + c for i, f, c in ((0, fx, cx), (1, fy, cy)))
        pixel, inside = self.layout.containing(photo, x, y)
        depth = self.depth[pixel]
        shown = inside & (z > 0) & (depth > 0)
        behind, before = z > (1.0 + _THICKNESS) * depth + self.sigma[pixel], z < depth
        return (shown & behind).any(1) & ~(shown & before).any(1)


def _turned(rays: RayBatch, distance: float, generator: torch.Generator) -> RayBatch:
    """Each turned about its point at ``depth`` to any side, its origin moved by up to ``distance``."""
    size, device = len(rays.origins), rays.origins.device
    axis = torch.linalg.cross(torch.randn((size, 3), generator=generator, device=device), rays.viewdirs)
    axis = axis / axis.norm(dim=-1, keepdim=True).clamp_min(1e-9)
    length = rays.depth * rays.directions.norm(dim=-1)
    most = (distance / length.clamp_min(1e-9)).clamp_max(_MOST_ANGLE)
    angle = most * torch.rand(size, generator=generator, device=device)
    directions = (rotation_matrices(angle[:, None] * axis) @ rays.directions[..., None])[..., 0]
    origins = rays.origins + rays.depth[:, None] * (rays.directions - directions)
    return replace(rays, origins=origins, directions=directions)


def steady_mask(depth: Tensor) -> Tensor:
    """Pixels all of whose 3 x 3 neighbours lie on the surface that they show, (H, W) bool, of depths (H, W), 0 = none.

    Elsewhere a pixel shows two surfaces, or a ray beside it may pass the surface by.
    """
    map_ = depth[None, None]
    nearest, farthest = (s * torch.nn.functional.max_pool2d(s * map_, 3, stride=1, padding=1)[0, 0] for s in (-1, 1))
    return (nearest > 0) & (farthest - nearest < _STEP * farthest)
