"""What training will need of a device's memory, told before it starts."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from depthrf.nerf.options import PixelOptions
from depthrf.nerf.pixel_store import PixelStore
from depthrf.nerf.training import Trainer

_PROBE_RAYS = 32


def pixel_bytes(num_pixels: int, options: PixelOptions) -> int:
    """Most bytes of a pixel store: colour (3), depth, sigma (4 each), an index of what has depth or contrast (8), and
    where depth is steady (1)."""
    return (19 + 8 * bool(options.contrast_share) + bool(options.recast.share)) * num_pixels


@dataclass(frozen=True)
class Memory:
    """Bytes that training will allocate: the model's gradients and Adam's two moments; each ray rendered at a time."""

    optimiser: int
    per_ray: int

    def total(self, rays: int) -> int:
        """All of it, with ``rays`` rendered at a time."""
        return self.optimiser + self.per_ray * rays

    def fitting_rays(self, rays: int, free: int) -> int:
        """``rays``, halved until all fits into ``free`` bytes; 0 if even a few do not."""
        while self.total(rays) > free and rays > _PROBE_RAYS:
            rays = (rays + 1) // 2
        return rays if self.total(rays) <= free else 0


def training_memory(trainer: Trainer, store: PixelStore) -> Memory:
    """Measures what the backward pass keeps of a few rays and adds what the optimiser keeps."""
    parameters = {p.data_ptr() for p in trainer.model.parameters()}
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        if tensor.untyped_storage().data_ptr() not in parameters:
            kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor.detach()  # with its graph it would keep itself alive for good

    rays = trainer.posed(store.sample(_PROBE_RAYS, torch.Generator(trainer.device).manual_seed(0)))
    # The tensors stay alive in ``output``, so no address is used twice.
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        output = trainer.model(rays, torch.zeros(_PROBE_RAYS, trainer.model.num_rounds, device=trainer.device))
    del output
    model = sum(p.numel() * p.element_size() for p in trainer.model.parameters())
    # Adam's two moments, and a gradient for each part of the batch. The losses and the gradients of activations come on
    # top of the rays' own: about as much again.
    return Memory((2 + trainer.threads.count) * model, 2 * sum(kept.values()) // _PROBE_RAYS)
