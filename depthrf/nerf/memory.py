"""Training within a device's memory: what it will need, told before it starts, and fewer rays at a time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from depthrf.errors import DepthrfError
from depthrf.nerf.options import PixelOptions
from depthrf.nerf.pixel_store import RaySource
from depthrf.nerf.training import StepResult, Trainer

_PROBE_RAYS = 32
_LEAST_RAYS = 32

Tell = Callable[[str], None]


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


def training_memory(trainer: Trainer, store: RaySource) -> Memory:
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


def fit_memory(trainer: Trainer, store: RaySource, free: int | None, tell: Tell) -> None:
    """Renders fewer rays at a time, and tells so, where the largest batch would not fit into ``free`` bytes.

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
    """One step; out of memory it is done again with half as many rays at a time, which is told.

    Raises:
        DepthrfError: Even a few rays are too many, or several processes would have to agree.
    """
    while True:
        rays = min(trainer.chunk_rays, trainer.batch_rays // trainer.workers.count)
        try:
            return trainer.advance(store)
        except torch.OutOfMemoryError as e:
            if rays <= _LEAST_RAYS or trainer.workers.count > 1:
                raise DepthrfError(
                    f"Out of memory on {trainer.device} with {rays} rays at a time. Free the GPU, or train with fewer "
                    "rays a step (optimiser.batch_rays), or use a smaller preset."
                ) from e
        # Only here, after the exception has let go of the step's tensors, can they be freed.
        torch.cuda.empty_cache()
        trainer.chunk_rays = (rays + 1) // 2
        tell(f"out of memory on {trainer.device}: {trainer.chunk_rays} rays at a time from here on, same batch")
