"""Training on pictures of several sizes at once (mip-NeRF, section 4, "multiscale Blender")."""

from __future__ import annotations

import torch

from depthrf.nerf.options import PixelOptions
from depthrf.nerf.pixel_store import EVENLY, PixelStore
from depthrf.nerf.rays import RayBatch


class MultiScaleStore:
    """Pixels of the same views at several sizes, one store each.

    mip-NeRF weighs the loss of a pixel by the area it covers, so that every size counts the same. Here each size gives
    the same number of a batch's rays, which has the same expected gradient and less variance. The radii of the rays
    follow from each size's own focal length.
    """

    def __init__(self, stores: list[PixelStore]) -> None:
        self.stores = stores
        first = stores[0]
        self.num_photos, self.turntable, self.pixel_width = first.num_photos, first.turntable, first.pixel_width

    def sample(
        self, num_rays: int, generator: torch.Generator, options: PixelOptions = EVENLY, *, across: int = 1
    ) -> RayBatch:
        """As :meth:`PixelStore.sample`; the first sizes take what does not divide."""
        share, rest = divmod(num_rays // across**2, len(self.stores))
        counts = [(share + (index < rest)) * across**2 for index in range(len(self.stores))]
        batches = [s.sample(n, generator, options, across=across) for s, n in zip(self.stores, counts, strict=True)]
        return RayBatch.joined(batches)
