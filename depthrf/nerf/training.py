"""Training: one optimiser step after another, deterministic for a seed and resumable at any step.

Nothing in a step makes the host wait for a GPU: what a step measures stays on the device until somebody reads it. On
one GPU the step is recorded as a CUDA graph.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from depthrf.nerf.adapting import adapted
from depthrf.nerf.averaging import AveragedModel
from depthrf.nerf.losses import grid_decay_rate, pixel_colors, total_loss
from depthrf.nerf.model import RadianceField
from depthrf.nerf.options import FewPhotosOptions, LossOptions, ModelOptions, OptimiserOptions
from depthrf.nerf.parallel import Workers
from depthrf.nerf.pixel_store import RaySource
from depthrf.nerf.pose_corrections import PoseCorrections
from depthrf.nerf.precision import computes_in_bfloat16
from depthrf.nerf.rays import RayBatch
from depthrf.nerf.recording import Recording
from depthrf.nerf.render import ModelOutput
from depthrf.nerf.schedule import depth_factor, learning_rate, unsplit_steps
from depthrf.nerf.threads import Threads
from depthrf.nerf.unseen import with_neighbours

_DIVERGED = 10  # steps in a row that could not be taken


def prepare(
    store: RaySource,
    model: ModelOptions,
    losses: LossOptions,
    few: FewPhotosOptions,
    optimiser: OptimiserOptions,
    *,
    seed: int,
    device: torch.device,
    workers: Workers = Workers(),  # noqa: B008 (frozen)
) -> Trainer:
    """A trainer with a new field for the photos of ``store``, with the options adapted to them."""
    model, losses, optimiser = adapted(
        model, losses, optimiser, few, num_photos=store.num_photos, pixel_width=store.pixel_width
    )
    torch.manual_seed(seed)
    field = RadianceField(model, num_photos=store.num_photos).to(device)
    return Trainer(field, optimiser, losses, seed=seed, workers=workers)


@dataclass(frozen=True)
class StepResult:
    """What a step measured, still on the device so that reading it is the caller's choice; until the next step.

    losses by name; psnr of the batch in dB; ``skipped``: steps left out in a row up to and with this one, because the
    loss or its gradient was not finite; ``last_skipped``: number of the last such step, -1 = none.
    """

    losses: dict[str, Tensor]
    psnr: Tensor
    skipped: Tensor
    last_skipped: Tensor


class Trainer:
    """Optimises a model on a pixel store.

    ``step`` counts the optimiser steps done, ``total`` those of the whole run. ``rate_factor`` scales the learning
    rate. At most ``chunk_rays`` rays are rendered at a time: less takes less memory and changes no gradient. ``poses``
    are the corrections to the photos' poses where those are learned too; their learning rate has the model's schedule.
    """

    def __init__(
        self,
        model: RadianceField,
        optimiser: OptimiserOptions,
        losses: LossOptions,
        *,
        seed: int,
        workers: Workers = Workers(),  # noqa: B008 (frozen)
    ) -> None:
        self.model, self.options, self.losses, self.seed, self.workers = model, optimiser, losses, seed, workers
        self.device = model.appearance.device
        self.average = AveragedModel(model, optimiser.average) if optimiser.average > 0.0 else None
        grids = {id(table) for table in model.grids}
        groups: list[dict[str, Any]] = [{"params": [p for p in model.parameters() if id(p) not in grids]}]
        groups += [{"params": [t], "weight_decay": grid_decay_rate(t, losses.grid_decay)} for t in model.grids]
        self._shares = [1.0] * len(groups)  # of the learning rate
        self.poses: PoseCorrections | None = None
        if optimiser.pose_rate > 0.0:
            self.poses = PoseCorrections(len(model.appearance), device=self.device)
            groups.append({"params": list(self.poses.parameters())})
            self._shares.append(optimiser.pose_rate / optimiser.rate)
        self.parameters = [p for group in groups for p in group["params"]]
        # What differs between steps lies in tensors, which a recorded step reads.
        self._rates = [torch.tensor(optimiser.rate, device=self.device) for _ in groups]
        self._number = torch.tensor(0, device=self.device)  # of the step, from 1
        self._depth_factor = torch.tensor(1.0, device=self.device)
        groups = [{**group, "lr": rate} for group, rate in zip(groups, self._rates, strict=True)]
        on_gpu = self.device.type == "cuda"
        self.optimiser = torch.optim.Adam(groups, betas=(0.9, 0.99), eps=1e-15, fused=True, capturable=on_gpu)
        self.generator = torch.Generator(device=self.device)
        self.step, self.total, self.rate_factor = 0, optimiser.steps, 1.0
        self.chunk_rays = optimiser.batch_rays * model.options.rays_across**2 // workers.count
        self.threads = Threads(1 if on_gpu else torch.get_num_threads())
        self._recorded: tuple[tuple[RaySource, int], Recording[StepResult]] | None = None
        self.mixed = optimiser.mixed_precision and computes_in_bfloat16(self.device)
        self._skipped, self._last_skipped = (torch.tensor(n, device=self.device) for n in (0, -1))

    def advance(self, store: RaySource) -> StepResult:
        """One step. The random numbers depend on seed and step only, so a resumed run equals the straight one."""
        self.generator.manual_seed(self.seed * 1_000_003 + self.step)
        rate = self.rate_factor * learning_rate(self.step, self.total, self.options)
        for tensor, share in zip(self._rates, self._shares, strict=True):
            tensor.fill_(share * rate)
        self._number.fill_(self.step + 1)
        self._depth_factor.fill_(depth_factor(self.step, self.total, self.losses))
        if self.average is not None:
            self.average.prepare(self.step + 1)
        step = partial(self._step, store)
        result = self._recording(store)(step) if self._can_record else step()
        self.step += 1
        return result

    @property
    def shown(self) -> RadianceField:
        """The model to render pictures with."""
        return self.model if self.average is None else self.average.model

    @property
    def _can_record(self) -> bool:
        """Parts that are rendered twice and what several processes exchange are left as they are."""
        return self.device.type == "cuda" and self.workers.count == 1 and self.chunk_rays >= self.batch_rays

    def _recording(self, store: RaySource) -> Recording[StepResult]:
        kind = store, self.rays_across
        if self._recorded is None or self._recorded[0] != kind:
            self._recorded = kind, Recording(self.generator)
        return self._recorded[1]

    @property
    def rays_across(self) -> int:
        """Rays across a pixel in the next step: one, and in the end as many as pictures are rendered with.

        While shapes are still sought, more steps teach more than more rays of each pixel.
        """
        return 1 if self.step < unsplit_steps(self.total, self.options) else self.model.options.rays_across

    @property
    def batch_rays(self) -> int:
        """Rays of the next step."""
        return self.options.batch_rays * self.rays_across**2

    def diverged(self, skipped: float) -> bool:
        """Whether so many steps left out in a row (``StepResult.skipped``) mean that nothing is learned any more."""
        return skipped >= min(_DIVERGED, self.total)

    @property
    def num_rays(self) -> int:
        """Rays of all steps so far."""
        split = max(self.step - unsplit_steps(self.total, self.options), 0)
        return self.options.batch_rays * (self.step + (self.model.options.rays_across**2 - 1) * split)

    def _step(self, store: RaySource) -> StepResult:
        rays, rendered = self._draw(store)
        size = (self.batch_rays, self.model.num_rounds)
        jitter = torch.rand(size, generator=self.generator, device=self.device) - 0.5
        own = self.workers.share(self.batch_rays)
        mine, moved = rendered.part(own), jitter[own]
        part = self.threads.render(lambda rows: self._render(mine.part(rows), moved[rows]), len(moved))
        output = ModelOutput.of(self.workers.gather(part.tensors()))
        appearance, rays_per_pixel = self.workers.once(self.model.appearance), self.rays_across**2
        losses = total_loss(output, rays, appearance, self.losses, self._depth_factor, rays_per_pixel)
        if self.poses is not None:
            losses["pose"] = self.losses.pose * self.workers.once(self.poses.squared())
        loss = torch.stack(list(losses.values())).sum()
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self.threads.backward(self.parameters)
        self.workers.sum_gradients(self.parameters)
        self._update(loss)
        with torch.no_grad():
            found, target = pixel_colors(output.rgb[: len(rays.rgb)], rays.rgb, rays_per_pixel)
            psnr = -10.0 * torch.log10(((found - target) ** 2).mean())
        losses = {name: value.detach() for name, value in losses.items()}
        return StepResult(losses, psnr, self._skipped.clone(), self._last_skipped.clone())

    def _draw(self, store: RaySource) -> tuple[RayBatch, RayBatch]:
        """Rays of pixels, and the same followed by those of unseen cameras: a batch in all."""
        options, across = self.options, self.rays_across
        each = int(self.losses.unseen.share * options.batch_rays) // 3 * across**2
        rays = store.sample(self.batch_rays - 3 * each, self.generator, options.pixels, across=across)
        if not each:
            return rays, rays
        unseen = self.losses.unseen
        turned = store.turntable.turned(store.sample(each, self.generator), unseen, self.generator)
        return rays, RayBatch.joined([rays, with_neighbours(turned, unseen.reach, self.generator)])

    def posed(self, rays: RayBatch) -> RayBatch:
        """Rays from where the photos are taken to be by now; those of no photo as they are."""
        return rays if self.poses is None else self.poses(rays)

    def _render(self, rays: RayBatch, jitter: Tensor) -> ModelOutput:
        """All rays of a thread at once, or in chunks that are rendered again, one at a time, when gradients are due."""
        rays = self.posed(rays)  # here, because the graph of each thread's part is its own
        most = -(-self.chunk_rays // self.threads.count)
        # Without the cache of weights in bfloat16, which is one for all threads: whose gradients meet there is chance.
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.mixed, cache_enabled=False):
            if len(jitter) <= most:
                return self.model(rays, jitter)  # type: ignore[no-any-return]
            parts = []
            for first in range(0, len(jitter), most):
                rows = slice(first, first + most)
                arguments = self.model, rays.part(rows), jitter[rows]
                parts.append(checkpoint(*arguments, use_reentrant=False, preserve_rng_state=False).tensors())
        return ModelOutput.of([torch.cat(tensors) for tensors in zip(*parts, strict=True)])

    @torch.no_grad()
    def _update(self, loss: Tensor) -> None:
        """The optimiser's step, left out on the device where loss or gradient is not finite."""
        gradients = [p.grad for p in self.parameters if p.grad is not None]
        finite = torch.isfinite(loss + torch.nn.utils.get_total_norm(gradients))
        # The fused optimiser takes this from a gradient scaler: 1 leaves parameters and state as they are.
        self.optimiser.found_inf = (~finite).float()  # type: ignore[attr-defined]
        self.optimiser.step()
        if self.average is not None:
            self.average.update()
        self._skipped.copy_(torch.where(finite, 0, self._skipped + 1))
        self._last_skipped.copy_(torch.where(finite, self._last_skipped, self._number))

    def state(self) -> dict[str, Any]:
        """Tensors and plain values that :meth:`restore` needs to go on exactly here."""
        plain = {"step": self.step, "total": self.total, "rate_factor": self.rate_factor}
        parts: dict[str, Any] = {"model": self.model, "optimiser": self.optimiser}
        parts |= {"poses": self.poses, "average": self.average and self.average.model}
        return plain | {name: part.state_dict() for name, part in parts.items() if part is not None}

    def restore(self, state: dict[str, Any]) -> None:
        """Takes up a state made by :meth:`state` with the same options."""
        self.model.load_state_dict(state["model"])
        if self.poses is not None:
            self.poses.load_state_dict(state["poses"])
        if self.average is not None:
            self.average.model.load_state_dict(state["average"])
        self.optimiser.load_state_dict(state["optimiser"])
        for group, rate in zip(self.optimiser.param_groups, self._rates, strict=True):
            group |= {"lr": rate, "capturable": self.device.type == "cuda"}  # the state may come from another device
        self.step, self.total, self.rate_factor = int(state["step"]), int(state["total"]), state["rate_factor"]
        self._skipped.fill_(0)
        self._last_skipped.fill_(-1)
        self._recorded = None  # the optimiser's state lies elsewhere now
