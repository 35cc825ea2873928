"""Training: one optimiser step after another, deterministic for a seed and resumable at any step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from depthrf.nerf.losses import total_loss
from depthrf.nerf.model import RadianceField
from depthrf.nerf.options import LossOptions, OptimiserOptions
from depthrf.nerf.rays import RaySource


@dataclass(frozen=True)
class StepResult:
    """What a step measured, still on the device so that reading it is the caller's choice: losses by name, PSNR."""

    losses: dict[str, Tensor]
    psnr: Tensor


class Trainer:
    """Optimises a model on a pixel store. ``step`` counts the optimiser steps done."""

    def __init__(self, model: RadianceField, optimiser: OptimiserOptions, losses: LossOptions, *, seed: int) -> None:
        self.model, self.options, self.losses, self.seed = model, optimiser, losses, seed
        self.device = model.appearance.device
        self.optimiser = torch.optim.Adam(
            model.parameters(), lr=optimiser.rate, betas=(0.9, 0.99), eps=1e-15, fused=True
        )
        self.generator = torch.Generator(device=self.device)
        self.step = 0

    def advance(self, store: RaySource) -> StepResult:
        """One step. The random numbers depend on seed and step only, so a resumed run equals the straight one."""
        self.generator.manual_seed(self.seed * 1_000_003 + self.step)
        for group in self.optimiser.param_groups:
            group["lr"] = learning_rate(self.step, self.options)
        rays = store.sample(self.options.batch_rays, self.options.depth_share, self.generator)
        output = self.model(rays, self.generator)
        losses = total_loss(output, rays, self.model.appearance, self.losses)
        self.optimiser.zero_grad(set_to_none=True)
        torch.stack(list(losses.values())).sum().backward()  # type: ignore[no-untyped-call]
        self.optimiser.step()
        self.step += 1
        with torch.no_grad():
            psnr = -10.0 * torch.log10(((output.rgb - rays.rgb) ** 2).mean())
        return StepResult({name: value.detach() for name, value in losses.items()}, psnr)

    def state(self) -> dict[str, Any]:
        """Tensors and plain values that :meth:`restore` needs to go on exactly here."""
        return {"step": self.step, "model": self.model.state_dict(), "optimiser": self.optimiser.state_dict()}

    def restore(self, state: dict[str, Any]) -> None:
        """Takes up a state made by :meth:`state` with the same options."""
        self.model.load_state_dict(state["model"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.step = int(state["step"])


def learning_rate(step: int, options: OptimiserOptions) -> float:
    """Log-linear from ``rate`` to ``rate_final`` with a linear warm-up from 1 %."""
    progress = min(step / max(options.steps, 1), 1.0)
    warm = min((step + 1) / options.warmup_steps, 1.0) if options.warmup_steps else 1.0
    ramp = 0.01 + 0.99 * warm
    return float(ramp * options.rate ** (1.0 - progress) * options.rate_final**progress)
