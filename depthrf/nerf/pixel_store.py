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
from depthrf.nerf.pixel_layout import PixelLayout
from depthrf.nerf.rays import Bounds, CameraRays, RayBatch
from depthrf.nerf.recasting import SurfaceMaps
from depthrf.nerf.unseen import Turntable

EVENLY = PixelOptions(depth_share=0.0, contrast_share=0.0, jitter=0.0, recast=RecastOptions(share=0.0))
"""Every pixel as often as any other, from its camera through its centre."""

_CONTRAST = 24  # least difference of 255 within 3 x 3 pixels


class RaySource(Protocol):
    """Where training gets its batches, and what it is told about the photos (see :class:`PixelStore`)."""

    turntable: Turntable

    @property
    def num_photos(self) -> int: ...

    @property
    def pixel_width(self) -> float: ...

    def sample(
        self, num_rays: int, generator: torch.Generator, options: PixelOptions = EVENLY, *, across: int = 1
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
        self.layout = PixelLayout.of(views, device)
        self.rgb = torch.from_numpy(np.concatenate([i.reshape(-1, 3) for i in images])).to(device)
        self.depth = torch.from_numpy(np.concatenate([p.depth.reshape(-1) for p in priors])).to(device)
        self.sigma = torch.from_numpy(np.concatenate([p.sigma.reshape(-1) for p in priors])).to(device)
        self.surfaces = SurfaceMaps(self.cameras, self.layout, self.depth, self.sigma)
        drawn = torch.ones(len(self.rgb), dtype=torch.bool)
        if used is not None:
            drawn = torch.from_numpy(np.concatenate([u.reshape(-1) for u in used]))
        drawn = drawn.to(device)
        self.with_depth = torch.nonzero((self.depth > 0) & drawn)[:, 0]
        self.drawn = None if bool(drawn.all()) else torch.nonzero(drawn)[:, 0]

    @cached_property
    def with_contrast(self) -> Tensor:
        """Indices of the pixels that are drawn and differ from those around them."""
        masks = [contrast_mask(photo).flatten() for photo in self.layout.pictures(self.rgb)]
        index = torch.nonzero(torch.cat(masks))[:, 0]
        return index if self.drawn is None else index[torch.isin(index, self.drawn, assume_unique=True)]

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
        return float((self.depth[some] / focal[self.layout.photos(some)]).median())

    @property
    def num_drawn(self) -> int:
        return len(self.rgb) if self.drawn is None else len(self.drawn)

    def sample(
        self, num_rays: int, generator: torch.Generator, options: PixelOptions = EVENLY, *, across: int = 1
    ) -> RayBatch:
        """Random pixels of all photos, some of them from those alone that have a depth prior, or contrast.

        Each pixel has ``across`` rays across and as many down, which follow one another: each a thinner cone somewhere
        in its own part of the pixel. ``num_rays`` is a multiple of ``across`` squared.
        """
        device = self.rgb.device
        num_pixels = num_rays // across**2
        parts, left = [], num_pixels
        for pool, share in self._pools(options):
            count = min(int(num_pixels * share), left)
            parts.append(pool[torch.randint(len(pool), (count,), generator=generator, device=device)])
            left -= count
        index = torch.randint(self.num_drawn, (left,), generator=generator, device=device)
        # Those of no pool come last: of them are the ones that are recast.
        index = torch.cat([*parts, index if self.drawn is None else self.drawn[index]]).repeat_interleave(across**2)
        view_idx, x, y = self.layout.centres(index)
        jitter = 1.0 if across > 1 else options.jitter
        if jitter:
            offset = jitter * (torch.rand((2, num_rays), generator=generator, device=device) - 0.5)
            column, row = (part_centres(across, device).repeat(1, num_pixels) + offset / across).unbind(0)
            x, y = x + column, y + row
        rgb = self.rgb[index].float() / 255.0
        rays = self.cameras.batch(view_idx, x, y, rgb, self.depth[index], self.sigma[index])
        rays = replace(rays, radii=rays.radii / across)
        kept = num_rays - int(options.recast.share * num_rays)
        if kept == num_rays:
            return rays
        others = self.surfaces.recast(rays.part(slice(kept, None)), index[kept:], options.recast, generator)
        return RayBatch.joined([rays.part(slice(kept)), others])

    def _pools(self, options: PixelOptions) -> list[tuple[Tensor, float]]:
        """Pixels that are drawn more often than others, with the share of a batch that is drawn from them alone."""
        pools = [(self.with_depth, options.depth_share)]
        if options.contrast_share:
            pools.append((self.with_contrast, options.contrast_share))
        return [(pool, share) for pool, share in pools if 0 < len(pool) < share * self.num_drawn]


def part_centres(across: int, device: torch.device) -> Tensor:
    """x and y, from a pixel's centre, of the centres of its ``across`` x ``across`` parts, by rows, (2, across^2)."""
    centres = (torch.arange(across, device=device) + 0.5) / across - 0.5
    return torch.stack([centres.repeat(across), centres.repeat_interleave(across)])


def contrast_mask(image: Tensor) -> Tensor:
    """Which pixels of ``image`` (H, W, 3), uint8, differ from those around them: edges and texture, (H, W) bool.

    Where 3 x 3 pixels span a tenth of the range in any channel. A flat surface is learnt from few of its pixels.
    """
    planes = image.permute(2, 0, 1).float()
    brightest, darkest = (torch.nn.functional.max_pool2d(p, 3, stride=1, padding=1) for p in (planes, -planes))
    return (brightest + darkest).amax(0) >= _CONTRAST


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
