"""Rays of cameras that never were: training rays turned about the scene, on which the field must look plausible.

Few photos leave most of space free to hold haze that none of them shows against anything, and holes where all of them
see something nearer. From any other side both would be seen, so the regularisers of such rays (``losses.unseen``) take
haze away and fill holes. RegNeRF (Niemeyer et al. 2022) and InfoNeRF (Kim et al. 2022) regularise rays of unseen poses
likewise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from depthrf.geometry.camera import View
from depthrf.geometry.trajectory import focus_point, mean_up
from depthrf.nerf.options import UnseenOptions
from depthrf.nerf.rotations import rotation_matrices

if TYPE_CHECKING:
    from depthrf.nerf.rays import RayBatch


@dataclass(frozen=True)
class Turntable:
    """The vertical through the point that the cameras look at: ``focus`` and ``up``, a unit vector, both (3,)."""

    focus: Tensor
    up: Tensor

    @classmethod
    def of(cls, views: Sequence[View], device: torch.device) -> Turntable:
        focus, up = focus_point(views), mean_up(views)
        return cls(*(torch.from_numpy(v).float().to(device) for v in (focus, up)))

    def turned(self, rays: RayBatch, options: UnseenOptions, generator: torch.Generator) -> RayBatch:
        """The rays seen from elsewhere: each turned by random angles about the vertical and then up or down.

        They keep their depth range and cone and belong to no photo; their colours and depths mean nothing.
        """
        size = (2, len(rays.origins))
        angles = 2.0 * torch.rand(size, generator=generator, device=rays.origins.device) - 1.0
        about = rotation_matrices((options.angle * angles[0])[:, None] * self.up)
        arms = about @ (rays.origins - self.focus)[..., None]
        sideways = torch.linalg.cross(self.up.expand_as(arms[..., 0]), arms[..., 0])
        sideways = sideways / sideways.norm(dim=-1, keepdim=True).clamp_min(1e-9)
        tilted = rotation_matrices((options.tilt * angles[1])[:, None] * sideways)
        arms, directions = (tilted @ arms)[..., 0], (tilted @ about @ rays.directions[..., None])[..., 0]
        return replace(
            rays,
            origins=self.focus + arms,
            directions=directions,
            viewdirs=directions / directions.norm(dim=-1, keepdim=True),
            depth=torch.zeros_like(rays.depth),
            camera_idx=torch.full_like(rays.camera_idx, -1),
        )


def with_neighbours(rays: RayBatch, reach: float, generator: torch.Generator) -> RayBatch:
    """R rays, then a neighbour of each in a random direction, then one at right angles to that, (3 R,).

    Both lie ``reach`` radians away or less, down to a hundredth of it, evenly in the logarithm: a hole is filled from
    its border, which is near some rays and far from others.
    """
    size, device = len(rays.origins), rays.origins.device
    side = torch.linalg.cross(rays.viewdirs, torch.randn((size, 3), generator=generator, device=device))
    side = side / side.norm(dim=-1, keepdim=True).clamp_min(1e-9)
    angle = reach * 0.01 ** torch.rand((size, 1), generator=generator, device=device)
    length = rays.directions.norm(dim=-1, keepdim=True)
    parts = [rays]
    for axis in (side, torch.linalg.cross(rays.viewdirs, side)):
        viewdirs = rays.viewdirs * torch.cos(angle) + axis * torch.sin(angle)
        parts.append(replace(rays, directions=length * viewdirs, viewdirs=viewdirs))
    return type(rays).joined(parts)
