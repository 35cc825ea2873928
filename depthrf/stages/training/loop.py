"""The training loop: steps to the end with metrics, previews and checkpoints, or until a time budget is spent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from depthrf import console
from depthrf.options import seconds_of

if TYPE_CHECKING:
    from depthrf.nerf.rays.pixel_store import RaySource
    from depthrf.nerf.training.loop import StepResult, Trainer
    from depthrf.nerf.training.schedule import StepBudget
    from depthrf.stages.training.files import TrainingFiles


@dataclass(frozen=True)
class Cadence:
    """Steps between checkpoints, and between previews (None: none)."""

    checkpoint_steps: int
    preview_steps: int | None = None


def train(
    trainer: Trainer, store: RaySource, files: TrainingFiles, cadence: Cadence, *, budget: str | None = None
) -> float | None:
    """Trains to the last step.

    Args:
        trainer: At step 0, or where ``files`` has resumed it.
        store: Where the rays of each step come from.
        files: Checkpoint, metrics and previews.
        cadence: How often they are written.
        budget: Time for the whole training, as in ``10m``, instead of the trainer's number of steps.

    Returns:
        The last batch's PSNR in dB; None where no step was left.

    Raises:
        DepthrfError: Training diverges.
    """
    from depthrf.nerf.training.memory import advance

    timing = step_budget(trainer, budget)
    row = None
    with console.progress() as display:
        task = display.add_task("train", total=trainer.total, completed=trainer.step, info="")
        while trainer.step < trainer.total:
            result = advance(trainer, store, console.warn)
            if timing is not None:
                trainer.total, timing = fit_budget(trainer, timing, result, files.elapsed)
            done = trainer.step >= trainer.total
            display.update(task, completed=trainer.step, total=trainer.total)
            if done or trainer.step % max(1, min(100, trainer.total // 20)) == 0:
                row = files.measure(result)
                if row is None:  # diverged, and gone back to an earlier step
                    continue
                display.update(task, info=_info(row))
            if done or (cadence.preview_steps and trainer.step % cadence.preview_steps == 0):
                files.preview()
            if done or (timing is None and trainer.step % cadence.checkpoint_steps == 0):
                files.save(result, last=done)
    return row["psnr"] if row else None


def step_budget(trainer: Trainer, budget: str | None) -> StepBudget | None:
    """The budget to time the first steps against; a resumed run keeps the number of steps that these have found."""
    from depthrf.nerf.training.schedule import StepBudget, step_cost

    if budget is None or trainer.step > 0:
        return None
    return StepBudget(seconds_of(budget), step_cost(trainer.options, trainer.model.options.rays_across))


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


def _info(row: dict[str, Any]) -> str:
    quality = "not finite" if row["loss"] is None else f"loss {row['loss']:.4f}  {row['psnr']:.1f} dB"
    return f"{quality}  {row['rays_per_second']:,} rays/s"
