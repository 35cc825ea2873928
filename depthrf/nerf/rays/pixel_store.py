"""All pixels of the training photos in one flat store, and the batches of rays drawn from it."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from depthrf.geometry.camera import Camera, DepthPrior, View
from depthrf.nerf.options import PixelOptions, RecastOptions
from depthrf.nerf.rays.batch import Bounds, CameraRays, RayBatch
from depthrf.nerf.rays.pixel_layout import PixelLayout
from depthrf.nerf.rays.recasting import SurfaceMaps
from depthrf.nerf.rays.unseen import Turntable

EVENLY = PixelOptions(depth_share=0.0, contrast_share=0.0, jitter=0.0, recast=RecastOptions(share=0.0))
"""Draws all pixels equally often, with rays from the camera through the pixel's centre."""

_CONTRAST = 24  # smallest difference within 3 x 3 pixels, of 255


class RaySource(Protocol):
    """What training needs of the photos: batches of rays and a few facts (see :class:`PixelStore`)."""

    turntable: Turntable

    @property
    def num_photos(self) -> int: ...

    @property
    def pixel_width(self) -> float: ...

    def sample(
        self, num_rays: int, generator: torch.Generator, options: PixelOptions = EVENLY, *, across: int = 1
    ) -> RayBatch: ...


