"""Rays: all pixels of the training photos in one flat store, batches drawn from it, and the rays of whole views."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from depthrf.geometry.camera import Camera, DepthPrior, View
from depthrf.nerf.unseen import Turntable


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

    def part(self, rows: slice) -> RayBatch:
        """Some of the rays."""
        return RayBatch(**{f.name: getattr(self, f.name)[rows] for f in fields(self)})

    @classmethod
    def joined(cls, batches: Sequence[RayBatch]) -> RayBatch:
        """All rays of several batches, in their order."""
        if len(batches) == 1:
            return batches[0]
        return cls(**{f.name: torch.cat([getattr(b, f.name) for b in batches]) for f in fields(cls)})


@dataclass(frozen=True)
class Bounds:
    """z-depth range of all rays in the normalised scene."""

    near: float
    far: float


class CameraRays:
    """Rays through pixels of a set of views (normalised poses)."""

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
        """A batch of known pixels of training photos."""
        origins, directions, viewdirs, radii = self.rays(view_idx, x, y)
        near, far = torch.full_like(radii, self.bounds.near), torch.full_like(radii, self.bounds.far)
        return RayBatch(origins, directions, viewdirs, radii, near, far, rgb, depth, sigma, view_idx)


class RaySource(Protocol):
    """Where training gets its batches, and what it is told about the photos (see :class:`PixelStore`)."""

    turntable: Turntable

    @property
    def num_photos(self) -> int: ...

    @property
    def pixel_width(self) -> float: ...

    def sample(
        self, num_rays: int, depth_share: float, generator: torch.Generator, *, pixel_jitter: float = 0.0
    ) -> RayBatch: ...


class PixelStore:
    """The training photos as flat arrays: uint8 colours and float32 depth priors of all pixels."""

    def __init__(
        self,
        views: list[View],
        images: list[NDArray[np.uint8]],
        priors: list[DepthPrior],
        used: list[NDArray[np.bool_]] | None = None,
        *,
        bounds: Bounds,
        device: torch.device,
    ) -> None:
        """Views, their photos (H, W, 3), priors (H, W) and which pixels may be drawn (H, W), all at the same size.

        Poses and depths are of the normalised scene. All pixels are drawn when ``used`` is None.
        """
        self.cameras = CameraRays(views, bounds, device)
        self.turntable = Turntable.of(views, device)
        sizes = np.array([[v.camera.width, v.camera.height] for v in views])
        ends = np.cumsum(sizes.prod(-1))
        self.first = torch.tensor(ends - sizes.prod(-1), device=device)
        self.ends = torch.tensor(ends, device=device)
        self.width = torch.tensor(sizes[:, 0], device=device)
        self.rgb = torch.from_numpy(np.concatenate([i.reshape(-1, 3) for i in images])).to(device)
        self.depth = torch.from_numpy(np.concatenate([p.depth.reshape(-1) for p in priors])).to(device)
        self.sigma = torch.from_numpy(np.concatenate([p.sigma.reshape(-1) for p in priors])).to(device)
        drawn = torch.ones(len(self.rgb), dtype=torch.bool)
        if used is not None:
            drawn = torch.from_numpy(np.concatenate([u.reshape(-1) for u in used]))
        drawn = drawn.to(device)
        self.with_depth = torch.nonzero((self.depth > 0) & drawn)[:, 0]
        self.drawn = None if bool(drawn.all()) else torch.nonzero(drawn)[:, 0]

    @property
    def depth_coverage(self) -> float:
        """Share of the pixels that are drawn that have a depth prior."""
        return len(self.with_depth) / self.num_drawn

    @property
    def num_photos(self) -> int:
        """Number of training photos."""
        return len(self.cameras.intrinsics)

    @property
    def pixel_width(self) -> float:
        """Width of a pixel where its surface lies, median over the pixels with a depth prior; else halfway to far."""
        focal = self.cameras.intrinsics[:, 0]
        if not len(self.with_depth):
            bounds = self.cameras.bounds
            return float(0.5 * (bounds.near + bounds.far) / focal.median())
        some = self.with_depth[:: max(1, len(self.with_depth) // 100_000)].contiguous()
        return float((self.depth[some] / focal[self._photos_of(some)]).median())

    @property
    def num_drawn(self) -> int:
        return len(self.rgb) if self.drawn is None else len(self.drawn)

    def sample(
        self, num_rays: int, depth_share: float, generator: torch.Generator, *, pixel_jitter: float = 0.0
    ) -> RayBatch:
        """Random pixels of all photos; at least ``depth_share`` of them with a depth prior, where there is any.

        Rays pass the pixels' centres, or any place within this share of their width and height around them.
        """
        device = self.rgb.device
        guided = int(num_rays * depth_share) if 0 < self.depth_coverage < depth_share else 0
        index = torch.randint(self.num_drawn, (num_rays - guided,), generator=generator, device=device)
        if self.drawn is not None:
            index = self.drawn[index]
        if guided:
            pick = torch.randint(len(self.with_depth), (guided,), generator=generator, device=device)
            index = torch.cat([index, self.with_depth[pick]])
        view_idx = self._photos_of(index)
        local = index - self.first[view_idx]
        width = self.width[view_idx]
        x, y = (local % width).float() + 0.5, (local // width).float() + 0.5
        if pixel_jitter:
            offset = pixel_jitter * (torch.rand((2, num_rays), generator=generator, device=device) - 0.5)
            x, y = x + offset[0], y + offset[1]
        rgb = self.rgb[index].float() / 255.0
        return self.cameras.batch(view_idx, x, y, rgb, self.depth[index], self.sigma[index])

    def _photos_of(self, index: Tensor) -> Tensor:
        """The photo of each pixel (R,) of the store."""
        return torch.searchsorted(self.ends, index, right=True)


def view_rays(view: View, bounds: Bounds, device: torch.device) -> RayBatch:
    """All rays of a novel view in row order, R = height * width; colours and depths are zero."""
    camera = view.camera
    grid = torch.from_numpy(camera.pixel_centres().reshape(-1, 2)).float().to(device)
    view_idx = torch.zeros(len(grid), dtype=torch.int64, device=device)
    nothing = torch.zeros(len(grid), device=device)
    cameras = CameraRays([view], bounds, device)
    batch = cameras.batch(view_idx, grid[:, 0], grid[:, 1], grid.new_zeros((len(grid), 3)), nothing, nothing)
    return replace(batch, camera_idx=view_idx - 1)


def resize_prior(prior: DepthPrior, camera: Camera) -> DepthPrior:
    """The prior at the size of ``camera``, the same photo made smaller.

    Depth must not be averaged across edges, and keypoints must not be lost, so each new pixel takes the valid old one
    nearest to its centre.
    """
    height, width = prior.depth.shape
    if (width, height) == (camera.width, camera.height):
        return prior
    rows, cols = np.nonzero(prior.depth > 0)
    x, y = (cols + 0.5) * camera.width / width, (rows + 0.5) * camera.height / height
    target = y.astype(np.int64) * camera.width + x.astype(np.int64)
    distance = (x % 1.0 - 0.5) ** 2 + (y % 1.0 - 0.5) ** 2
    order = np.lexsort((distance, target))
    chosen, first = np.unique(target[order], return_index=True)
    depth, sigma = np.zeros((2, camera.height * camera.width), dtype=np.float32)
    depth[chosen] = prior.depth[rows, cols][order][first]
    sigma[chosen] = prior.sigma[rows, cols][order][first]
    return DepthPrior(depth.reshape(camera.height, -1), sigma.reshape(camera.height, -1))
