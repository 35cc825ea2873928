"""train: the radiance field, from the undistorted photos and their depth priors."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from depthrf import console, device, distributed
from depthrf.errors import UsageError
from depthrf.nerf.options import FewPhotosOptions, LossOptions, ModelOptions, OptimiserOptions
from depthrf.options import identity, option, seconds_of
from depthrf.workspace import Workspace, fingerprints

if TYPE_CHECKING:
    from depthrf.nerf.pixel_store import PixelStore
    from depthrf.nerf.schedule import StepBudget
    from depthrf.nerf.training import StepResult, Trainer
    from depthrf.stages.train_files import TrainingFiles

REQUIRES = ("sfm", "merge")


@dataclass(frozen=True)
class Options:
    max_side: int = option(800, "longer side in pixels at which photos are trained on", least=16)
    budget: str | None = option(None, "time for training instead of a number of steps: 90s, 10m, 1h")
    seed: int = option(0, "seed of initialisation and sampling", least=0)
    device: str = option("auto", "where to compute", choices=device.CHOICES, identity=False)
    checkpoint_steps: int = option(
        500, "steps between checkpoints, which take at most a tenth of the time", least=1, identity=False
    )
    preview_steps: int = option(
        200, "steps between the pictures in nerf/val, at most 3 % of the time", least=1, identity=False
    )
    model: ModelOptions = option(ModelOptions, "the radiance field")
    loss: LossOptions = option(LossOptions, "loss weights")
    few: FewPhotosOptions = option(FewPhotosOptions, "what changes where photos are few")
    optimiser: OptimiserOptions = option(OptimiserOptions, "optimiser and schedule")

    def __post_init__(self) -> None:
        if self.budget is not None:
            seconds_of(self.budget)


@dataclass(frozen=True)
class Summary:
    steps: int
    seconds: float
    rays_per_second: float
    num_photos: int
    width: int
    height: int
    depth_coverage: float
    final_psnr: float | None
    device: str


def inputs(workspace: Workspace, options: Options) -> list[Path]:
    return [
        workspace.undistorted_images,
        workspace.undistorted_masks,
        workspace.undistorted_sparse,
        workspace.transforms,
        workspace.prior_depth,
    ]


def outputs(workspace: Workspace, options: Options) -> list[Path]:
    return [workspace.checkpoint]


def run(workspace: Workspace, options: Options) -> Summary:
    """Trains the field, going on from the last checkpoint of an interrupted run with the same options and inputs."""
    from depthrf.io.trained_field import TrainedField
    from depthrf.nerf.hashgrid import missing_for_triton
    from depthrf.nerf.memory import fit_memory
    from depthrf.nerf.parallel import Workers
    from depthrf.nerf.training import prepare
    from depthrf.stages.train_files import TrainingFiles
    from depthrf.stages.training_photos import load

    target = device.resolve(options.device)
    workers = Workers(distributed.rank(), distributed.count())
    if options.optimiser.batch_rays % workers.count:
        raise UsageError(
            f"{options.optimiser.batch_rays} rays cannot be shared by {workers.count} processes. Use a multiple: "
            "--set train.optimiser.batch_rays=N"
        )
    photos = load(workspace, options.max_side, options.optimiser.pixels, target)
    store, camera = photos.store, photos.camera
    parts = options.model, options.loss, options.few, options.optimiser
    trainer = prepare(store, *parts, seed=options.seed, device=target, workers=workers)
    field = TrainedField(trainer.shown, photos.normalised_from_scene, photos.bounds, options.max_side)
    console.note(
        f"  {store.num_photos} photos at {camera.width}x{camera.height} on {target}; "
        f"{store.depth_coverage:.1%} of the pixels have a depth prior"
    )
    if target.type == "cuda" and (missing := missing_for_triton()):
        console.warn(f"without {missing} the hash grid runs in plain PyTorch, which is slower; install it")
    fit_memory(trainer, store, device.free_memory(target), console.note)
    files = TrainingFiles(workspace, trainer, field, key=_run_key(workspace, options))
    psnr = _loop(trainer, store, files, options)
    return Summary(
        steps=trainer.step,
        seconds=round(files.elapsed, 2),
        rays_per_second=round(trainer.num_rays / max(files.elapsed, 1e-9)),
        num_photos=store.num_photos,
        width=camera.width,
        height=camera.height,
        depth_coverage=store.depth_coverage,
        final_psnr=psnr,
        device=str(target),
    )


def _loop(trainer: Trainer, store: PixelStore, files: TrainingFiles, options: Options) -> float | None:
    """Steps to the end with metrics, previews and checkpoints; returns the last PSNR."""
    from depthrf.nerf.memory import advance
    from depthrf.nerf.schedule import StepBudget, step_cost

    # A resumed run keeps the number of steps that its first minutes found.
    budget = None
    if options.budget and trainer.step == 0:
        cost = step_cost(trainer.options, trainer.model.options.rays_across)
        budget = StepBudget(seconds_of(options.budget), cost)
    row = None
    with console.progress() as display:
        task = display.add_task("train", total=trainer.total, completed=trainer.step, info="")
        while trainer.step < trainer.total:
            result = advance(trainer, store, console.warn)
            if budget is not None:
                trainer.total, budget = fit_budget(trainer, budget, result, files.elapsed)
            done = trainer.step >= trainer.total
            display.update(task, completed=trainer.step, total=trainer.total)
            if done or trainer.step % max(1, min(100, trainer.total // 20)) == 0:
                row = files.measure(result)
                if row is None:  # diverged, and gone back to an earlier step
                    continue
                display.update(task, info=_info(row))
            if done or trainer.step % options.preview_steps == 0:
                files.preview()
            if done or (budget is None and trainer.step % options.checkpoint_steps == 0):
                files.save(result, last=done)
    return row["psnr"] if row else None


def _info(row: dict[str, Any]) -> str:
    quality = "not finite" if row["loss"] is None else f"loss {row['loss']:.4f}  {row['psnr']:.1f} dB"
    return f"{quality}  {row['rays_per_second']:,} rays/s"


def fit_budget(
    trainer: Trainer, budget: StepBudget, result: StepResult, elapsed: float
) -> tuple[int, StepBudget | None]:
    """The number of steps to plan for, and the budget while it is still being timed."""
    if trainer.device.type == "cuda":
        result.psnr.item()  # the step's time counts when the GPU has done it
    total = budget.total(trainer.step, trainer.workers.from_first(elapsed, trainer.device))
    if total is None:
        return max(trainer.total, 2 * trainer.step), budget  # no schedule comes to its last part meanwhile
    console.note(f"  {total} steps fit into {budget.seconds:g} s")
    return total, None


def _run_key(workspace: Workspace, options: Options) -> str:
    """What a checkpoint must agree on to be gone on from: everything that decides the result."""
    return json.dumps([identity(options), fingerprints(workspace, inputs(workspace, options))], sort_keys=True)
