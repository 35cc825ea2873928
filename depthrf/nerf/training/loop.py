"""Training: optimiser steps that are deterministic for a seed and can be resumed after any of them.

Nothing in a step makes the host wait for a GPU: measurements stay on the device until somebody reads them. On a single
GPU the step is recorded as a CUDA graph.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from depthrf.nerf.model import RadianceField
from depthrf.nerf.options import FewPhotosOptions, LossOptions, ModelOptions, OptimiserOptions
from depthrf.nerf.precision import trains_in_bfloat16
from depthrf.nerf.rays.batch import RayBatch
from depthrf.nerf.rays.compositing import ModelOutput
from depthrf.nerf.rays.pixel_store import RaySource
from depthrf.nerf.rays.unseen import with_neighbours
from depthrf.nerf.training.adapting import adapted
from depthrf.nerf.training.averaging import AveragedModel
from depthrf.nerf.training.losses import grid_decay_rate, pixel_colors, total_loss
from depthrf.nerf.training.parallel import Workers
from depthrf.nerf.training.pose_corrections import PoseCorrections
from depthrf.nerf.training.recording import Recording
from depthrf.nerf.training.schedule import depth_factor, learning_rate, unsplit_steps
from depthrf.nerf.training.threads import Threads

_DIVERGED = 10  # skipped steps in a row


def prepare(
    store: RaySource,
    model: ModelOptions,
    losses: LossOptions,
    limits: FewPhotosOptions,
    optimiser: OptimiserOptions,
    *,
    seed: int,
    device: torch.device,
    workers: Workers = Workers(),  # noqa: B008 (frozen)
) -> Trainer:
    """A trainer with a new field for the photos of ``store``, and options adapted to them (``adapting.adapted``)."""
    model, losses, optimiser = adapted(
        model, losses, optimiser, limits, num_photos=store.num_photos, pixel_width=store.pixel_width
    )
    torch.manual_seed(seed)
    field = RadianceField(model, num_photos=store.num_photos).to(device)
    return Trainer(field, optimiser, losses, seed=seed, workers=workers)


@dataclass(frozen=True)
class StepResult:
    """Measurements of a step, valid until the next. They are still on the device, so reading them is up to the caller.

    losses: weighted, by name. psnr: of the batch, dB. skipped: number of consecutive steps, this one the last, that
    were skipped because the loss or its gradient was not finite. last_skipped: the last such step; -1 = none.
    """

    losses: dict[str, Tensor]
    psnr: Tensor
    skipped: Tensor
    last_skipped: Tensor


class Trainer:
    """Optimises a model on a pixel store.

    ``step`` counts the steps done, ``total`` those of the whole run. ``rate_factor`` scales the learning rate. At most
    ``chunk_rays`` rays are rendered at a time: fewer need less memory and give the same gradient. ``poses`` are the
    corrections to the photos' poses, if they are learned; their learning rate follows the model's schedule.
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
        self._relative_rates = [1.0] * len(groups)  # to the learning rate
        self.poses: PoseCorrections | None = None
        if optimiser.pose_rate > 0.0:
            self.poses = PoseCorrections(len(model.appearance), device=self.device)
            groups.append({"params": list(self.poses.parameters())})
            self._relative_rates.append(optimiser.pose_rate / optimiser.rate)
        self.parameters = [p for group in groups for p in group["params"]]
        # A recorded step reads whatever changes between steps from these tensors.
        self._rates = [torch.tensor(optimiser.rate, device=self.device) for _ in groups]
        self._number = torch.tensor(0, device=self.device)  # of the current step, from 1
        self._depth_factor = torch.tensor(1.0, device=self.device)
        groups = [{**group, "lr": rate} for group, rate in zip(groups, self._rates, strict=True)]
        on_gpu = self.device.type == "cuda"
        self.optimiser = torch.optim.Adam(groups, betas=(0.9, 0.99), eps=1e-15, fused=True, capturable=on_gpu)
        self.generator = torch.Generator(device=self.device)
        self.step, self.total, self.rate_factor = 0, optimiser.steps, 1.0
        self.chunk_rays = optimiser.batch_rays * model.options.rays_across**2 // workers.count
        self.threads = Threads(1 if on_gpu else torch.get_num_threads())
        self._recorded: tuple[tuple[RaySource, int], Recording[StepResult]] | None = None
        self.mixed = optimiser.mixed_precision and trains_in_bfloat16(model.field, self.device)
        self._skipped = torch.tensor(0, device=self.device)
        self._last_skipped = torch.tensor(-1, device=self.device)

    def advance(self, store: RaySource) -> StepResult:
        """One step. Its random numbers depend only on seed and step, so a resumed run equals an uninterrupted one."""
        self.generator.manual_seed(self.seed * 1_000_003 + self.step)
        rate = self.rate_factor * learning_rate(self.step, self.total, self.options)
        for tensor, relative in zip(self._rates, self._relative_rates, strict=True):
            tensor.fill_(relative * rate)
        self._number.fill_(self.step + 1)
        self._depth_factor.fill_(depth_factor(self.step, self.total, self.losses))
        if self.average is not None:
            self.average.prepare(self.step + 1)
        step = partial(self._step, store)
        result = self._recording(store)(step) if self._can_record else step()
        self.step += 1
        return result

    @property
    def eval_model(self) -> RadianceField:
        """The model to render with: the averaged one where weights are averaged."""
        return self.model if self.average is None else self.average.model

    @property
    def _can_record(self) -> bool:
        """Not where chunks are rendered twice or several processes exchange tensors."""
        return self.device.type == "cuda" and self.workers.count == 1 and self.chunk_rays >= self.batch_rays

    def _recording(self, store: RaySource) -> Recording[StepResult]:
        kind = store, self.rays_across
        if self._recorded is None or self._recorded[0] != kind:
            self._recorded = kind, Recording(self.generator)
        return self._recorded[1]

    @property
    def rays_across(self) -> int:
        """Supersampling of the next step: none at first, in the end that of rendering.

        While shapes are still being found, more steps help more than more rays per pixel.
        """
        return 1 if self.step < unsplit_steps(self.total, self.options) else self.model.options.rays_across

    @property
    def batch_rays(self) -> int:
        """Rays of the next step."""
        return self.options.batch_rays * self.rays_across**2

    def diverged(self, skipped: float) -> bool:
        """Whether this many steps skipped in a row (``StepResult.skipped``) mean that training has broken down."""
        return skipped >= min(_DIVERGED, self.total)

    @property
    def num_rays(self) -> int:
        """Total rays of all steps so far."""
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
        """Rays of pixels, and the whole batch: the same rays followed by those from unseen cameras."""
        options, across = self.options, self.rays_across
        each = int(self.losses.unseen.share * options.batch_rays) // 3 * across**2
        rays = store.sample(self.batch_rays - 3 * each, self.generator, options.pixels, across=across)
        if not each:
            return rays, rays
        unseen = self.losses.unseen
        turned = store.turntable.turned(store.sample(each, self.generator), unseen, self.generator)
        return rays, RayBatch.joined([rays, with_neighbours(turned, unseen.reach, self.generator)])

    def posed(self, rays: RayBatch) -> RayBatch:
        """The rays from their photos' corrected poses; rays of no photo as they are."""
        return rays if self.poses is None else self.poses(rays)

    def _render(self, rays: RayBatch, jitter: Tensor) -> ModelOutput:
        """Renders a thread's rays at once, or in chunks, which are rendered again when their gradients are computed."""
        rays = self.posed(rays)  # here, because the graph of each thread's part is its own
        most = -(-self.chunk_rays // self.threads.count)
        # All threads would share the cache of bfloat16 weights, and their gradients would meet there in any order.
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
        """The optimiser's step. It is skipped, without asking the host, if loss or gradient are not finite."""
        gradients = [p.grad for p in self.parameters if p.grad is not None]
        finite = torch.isfinite(loss + torch.nn.utils.get_total_norm(gradients))
        # Meant for gradient scalers: where it is 1, the fused optimiser leaves parameters and state unchanged.
        self.optimiser.found_inf = (~finite).float()  # type: ignore[attr-defined]
        self.optimiser.step()
        if self.average is not None:
            self.average.update()
        self._skipped.copy_(torch.where(finite, 0, self._skipped + 1))
        self._last_skipped.copy_(torch.where(finite, self._last_skipped, self._number))

    def state(self) -> dict[str, Any]:
        """Tensors and plain values from which :meth:`restore` continues exactly here."""
        plain = {"step": self.step, "total": self.total, "rate_factor": self.rate_factor}
        parts: dict[str, Any] = {"model": self.model, "optimiser": self.optimiser}
        parts |= {"poses": self.poses, "average": self.average and self.average.model}
        return plain | {name: part.state_dict() for name, part in parts.items() if part is not None}

    def restore(self, state: dict[str, Any]) -> None:
        """Continues from a state that :meth:`state` made with the same options."""
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
        self._recorded = None  # the recording refers to the old state's tensors