class PixelStore:
    """The training photos as flat arrays of all pixels: uint8 colours and float32 depth priors."""

    def __init__(
        self,
        views: list[View],
        images: list[NDArray[np.uint8]],
        priors: list[DepthPrior],
        used: list[NDArray[np.bool_]] | None = None,
        gains: NDArray[np.float64] | None = None,
        *,
        bounds: Bounds,
        device: torch.device,
    ) -> None:
        """Poses and depths are those of the normalised scene; the arrays of a view have its camera's size.

        Args:
            views: One per photo.
            images: Photos (H, W, 3).
            priors: Depth priors (H, W).
            used: Which pixels may be drawn (H, W); None: all.
            gains: Exposure of each photo relative to their mean (P, 3), which is taken out of the rays' colours.
            bounds: Depth range of the rays.
            device: Where the pixels are kept.
        """
        self.cameras = CameraRays(views, bounds, device)
        self.turntable = Turntable.of(views, device)
        self.layout = PixelLayout.of(views, device)
        self.rgb = torch.from_numpy(np.concatenate([i.reshape(-1, 3) for i in images])).to(device)
        self.depth = torch.from_numpy(np.concatenate([p.depth.reshape(-1) for p in priors])).to(device)
        self.sigma = torch.from_numpy(np.concatenate([p.sigma.reshape(-1) for p in priors])).to(device)
        self.gains = None if gains is None else torch.from_numpy(gains).float().to(device)
        self.surfaces = SurfaceMaps(self.cameras, self.layout, self.depth, self.sigma)
        drawn = torch.ones(len(self.rgb), dtype=torch.bool)
        if used is not None:
            drawn = torch.from_numpy(np.concatenate([u.reshape(-1) for u in used]))
        drawn = drawn.to(device)
        self.with_depth = torch.nonzero((self.depth > 0) & drawn)[:, 0]
        self.drawn = None if bool(drawn.all()) else torch.nonzero(drawn)[:, 0]

    @cached_property
    def with_contrast(self) -> Tensor:
        """Indices of the pixels that may be drawn and differ from their neighbours."""
        index = torch.nonzero(self.layout.by_photo(contrast_mask, self.rgb))[:, 0]
        return index if self.drawn is None else index[torch.isin(index, self.drawn, assume_unique=True)]

    @property
    def depth_coverage(self) -> float:
        """Share of the pixels that may be drawn that have a depth prior."""
        return len(self.with_depth) / self.num_drawn

    @property
    def num_photos(self) -> int:
        """Number of training photos."""
        return len(self.cameras.intrinsics)

    @property
    def pixel_width(self) -> float:
        """Median width of a pixel at the depth of its prior; without any prior, at the middle of the depth range."""
        focal = self.cameras.intrinsics[:, 0]
        if not len(self.with_depth):
            bounds = self.cameras.bounds
            return float(0.5 * (bounds.near + bounds.far) / focal.median())
        stride = max(1, len(self.with_depth) // 100_000)
        sampled = self.with_depth[::stride].contiguous()
        return float((self.depth[sampled] / focal[self.layout.photos(sampled)]).median())

    @property
    def num_drawn(self) -> int:
        """Number of pixels that may be drawn."""
        return len(self.rgb) if self.drawn is None else len(self.drawn)

    def sample(
        self, num_rays: int, generator: torch.Generator, options: PixelOptions = EVENLY, *, across: int = 1
    ) -> RayBatch:
        """Rays of random pixels of all photos; ``options`` reserve shares for pixels with a depth prior or contrast.

        With ``across`` > 1 a pixel is divided into ``across`` x ``across`` parts. Each part has one ray with a thinner
        cone, at a random position in it; the rays of a pixel follow one another. ``num_rays`` is a multiple of
        ``across`` squared.
        """
        device = self.rgb.device
        num_pixels = num_rays // across**2
        parts, left = [], num_pixels
        for pool, share in self._pools(options):
            count = min(int(num_pixels * share), left)
            parts.append(pool[torch.randint(len(pool), (count,), generator=generator, device=device)])
            left -= count
        index = torch.randint(self.num_drawn, (left,), generator=generator, device=device)
        # Pixels drawn from all photos come last, because the last rays are the ones to be recast.
        anywhere = index if self.drawn is None else self.drawn[index]
        index = torch.cat([*parts, anywhere]).repeat_interleave(across**2)
        view_idx, x, y = self.layout.centres(index)
        jitter = 1.0 if across > 1 else options.jitter
        if jitter:
            offset = jitter * (torch.rand((2, num_rays), generator=generator, device=device) - 0.5)
            moved = part_centres(across, device).repeat(1, num_pixels) + offset / across
            x, y = x + moved[0], y + moved[1]
        rgb = self.rgb[index].float() / 255.0
        if self.gains is not None:
            rgb = (rgb / self.gains[view_idx]).clamp_max(1.0)
        rays = self.cameras.batch(view_idx, x, y, rgb, self.depth[index], self.sigma[index])
        rays = replace(rays, radii=rays.radii / across)
        kept = num_rays - int(options.recast.share * num_rays)
        if kept == num_rays:
            return rays
        recast = self.surfaces.recast(rays.part(slice(kept, None)), index[kept:], options.recast, generator)
        return RayBatch.joined([rays.part(slice(kept)), recast])

    def _pools(self, options: PixelOptions) -> list[tuple[Tensor, float]]:
        """Sets of pixels (indices) that have a share of each batch to themselves, and that share."""
        pools = [(self.with_depth, options.depth_share)]
        if options.contrast_share:
            pools.append((self.with_contrast, options.contrast_share))
        return [(pool, share) for pool, share in pools if 0 < len(pool) < share * self.num_drawn]


def part_centres(across: int, device: torch.device) -> Tensor:
    """Offsets x, y from a pixel's centre to those of its ``across`` x ``across`` parts, row by row, (2, across^2)."""
    centres = (torch.arange(across, device=device) + 0.5) / across - 0.5
    return torch.stack([centres.repeat(across), centres.repeat_interleave(across)])


def contrast_mask(image: Tensor) -> Tensor:
    """Edges and texture of ``image`` (H, W, 3) uint8: where any channel varies by a tenth of its range, (H, W) bool.

    The variation is that within 3 x 3 pixels. Surfaces without texture are learned from few of their pixels.
    """
    planes = image.permute(2, 0, 1).float()
    brightest = torch.nn.functional.max_pool2d(planes, 3, stride=1, padding=1)
    darkest = -torch.nn.functional.max_pool2d(-planes, 3, stride=1, padding=1)
    return (brightest - darkest).amax(0) >= _CONTRAST


def resize_prior(prior: DepthPrior, camera: Camera) -> DepthPrior:
    """The prior at the size of ``camera``, a smaller version of the same photo.

    Averaging would mix depths across edges, and subsampling would lose keypoints. So each new pixel takes the valid old
    pixel nearest to its centre.
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
