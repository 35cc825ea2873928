"""Batches of rays: through given pixels of several views, or through all pixels of one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
import torch
from torch import Tensor

from depthrf.geometry.camera import View


@dataclass(frozen=True)
class RayBatch:
    """R rays of the normalised scene.

    origins, directions (R, 3): camera-z of a direction is 1, so ``t`` along the ray is z-depth. viewdirs (R, 3): unit.
    radii (R,): cone radius at t = 1. near, far (R,). rgb (R, 3) in [0, 1]. depth, sigma (R,): prior and its standard
    deviation, 0 = none. camera_idx (R,) int64: photo, -1 = novel view.
    """

    origins: Tensor
    directions: Tensor
    viewdirs: Tensor
    radii: Tensor
    near: Tensor
    far: Tensor
    rgb: Tensor
    depth: Tensor
    sigma: Tensor
    camera_idx: Tensor

    def part(self, rows: slice | Tensor) -> RayBatch:
        """The rays of these rows."""
        return RayBatch(**{f.name: getattr(self, f.name)[rows] for f in fields(self)})

    @classmethod
    def joined(cls, batches: Sequence[RayBatch]) -> RayBatch:
        """The rays of several batches, one batch after the other."""
        if len(batches) == 1:
            return batches[0]
        return cls(**{f.name: torch.cat([getattr(b, f.name) for b in batches]) for f in fields(cls)})


@dataclass(frozen=True)
class Bounds:
    """Range of z-depths of all rays, normalised scene."""

    near: float
    far: float


class CameraRays:
    """Makes rays through pixels of a set of views, whose poses are those of the normalised scene."""

    def __init__(self, views: list[View], bounds: Bounds, device: torch.device) -> None:
        def on_device(values: list[object]) -> Tensor:
            return torch.tensor(np.array(values), dtype=torch.float32, device=device)

        self.bounds = bounds
        self.intrinsics = on_device([[v.camera.fx, v.camera.fy, v.camera.cx, v.camera.cy] for v in views])
        self.world_from_cam = on_device([v.world_from_cam for v in views])

    def rays(self, view_idx: Tensor, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Origins, directions, unit directions (R, 3) and radii (R,) of the pixel positions x, y (R,)."""
        fx, fy, cx, cy = self.intrinsics[view_idx].unbind(-1)
        in_cam = torch.stack([(x - cx) / fx, (y - cy) / fy, torch.ones_like(x)], dim=-1)
        pose = self.world_from_cam[view_idx]
        directions = (pose[:, :3, :3] @ in_cam[:, :, None])[..., 0]
        # A pixel of width 1/f at t = 1 as a disc of the same variance (mip-NeRF section 3.1).
        radii = 2.0 / 12**0.5 / fx
        return pose[:, :3, 3], directions, directions / directions.norm(dim=-1, keepdim=True), radii

    def batch(self, view_idx: Tensor, x: Tensor, y: Tensor, rgb: Tensor, depth: Tensor, sigma: Tensor) -> RayBatch:
        """Rays of training pixels, with their colours and depth priors."""
        origins, directions, viewdirs, radii = self.rays(view_idx, x, y)
        near, far = torch.full_like(radii, self.bounds.near), torch.full_like(radii, self.bounds.far)
        return RayBatch(origins, directions, viewdirs, radii, near, far, rgb, depth, sigma, view_idx)


def view_rays(view: View, bounds: Bounds, device: torch.device) -> RayBatch:
    """Rays through all pixels of a novel view, row by row, R = height * width. Colours and depths are zero."""
    camera = view.camera
    grid = torch.from_numpy(camera.pixel_centres().reshape(-1, 2)).float().to(device)
    view_idx = torch.zeros(len(grid), dtype=torch.int64, device=device)
    nothing = torch.zeros(len(grid), device=device)
    cameras = CameraRays([view], bounds, device)
    batch = cameras.batch(view_idx, grid[:, 0], grid[:, 1], grid.new_zeros((len(grid), 3)), nothing, nothing)
    return replace(batch, camera_idx=view_idx - 1)
