"""Rays from unseen cameras: training rays rotated about the scene, from where the field must look plausible.

Few photos leave most of space unconstrained. It may hold haze that no photo reveals, and holes behind what all of them
see. From other viewpoints both would show, so regularising such rays (``losses.unseen``) removes haze and fills holes.
RegNeRF (Niemeyer et al. 2022) and InfoNeRF (Kim et al. 2022) also regularise rays from unseen poses.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from depthrf.geometry.camera import View
from depthrf.geometry.paths.focus import focus_point, mean_up
from depthrf.nerf.options import UnseenOptions
from depthrf.nerf.rays.rotations import rotation_matrices

if TYPE_CHECKING:
    from depthrf.nerf.rays.batch import RayBatch


@dataclass(frozen=True)
class Turntable:
    """The vertical axis through the point the cameras look at: ``focus`` (3,) and ``up`` (3,), a unit vector."""

    focus: Tensor
    up: Tensor

    @classmethod
    def of(cls, views: Sequence[View], device: torch.device) -> Turntable:
        focus = torch.from_numpy(focus_point(views)).float()
        up = torch.from_numpy(mean_up(views)).float()
        return cls(focus.to(device), up.to(device))

    def turned(self, rays: RayBatch, options: UnseenOptions, generator: torch.Generator) -> RayBatch:
        """Each ray rotated by random angles, first about the vertical and then up or down.

        Depth range and cone stay. The new rays belong to no photo; their colours are meaningless and depths are 0.
        """
        size = (2, len(rays.origins))
        angles = 2.0 * torch.rand(size, generator=generator, device=rays.origins.device) - 1.0
        about = rotation_matrices((options.angle * angles[0])[:, None] * self.up)
        arms = about @ (rays.origins - self.focus)[..., None]
        sideways = torch.linalg.cross(self.up.expand_as(arms[..., 0]), arms[..., 0])
        sideways = sideways / sideways.norm(dim=-1, keepdim=True).clamp_min(1e-9)
        tilted = rotation_matrices((options.tilt * angles[1])[:, None] * sideways)
        arms = (tilted @ arms)[..., 0]
        directions = (tilted @ about @ rays.directions[..., None])[..., 0]
        return replace(
            rays,
            origins=self.focus + arms,
            directions=directions,
            viewdirs=directions / directions.norm(dim=-1, keepdim=True),
            depth=torch.zeros_like(rays.depth),
            camera_idx=torch.full_like(rays.camera_idx, -1),
        )


def with_neighbours(rays: RayBatch, reach: float, generator: torch.Generator) -> RayBatch:
    """R rays, then a neighbour of each in a random direction, then one at right angles to it, (3 R,).

    The angle to both is log-uniform between ``reach`` / 100 and ``reach`` radians: a hole is filled from its border,
    which is near some rays and far from others.
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
