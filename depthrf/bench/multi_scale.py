"""Training on pictures of several sizes at once (mip-NeRF, section 4, "multiscale Blender")."""

from __future__ import annotations

import torch

from depthrf.nerf.options import PixelOptions
from depthrf.nerf.rays.batch import RayBatch
from depthrf.nerf.rays.pixel_store import EVENLY, PixelStore


class MultiScaleStore:
    """Pixels of the same views at several sizes, one store each.

    mip-NeRF weights the loss of a pixel by the area it covers, so that every size counts the same. Here each size
    provides the same number of a batch's rays: the expected gradient is the same, with less variance. The radii of the
    rays follow from each size's own focal length.
    """

    def __init__(self, stores: list[PixelStore]) -> None:
        self.stores = stores
        first = stores[0]
        self.num_photos, self.turntable, self.pixel_width = first.num_photos, first.turntable, first.pixel_width

    def sample(
        self, num_rays: int, generator: torch.Generator, options: PixelOptions = EVENLY, *, across: int = 1
    ) -> RayBatch:
        """As :meth:`PixelStore.sample`; the first sizes get one pixel more where the number does not divide evenly."""
        pixels, rest = divmod(num_rays // across**2, len(self.stores))
        batches = []
        for index, store in enumerate(self.stores):
            own_pixels = pixels + 1 if index < rest else pixels
            batches.append(store.sample(own_pixels * across**2, generator, options, across=across))
        return RayBatch.joined(batches)
