"""Random ray casting (RapNeRF, Zhang et al. 2022): a pixel's ray, cast at the same surface from beside its camera.

A surface looks much the same from a little to the side. So where the depth prior locates it well, its pixel also shows
what cameras between the photos would see. Without such rays, few photos leave room there for haze and ghosts.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from depthrf.nerf.options import RecastOptions
from depthrf.nerf.rays.batch import CameraRays, RayBatch
from depthrf.nerf.rays.pixel_layout import PixelLayout
from depthrf.nerf.rays.rotations import rotation_matrices

_MAX_SIGMA = 0.02  # largest standard deviation of a certain depth, relative to the depth
_MAX_ANGLE = 0.2  # radians
_EDGE = 0.05  # relative difference of depths within 3 x 3 pixels that counts as an edge
_NEARBY = 9  # photos in which a ray is checked for occlusion, including its own
_POINTS = 12  # points of a ray that are checked
_THICKNESS = 0.005  # relative distance behind a surface from which on a point is hidden


@dataclass(frozen=True)
class SurfaceMaps:
    """The depth priors of P photos as surfaces that rays are cast at.

    depth, sigma (N,): priors of all pixels in the order of ``layout``; 0 = no prior.
    """

    cameras: CameraRays
    layout: PixelLayout
    depth: Tensor
    sigma: Tensor

    @cached_property
    def certain(self) -> Tensor:
        """Pixels whose depth has a small deviation and no edge beside it, (N,) bool."""
        return self.layout.by_photo(smooth_mask, self.depth) & (self.sigma <= _MAX_SIGMA * self.depth)

    @cached_property
    def distances(self) -> Tensor:
        """Distances between all cameras, (P, P)."""
        centres = self.cameras.world_from_cam[:, :3, 3]
        return torch.cdist(centres, centres)

    @cached_property
    def spacing(self) -> float:
        """Median distance from a camera to its nearest neighbour; 0 for a single photo."""
        return float(self.distances.kthvalue(2).values.median()) if len(self.distances) > 1 else 0.0

    @cached_property
    def nearby(self) -> Tensor:
        """Each photo and those taken nearest to it, itself first, (P, at most 9)."""
        return self.distances.topk(min(_NEARBY, len(self.distances)), largest=False).indices

    def recast(self, rays: RayBatch, pixel: Tensor, options: RecastOptions, generator: torch.Generator) -> RayBatch:
        """The rays of pixels (R,), rotated about the points where they meet their surfaces.

        The origin moves by a random distance, at most to the next photo's camera (``options.reach``): errors of depths
        and poses grow with it. Colour, prior, cone and distance to the surface stay. So do ``viewdirs``, because
        view-dependent colour was seen from the photo. A ray stays as it is where the prior is uncertain or where
        another surface may occlude the new ray.
        """
        turned = _turned(rays, options.reach * self.spacing, generator)
        # Points between the new origin and the surface: none of them may be hidden from the photos nearby.
        t = torch.linspace(0.1, 0.97, _POINTS, device=pixel.device) * rays.depth[:, None]
        points = turned.origins[:, None] + t[..., None] * turned.directions[:, None]
        moved = (self.certain[pixel] & ~self.hidden(rays.camera_idx, points).any(-1))[:, None]
        return replace(
            rays,
            origins=torch.where(moved, turned.origins, rays.origins),
            directions=torch.where(moved, turned.directions, rays.directions),
        )

    def hidden(self, photo: Tensor, points: Tensor) -> Tensor:
        """Which points (R, K, 3) are hidden from the photos taken near ``photo`` (R,), as (R, K) bool.

        A point is hidden if it lies behind the surface in at least one of them and in front of it in none. A point that
        is outside all of them may be free or not; it does not count as hidden.
        """
        photo = self.nearby[photo][:, :, None]  # (R, P', 1)
        pose = self.cameras.world_from_cam[photo[..., 0]]
        local = (points[:, None] - pose[..., None, :3, 3]) @ pose[..., :3, :3]
        fx, fy, cx, cy = self.cameras.intrinsics[photo].unbind(-1)
        z = local[..., 2]
        x = local[..., 0] / z.clamp_min(1e-9) * fx + cx
        y = local[..., 1] / z.clamp_min(1e-9) * fy + cy
        pixel, inside = self.layout.containing(photo, x, y)
        depth = self.depth[pixel]
        visible = inside & (z > 0) & (depth > 0)
        behind = visible & (z > (1.0 + _THICKNESS) * depth + self.sigma[pixel])
        in_front = visible & (z < depth)
        return behind.any(1) & ~in_front.any(1)


def _turned(rays: RayBatch, distance: float, generator: torch.Generator) -> RayBatch:
    """Rotates each ray about its point at ``depth``, in a random direction. Origins move by at most ``distance``."""
    size, device = len(rays.origins), rays.origins.device
    axis = torch.linalg.cross(torch.randn((size, 3), generator=generator, device=device), rays.viewdirs)
    axis = axis / axis.norm(dim=-1, keepdim=True).clamp_min(1e-9)
    length = rays.depth * rays.directions.norm(dim=-1)
    max_angle = (distance / length.clamp_min(1e-9)).clamp_max(_MAX_ANGLE)
    angle = max_angle * torch.rand(size, generator=generator, device=device)
    directions = (rotation_matrices(angle[:, None] * axis) @ rays.directions[..., None])[..., 0]
    origins = rays.origins + rays.depth[:, None] * (rays.directions - directions)
    return replace(rays, origins=origins, directions=directions)


def smooth_mask(depth: Tensor) -> Tensor:
    """Where the depths (H, W), 0 = none, of all 3 x 3 neighbours belong to one surface, (H, W) bool.

    Elsewhere a pixel may show two surfaces, and a ray beside it may miss both.
    """
    nearest = -torch.nn.functional.max_pool2d(-depth[None], 3, stride=1, padding=1)[0]
    farthest = torch.nn.functional.max_pool2d(depth[None], 3, stride=1, padding=1)[0]
    return (nearest > 0) & (farthest - nearest < _EDGE * farthest)
