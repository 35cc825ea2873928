"""Rays of cameras that never were: training rays turned about the scene, on which the field must not be foggy.

Few photos leave most of space free to hold haze that none of them shows against anything. From any other side it
would be seen, so the regularisers of such rays (``losses.unseen``) take it away. RegNeRF (Niemeyer et al. 2022) and
InfoNeRF (Kim et al. 2022) regularise rays of unseen poses likewise.
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
        arms = rotated(rays.origins - self.focus, self.up, options.angle * angles[0])
        directions = rotated(rays.directions, self.up, options.angle * angles[0])
        sideways = torch.linalg.cross(self.up.expand_as(arms), arms)
        sideways = sideways / sideways.norm(dim=-1, keepdim=True).clamp_min(1e-9)
        tilt = options.tilt * angles[1]
        arms, directions = rotated(arms, sideways, tilt), rotated(directions, sideways, tilt)
        return replace(
            rays,
            origins=self.focus + arms,
            directions=directions,
            viewdirs=directions / directions.norm(dim=-1, keepdim=True),
            depth=torch.zeros_like(rays.depth),
            camera_idx=torch.full_like(rays.camera_idx, -1),
        )


def rotated(vectors: Tensor, axis: Tensor, angle: Tensor) -> Tensor:
    """``vectors`` (R, 3) turned about the unit ``axis`` (3,) or (R, 3) by ``angle`` (R,), Rodrigues' formula."""
    axis = axis.expand_as(vectors)
    cos, sin = angle.cos()[:, None], angle.sin()[:, None]
    along = (axis * vectors).sum(-1, keepdim=True) * axis
    across: Tensor = torch.linalg.cross(axis, vectors)
    return cos * vectors + sin * across + (1.0 - cos) * along
