"""Training within a device's memory: an estimate before it starts, and fewer rays at a time when it runs out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from depthrf.errors import DepthrfError
from depthrf.nerf.options import PixelOptions
from depthrf.nerf.out_of_memory import with_fewer_rays
from depthrf.nerf.rays.pixel_store import RaySource
from depthrf.nerf.training.loop import StepResult, Trainer

_PROBE_RAYS = 32

Tell = Callable[[str], None]


def pixel_bytes(num_pixels: int, options: PixelOptions) -> int:
    """Upper bound on the bytes of a pixel store.

    A pixel has a colour (3 bytes), depth and sigma (4 each), entries in the indices of pixels with depth and with
    contrast (8 each), and a flag for certain depth (1).
    """
    return (19 + 8 * bool(options.contrast_share) + bool(options.recast.share)) * num_pixels


@dataclass(frozen=True)
class Memory:
    """Bytes that training allocates: for gradients and Adam's two moments, and per ray rendered at a time."""

    optimiser: int
    per_ray: int

    def total(self, rays: int) -> int:
        """All bytes, with ``rays`` rendered at a time."""
        return self.optimiser + self.per_ray * rays

    def fitting_rays(self, rays: int, free: int) -> int:
        """``rays``, halved until everything fits into ``free`` bytes; 0 if even a few do not fit."""
        while self.total(rays) > free and rays > _PROBE_RAYS:
            rays = (rays + 1) // 2
        return rays if self.total(rays) <= free else 0


def training_memory(trainer: Trainer, store: RaySource) -> Memory:
    """Estimates the bytes from what the backward pass keeps of a few rays, and from the size of the model."""
    parameters = {p.data_ptr() for p in trainer.model.parameters()}
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        if tensor.untyped_storage().data_ptr() not in parameters:
            kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor.detach()  # with its graph it would keep itself alive

    rays = trainer.posed(store.sample(_PROBE_RAYS, torch.Generator(trainer.device).manual_seed(0)))
    # The tensors stay alive in ``output``, so no address is used twice.
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        output = trainer.model(rays, torch.zeros(_PROBE_RAYS, trainer.model.num_rounds, device=trainer.device))
    del output
    model = sum(p.numel() * p.element_size() for p in trainer.model.parameters())
    # The optimiser has two moments, and each part of the batch a gradient. Losses and gradients of activations take
    # about as much again as the activations.
    return Memory((2 + trainer.threads.count) * model, 2 * sum(kept.values()) // _PROBE_RAYS)


def fit_memory(trainer: Trainer, store: RaySource, free: int | None, tell: Tell) -> None:
    """Reduces the rays rendered at a time if the largest batch would not fit into ``free`` bytes, and says so.

    Raises:
        DepthrfError: Even a few rays do not fit.
    """
    if free is None:
        return
    memory = training_memory(trainer, store)
    rays = memory.fitting_rays(trainer.chunk_rays, free)
    needed = f"{memory.total(trainer.chunk_rays) / 1e9:.1f} GB, {free / 1e9:.1f} GB are free on {trainer.device}"
    if not rays:
        raise DepthrfError(
            f"Training needs {needed}. Use a smaller preset, or a smaller hash grid (model.field.grid.log2_size=17)."
        )
    if rays < trainer.chunk_rays:
        tell(f"  a batch needs {needed}: {rays} rays at a time")
        trainer.chunk_rays = rays


def advance(trainer: Trainer, store: RaySource, tell: Tell) -> StepResult:
    """One step. If memory runs out, it is repeated with half as many rays at a time, and ``tell`` is told.

    Raises:
        DepthrfError: Even a few rays need too much, or there are several processes, which would have to agree.
    """

    def step(rays: int) -> StepResult:
        trainer.chunk_rays = rays
        return trainer.advance(store)

    rays = min(trainer.chunk_rays, trainer.batch_rays // trainer.workers.count)
    try:
        if trainer.workers.count > 1:
            return trainer.advance(store)
        result, fitting = with_fewer_rays(step, rays)
    except torch.OutOfMemoryError as e:
        raise DepthrfError(
            f"Out of memory on {trainer.device}. Free the GPU, or train with fewer rays per step "
            "(optimiser.batch_rays), or use a smaller preset."
        ) from e
    if fitting < rays:
        tell(f"out of memory on {trainer.device}: {fitting} rays at a time from here on, same batch")
    return result
